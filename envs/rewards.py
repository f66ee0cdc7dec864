"""Reward terms: pure functions of distances and angles (…), each in [0, 1]."""

from __future__ import annotations

import numpy as np


def nearness(distance: np.ndarray, scale: float) -> np.ndarray:
    """1 at distance 0, falling as a wide-tailed 1 - tanh(distance / scale): a slope from everywhere."""
    return 1.0 - np.tanh(distance / scale)


def precision(distance: np.ndarray, scale: float) -> np.ndarray:
    """1 at distance 0, a Gaussian of width `scale`: pays for the last centimetres."""
    return np.exp(-np.square(distance / scale))  # `** 2` rounds scalars and arrays differently


def progress(value: np.ndarray, start: float, end: float | np.ndarray) -> np.ndarray:
    """0 up to `start`, 1 from `end`, straight between."""
    return np.clip((value - start) / (end - start), 0.0, 1.0)
