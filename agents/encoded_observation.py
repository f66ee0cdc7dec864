"""Frozen features for any Gymnasium environment, whatever library the agent comes from."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gqn_transfer.precision import choose_device

from .encoded_vec_env import Observations, encode_images, kept_spaces, replace_image
from .eyes import EncoderSource, freeze, shared


class EncodedObservation(gymnasium.ObservationWrapper[Observations, np.ndarray, Observations]):
    """Replaces `image` by `representation`, float32 (features_dim,); keeps the other keys.

    The same values as `EncodedVecEnv`, one environment at a time.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], encoder: EncoderSource, device: str = "auto") -> None:
        super().__init__(env)
        kept = kept_spaces(env.observation_space, self.__class__.__name__)
        self.encoder = freeze(shared(encoder)).to(choose_device(device))
        features = spaces.Box(-np.inf, np.inf, (self.encoder.features_dim,), np.float32)
        self.observation_space = spaces.Dict(kept | {"representation": features})  # type: ignore[assignment]

    def observation(self, observation: Observations) -> Observations:
        image, viewpoint = observation["image"], observation["viewpoint"]
        (code,) = encode_images(self.encoder, image[None], viewpoint[None])
        return replace_image(observation, code)
