"""Reference renders: how a task looked when scenes were rendered, kept beside scenes and checkpoints.

An encoder sees what it was trained on or it sees nothing; a simulator or driver that draws otherwise must
not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .files import write_atomic

FILE = "reference.safetensors"
LEVELS = 2
"""Of 255: renderers may differ by so much and count as equal."""
TOLERATED_SHARE = 0.005
"""Share of pixels that may differ by more."""


class ReferenceRenderError(ValueError):
    """A file of reference renders that cannot be read."""


def write_reference(folder: Path, renders: Mapping[str, np.ndarray]) -> None:
    """Keep `renders`, task name -> uint8 (H, W, 3), in `folder`."""
    arrays = {name: np.ascontiguousarray(image) for name, image in renders.items()}
    write_atomic(folder / FILE, lambda path: save_file(arrays, path))


def read_reference(folder: Path) -> dict[str, np.ndarray]:
    """What `write_reference` kept in `folder`; empty where nothing was."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ReferenceRenderError(
            f"{path} is truncated ({error}): delete it, or copy it from the scenes"
        ) from error


def copy_reference(source: Path, folder: Path) -> None:
    """Take the renders of `source`, if it has any, along to `folder`."""
    if (source / FILE).exists():
        write_reference(folder, read_reference(source))


def differing_share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels of two images uint8 (H, W, 3) that differ beyond `LEVELS`; 1 for other sizes."""
    if one.shape != other.shape:
        return 1.0
    return float((np.abs(one.astype(int) - other) > LEVELS).any(-1).mean())


def difference_warning(folder: Path, task: str, now: np.ndarray) -> str | None:
    """What to say at the start of a run on `task`, which looks like `now`; None where all is well."""
    kept = read_reference(folder).get(task)
    if kept is None:
        return f"{folder} has no reference render of {task}: whether it looks as in training is unknown"
    share = differing_share(kept, now)
    if share <= TOLERATED_SHARE:
        return None
    return (
        f"the scene looks different from what this encoder was trained on: {share:.0%} of the pixels of "
        f"{task} differ ({folder / FILE}); use the versions and the renderer of its checkpoint.json, or "
        "train an encoder on scenes of today"
    )
