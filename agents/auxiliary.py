"""The GQN's bound as an auxiliary loss: other views of the states that the agent meets train its eyes too."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from gqn_transfer.decoders import RenderingDecoder
from gqn_transfer.encoder import Encoder
from gqn_transfer.model import GQN
from gqn_transfer.objectives import Objective
from gqn_transfer.precision import autocast
from gqn_transfer.presets import PRESETS
from gqn_transfer.scenes import Batch
from gqn_transfer.training import schedule

EVERY, VIEWS = 8, 3
"""At one environment step in `EVERY`, `VIEWS` more views of the state are rendered."""
CAPACITY = 8_192
"""States kept, the latest."""
BATCH = 16
"""States of one auxiliary step, which comes with each of the agent's."""
CLIP = 0.5
"""Largest norm of its gradient, before it is weighted: that of PPO's own."""
SCHEDULE_STEPS = 200_000
"""Environment steps over which the schedule of `PRESET` runs down."""
PRESET = PRESETS["cpu-30min"]
"""Whose weights by label and whose schedule the bound has."""


class SceneCollector(VecEnvWrapper):
    """Keeps other views of the states that its environments are in.

    The environment below must have `moment()` and `scene_views(count, rng, moment)`, as `ArmVectorEnv` has.
    Moments are kept too, which are much smaller: from them the views can be drawn again.
    """

    def __init__(self, venv: VecEnv, rng: np.random.Generator, capacity: int = CAPACITY) -> None:
        super().__init__(venv)
        self.rng, self.capacity = rng, capacity
        self.frames = 0
        self._steps, self._count = 0, 0
        self._kept: tuple[np.ndarray, ...] = ()
        self._moments: deque[tuple[Mapping[str, Any], dict[str, np.ndarray]]] = deque(
            maxlen=-(-capacity // venv.num_envs)
        )  # each with the generator's state before it was looked at

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        result = self.venv.step_wait()
        self._steps += 1
        if self._steps % EVERY == 0:
            self._look(self._ask("moment"))
        return result

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` states drawn with replacement, without the simulator's state."""
        rows = rng.integers(len(self), size=count)
        images, viewpoints, labels = (values[rows] for values in self._kept)
        return Batch(images, viewpoints, labels, np.zeros((count, 0), np.float32))

    def bookmark(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which `go_back` makes all this again."""
        rng = self._moments[0][0] if self._moments else self.rng.bit_generator.state
        facts = {"rng": rng, "steps": self._steps, "count": self._count, "frames": self.frames}
        moments = [moment for _, moment in self._moments]
        return facts, {key: np.stack([each[key] for each in moments]) for key in (moments or [{}])[0]}

    def go_back(self, facts: dict[str, Any], moments: Mapping[str, np.ndarray]) -> None:
        """To where a bookmark was made: its views are drawn again."""
        self._moments.clear()
        self.rng.bit_generator.state = facts["rng"]
        looks = len(next(iter(moments.values()), ()))
        self._count = facts["count"] - looks * self.num_envs
        for index in range(looks):
            self._look({key: values[index] for key, values in moments.items()})
        self._steps, self.frames = facts["steps"], facts["frames"]

    def _look(self, moment: dict[str, np.ndarray]) -> None:
        self._moments.append((self.rng.bit_generator.state, moment))
        self._keep(tuple(self._ask("scene_views", VIEWS, self.rng, moment)))

    def _ask(self, what: str, *arguments: Any) -> Any:
        try:
            return self.venv.env_method(what, *arguments, indices=[0])[0]
        except AttributeError as error:
            raise ValueError(
                "gqn-aux renders other views of the agent's states, which this environment cannot: it has no "
                "moment() and scene_views(count, rng, moment); use ArmVectorEnv"
            ) from error

    def _keep(self, views: tuple[np.ndarray, ...]) -> None:
        if not self._kept:
            self._kept = tuple(np.empty((self.capacity, *part.shape[1:]), part.dtype) for part in views)
        states = len(views[0])
        places = (self._count + np.arange(states)) % self.capacity
        for kept, part in zip(self._kept, views, strict=True):
            kept[places] = part
        self._count += states
        self.frames += states * VIEWS


class AuxiliaryBound:
    """Adds the gradient of the GQN's bound to that of the agent's loss, before each step of its optimiser.

    The generator is trained by the same optimiser; the policy does not hold it.
    """

    def __init__(
        self, policy: ActorCriticPolicy, collector: SceneCollector, weight: float, seed: int
    ) -> None:
        encoder: Encoder = policy.features_extractor.eyes.encoder  # type: ignore[union-attr, assignment]
        assert encoder.config is not None
        self.model = GQN(encoder.config, seed=seed).to(policy.device)
        self.model.representation = encoder.representation  # type: ignore[assignment]
        decoder = RenderingDecoder(self.model, PRESET.label_weights)
        self.objective = Objective(self.model, {"rendering": decoder}, {"rendering": 1.0}, VIEWS - 1)
        self.weight = weight
        self.config = dataclasses.replace(PRESET, steps=SCHEDULE_STEPS)
        self.collector, self.rng = collector, np.random.default_rng([seed, EVERY])
        self.parameters = list(self.model.parameters())
        policy.optimizer.add_param_group({"params": list(self.model.generator.parameters())})
        policy.optimizer.before_step = self._add_gradients  # type: ignore[attr-defined]

    def _add_gradients(self) -> None:
        if len(self.collector) < BATCH:
            return
        gradients = self._gradients()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _gradients(self) -> list[torch.Tensor | None]:
        """Of the bound on states that the agent has met, clipped, then weighted; None where it has none."""
        progress = self.collector.frames * EVERY // VIEWS  # in environment steps
        batch = self.collector.sample(BATCH, self.rng)
        with torch.enable_grad(), autocast(self.objective.device):
            loss, _ = self.objective(batch, schedule(self.config, progress), self.rng)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        norm = torch.nn.utils.get_total_norm([one for one in gradients if one is not None])
        scale = self.weight * (CLIP / (norm + 1e-6)).clamp(max=1)
        return [None if one is None else one * scale for one in gradients]
