"""Scenes on disk: shards of memory-mapped .npy arrays and one `meta.json`.

A folder holds `shard-00000/{images,viewpoints,labels,state}.npy`, ... A shard appears whole or not at
all (it is written under another name and renamed); `meta.json` appears when the last shard has.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import read_json, write_json
from .limits import usable_memory

SCHEMA_VERSION = 1
FIELDS = {"images": np.uint8, "viewpoints": np.float32, "labels": np.uint8, "state": np.float32}
"""Arrays of a shard and their types: see `Batch` for the shapes."""
UNLABELLED = ["unlabelled"]
"""`meta["labels"]` where nobody has told pixels apart: all labels are 0."""


class ScenesError(ValueError):
    """A scenes folder that cannot be used; the message names the file and the cure."""


class Batch(NamedTuple):
    """B scenes of M views each."""

    images: np.ndarray
    """uint8 (B, M, H, W, 3)."""
    viewpoints: np.ndarray
    """float32 (B, M, 7)."""
    labels: np.ndarray
    """uint8 (B, M, H, W): 0 background, 1 arm, 2 target or object, 3 shadow, 4 fingers."""
    state: np.ndarray
    """float32 (B, S): columns as in `meta["state_columns"]`."""


@dataclass(frozen=True)
class Scenes:
    """A readable folder of scenes; nothing is loaded until it is asked for."""

    folder: Path
    meta: dict[str, Any]
    """`schema_version`, `count`, `views`, `image_size`, `state_columns`, `camera_convention`,
    `image_mean`, `image_std`, the recipe and the versions it was rendered with."""
    shards: tuple[Batch, ...]
    """Memory-mapped, in order."""

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Scenes:
        """Open a finished folder; `ScenesError` if it is unfinished, truncated or of another schema."""
        folder = Path(folder)
        meta = _read_meta(folder)
        shards = tuple(_open_shard(path, meta) for path in sorted(folder.glob("shard-*")))
        count = sum(len(shard.images) for shard in shards)
        if count != meta["count"]:
            raise ScenesError(
                f"{folder}: {count} scenes in its shards but {meta['count']} in meta.json: run the "
                "command that made them again, which makes what is missing"
            )
        return cls(folder, meta, shards)

    def __len__(self) -> int:
        return int(self.meta["count"])

    def gather(self, indices: np.ndarray) -> Batch:
        """Copy the scenes at `indices` (B,) into memory."""
        starts = np.cumsum([0] + [len(shard.images) for shard in self.shards])
        shard_of = np.searchsorted(starts, indices, side="right") - 1
        rows = [
            self._row(shard, index - starts[shard]) for shard, index in zip(shard_of, indices, strict=True)
        ]
        return Batch(*(np.stack(field) for field in zip(*rows, strict=True)))

    def _row(self, shard: int, index: int) -> Sequence[np.ndarray]:
        return [field[index] for field in self.shards[shard]]

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for shard in self.shards for array in shard)

    def in_memory(self, processes: int = 1) -> Scenes:
        """The same scenes, read once in order and kept (random reads from a disk are slow), if they fit.

        processes: how many do so on this machine, each with a copy of its own.
        """
        if processes * self.nbytes > usable_memory() / 2:
            return self
        return Scenes(self.folder, self.meta, tuple(Batch(*map(np.array, shard)) for shard in self.shards))

    @property
    def digest(self) -> str:
        """16 hex digits of the first shard's cameras and states, or of scenes without states of some images.

        Where there are states it says nothing of pixels, by which renderers may differ.
        """
        first = self.shards[0]
        shown = first.state if first.state.size else first.images[:8]
        return hashlib.sha256(first.viewpoints.tobytes() + shown.tobytes()).hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these scenes from others, in words that JSON has."""
        return {"recipe": self.meta["recipe"], "digest": self.digest}

    def all_state(self) -> np.ndarray:
        """float32 (N, S): the state of every scene."""
        return np.concatenate([shard.state for shard in self.shards])

    def all_viewpoints(self, view: int) -> np.ndarray:
        """float32 (N, 7): the camera of that view of every scene."""
        return np.concatenate([shard.viewpoints[:, view] for shard in self.shards])


REBUILD = "delete that shard's folder and run the command that made the scenes again; the others are kept"


def shard_path(folder: Path, index: int) -> Path:
    """Where shard `index` lies."""
    return folder / f"shard-{index:05d}"


def write_shard(folder: Path, index: int, batch: Sequence[np.ndarray]) -> None:
    """Write one shard; an interruption leaves no folder that `Scenes.open` would read."""
    path = shard_path(folder, index)
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for (name, dtype), array in zip(FIELDS.items(), batch, strict=True):
            with open(temporary / f"{name}.npy", "wb") as file:
                np.save(file, array.astype(dtype, copy=False), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(folder: Path, meta: dict[str, Any]) -> Scenes:
    """Write `meta.json` for the shards that lie in `folder` and open the result."""
    first = np.load(shard_path(folder, 0) / "images.npy", mmap_mode="r", allow_pickle=False)
    shards = sorted(folder.glob("shard-*"))
    count = sum(len(np.load(path / "state.npy", mmap_mode="r", allow_pickle=False)) for path in shards)
    pixels = np.asarray(first[: min(len(first), 200)], np.float64) / 255
    facts = {
        "schema_version": SCHEMA_VERSION,
        "count": count,
        "views": int(first.shape[1]),
        "image_size": int(first.shape[2]),
        "image_mean": pixels.mean(axis=(0, 1, 2, 3)).round(5).tolist(),
        "image_std": pixels.std(axis=(0, 1, 2, 3)).round(5).tolist(),
    }
    write_json(folder / "meta.json", meta | facts)
    return Scenes.open(folder)


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / "meta.json"
    if not path.exists():
        state = "is unfinished (no meta.json)" if folder.is_dir() else "does not exist"
        raise ScenesError(
            f"{folder} {state}: make it with `gqn-bench scenes --out {folder.parent}`, or go on with the "
            "command that began it"
        )
    try:
        meta = read_json(path)
    except ValueError as error:
        raise ScenesError(str(error)) from error
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise ScenesError(
            f"{path}: schema version {meta.get('schema_version')!r}, this program reads {SCHEMA_VERSION}: "
            "render the scenes again with this version"
        )
    return meta


def _open_shard(path: Path, meta: dict[str, Any]) -> Batch:
    arrays, shapes = [], _row_shapes(meta)
    for name, dtype in FIELDS.items():
        file = path / f"{name}.npy"
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ScenesError(f"{file} is missing or truncated ({error}): {REBUILD}") from error
        if array.dtype != dtype:
            raise ScenesError(f"{file}: dtype {array.dtype}, expected {np.dtype(dtype)}: {REBUILD}")
        if array.ndim == 0 or array.shape[1:] != shapes[name]:
            expected = ", ".join(map(str, shapes[name]))
            raise ScenesError(f"{file}: shape {array.shape}, expected (N, {expected}): {REBUILD}")
        arrays.append(array)
    batch = Batch(*arrays)
    if len({len(array) for array in batch}) != 1:
        raise ScenesError(f"{path}: its arrays hold different numbers of scenes: {REBUILD}")
    return batch


def _row_shapes(meta: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of one scene in each array."""
    pixels = (meta["views"], meta["image_size"], meta["image_size"])
    return {
        "images": (*pixels, 3),
        "viewpoints": (meta["views"], 7),
        "labels": pixels,
        "state": (len(meta["state_columns"]),),
    }
