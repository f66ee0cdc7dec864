"""Frozen features once per environment step, for all environments in one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from gqn_transfer.encoder import Encoder
from gqn_transfer.precision import autocast, choose_device

from .eyes import EncoderSource, encode_views, freeze, shared
from .views import RecentCodes

Observations = dict[str, np.ndarray]


class EncodedVecEnv(VecEnvWrapper):
    """Replaces `image` by `representation`, (features_dim,); keeps the other keys.

    The representation is the encoder's code, standardised over the pretraining frames: the same values
    that `GQNExtractor(mode="frozen")` feeds to its trunk. `terminal_observation`s are encoded in the same
    batch. The encoder is frozen by this; one that is being trained is refused. A tier that reads several
    steps is given those of the running episode.
    """

    def __init__(
        self,
        venv: VecEnv,
        encoder: EncoderSource,
        device: str = "auto",
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        """dtype: of the features; float16 stores them in half the memory of a rollout or replay buffer."""
        kept = kept_spaces(venv.observation_space, self.__class__.__name__)
        self.encoder = freeze(shared(encoder)).to(choose_device(device))
        self.dtype = dtype
        if self.encoder.remembers:
            below, history = self.encoder.below
            venv = RecentCodes(EncodedVecEnv(venv, below, device), history)
        features = spaces.Box(-np.inf, np.inf, (self.encoder.features_dim,), dtype)
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
        codes = self._codes({key: np.concatenate([rows[key] for rows in every]) for key in every[0]})
        for info, code in zip(ended, codes[self.num_envs :], strict=True):
            info["terminal_observation"] = replace_image(info["terminal_observation"], code)
        return replace_image(observations, codes[: self.num_envs])

    def _codes(self, rows: Observations) -> np.ndarray:
        if self.encoder.remembers:
            return recall_steps(self.encoder, rows["representation"]).astype(self.dtype)
        return encode_images(self.encoder, rows["image"], rows["viewpoint"]).astype(self.dtype)


@torch.no_grad()
def encode_images(encoder: Encoder, images: np.ndarray, viewpoints: np.ndarray) -> np.ndarray:
    """Standardised features float32 (B, features_dim) of M views: uint8 (B, H, W, 3 M) or (B, 3 M, H, W), and
    viewpoints (B, 7 M). Encoded in bf16 where the hardware has it."""
    device = encoder.feature_mean.device
    pixels = torch.from_numpy(images).to(device)
    if pixels.shape[-1] != encoder.image_size:
        pixels = pixels.permute(0, 3, 1, 2)  # channels were last
    with autocast(device):
        codes = encode_views(encoder, pixels, torch.from_numpy(viewpoints).to(device))
    return codes.float().cpu().numpy()


@torch.no_grad()
def recall_steps(encoder: Encoder, codes: np.ndarray) -> np.ndarray:
    """Standardised features float32 (B, features_dim) of a tier, from the codes (B, history, C) below it."""
    steps = torch.from_numpy(codes).to(encoder.feature_mean.device)
    return encoder.recall(steps).cpu().numpy()


def kept_spaces(space: spaces.Space[Any], wrapper: str) -> dict[str, spaces.Space[Any]]:
    """All of `space` but the image; ValueError if `wrapper` cannot encode it."""
    if not isinstance(space, spaces.Dict) or not {"image", "viewpoint"} <= set(space.spaces):
        raise ValueError(
            f"{wrapper} needs observations with `image` and `viewpoint`, got {space}; "
            'make the environment with obs="pixels"'
        )
    return {key: value for key, value in space.spaces.items() if key != "image"}


def replace_image(observation: Observations, representation: np.ndarray) -> Observations:
    """The observation with `representation` instead of `image`."""
    kept = {key: value for key, value in observation.items() if key != "image"}
    return kept | {"representation": representation}
