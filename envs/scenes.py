"""Random scenes for pretraining: task-agnostic configurations seen by several cameras at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from .cameras import DOME, FIXED_CAMERA, CameraPose
from .errors import check_choice
from .looks import RANDOMIZE, randomize_look, write_look
from .placing import Placer
from .registry import find_task
from .rendering import renderer_for
from .state import SCENE_COLUMNS, THING_COLUMNS, scene_state

SCENE_CAMERAS = ("dome", "held_out", "fixed")
"""Training part of the dome; its held-out wedge; the tasks' one fixed camera."""


PLAIN_SHARE = 0.15
"""Of scenes with random looks and textures that have the plain ones, as most tasks do: by chance none has."""


class SceneArrays(NamedTuple):
    """N scenes of M views each."""

    images: np.ndarray
    """uint8 (N, M, H, W, 3)."""
    viewpoints: np.ndarray
    """float32 (N, M, 7), see `cameras`."""
    labels: np.ndarray
    """uint8 (N, M, H, W): see `rendering.LABELS`."""
    state: np.ndarray
    """float32 (N, S): `scene_columns` of its tasks."""


def sample_scenes(
    scenes: int,
    views: int,
    rng: np.random.Generator,
    image_size: int = 64,
    randomize: str = "none",
    camera: str = "dome",
    tasks: Sequence[str] = ("Reach-v0",),
) -> SceneArrays:
    """Draw and render `scenes` scenes from `views` cameras each. Same generator state, same scenes.

    tasks: each scene holds what some of them show. Tasks that show the same (Reach, Point, Track) count as
    one, so that no kind of thing is rarer than another.
    """
    check_choice("camera", camera, SCENE_CAMERAS)
    check_choice("randomize", randomize, RANDOMIZE)
    stages = _stages(tasks)
    arrays = empty_scenes(scenes, views, image_size, len(_columns(stages)))
    for images, viewpoints, labels, state in zip(*arrays, strict=True):
        stage = stages[rng.integers(len(stages))] if len(stages) > 1 else stages[0]
        model, data = stage.model, stage.data
        stage.place(rng)
        _dress(stage, rng, randomize)
        mujoco.mj_camlight(model, data)  # the lights of this look, not of the last one
        state[:] = scene_state(stage.reader.read(data), model, len(state))
        renderer = renderer_for(model, image_size)
        for view in range(views):
            pose = sample_camera(camera, rng)
            renderer.image(model, data, pose, out=images[view])
            labels[view] = renderer.labels(model, data, pose)
            viewpoints[view] = pose.viewpoint
    return arrays


def scene_columns(tasks: Sequence[str] = ("Reach-v0",)) -> tuple[str, ...]:
    """Columns of the state of scenes of these tasks."""
    return _columns(_stages(tasks))


def _columns(stages: Sequence[Placer]) -> tuple[str, ...]:
    return (*SCENE_COLUMNS, *THING_COLUMNS) if any(stage.has_object for stage in stages) else SCENE_COLUMNS


def _stages(tasks: Sequence[str]) -> list[Placer]:
    """One a scene file, in the order of the tasks. ValueError for unknown ones."""
    if not tasks:
        raise ValueError("tasks: expected at least one")
    return [Placer(file) for file in dict.fromkeys(find_task(task).scene for task in tasks)]


def _dress(stage: Placer, rng: np.random.Generator, randomize: str) -> None:
    """Draw the scene's looks; of random ones some are plain."""
    if randomize == "full" and rng.random() < PLAIN_SHARE:
        write_look(stage.model, stage.plain)
    else:
        randomize_look(stage.model, rng, randomize)


def empty_scenes(scenes: int, views: int, image_size: int, columns: int = len(SCENE_COLUMNS)) -> SceneArrays:
    """Uninitialised arrays of the right shapes."""
    pixels = (scenes, views, image_size, image_size)
    return SceneArrays(
        np.empty((*pixels, 3), np.uint8),
        np.empty((scenes, views, 7), np.float32),
        np.empty(pixels, np.uint8),
        np.empty((scenes, columns), np.float32),
    )


def sample_camera(camera: str, rng: np.random.Generator) -> CameraPose:
    """One camera of a kind in `SCENE_CAMERAS`."""
    return FIXED_CAMERA if camera == "fixed" else DOME.sample(rng, held_out=camera == "held_out")
