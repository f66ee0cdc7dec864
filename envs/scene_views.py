"""Other views of the states that episodes are in: of now, or of a moment that was kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import mujoco
import numpy as np

from .cameras import DOME
from .looks import LOOK_FIELDS, read_look, write_look
from .render_pool import RenderPool, View

Moment = Mapping[str, np.ndarray]
"""All that N states show, by name, each (N, …): positions, and looks where these change."""


class SceneViews(NamedTuple):
    """N states, each seen by M cameras."""

    images: np.ndarray
    """uint8 (N, M, H, W, 3)."""
    viewpoints: np.ndarray
    """float32 (N, M, 7), see `cameras`."""
    labels: np.ndarray
    """uint8 (N, M, H, W): see `rendering.LABELS`."""


def moment_of(fields: Any, looks: Sequence[mujoco.MjModel], look_changes: bool) -> dict[str, np.ndarray]:
    """Copies of what the states in `fields` show, with their `looks` if these change."""
    shown = {"qpos": fields.qpos.copy(), "mocap_pos": fields.mocap_pos.copy()}
    if look_changes:
        read = [read_look(look) for look in looks]
        shown |= {field: np.stack([each[field] for each in read]) for field in LOOK_FIELDS}
    return shown


def scene_views(
    moment: Moment,
    looks: Sequence[mujoco.MjModel],
    pool: RenderPool,
    count: int,
    image_size: int,
    rng: np.random.Generator,
) -> SceneViews:
    """Each state of the moment, seen by `count` training cameras drawn from `rng`. Same generator state, same
    views."""
    states = len(moment["qpos"])
    rows = [row for row in range(states) for _ in range(count)]
    poses = [DOME.sample(rng) for _ in rows]
    with _dressed(looks, moment):
        views = [
            View(looks[row], moment["qpos"][row], moment["mocap_pos"][row], pose)
            for row, pose in zip(rows, poses, strict=True)
        ]
        images, labels = pool.images(views, image_size), pool.labels(views, image_size)
    found = images, np.stack([pose.viewpoint for pose in poses]), labels
    return SceneViews(*(values.reshape(states, count, *values.shape[1:]) for values in found))


@contextmanager
def _dressed(looks: Sequence[mujoco.MjModel], moment: Moment) -> Iterator[None]:
    """Give `looks` those of the moment meanwhile, if it has any."""
    if LOOK_FIELDS[0] not in moment:
        yield
        return
    own = [read_look(look) for look in looks]
    try:
        for row, look in enumerate(looks):
            write_look(look, {field: moment[field][row] for field in LOOK_FIELDS})
        yield
    finally:
        for look, before in zip(looks, own, strict=True):
            write_look(look, before)
