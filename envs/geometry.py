"""Distances and angles of frames, over the last axis of arrays of any leading shape (…)."""

from __future__ import annotations

import numpy as np

UP = np.array([0.0, 0.0, 1.0])
"""The world's third axis; `-UP` is the direction of a hand that points at the floor."""


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…): Euclidean, of points (…, D)."""
    return np.sqrt(np.square(a - b).sum(-1))


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…) radians between vectors (…, 3) that are not zero."""
    cross = distance(np.cross(a, b), np.zeros(3))
    return np.arctan2(cross, (a * b).sum(-1))


def wrapped(angles: np.ndarray) -> np.ndarray:
    """The same angles, in [-pi, pi)."""
    return (angles + np.pi) % (2 * np.pi) - np.pi
