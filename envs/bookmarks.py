"""Bookmarks: how to come back to the middle of episodes, bit for bit, without the simulator's whole state.

Physics, cameras and looks all follow from the generator that an episode begins with and from its actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Bookmark(NamedTuple):
    """Where N environments are: how their episodes began, and what has been done in them since."""

    generators: list[dict[str, Any]]
    """State of each environment's generator when its episode began, plain values."""
    actions: np.ndarray
    """float64 (steps so far, N, A), as they were taken: clipped."""


class EpisodeLog:
    """What a bookmark needs, of environments whose episodes begin together."""

    def __init__(self, num_envs: int) -> None:
        self._generators: list[dict[str, Any]] = [{} for _ in range(num_envs)]
        self._actions: list[np.ndarray] = []

    def begin(self, index: int, rng: np.random.Generator) -> None:
        """An episode of environment `index` begins from the generator as it is now."""
        self._generators[index] = dict(rng.bit_generator.state)
        self._actions.clear()

    def add(self, actions: np.ndarray) -> None:
        """A step of all environments, (N, A)."""
        self._actions.append(actions)

    def bookmark(self, action_size: int) -> Bookmark:
        """Where the environments are."""
        actions = np.array(self._actions).reshape(-1, len(self._generators), action_size)
        return Bookmark(list(self._generators), actions)
