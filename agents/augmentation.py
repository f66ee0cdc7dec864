"""Random shift of the images an agent learns from (DrQ, Kostrikov et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor


class RandomShiftVecEnv(VecEnvWrapper):
    """Shifts every image by up to `pixels` in each direction, filling up with the edge.

    For on-policy algorithms: the shift happens when the image is seen, not in the update, which then
    compares the probabilities of one and the same observation (in-update shifts bias PPO's ratio, Raileanu
    et al. 2021).
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


class RandomShiftReplayBuffer(DictReplayBuffer):
    """Shifts the images of every sample anew, those of its next observation by another offset.

    For off-policy algorithms, as in DrQ: an image that is drawn often is never the same.
    """

    def __init__(self, *arguments: Any, pixels: int, rng: np.random.Generator, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.pixels, self.rng = pixels, rng

    def _get_samples(  # type: ignore[override]  # as DictReplayBuffer itself does
        self, batch_inds: np.ndarray, env: Any = None
    ) -> DictReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        return samples._replace(
            observations=self._shift(samples.observations),
            next_observations=self._shift(samples.next_observations),
        )

    def _shift(self, observations: dict[str, Tensor]) -> dict[str, Tensor]:
        images = observations["image"]  # channels first, since SB3 has transposed them
        height, width = images.shape[2:]
        rows, columns = (
            torch.from_numpy(indices).to(images.device)
            for indices in shifted_indices(len(images), height, width, self.pixels, self.rng)
        )
        each = torch.arange(len(images), device=images.device)[:, None, None]
        moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
        return observations | {"image": moved.permute(0, 3, 1, 2)}


def random_shift(images: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """(B, H, W, C) -> the same shape, each image shifted by its own offset in [-pixels, pixels]²."""
    batch, height, width, _ = images.shape
    rows, columns = shifted_indices(batch, height, width, pixels, rng)
    return images[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def shifted_indices(
    batch: int, height: int, width: int, pixels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (B, H) and columns (B, W) to take, one offset an image; beyond the edge, the edge."""
    rows, columns = rng.integers(-pixels, pixels + 1, (2, batch, 1))
    return np.clip(np.arange(height) + rows, 0, height - 1), np.clip(np.arange(width) + columns, 0, width - 1)
