"""Columns of the simulator's state: of what a scene does not hold they are zero, and say nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

THINGS = ("target", "object")
"""What a scene may lack; its place is in `<name>_x`, `_y` and `_z`, all else in other columns `<name>_*`."""


def witnesses(columns: Sequence[str]) -> np.ndarray:
    """int64 (S,): for each column the one that is zero where what it tells of is missing; -1: it never is."""
    index = {name: k for k, name in enumerate(columns)}
    found = [index.get(f"{name.split('_')[0]}_x", -1) if name.startswith(THINGS) else -1 for name in columns]
    return np.array(found, np.int64)


def held(state: np.ndarray, columns: Sequence[str]) -> np.ndarray:
    """bool (N, S): where states (N, S) tell of something that their scene holds."""
    known = witnesses(columns)
    return (known < 0) | (state[:, known] != 0)


class Standardised:
    """Columns (N, S) with mean 0 and deviation 1 over what is known of them, and the way back."""

    def __init__(self, state: np.ndarray, known: np.ndarray | None = None) -> None:
        """known: bool (N, S), everything by default; a column of which nothing is known stays as it is."""
        known = np.ones(state.shape, bool) if known is None else known
        some = known.any(0)
        self.mean = state.mean(0, dtype=np.float64, where=known | ~some)
        self.std = np.maximum(state.std(0, dtype=np.float64, where=known | ~some), 1e-6)
        self.values = torch.from_numpy(((state - self.mean) / self.std).astype(np.float32))

    def undo(self, values: Tensor) -> np.ndarray:
        """(N, S) in the state's own units."""
        return values.numpy() * self.std + self.mean
