"""The GQN's bound as an auxiliary loss: other views of the states that the agent meets train its eyes too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from gqn_transfer.decoders import RenderingDecoder
from gqn_transfer.encoder import Encoder
from gqn_transfer.model import GQN
from gqn_transfer.objectives import Objective
from gqn_transfer.precision import autocast
from gqn_transfer.presets import PRESETS
from gqn_transfer.scenes import Batch
from gqn_transfer.training import schedule

from .scene_collector import EVERY, VIEWS, SceneSource, joined

BATCH = 16
"""States of one auxiliary step, which comes with each of the agent's, unless it is told another number."""
CLIP = 0.5
"""Largest norm of its gradient, before it is weighted: that of PPO's own."""
SMALLEST_NORM = 1e-6
SCHEDULE_STEPS = 200_000
"""Environment steps over which the schedule of `PRESET` runs down."""
PRESET = PRESETS["cpu-30min"]
"""Whose weights by label and whose schedule the bound has."""


class AuxiliaryBound:
    """Adds the gradient of the GQN's bound to that of the agent's loss, before each step of its optimiser.

    The generator is trained by the same optimiser; the policy does not hold it.

    `match`, where it is set: the norm that the bound's gradient on the encoder has before it is weighted, so
    that it neither drowns the agent's nor is drowned; else it is clipped together with the generator's.
    `alignment` then has the cosine of the two, step by step.
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        model: GQN,
        sources: Sequence[SceneSource],
        weight: float,
        seed: int,
        progress: Callable[[], int],
        batch: int | None = None,
    ) -> None:
        """model: its generator is trained on, in place of its representation network stand the policy's eyes.
        sources: each gives the same part of a batch of that many scenes. progress: environment steps of the
        schedule so far."""
        encoder: Encoder = policy.features_extractor.eyes.encoder  # type: ignore[union-attr, assignment]
        self.model = model.to(policy.device)
        self.model.representation = encoder.representation  # type: ignore[assignment]
        decoder = RenderingDecoder(self.model, PRESET.label_weights, margin=PRESET.label_margin)
        self.objective = Objective(self.model, {"rendering": decoder}, {"rendering": 1.0}, VIEWS - 1)
        self.weight, self.progress, self.batch = weight, progress, batch or BATCH
        self.match: Tensor | None = None
        self.alignment: list[Tensor] = []
        self.config = dataclasses.replace(PRESET, steps=SCHEDULE_STEPS)
        self.sources, self.rng = tuple(sources), np.random.default_rng([seed, EVERY])
        generator = list(self.model.generator.parameters())
        self.parameters = [*self.model.representation.parameters(), *generator]
        self.split = len(self.parameters) - len(generator)
        policy.optimizer.add_param_group({"params": generator})
        policy.optimizer.before_step = self._add_gradients  # type: ignore[attr-defined]

    def _add_gradients(self) -> None:
        if min(len(source) for source in self.sources) < self.batch:
            return
        gradients = self._gradients()
        if self.match is not None:
            self.alignment += _alignment(self.parameters[: self.split], gradients)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _gradients(self) -> list[Tensor | None]:
        """Of the bound on scenes of all sources, scaled, then weighted; None where it has none."""
        with torch.enable_grad(), autocast(self.objective.device):
            loss, _ = self.objective(self._scenes(), schedule(self.config, self.progress()), self.rng)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        if self.match is None:
            return _times(gradients, self.weight * _clip(gradients))
        encoder, generator = gradients[: self.split], gradients[self.split :]
        alike = self.match / (_norm(encoder) + SMALLEST_NORM)
        return [*_times(encoder, self.weight * alike), *_times(generator, self.weight * _clip(generator))]

    def _scenes(self) -> Batch:
        return joined([source.sample(self.batch // len(self.sources), self.rng) for source in self.sources])


def _alignment(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    """The cosine between what the parameters' gradients are and these, if both are there."""
    pairs = [(p.grad.flatten(), g.flatten()) for p, g in zip(parameters, gradients, strict=False)
             if p.grad is not None and g is not None]  # fmt: skip
    if not pairs:
        return []
    agents, bounds = (torch.cat(each) for each in zip(*pairs, strict=True))
    return [torch.cosine_similarity(agents, bounds, dim=0)]


def _norm(gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.nn.utils.get_total_norm([one for one in gradients if one is not None])


def _clip(gradients: Sequence[Tensor | None]) -> Tensor:
    """What they are multiplied by so that their norm is at most `CLIP`."""
    return (CLIP / (_norm(gradients) + SMALLEST_NORM)).clamp(max=1)


def _times(gradients: Sequence[Tensor | None], factor: Tensor) -> list[Tensor | None]:
    return [None if one is None else one * factor for one in gradients]
