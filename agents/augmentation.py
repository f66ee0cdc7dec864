"""Random shift of the images an agent learns from (DrQ, Kostrikov et al. 2021)."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class RandomShiftVecEnv(VecEnvWrapper):
    """Shifts every image by up to `pixels` in each direction, filling up with the edge.

    The shift happens when the image is seen, not in the update: on-policy algorithms then compare the
    probabilities of one and the same observation (in-update shifts bias PPO's ratio, Raileanu et al. 2021).
    """

    def __init__(self, venv: VecEnv, pixels: int, rng: np.random.Generator) -> None:
        super().__init__(venv)
        self.pixels, self.rng = pixels, rng

    def reset(self) -> VecEnvObs:
        return self._shift(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._shift(observations), rewards, dones, infos

    def _shift(self, observations: VecEnvObs) -> VecEnvObs:
        assert isinstance(observations, dict)
        return observations | {"image": random_shift(observations["image"], self.pixels, self.rng)}


def random_shift(images: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """(B, H, W, C) -> the same shape, each image shifted by its own offset in [-pixels, pixels]²."""
    batch, height, width, _ = images.shape
    rows, columns = rng.integers(-pixels, pixels + 1, (2, batch, 1))
    take_rows = np.clip(np.arange(height) + rows, 0, height - 1)
    take_columns = np.clip(np.arange(width) + columns, 0, width - 1)
    return images[np.arange(batch)[:, None, None], take_rows[:, :, None], take_columns[:, None, :]]
