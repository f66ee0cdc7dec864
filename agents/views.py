"""Several views a step: the last observations of a moving camera, seen together."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

Observation = dict[str, np.ndarray]


class RecentViews(VecEnvWrapper):
    """The last `views` views as one observation.

    Images (H, W, 3) follow one another in the channels, oldest first, and so do their viewpoints: encoders
    sum over them, convolutions take them as they are. Around an `EncodedVecEnv` it is the mean of the last
    codes, which is the same to an encoder and costs one encoding a step. An episode starts with copies of
    its first view. What is neither image, viewpoint nor representation stays the latest.
    """

    def __init__(self, venv: VecEnv, views: int) -> None:
        space = venv.observation_space
        if views < 1:
            raise ValueError(f"views={views}: expected at least 1")
        if not isinstance(space, spaces.Dict) or not {"image", "representation"} & set(space.spaces):
            raise ValueError(f"RecentViews needs observations with `image` or `representation`, got {space}")
        self.views, self.encoded = views, "representation" in space.spaces
        self._recent: list[deque[Observation]] = [deque(maxlen=views) for _ in range(venv.num_envs)]
        super().__init__(venv, self._stacked_space(space))

    def reset(self) -> VecEnvObs:
        observations = self.venv.reset()
        assert isinstance(observations, dict)
        for index, recent in enumerate(self._recent):
            self._begin(recent, row(observations, index))
        return self._stacked()

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        assert isinstance(observations, dict)
        for index, recent in enumerate(self._recent):
            if dones[index]:
                recent.append(infos[index]["terminal_observation"])
                infos[index]["terminal_observation"] = self._join(recent)
                self._begin(recent, row(observations, index))
            else:
                recent.append(row(observations, index))
        return self._stacked(), rewards, dones, infos

    def _begin(self, recent: deque[Observation], first: Observation) -> None:
        recent.extend([first] * self.views)

    def _stacked(self) -> Observation:
        each = [self._join(recent) for recent in self._recent]
        return {key: np.stack([one[key] for one in each]) for key in each[0]}

    def _join(self, recent: deque[Observation]) -> Observation:
        latest = recent[-1]
        if self.encoded:
            codes = np.mean([one["representation"] for one in recent], 0, dtype=np.float32)
            return latest | {"representation": codes.astype(latest["representation"].dtype)}
        together = {
            key: np.concatenate([one[key] for one in recent], axis=-1)
            for key in ("image", "viewpoint")
            if key in latest
        }
        return latest | together

    def _stacked_space(self, space: spaces.Dict) -> spaces.Dict:
        if self.encoded:
            return space
        return spaces.Dict(
            {
                key: _repeated(box, self.views) if key in ("image", "viewpoint") else box
                for key, box in space.spaces.items()
            }
        )


class RecentCodes(RecentViews):
    """The codes of the last `views` steps one by one, (views, C), oldest first: what some tiers read."""

    def _join(self, recent: deque[Observation]) -> Observation:
        return recent[-1] | {"representation": np.stack([one["representation"] for one in recent])}

    def _stacked_space(self, space: spaces.Dict) -> spaces.Dict:
        codes: Any = space.spaces["representation"]
        several = spaces.Box(-np.inf, np.inf, (self.views, *codes.shape), codes.dtype)
        return spaces.Dict({**space.spaces, "representation": several})


def row(observations: dict[str, np.ndarray], index: int) -> Observation:
    """One environment's observation."""
    return {key: values[index] for key, values in observations.items()}


def _repeated(box: Any, views: int) -> spaces.Box:
    """A box `views` times along its last axis."""
    low, high = (np.concatenate([edge] * views, axis=-1) for edge in (box.low, box.high))
    return spaces.Box(low, high, dtype=box.dtype)
