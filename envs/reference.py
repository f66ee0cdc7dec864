"""Reference renders: the first image of every task, by which a change of looks is noticed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .arm import ArmEnv
from .registry import TASKS

REFERENCE_SEED = 0


def reference_render(task: str, image_size: int = 64) -> np.ndarray:
    """uint8 (H, W, 3): the start of `task`'s first episode from the fixed camera, in its plain look."""
    observation, _ = ArmEnv(task, image_size=image_size).reset(seed=REFERENCE_SEED)
    return observation["image"]


def reference_renders(image_size: int = 64, tasks: Iterable[str] = tuple(TASKS)) -> dict[str, np.ndarray]:
    """Task name -> its reference render."""
    return {task: reference_render(task, image_size) for task in tasks}
