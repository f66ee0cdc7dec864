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
    """Shifts all images of an episode by one offset of up to `pixels`, filling up with the edge.

    For on-policy algorithms. The shift happens when the image is seen, not in the update, which then compares
    the probabilities of one and the same observation (shifts in the update bias PPO's ratio, Raileanu et al.
    2021). From step to step it would look like motion and hide where things are.
    """

    def __init__(self, venv: VecEnv, pixels: int, rng: np.random.Generator) -> None:
        super().__init__(venv)
        self.pixels, self.rng = pixels, rng
        self.offsets = np.zeros((2, venv.num_envs), int)
        """Rows and columns by which the images of each environment are shifted now."""

    def reset(self) -> VecEnvObs:
        self.offsets = self._drawn(self.num_envs)
        return self._shift(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for index in np.flatnonzero(dones):
            last = infos[index]["terminal_observation"]
            (image,) = shifted(last["image"][None], self.offsets[:, [index]])
            infos[index]["terminal_observation"] = last | {"image": image}
        self.offsets[:, dones] = self._drawn(int(dones.sum()))
        return self._shift(observations), rewards, dones, infos

    def _drawn(self, count: int) -> np.ndarray:
        return self.rng.integers(-self.pixels, self.pixels + 1, (2, count))

    def _shift(self, observations: VecEnvObs) -> VecEnvObs:
        assert isinstance(observations, dict)
        return observations | {"image": shifted(observations["image"], self.offsets)}


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
        offsets = self.rng.integers(-self.pixels, self.pixels + 1, (2, len(images)))
        rows, columns = (
            torch.from_numpy(indices).to(images.device) for indices in shifted_indices(offsets, height, width)
        )
        each = torch.arange(len(images), device=images.device)[:, None, None]
        moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
        return observations | {"image": moved.permute(0, 3, 1, 2)}


def shifted(images: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B, H, W, C) -> the same shape, each image shifted by its own of the offsets (2, B)."""
    batch, height, width, _ = images.shape
    rows, columns = shifted_indices(offsets, height, width)
    return images[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def shifted_indices(offsets: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (B, H) and columns (B, W) to take, for offsets (2, B); beyond the edge, the edge."""
    rows, columns = offsets[:, :, None]
    return np.clip(np.arange(height) + rows, 0, height - 1), np.clip(np.arange(width) + columns, 0, width - 1)
