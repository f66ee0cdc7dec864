"""Scenes by the thousand: shards rendered in parallel processes, each from its own seed."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gqn_transfer.envs import cameras, rendering, state
from gqn_transfer.envs.looks import RANDOMIZE
from gqn_transfer.envs.reference import reference_renders
from gqn_transfer.envs.scenes import SCENE_CAMERAS, sample_scenes
from gqn_transfer.files import read_json, write_json
from gqn_transfer.reference import write_reference
from gqn_transfer.scenes import Scenes, ScenesError, finish, shard_path, write_shard

from .processes import worker_pool
from .provenance import library_versions

SHARD_SIZE = 250
"""Scenes per shard: the unit of work, of resuming and of random seeds."""
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

    def __post_init__(self) -> None:
        for name, known in (("randomize", RANDOMIZE), ("camera", SCENE_CAMERAS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(known)}")
        if min(self.scenes, self.test_scenes, self.views) < 1:
            raise ValueError(f"scenes, test_scenes and views must be at least 1, got {self}")


def make_scenes(config: ScenesConfig, folder: Path, workers: int | None = None) -> tuple[Scenes, Scenes]:
    """Render what is missing in `folder`/train and `folder`/test; return both splits, opened."""
    _claim(folder, config)
    sizes = {"train": config.scenes, "test": config.test_scenes}
    todo = [job for split, size in sizes.items() for job in _missing_shards(folder, split, size)]
    _render(config, folder, todo, workers)
    return _open_or_finish(folder / "train", config), _open_or_finish(folder / "test", config)


def _claim(folder: Path, config: ScenesConfig) -> None:
    """Refuse a folder that holds scenes of another config; clear what an interruption left behind."""
    path = folder / "config.json"
    mine = dataclasses.asdict(config)
    if path.exists() and (theirs := read_json(path)) != mine:
        different = {key: (theirs.get(key), mine[key]) for key in mine if theirs.get(key) != mine[key]}
        raise ScenesError(f"{folder} holds other scenes (theirs, yours): {different}; choose another --out")
    write_json(path, mine)
    for leftover in folder.glob("*/.shard-*.tmp"):
        writer = leftover.name.split(".")[-2]
        if not Path("/proc", writer).exists():
            shutil.rmtree(leftover)


Job = tuple[str, int, int]
"""Split, shard index, scenes in it."""


def _missing_shards(folder: Path, split: str, scenes: int) -> list[Job]:
    shards = range(-(-scenes // SHARD_SIZE))
    jobs = [(split, index, min(SHARD_SIZE, scenes - index * SHARD_SIZE)) for index in shards]
    return [job for job in jobs if not shard_path(folder / split, job[1]).exists()]


def _render(config: ScenesConfig, folder: Path, jobs: list[Job], workers: int | None) -> None:
    if not jobs:
        return
    with (
        worker_pool(workers, len(jobs)) as pool,
        tqdm(total=sum(job[2] for job in jobs), unit="scene", desc="scenes", mininterval=1.0) as bar,
    ):
        futures = {pool.submit(_render_shard, config, folder, *job): job for job in jobs}
        for future in as_completed(futures):
            future.result()
            bar.update(futures[future][2])


def _render_shard(config: ScenesConfig, folder: Path, split: str, index: int, scenes: int) -> None:
    key = (index,) if split == "train" else (TEST_SPLIT_KEY, index)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))
    arrays = sample_scenes(scenes, config.views, rng, config.image_size, config.randomize, config.camera)
    write_shard(folder / split, index, arrays)


def _open_or_finish(folder: Path, config: ScenesConfig) -> Scenes:
    if (folder / "meta.json").exists():
        return Scenes.open(folder)
    meta = {
        "recipe": dataclasses.asdict(config),
        "camera_convention": cameras.CONVENTION,
        "state_columns": list(state.SCENE_COLUMNS),
        "labels": list(rendering.LABELS),
        "renderer": rendering.describe_renderer(),
        "versions": library_versions(),
    }
    write_reference(folder, reference_renders(config.image_size))
    return finish(folder, meta)
