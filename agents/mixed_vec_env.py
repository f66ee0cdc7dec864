"""Environments of several tasks as one vector environment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

MOST_TASKS = 256
"""Numbers of tasks lie below it: the space of observations stays the same when one is added."""
SEED_DISTANCE = 10_000
"""Between the seeds of two tasks' first environments."""


class MixedVecEnv(VecEnv):
    """The environments of the first task come first, then those of the second, and so on.

    Each observation gains `task`, (1,): the task's number, in the order of `venvs`.
    """

    def __init__(self, venvs: Mapping[str, VecEnv]) -> None:
        """venvs: task -> its environments; all must have the same spaces."""
        self.venvs = dict(venvs)
        first = next(iter(self.venvs.values()))
        for name, venv in self.venvs.items():
            if (venv.observation_space, venv.action_space) != (first.observation_space, first.action_space):
                raise ValueError(
                    f"task {name!r} has spaces {venv.observation_space}, {venv.action_space}, the first one "
                    f"{first.observation_space}, {first.action_space}: make all with the same arguments"
                )
        assert isinstance(first.observation_space, spaces.Dict)
        task = spaces.Box(0.0, MOST_TASKS - 1, (1,), np.float32)
        sizes = [venv.num_envs for venv in self.venvs.values()]
        self.bounds = list(itertools.accumulate(sizes, initial=0))
        self.task_of = np.repeat(np.arange(len(sizes)), sizes)
        """int (num_envs,): the task of each environment."""
        space = spaces.Dict({**first.observation_space.spaces, "task": task})
        super().__init__(sum(sizes), space, first.action_space)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.venvs)

    def columns(self, task: int) -> slice:
        """The environments of a task."""
        return slice(self.bounds[task], self.bounds[task + 1])

    def reset(self) -> VecEnvObs:
        for number, venv in enumerate(self.venvs.values()):
            part = slice(*self.bounds[number : number + 2])
            venv._seeds, venv._options = self._seeds[part], self._options[part]
        self._reset_seeds()
        self._reset_options()
        return self._joined([venv.reset() for venv in self.venvs.values()])

    def step_async(self, actions: np.ndarray) -> None:
        for number, venv in enumerate(self.venvs.values()):
            venv.step_async(actions[self.columns(number)])

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = zip(*(v.step_wait() for v in self.venvs.values()), strict=True)
        every = list(itertools.chain.from_iterable(infos))
        for info, task in zip(every, self.task_of, strict=True):
            if "terminal_observation" in info:
                info["terminal_observation"] |= {"task": np.array([task], np.float32)}
        return self._joined(observations), np.concatenate(rewards), np.concatenate(dones), every

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Tasks' environments count on from seeds far apart."""
        for number, venv in enumerate(self.venvs.values()):
            venv.seed(None if seed is None else seed + SEED_DISTANCE * number)
        self._seeds = list(itertools.chain.from_iterable(venv._seeds for venv in self.venvs.values()))
        return self._seeds

    def close(self) -> None:
        for venv in self.venvs.values():
            venv.close()

    def env_method(
        self, method_name: str, *arguments: Any, indices: VecEnvIndices = None, **keywords: Any
    ) -> list[Any]:
        return [
            venv.env_method(method_name, *arguments, indices=[place], **keywords)[0]
            for venv, place in self._places(indices)
        ]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [venv.get_attr(attr_name, [place])[0] for venv, place in self._places(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        for venv, place in self._places(indices):
            venv.set_attr(attr_name, value, [place])

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        return [venv.env_is_wrapped(wrapper_class, [place])[0] for venv, place in self._places(indices)]

    def _places(self, indices: VecEnvIndices) -> list[tuple[VecEnv, int]]:
        """The task's environments and the place among them of each that is asked for."""
        venvs = list(self.venvs.values())
        return [
            (venvs[self.task_of[index]], int(index - self.bounds[self.task_of[index]]))
            for index in self._get_indices(indices)
        ]

    def _joined(self, observations: Sequence[VecEnvObs]) -> dict[str, np.ndarray]:
        keys = [key for key in self.observation_space.spaces if key != "task"]  # type: ignore[attr-defined]
        joined = {key: np.concatenate([each[key] for each in observations]) for key in keys}
        return joined | {"task": self.task_of[:, None].astype(np.float32)}


def parts_of(venv: VecEnv) -> list[VecEnv]:
    """The environments of each task, with their own wrappers; `venv` itself where it is of one task."""
    bottom = venv.unwrapped
    return list(bottom.venvs.values()) if isinstance(bottom, MixedVecEnv) else [venv]
