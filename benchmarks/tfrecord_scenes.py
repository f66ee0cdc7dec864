"""DeepMind's data sets as scenes of our own: the first views of the first records, in shards."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gqn_transfer.envs import cameras
from gqn_transfer.files import read_json
from gqn_transfer.gqn_datasets import CAMERA_NOTE, SOURCE, dataset_named, read_scene
from gqn_transfer.scenes import UNLABELLED, Scenes, ScenesError, finish, write_shard
from gqn_transfer.tfrecords import read_records, record_offsets

from .provenance import library_versions
from .shard_jobs import Job, claim, missing_shards, run_jobs

FILES = "files.json"
"""In the folder of the scenes: which files they come from, so that later shards come from the same."""


@dataclass(frozen=True)
class ConversionConfig:
    """What to take of a data set. Equal configs give equal scenes from equal files."""

    dataset: str
    """A key of `gqn_transfer.gqn_datasets.DATASETS`."""
    scenes: int = 20_000
    """Training scenes at most: the first ones."""
    test_scenes: int = 1_000
    """Held-out scenes at most, of the data set's own test split."""
    views: int = 6
    """Views kept of each scene: the first ones."""
    image_size: int = 64
    """Pixels, square; other images are resized."""

    def __post_init__(self) -> None:
        views = dataset_named(self.dataset).views
        if not 1 <= self.views <= views:
            raise ValueError(f"views={self.views}: a scene of {self.dataset} has 1 to {views} of them")
        if min(self.scenes, self.test_scenes, self.image_size) < 1:
            raise ValueError(f"scenes, test_scenes and image_size must be at least 1, got {self}")

    @property
    def limits(self) -> dict[str, int]:
        """Scenes of each split, at most."""
        return {"train": self.scenes, "test": self.test_scenes}


class Source(NamedTuple):
    """A file of records."""

    path: Path
    offsets: np.ndarray
    """int64 (N,): where its records begin."""


@dataclass(frozen=True)
class Piece:
    """Consecutive records of one file."""

    path: Path
    offset: int
    """Byte at which the first begins."""
    number: int
    """Its number in the file, from 1."""
    count: int


def convert_scenes(
    source: Path, config: ConversionConfig, out: Path, workers: int | None = None
) -> tuple[Scenes, Scenes]:
    """Convert what is missing in `out`/train and `out`/test; return both splits, opened."""
    if _is_finished(out):
        claim(out, _recipe(config))
    else:
        _convert(source, config, out, workers)
    return Scenes.open(out / "train"), Scenes.open(out / "test")


def _convert(source: Path, config: ConversionConfig, out: Path, workers: int | None) -> None:
    splits = {split: index_split(source / split, config, split) for split in config.limits}
    facts = {split: _facts(files, config.limits[split]) for split, files in splits.items()}
    claim(out, _recipe(config))  # not before: a mistake in the source must not claim a folder
    claim(out, facts, FILES)
    convert = partial(_convert_shard, config, out)
    jobs = [job for split in splits for job in missing_shards(out, split, facts[split]["scenes"])]
    run_jobs({job: partial(convert, job, _pieces(splits[job.split], job)) for job in jobs}, workers)
    for split, files in splits.items():
        finish(out / split, _meta(config, files))


def _recipe(config: ConversionConfig) -> dict[str, Any]:
    return {"source": SOURCE} | dataclasses.asdict(config)


def _is_finished(out: Path) -> bool:
    """Whether the files are needed no more."""
    if not (out / FILES).exists():
        return False
    return all(
        (out / split / "meta.json").exists() and not missing_shards(out, split, facts["scenes"])
        for split, facts in read_json(out / FILES).items()
    )


def index_split(folder: Path, config: ConversionConfig, split: str) -> list[Source]:
    """The files of a split that hold its first scenes, as many as are wanted, every record found."""
    sources, wanted = [], config.limits[split]
    with tqdm(desc=f"counting the records of {split}", unit="file", leave=False) as bar:
        for path in _files(folder, config.dataset, split):
            sources.append(Source(path, record_offsets(path)))
            bar.update()
            wanted -= len(sources[-1].offsets)
            if wanted <= 0:
                break
    return sources


def _files(folder: Path, name: str, split: str) -> list[Path]:
    """The split's files in order; those of another data set or split are refused by their names."""
    dataset, found = dataset_named(name), sorted(folder.glob("*.tfrecord"))
    last = dataset.files[split]
    known = {dataset.file_name(split, number) for number in range(1, last + 1)}
    ends = f"{dataset.file_name(split, 1)} to {dataset.file_name(split, last)}"
    expected = f"files of {name}/{split} are named {ends}"
    if not found:
        state = "holds no .tfrecord file" if folder.is_dir() else "does not exist"
        raise ScenesError(f"{folder} {state}: {expected}; download some, or name the folder above")
    strange = [path for path in found if path.name not in known]
    if strange:
        raise ScenesError(f"{strange[0]}: {expected}; name the dataset that this is of, or move it away")
    return found


def _facts(files: Sequence[Source], limit: int) -> dict[str, Any]:
    """What must not change between a conversion and its resumption."""
    lines = [f"{file.path.name} {file.path.stat().st_size} {len(file.offsets)}" for file in files]
    return {
        "scenes": min(limit, sum(len(file.offsets) for file in files)),
        "files": len(files),
        "fingerprint": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
    }


def _pieces(files: Sequence[Source], job: Job) -> list[Piece]:
    """Where the records of a shard lie."""
    pieces, start = [], job.start
    for path, offsets in files:
        low, high = max(start, 0), min(start + job.scenes, len(offsets))
        if low < high:
            pieces.append(Piece(path, int(offsets[low]), low + 1, high - low))
        start -= len(offsets)
    return pieces


def _convert_shard(config: ConversionConfig, out: Path, job: Job, pieces: Sequence[Piece]) -> None:
    size = (job.scenes, config.views, config.image_size, config.image_size)
    images, viewpoints = np.empty((*size, 3), np.uint8), np.empty((*size[:2], 7), np.float32)
    records = (
        record
        for piece in pieces
        for record in islice(read_records(piece.path, piece.offset, piece.number), piece.count)
    )
    for row, record in zip(range(job.scenes), records, strict=True):
        images[row], viewpoints[row] = read_scene(record, config.dataset, config.views, config.image_size)
    labels, state = np.zeros(size, np.uint8), np.empty((job.scenes, 0), np.float32)
    write_shard(out / job.split, job.index, (images, viewpoints, labels, state))


def _meta(config: ConversionConfig, files: Sequence[Source]) -> dict[str, Any]:
    return {
        "recipe": _recipe(config),
        "files": {file.path.name: len(file.offsets) for file in files},
        "camera_convention": cameras.CONVENTION,
        "camera_note": CAMERA_NOTE,
        "field_of_view": None,
        "state_columns": [],
        "labels": UNLABELLED,
        "renderer": f"unknown, that of {SOURCE}",
        "versions": library_versions(),
    }
