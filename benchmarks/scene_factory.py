"""Scenes by the thousand: shards rendered in parallel processes, each from its own seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gqn_transfer.envs import cameras, rendering
from gqn_transfer.envs.looks import RANDOMIZE
from gqn_transfer.envs.reference import reference_renders
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.scenes import SCENE_CAMERAS, sample_scenes, scene_columns
from gqn_transfer.files import read_json, write_json
from gqn_transfer.reference import write_reference
from gqn_transfer.scenes import Scenes, ScenesError, finish, write_shard

from .provenance import library_versions, sources_digest
from .shard_jobs import Job, claim, missing_shards, run_jobs

CODE = "code.json"
"""In a folder of scenes: the code that draws them."""
TEST_SPLIT_KEY = 1
"""Spawn key of the held-out split: its seeds never meet the training split's."""


@dataclass(frozen=True)
class ScenesConfig:
    """What to render. Equal configs give equal scenes on equal renderers."""

    scenes: int = 20_000
    """Training scenes."""
    test_scenes: int = 1_000
    """Held-out scenes, from seeds of their own."""
    views: int = 6
    """Cameras per scene."""
    image_size: int = 64
    """Pixels, square."""
    randomize: str = "none"
    """Looks: none, colors or full."""
    camera: str = "dome"
    """dome, held_out (the wedge no training camera sees) or fixed."""
    seed: int = 0
    """Of everything random in both splits."""
    tasks: tuple[str, ...] = ("Reach-v0",)
    """Each scene holds what some of them show; tasks that show the same count as one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))  # JSON has lists
        for task in self.tasks:
            find_task(task)  # refuses unknown ones
        for name, known in (("randomize", RANDOMIZE), ("camera", SCENE_CAMERAS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(known)}")
        if min(self.scenes, self.test_scenes, self.views, len(self.tasks)) < 1:
            raise ValueError(f"scenes, test_scenes, views and tasks must be at least 1, got {self}")

    @property
    def as_json(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return dataclasses.asdict(self) | {"tasks": list(self.tasks)}

    @property
    def how(self) -> tuple[Any, ...]:
        """What `sample_scenes` takes beside sizes and generator."""
        return self.image_size, self.randomize, self.camera, self.tasks


def make_scenes(config: ScenesConfig, folder: Path, workers: int | None = None) -> tuple[Scenes, Scenes]:
    """Render what is missing in `folder`/train and `folder`/test; return both splits, opened."""
    claim(folder, config.as_json)
    sizes = {"train": config.scenes, "test": config.test_scenes}
    jobs = [job for split, size in sizes.items() for job in missing_shards(folder, split, size)]
    _refuse_a_mixture(folder, jobs)
    run_jobs({job: partial(_render_shard, config, folder, job) for job in jobs}, workers)
    return _open_or_finish(folder / "train", config), _open_or_finish(folder / "test", config)


def _refuse_a_mixture(folder: Path, jobs: Sequence[Job]) -> None:
    """ScenesError if scenes are missing beside others that other code has drawn; finished folders stay."""
    path, code = folder / CODE, _drawn_by()
    begun = any(folder.glob("*/shard-*"))
    if jobs and begun and (not path.exists() or read_json(path) != code):
        raise ScenesError(
            f"{folder} was begun by other code of the environments, another MuJoCo or another renderer: "
            "delete it, or choose another --out"
        )
    if jobs and not begun:
        write_json(path, code)


def _drawn_by() -> dict[str, Any]:
    """What decides the pixels of scenes."""
    return {
        "sources": sources_digest(("gqn_transfer.envs",)),
        "mujoco": library_versions()["mujoco"],
        "renderer": rendering.describe_renderer(),
    }


def _render_shard(config: ScenesConfig, folder: Path, job: Job) -> None:
    key = (job.index,) if job.split == "train" else (TEST_SPLIT_KEY, job.index)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))
    write_shard(folder / job.split, job.index, sample_scenes(job.scenes, config.views, rng, *config.how))


def _open_or_finish(folder: Path, config: ScenesConfig) -> Scenes:
    if (folder / "meta.json").exists():
        return Scenes.open(folder)
    meta = {
        "recipe": config.as_json,
        "camera_convention": cameras.CONVENTION,
        "state_columns": list(scene_columns(config.tasks)),
        "labels": list(rendering.LABELS),
        "renderer": rendering.describe_renderer(),
        "versions": library_versions(),
    }
    write_reference(folder, reference_renders(config.image_size))
    return finish(folder, meta)
