"""Shards as jobs: which are missing in a folder, and making them in parallel so that a stop loses none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gqn_transfer.files import read_json, write_json
from gqn_transfer.scenes import ScenesError, shard_path

from .processes import worker_pool

SHARD_SIZE = 250
"""Scenes per shard: the unit of work, of resuming and of random seeds."""


@dataclass(frozen=True)
class Job:
    """One shard to make."""

    split: str
    """"train" or "test": the folder it goes to."""
    index: int
    """Its number in that folder."""
    scenes: int
    """How many it holds: `SHARD_SIZE`, or fewer in the last shard."""

    @property
    def start(self) -> int:
        """Number of its first scene in the split."""
        return self.index * SHARD_SIZE


def claim(folder: Path, mine: dict[str, Any], name: str = "config.json") -> None:
    """Refuse a folder that holds scenes of another config; clear what an interruption left behind."""
    path = folder / name
    if path.exists() and (theirs := read_json(path)) != mine:
        different = {key: (theirs.get(key), mine[key]) for key in mine if theirs.get(key) != mine[key]}
        raise ScenesError(f"{folder} holds other scenes (theirs, yours): {different}; choose another --out")
    write_json(path, mine)
    for leftover in folder.glob("*/.shard-*.tmp"):
        writer = leftover.name.split(".")[-2]
        if not Path("/proc", writer).exists():
            shutil.rmtree(leftover)


def missing_shards(folder: Path, split: str, scenes: int) -> list[Job]:
    """The shards that `folder`/`split` still lacks of its `scenes`."""
    shards = range(-(-scenes // SHARD_SIZE))
    jobs = [Job(split, index, min(SHARD_SIZE, scenes - index * SHARD_SIZE)) for index in shards]
    return [job for job in jobs if not shard_path(folder / split, job.index).exists()]


def run_jobs(work: Mapping[Job, Callable[[], None]], workers: int | None) -> None:
    """Call each job's function in a pool of processes, with a progress bar; the first error ends it."""
    if not work:
        return
    with (
        worker_pool(workers, len(work)) as pool,
        tqdm(total=sum(job.scenes for job in work), unit="scene", desc="scenes", mininterval=1.0) as bar,
    ):
        futures = {pool.submit(function): job for job, function in work.items()}
        for future in as_completed(futures):
            future.result()
            bar.update(futures[future].scenes)
