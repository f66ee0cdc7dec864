"""Reward terms: pure functions of distances and angles, each in [0, 1]."""

from __future__ import annotations

import numpy as np


def nearness(distance: float, scale: float) -> float:
    """1 at distance 0, falling as a wide-tailed 1 - tanh(distance / scale): a slope from everywhere."""
    return float(1.0 - np.tanh(distance / scale))


def precision(distance: float, scale: float) -> float:
    """1 at distance 0, a Gaussian of width `scale`: pays for the last centimetres."""
    return float(np.exp(-((distance / scale) ** 2)))
