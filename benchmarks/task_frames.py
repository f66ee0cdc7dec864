"""Frames that agents meet in the tasks, for the probes of an evaluation: drawn on all cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gqn_transfer.envs.rollouts import sample_rollouts
from gqn_transfer.envs.scenes import SceneArrays
from gqn_transfer.envs.state import SCENE_COLUMNS, THING_COLUMNS
from gqn_transfer.scenes import Batch, Scenes, ScenesError

from .processes import worker_pool

JUDGED, OWN = 500, 8_000
"""How many of each task: to judge probes by, and to fit probes of its own on."""


class TaskFrames(NamedTuple):
    """Views that agents meet in one task."""

    judged: Scenes
    own: Scenes
    """Other ones, to fit probes of the task's own on."""


def task_frames(tasks: Sequence[str], camera: str, like: Scenes, seed: int) -> dict[str, TaskFrames]:
    """Frames of the tasks by a camera, with the state's columns and the looks of `like`.

    ScenesError if `like` is not of this arm.
    """
    columns = like.meta["state_columns"]
    if tasks and tuple(columns) not in (SCENE_COLUMNS, (*SCENE_COLUMNS, *THING_COLUMNS)):
        raise ScenesError(f"{like.folder} is not of this arm: codes of it cannot be probed on {tasks[0]}")
    looks = (like.meta.get("recipe") or {}).get("randomize", "none")
    size = like.meta["image_size"]
    how = {"columns": len(columns), "camera": camera, "image_size": size, "randomize": looks}
    with worker_pool(None, 2 * len(tasks)) as pool:

        def drawn(task: str, count: int, *stream: int) -> Future[SceneArrays]:
            return pool.submit(_draw, task, count, [seed, *task.encode(), *stream], how)

        own = {task: drawn(task, OWN, 1) for task in tasks}
        judged = {task: drawn(task, JUDGED) for task in tasks}
        jobs = [*own.values(), *judged.values()]
        for _ in tqdm(as_completed(jobs), "frames of tasks", len(jobs), disable=not jobs):
            pass

    def scenes(task: str, frames: Future[SceneArrays]) -> Scenes:
        arrays = Batch(*frames.result())
        meta = like.meta | {"count": len(arrays.images), "views": 1}
        return Scenes(Path(f"frames of {task}"), meta, (arrays,))

    return {task: TaskFrames(scenes(task, judged[task]), scenes(task, own[task])) for task in tasks}


def _draw(task: str, count: int, stream: Sequence[int], how: Mapping[str, Any]) -> SceneArrays:
    return sample_rollouts(task, count, np.random.default_rng(stream), **how)
