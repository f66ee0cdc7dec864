"""Checkpoints: `weights.safetensors` and `checkpoint.json` in one folder. Nothing is ever unpickled.

A later save into the same folder takes the other of two names for its weights, so that the record there
always has the weights it describes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .files import read_json, write_atomic, write_json

FORMAT_VERSION = 2
CAMERA_CONVENTION = "xyz-cosyaw-sinyaw-cospitch-sinpitch/z-up/metres"
"""The viewpoint convention every checkpoint is trained in; `envs.cameras` states it in full."""
WEIGHTS, OTHER_WEIGHTS, RECORD = "weights.safetensors", "weights-2.safetensors", "checkpoint.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file, what was expected and the cure."""


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write weights, then the record that names them: a folder with a record is whole at every moment."""
    weights = OTHER_WEIGHTS if _weights_file(folder) == WEIGHTS else WEIGHTS
    contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    write_tensors(folder / weights, contiguous)
    facts = {
        "format_version": FORMAT_VERSION,
        "camera_convention": CAMERA_CONVENTION,
        "fingerprint": fingerprint(contiguous),
        "weights": weights,
    }
    write_json(folder / RECORD, record | facts)
    for name in {WEIGHTS, OTHER_WEIGHTS} - {weights}:
        (folder / name).unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Atomically write contiguous tensors; OSError where the system refuses, a full disk among it."""
    try:
        write_atomic(path, lambda temporary: save_file(tensors, temporary))
    except SafetensorError as error:  # its own type, whatever the system said
        raise OSError(f"{path}: {error}") from error


def read_tensors(path: Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a file, which must have the fingerprint `expected`."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(_broken(path, error)) from error
    if fingerprint(tensors) != expected:
        raise CheckpointError(
            f"{path} is not what the record beside it describes (another fingerprint): restore the pair"
        )
    return tensors


def read_record(folder: Path) -> dict[str, Any]:
    """The JSON record of a checkpoint of this format and camera convention."""
    path = folder / RECORD
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is no checkpoint: it has no {RECORD}; train one with `gqn-bench pretrain`"
        )
    try:
        record = read_json(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    for key, expected in (("format_version", FORMAT_VERSION), ("camera_convention", CAMERA_CONVENTION)):
        if record.get(key) != expected:
            raise CheckpointError(
                f"{path}: {key} is {record.get(key)!r}, this program reads {expected!r}; "
                "train the encoder again with this version, or use the version that wrote it"
            )
    return record


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, checked against the fingerprint in its record."""
    record = read_record(folder)
    return read_tensors(folder / record.get("weights", WEIGHTS), record["fingerprint"])


def tensor_names(folder: Path) -> list[str]:
    """Names of the tensors of a checkpoint, without reading their values."""
    path = folder / str(read_record(folder).get("weights", WEIGHTS))
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(_broken(path, error)) from error


def _broken(path: Path, error: Exception) -> str:
    return f"{path} is missing or truncated ({error}): restore it or train again"


def _weights_file(folder: Path) -> str | None:
    """Name of the weights that the record in `folder` describes, None without a usable record."""
    try:
        return str(read_record(folder).get("weights", WEIGHTS))
    except CheckpointError:
        return None


def load_into(module: torch.nn.Module, tensors: dict[str, Tensor], source: str | os.PathLike[str]) -> None:
    """Load a state dict whose every name and shape must match."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not fit the network its record describes: {error}") from error


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """16 hex digits of the names, shapes and values of `tensors`."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
