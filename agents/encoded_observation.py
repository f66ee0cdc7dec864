"""Frozen features for any Gymnasium environment, whatever library the agent comes from."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gqn_transfer.precision import choose_device

from .encoded_vec_env import Observations, encode_images, kept_spaces, replace_image
from .eyes import EncoderSource, freeze, shared


class EncodedObservation(gymnasium.ObservationWrapper[Observations, np.ndarray, Observations]):
    """Replaces `image` by `representation`, float32 (features_dim,); keeps the other keys.

    The same values as `EncodedVecEnv`, with `RecentViews` around it where `views` are several, one
    environment at a time.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], encoder: EncoderSource, device: str = "auto", views: int = 1
    ) -> None:
        """views: the representation is the mean of the codes of as many last observations, at an episode's
        start of its first one again and again."""
        super().__init__(env)
        if views < 1:
            raise ValueError(f"views={views}: expected at least 1")
        self._recent: deque[np.ndarray] = deque(maxlen=views)
        kept = kept_spaces(env.observation_space, self.__class__.__name__)
        self.encoder = freeze(shared(encoder)).to(choose_device(device))
        features = spaces.Box(-np.inf, np.inf, (self.encoder.features_dim,), np.float32)
        self.observation_space = spaces.Dict(kept | {"representation": features})  # type: ignore[assignment]

    def reset(self, **keywords: Any) -> tuple[Observations, dict[str, Any]]:
        self._recent.clear()
        return super().reset(**keywords)

    def observation(self, observation: Observations) -> Observations:
        image, viewpoint = observation["image"], observation["viewpoint"]
        (code,) = encode_images(self.encoder, image[None], viewpoint[None])
        self._recent.extend([code] * (1 if self._recent else self._recent.maxlen or 1))
        return replace_image(observation, np.stack(self._recent).mean(0))
