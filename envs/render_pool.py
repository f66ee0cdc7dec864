"""Images of many simulations, drawn by a few threads straight into one array."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import mujoco
import numpy as np

from .cameras import CameraPose
from .rendering import close_renderers, renderer_for


class View(NamedTuple):
    """What is needed to draw one image."""

    look: mujoco.MjModel
    """The model with the colours, lights and textures to draw."""
    qpos: np.ndarray
    mocap_pos: np.ndarray
    pose: CameraPose


class RenderPool:
    """Draws on `workers` threads, each with a GL context of its own. The first is the calling thread."""

    def __init__(self, model: mujoco.MjModel, workers: int = 1) -> None:
        self._workers = workers
        self._data = [mujoco.MjData(model) for _ in range(workers)]
        self._threads = ThreadPoolExecutor(workers - 1, "render") if workers > 1 else None

    def images(self, views: Sequence[View], image_size: int) -> np.ndarray:
        """uint8 (N, H, W, 3): one image per view."""
        out = np.empty((len(views), image_size, image_size, 3), np.uint8)
        if self._threads is None:
            _draw(views, out, self._data[0])
            return out
        bounds = np.linspace(0, len(views), self._workers + 1).astype(int)
        parts = [slice(low, high) for low, high in itertools.pairwise(bounds)]
        first, *others = zip(parts, self._data, strict=True)
        jobs = [self._threads.submit(_draw, views[part], out[part], data) for part, data in others]
        _draw(views[first[0]], out[first[0]], first[1])
        for job in jobs:
            job.result()
        return out

    def close(self) -> None:
        """End the threads; each gives its GL contexts back first."""
        if self._threads is None:
            return
        together = threading.Barrier(self._workers - 1)  # so that every thread takes one job
        jobs = [self._threads.submit(_leave, together) for _ in range(self._workers - 1)]
        for job in jobs:
            job.result()
        self._threads.shutdown()
        self._threads = None


def _draw(views: Sequence[View], out: np.ndarray, data: mujoco.MjData) -> None:
    if not views:
        return
    renderer = renderer_for(views[0].look, out.shape[1])
    for view, image in zip(views, out, strict=True):
        data.qpos[:], data.mocap_pos[:] = view.qpos, view.mocap_pos
        mujoco.mj_kinematics(view.look, data)
        mujoco.mj_camlight(view.look, data)
        renderer.image(view.look, data, view.pose, out=image)


def _leave(together: threading.Barrier) -> None:
    try:
        close_renderers()
    finally:
        together.wait()
