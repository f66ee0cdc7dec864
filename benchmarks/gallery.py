"""Pictures of the tasks: a scripted expert at work, as people see it and as an agent does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.experts import EXPERTS
from gqn_transfer.envs.registry import TASKS, find_task
from gqn_transfer.envs.task import CONTROL_HZ
from gqn_transfer.files import write_atomic, write_bytes

from .animation import save_animation
from .drawings import figure_png
from .figures import Figure
from .sheets import overview_figure, task_figure

MOST_SEEDS = 20
"""Seeds that are tried: experts fail in one episode of twenty at most."""
STEPS_AFTER = 2 * CONTROL_HZ
"""Steps that are shown from the first one that is a success on."""


class Moment(NamedTuple):
    """One step of an episode, seen three times; pictures are uint8 (H, W, 3)."""

    picture: np.ndarray
    """What people see from the fixed camera, 480×480."""
    fixed: np.ndarray
    """What an agent sees from the fixed camera, 64×64."""
    moving: np.ndarray
    """What an agent sees from the moving camera, 64×64."""
    success: bool


class Clip(NamedTuple):
    """An episode that ends in success, from its start to a little after it is one."""

    task: str
    moments: list[Moment]
    success_at: int
    """Index of the first moment of success that lasts to the episode's end."""

    @property
    def what_for(self) -> str:
        """The first line of the task's documentation."""
        return (inspect.getdoc(type(find_task(self.task))) or "").splitlines()[0]


def write_gallery(folder: Path, tasks: Sequence[str] = (), seed: int = 0) -> None:
    """Write TASK.png and TASK.gif of each task (all of `TASKS` by default) and gallery.png of them all."""
    for task in tasks:
        find_task(task)  # before anything is played
    overview = []
    for task in tqdm(tasks or tuple(TASKS), desc="tasks", unit="task"):
        clip = successful_clip(task, seed)
        frames = [(moment.picture, moment.fixed) for moment in clip.moments]
        write_atomic(folder / f"{task}.gif", functools.partial(save_animation, frames))
        write_png(folder / f"{task}.png", task_figure(task, clip.what_for, *moments_of(clip)))
        overview.append((task, clip.what_for, clip.moments[-1].picture, clip.moments[-1].fixed))
    write_png(folder / "gallery.png", overview_figure(overview))


def successful_clip(task: str, seed: int = 0) -> Clip:
    """The expert's first episode, of `seed` or the seeds after it, that ends in success."""
    for candidate in range(seed, seed + MOST_SEEDS):
        moments = play(task, candidate)
        if moments[-1].success:
            first = 1 + max(step for step, moment in enumerate(moments) if not moment.success)
            return Clip(task, moments[: first + STEPS_AFTER + 1], first)
    raise RuntimeError(f"the expert of {task} fails with every seed from {seed} to {seed + MOST_SEEDS - 1}")


def play(task: str, seed: int) -> list[Moment]:
    """The expert's whole episode. Two environments play it alike, since each has one camera."""
    env, other = ArmEnv(task, render_mode="rgb_array", camera="fixed"), ArmEnv(task, camera="moving")
    seen, info = env.reset(seed=seed)
    seen_moving, _ = other.reset(seed=seed)
    moments = [Moment(_picture(env), seen["image"], seen_moving["image"], info["success"])]
    truncated = False
    while not truncated:
        action = EXPERTS[task](env)
        seen, _, _, truncated, info = env.step(action)
        seen_moving = other.step(action)[0]
        moments.append(Moment(_picture(env), seen["image"], seen_moving["image"], info["success"]))
    return moments


def moments_of(clip: Clip) -> tuple[list[str], dict[str, list[np.ndarray]]]:
    """Names of three moments, the last one of success, and each seen three times: row's name -> pictures."""
    steps = {"start": 0, "middle": clip.success_at // 2, "success": -1}
    shown = [clip.moments[step] for step in steps.values()]
    rows = {
        "for people": [moment.picture for moment in shown],
        "an agent's view\nfixed camera, 64×64": [moment.fixed for moment in shown],
        "an agent's view\nmoving camera, 64×64": [moment.moving for moment in shown],
    }
    return list(steps), rows


def write_png(path: Path, figure: Figure) -> None:
    """Atomically write a figure."""
    content = figure_png(figure)
    write_bytes(path, content)


def _picture(env: ArmEnv) -> np.ndarray:
    picture = env.render()
    assert picture is not None
    return picture
