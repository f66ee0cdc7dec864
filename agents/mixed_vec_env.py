"""Environments of several tasks as one vector environment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

MOST_TASKS = 256
"""Numbers of tasks lie below it: the space of observations stays the same when one is added."""
SEED_DISTANCE = 10_000
"""Between the seeds of two tasks' first environments."""


class Numbered(VecEnvWrapper):
    """Adds the task's number to each observation: `task`, (1,)."""

    def __init__(self, venv: VecEnv, number: int) -> None:
        assert isinstance(venv.observation_space, spaces.Dict)
        task = spaces.Box(0.0, MOST_TASKS - 1, (1,), np.float32)
        super().__init__(venv, spaces.Dict({**venv.observation_space.spaces, "task": task}))
        self.number = number

    def reset(self) -> VecEnvObs:
        return self._numbered(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for index in np.flatnonzero(dones):
            infos[index]["terminal_observation"] |= {"task": np.array([self.number], np.float32)}
        return self._numbered(observations), rewards, dones, infos

    def _numbered(self, observations: VecEnvObs) -> dict[str, np.ndarray]:
        assert isinstance(observations, dict)
        return observations | {"task": np.full((self.num_envs, 1), self.number, np.float32)}


class MixedVecEnv(VecEnv):
    """The environments of the first task come first, then those of the second, and so on, each `Numbered`."""

    def __init__(self, venvs: Mapping[str, VecEnv], first: int = 0) -> None:
        """venvs: task -> its environments; all must have the same spaces. first: number of the first task,
        where the agent has heads of tasks that are not among them."""
        self.first = first
        self.venvs = {
            name: Numbered(venv, number) for number, (name, venv) in enumerate(venvs.items(), first)
        }
        pattern = next(iter(self.venvs.values()))
        if len({venv.num_envs for venv in venvs.values()}) > 1:
            counts = ", ".join(f"{venv.num_envs} of {name}" for name, venv in venvs.items())
            raise ValueError(f"{counts}: make as many environments of every task, for each has the same say")
        spaces_of_all = (pattern.observation_space, pattern.action_space)
        for name, venv in self.venvs.items():
            if (venv.observation_space, venv.action_space) != spaces_of_all:
                raise ValueError(
                    f"task {name!r} has spaces {venv.observation_space}, {venv.action_space}, the first one "
                    f"{pattern.observation_space}, {pattern.action_space}: make all with the same arguments"
                )
        sizes = [venv.num_envs for venv in self.venvs.values()]
        self.bounds = list(itertools.accumulate(sizes, initial=0))
        self.task_of = np.repeat(np.arange(len(sizes)), sizes)
        """int (num_envs,): the task of each environment, counted from 0 whatever their numbers."""
        super().__init__(sum(sizes), pattern.observation_space, pattern.action_space)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.venvs)

    def columns(self, task: int) -> slice:
        """The environments of a task."""
        return slice(self.bounds[task], self.bounds[task + 1])

    def reset(self) -> VecEnvObs:
        return self._joined([venv.reset() for venv in self.venvs.values()])

    def step_async(self, actions: np.ndarray) -> None:
        for number, venv in enumerate(self.venvs.values()):
            venv.step_async(actions[self.columns(number)])

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = zip(*(v.step_wait() for v in self.venvs.values()), strict=True)
        every = list(itertools.chain.from_iterable(infos))
        return self._joined(observations), np.concatenate(rewards), np.concatenate(dones), every

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Tasks' environments count on from seeds far apart."""
        each = [
            venv.seed(None if seed is None else seed + SEED_DISTANCE * number)
            for number, venv in enumerate(self.venvs.values())
        ]
        return list(itertools.chain.from_iterable(each))

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
        keys = self.observation_space.spaces  # type: ignore[attr-defined]
        return {key: np.concatenate([each[key] for each in observations]) for key in keys}


def parts_of(venv: VecEnv) -> list[VecEnv]:
    """The environments of each task, with their own wrappers; `venv` itself where it is of one task."""
    bottom = venv.unwrapped
    return list(bottom.venvs.values()) if isinstance(bottom, MixedVecEnv) else [venv]
