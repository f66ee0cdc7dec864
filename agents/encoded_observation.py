"""Frozen features for any Gymnasium environment, whatever library the agent comes from."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gqn_transfer.precision import choose_device

from .encoded_vec_env import Observations, encode_images, kept_spaces, recall_steps, replace_image
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
        if views < 1:
            raise ValueError(f"views={views}: expected at least 1")
        kept = kept_spaces(env.observation_space, self.__class__.__name__)
        self.encoder = freeze(shared(encoder)).to(choose_device(device))
        history = 1
        if self.encoder.remembers:
            below, history = self.encoder.below
            env = EncodedObservation(env, below, device)
        super().__init__(env)
        self._steps: deque[np.ndarray] = deque(maxlen=history)
        self._recent: deque[np.ndarray] = deque(maxlen=views)
        features = spaces.Box(-np.inf, np.inf, (self.encoder.features_dim,), np.float32)
        self.observation_space = spaces.Dict(kept | {"representation": features})  # type: ignore[assignment]

    def reset(self, **keywords: Any) -> tuple[Observations, dict[str, Any]]:
        self._recent.clear()
        self._steps.clear()
        return super().reset(**keywords)

    def observation(self, observation: Observations) -> Observations:
        _append(self._recent, self._code(observation))
        return replace_image(observation, np.stack(self._recent).mean(0))

    def _code(self, observation: Observations) -> np.ndarray:
        if self.encoder.remembers:
            _append(self._steps, observation["representation"])
            return recall_steps(self.encoder, np.stack(self._steps)[None])[0]
        return encode_images(self.encoder, observation["image"][None], observation["viewpoint"][None])[0]


def _append(recent: deque[np.ndarray], code: np.ndarray) -> None:
    """An episode's first code fills what comes before it, too."""
    recent.extend([code] * (1 if recent else recent.maxlen or 1))
