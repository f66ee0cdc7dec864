"""`as_sb3`: any Gymnasium vector environment as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn


def as_sb3(vector_env: VectorEnv) -> VecEnv:
    """`vector_env` for Stable-Baselines3. ValueError unless it resets ended episodes in the same step."""
    return _VectorAsVecEnv(vector_env)


class _VectorAsVecEnv(VecEnv):
    """Batched arrays stay as they are; infos become one dictionary per environment."""

    def __init__(self, vector_env: VectorEnv) -> None:
        mode = vector_env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"{vector_env} has autoreset mode {mode}, Stable-Baselines3 needs {AutoresetMode.SAME_STEP}: "
                "pass autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP where it is made"
            )
        self.vector_env = vector_env
        self._actions: np.ndarray | None = None
        super().__init__(
            vector_env.num_envs, vector_env.single_observation_space, vector_env.single_action_space
        )

    def reset(self) -> VecEnvObs:
        seeds: Any = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, infos = self.vector_env.reset(seed=seeds)
        self.reset_infos = _one_each(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observation, rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        each = _one_each(infos, self.num_envs)
        ended = terminated | truncated
        for index in np.flatnonzero(ended):
            final = each[index]
            each[index] = final.pop("final_info") | {
                "terminal_observation": final.pop("final_obs"),
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
            }
            self.reset_infos[index] = final
        return observation, rewards, ended, each

    def close(self) -> None:
        self.vector_env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        return self.vector_env.render() or [None] * self.num_envs  # type: ignore[return-value]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.vector_env, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        setattr(self.vector_env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **keywords: Any
    ) -> list[Any]:
        return [getattr(self.vector_env, method_name)(*args, **keywords)] * len(self._chosen(indices))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))


def _one_each(infos: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Gymnasium's batched infos with their masks `_key` as one dictionary for each environment."""
    each: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, values in infos.items():
        if key.startswith("_"):
            continue
        rows = _one_each(values, count) if isinstance(values, dict) else _plain(values)
        for index in np.flatnonzero(infos.get(f"_{key}", np.ones(count, bool))):
            each[index][key] = rows[index]
    return each


def _plain(values: Any) -> Any:
    """One-dimensional arrays as Python numbers, which loggers and JSON like."""
    return values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
