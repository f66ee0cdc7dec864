"""Images of many simulations, drawn by a few threads straight into one array."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import mujoco
import numpy as np

from .cameras import CameraPose
from .rendering import Renderer, close_renderers, renderer_for

Draw = Callable[[Renderer, "View", mujoco.MjData, np.ndarray], None]
"""Draws a view of the data into an array."""


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
        self._share_out(views, out, _image)
        return out

    def labels(self, views: Sequence[View], image_size: int) -> np.ndarray:
        """uint8 (N, H, W): what each pixel shows, indices of `rendering.LABELS`."""
        out = np.empty((len(views), image_size, image_size), np.uint8)
        self._share_out(views, out, _labels)
        return out

    def _share_out(self, views: Sequence[View], out: np.ndarray, draw: Draw) -> None:
        """Fill `out`, a part on each thread."""
        if self._threads is None:
            _render(views, out, self._data[0], draw)
            return
        bounds = np.linspace(0, len(views), self._workers + 1).astype(int)
        parts = [slice(low, high) for low, high in itertools.pairwise(bounds)]
        first, *others = zip(parts, self._data, strict=True)
        jobs = [self._threads.submit(_render, views[part], out[part], data, draw) for part, data in others]
        _render(views[first[0]], out[first[0]], first[1], draw)
        for job in jobs:
            job.result()

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


def _render(views: Sequence[View], out: np.ndarray, data: mujoco.MjData, draw: Draw) -> None:
    if not views:
        return
    renderer = renderer_for(views[0].look, out.shape[1])
    for view, place in zip(views, out, strict=True):
        data.qpos[:], data.mocap_pos[:] = view.qpos, view.mocap_pos
        mujoco.mj_kinematics(view.look, data)
        mujoco.mj_camlight(view.look, data)
        draw(renderer, view, data, place)


def _image(renderer: Renderer, view: View, data: mujoco.MjData, out: np.ndarray) -> None:
    renderer.image(view.look, data, view.pose, out=out)


def _labels(renderer: Renderer, view: View, data: mujoco.MjData, out: np.ndarray) -> None:
    out[...] = renderer.labels(view.look, data, view.pose)


def _leave(together: threading.Barrier) -> None:
    try:
        close_renderers()
    finally:
        together.wait()
