"""Frozen features once per environment step, for all environments in one batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from gqn_transfer.encoder import Encoder, load_encoder
from gqn_transfer.precision import choose_device

Observations = dict[str, np.ndarray]


class EncodedVecEnv(VecEnvWrapper):
    """Replaces `image` by `representation`, float32 (features_dim,); keeps the other keys.

    The representation is the encoder's code, standardised over the pretraining frames: the same values
    that `GQNExtractor(mode="frozen")` feeds to its head. `terminal_observation`s are encoded in the same
    batch. The encoder is never trained here; a fine-tuned one must not be cached.
    """

    def __init__(self, venv: VecEnv, encoder: Encoder | str | Path, device: str = "auto") -> None:
        space = venv.observation_space
        if not isinstance(space, spaces.Dict) or not {"image", "viewpoint"} <= set(space.spaces):
            raise ValueError(
                f"EncodedVecEnv needs observations with `image` and `viewpoint`, got {space}; "
                'make the environment with obs="pixels"'
            )
        self.encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        self.encoder.to(choose_device(device)).eval()
        features = spaces.Box(-np.inf, np.inf, (self.encoder.features_dim,), np.float32)
        kept = {key: value for key, value in space.spaces.items() if key != "image"}
        super().__init__(venv, spaces.Dict(kept | {"representation": features}))

    def reset(self) -> VecEnvObs:
        return self._encode(self.venv.reset(), [])

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._encode(observations, infos), rewards, dones, infos

    def _encode(self, observations: VecEnvObs, infos: list[dict[str, Any]]) -> Observations:
        """Encode current and terminal images together; terminal observations are replaced in `infos`."""
        assert isinstance(observations, dict)
        ended = [info for info in infos if "terminal_observation" in info]
        every = [observations] + [
            {k: v[None] for k, v in info["terminal_observation"].items()} for info in ended
        ]
        images = np.concatenate([rows["image"] for rows in every])
        viewpoints = np.concatenate([rows["viewpoint"] for rows in every])
        codes = encode_images(self.encoder, images, viewpoints)
        for info, code in zip(ended, codes[self.num_envs :], strict=True):
            info["terminal_observation"] = _replace_image(info["terminal_observation"], code)
        return _replace_image(observations, codes[: self.num_envs])


@torch.no_grad()
def encode_images(encoder: Encoder, images: np.ndarray, viewpoints: np.ndarray) -> np.ndarray:
    """Standardised features float32 (B, features_dim) of uint8 (B, H, W, 3) or (B, 3, H, W), and (B, 7)."""
    device = encoder.feature_mean.device
    pixels = torch.from_numpy(images).to(device)
    if pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    codes = encoder(pixels, torch.from_numpy(viewpoints).to(device))
    return encoder.standardise(codes).cpu().numpy()


def _replace_image(observation: Observations, representation: np.ndarray) -> Observations:
    kept = {key: value for key, value in observation.items() if key != "image"}
    return kept | {"representation": representation}
