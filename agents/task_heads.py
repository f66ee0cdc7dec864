"""One shared encoder, one head a task: what stands on a code belongs to its task alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from gqn_transfer.tier import Tier, TierConfig

from .bare_images import BareImages
from .extractors import FEATURES, Trunk, others, others_size, seen_by, vector_size
from .eyes import EYES, EncoderEyes, EncoderSource
from .inputs import InputScale

GAINS = {"trunk": np.sqrt(2), "pi": np.sqrt(2), "vf": np.sqrt(2), "mean": 0.01, "value": 1.0}
"""Of the orthogonal initial weights, as SB3 has them."""


class TaskExtractor(BaseFeaturesExtractor):
    """Task, the other observations and the code, (B, 1 + n + C): heads do the rest."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        encoder: EncoderSource | None = None,
        mode: str = "finetune",
        tier: TierConfig | None = None,
    ) -> None:
        """encoder: None where observations hold a `representation` already. tier: what is trained on that, so
        that heads read s."""
        rest = others_size(_without_task(observation_space))
        eyes = None if encoder is None else EYES[mode](encoder)
        codes = observation_space.spaces.get("representation")
        seen = eyes.features_dim if eyes is not None else vector_size(codes) if codes is not None else 0
        if tier is not None:
            _check_below(tier, codes, eyes)
            seen = codes.shape[-1]  # type: ignore[union-attr, index]
        super().__init__(observation_space, 1 + rest + (seen if tier is None else tier.size))
        self.eyes, self.tier = eyes, None if tier is None else Tier(seen, tier)
        self.seen = seen if tier is None else tier.size

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        rest = others({key: value for key, value in observations.items() if key != "task"})
        return torch.cat([observations["task"], rest, *self._seen(observations)], 1)

    def _seen(self, observations: dict[str, Tensor]) -> list[Tensor]:
        if self.eyes is not None:
            return [seen_by(self.eyes, observations)]
        if self.tier is not None:
            return [self.tier(observations["representation"])]
        return [observations["representation"]] if self.seen else []


class TaskHead(nn.Module):
    """Actor and critic of one task: a trunk of their own and two hidden layers each."""

    def __init__(self, inputs: int, seen: int, width: int, actions: int, log_std: float) -> None:
        """inputs: length of what it is given; seen: how many of these, the last ones, are the code."""
        super().__init__()
        self.scale = InputScale(inputs, slice(inputs - seen, None))
        self.trunk = Trunk(inputs)
        self.pi, self.vf = (
            nn.Sequential(nn.Linear(FEATURES, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
            for _ in range(2)
        )
        self.mean, self.value = nn.Linear(width, actions), nn.Linear(width, 1)
        self.log_std = nn.Parameter(torch.full((actions,), log_std))
        for name, gain in GAINS.items():
            for layer in getattr(self, name).modules():
                if isinstance(layer, nn.Linear):
                    nn.init.orthogonal_(layer.weight, gain)
                    nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n) -> mean and log deviation of the action side by side, (B, 2 A); value (B, 1)."""
        features = self.trunk(self.scale(inputs))
        mean = self.mean(self.pi(features))
        return torch.cat([mean, self.log_std.expand_as(mean)], 1), self.value(self.vf(features))


class TaskHeads(nn.Module):
    """Hands every row to the head of its task. Stands where SB3 has its `mlp_extractor`."""

    def __init__(self, inputs: int, seen: int, width: int, actions: int, log_std: float, tasks: int) -> None:
        super().__init__()
        self.actions = actions
        self.heads = nn.ModuleList(TaskHead(inputs, seen, width, actions, log_std) for _ in range(tasks))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        values = features.new_empty(len(features), 1)
        found = features.new_empty(len(features), 2 * self.actions)
        for task, rows in rows_by_task(features[:, 0]):
            found[rows], values[rows] = self.heads[task](features[rows, 1:])
        return found, values

    def forward_actor(self, features: Tensor) -> Tensor:
        """Mean and log deviation (B, 2 A)."""
        return self(features)[0]

    def forward_critic(self, features: Tensor) -> Tensor:
        """Values (B, 1)."""
        return self(features)[1]


class MultiTaskPolicy(ActorCriticPolicy, BareImages):  # type: ignore[misc]
    """PPO's policy with a `TaskExtractor` and `TaskHeads`."""

    def __init__(self, *arguments: Any, tasks: int, head_width: int = 256, **keywords: Any) -> None:
        self.tasks, self.head_width = tasks, head_width
        super().__init__(*arguments, **keywords)

    def _build(self, lr_schedule: Schedule) -> None:
        extractor, actions = self.features_extractor, int(np.prod(self.action_space.shape or ()))
        assert isinstance(extractor, TaskExtractor)
        sizes = (extractor.features_dim - 1, extractor.seen, self.head_width, actions, self.log_std_init)
        self.mlp_extractor = TaskHeads(*sizes, self.tasks)  # type: ignore[assignment]
        self.action_net, self.value_net = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        mean, log_std = latent_pi.chunk(2, 1)
        return self.action_dist.proba_distribution(mean, log_std)

    @property
    def heads(self) -> nn.ModuleList:
        """By the task's number."""
        return self.mlp_extractor.heads  # type: ignore[return-value]

    def bottleneck(self, observations: dict[str, Tensor]) -> Tensor | float:
        """What a tier with a bottleneck adds to the loss of these observations."""
        tier: Tier | None = self.features_extractor.tier  # type: ignore[assignment]
        if tier is None or not tier.config.bottleneck:
            return 0.0
        return tier.config.bottleneck * tier.divergence(observations["representation"]).mean()

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the encoder, or of the tier."""
        return [each for each in self.features_extractor.parameters() if each.requires_grad]


def rows_by_task(tasks: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Every task among `tasks` (B,) and where it stands."""
    for task in tasks.unique():
        yield int(task), torch.nonzero(tasks == task).flatten()


def _check_below(tier: TierConfig, codes: spaces.Space | None, eyes: EncoderEyes | None) -> None:
    """ValueError if a tier would not be given the codes that it reads."""
    if codes is None or eyes is not None:
        raise ValueError("a tier stands on the codes of a frozen encoder: give it an EncodedVecEnv")
    given = 1 if len(codes.shape or ()) == 1 else (codes.shape or ())[0]
    if given != tier.history:
        raise ValueError(
            f"a tier of history={tier.history} is given the codes of {given} steps: wrap the EncodedVecEnv "
            f"in RecentCodes(venv, {tier.history})"
        )


def _without_task(space: spaces.Dict) -> spaces.Dict:
    return spaces.Dict({key: part for key, part in space.spaces.items() if key != "task"})
