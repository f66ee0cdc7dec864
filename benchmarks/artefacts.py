"""Encoders as recipes: which scenes, which pretraining. Built once per suite, before its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from gqn_transfer.encoder import find_checkpoint, is_function
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.envs.rendering import renderer_line
from gqn_transfer.files import read_json
from gqn_transfer.presets import PRESETS
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes

from .encoder_report import report_encoder
from .provenance import command_line, git_revision, library_versions, machine, sources_digest
from .scene_factory import ScenesConfig, make_scenes


@dataclass(frozen=True)
class Recipe:
    """An encoder that a suite makes for itself."""

    scenes: str
    """Key of `SCENES`."""
    preset: str
    """Key of `gqn_transfer.presets.PRESETS`."""


SCENES: Mapping[str, ScenesConfig] = MappingProxyType(
    {
        "smoke": ScenesConfig(scenes=64, test_scenes=32, views=4),
        "reach-20k": ScenesConfig(),
        "all-200k": ScenesConfig(scenes=200_000, views=5, randomize="full", tasks=tuple(TASKS)),
    }
)
"""Name -> what to render."""

ENCODERS: Mapping[str, Recipe] = MappingProxyType(
    {
        "smoke-gqn": Recipe("smoke", "tiny"),
        "reach-gqn": Recipe("reach-20k", "cpu-30min"),
        "reach-random": Recipe("reach-20k", "random"),
        "reach-ae": Recipe("reach-20k", "autoencoder"),
        "reach-supervised": Recipe("reach-20k", "regressor-20min"),
        "jaco-256": Recipe("all-200k", "cpu-2h"),
        "jaco-256-ae": Recipe("all-200k", "autoencoder-2h"),
        "jaco-256-random": Recipe("all-200k", "random"),
    }
)
"""Name in `Cell.encoder` -> recipe. Anything else there is a shipped name or a checkpoint's path."""


class Unfinished(RuntimeError):
    """A stage was stopped before its end; the same command goes on from there."""


def check(encoder: str) -> None:
    """CheckpointError if it is no recipe, no function, and there is none of that name or path."""
    if encoder not in ENCODERS and not is_function(encoder):
        find_checkpoint(encoder)


def scenes_for(encoder: str, folder: Path) -> tuple[Scenes, Scenes] | None:
    """The training and held-out scenes of a recipe, rendered in `folder`/scenes on all cores if need be.

    None for an encoder that exists already: a shipped name or a checkpoint's path.
    """
    if encoder not in ENCODERS:
        return None
    scenes = ENCODERS[encoder].scenes
    return make_scenes(SCENES[scenes], folder / "scenes" / scenes)


def ready(encoder: str, folder: Path, threads: int, seconds: float | None = None) -> Path | str:
    """The checkpoint of `encoder`; a recipe is trained on `threads` cores in `folder`/encoders first.

    The name of a function that makes an encoder stays what it is. `Unfinished` if `seconds` were too few.
    """
    scenes = scenes_for(encoder, folder)
    if scenes is None:
        return encoder if is_function(encoder) else find_checkpoint(encoder)
    torch.set_num_threads(threads)
    place = folder / "encoders" / encoder
    result = pretrain(
        PRESETS[ENCODERS[encoder].preset], *scenes, place, max_seconds=seconds, provenance=provenance()
    )
    if not result.finished:
        raise Unfinished(
            f"pretraining of {encoder} stopped at step {result.step}: run the same command again"
        )
    if not (place / "probes.csv").exists():
        report_encoder(result.encoder, *scenes, place)
    return result.encoder


def pretraining_frames(checkpoint: Path | str) -> int:
    """Frames rendered for the checkpoint's training, 0 for an untrained one and for a function's."""
    if not isinstance(checkpoint, Path):
        return 0
    record = read_json(checkpoint / "checkpoint.json")
    return int(record["frames"]) if record["steps"] else 0


def provenance() -> dict[str, Any]:
    """Command, revision, versions and machine of this process."""
    return {
        "command": command_line(),
        "versions": library_versions() | {"revision": git_revision(), "sources": sources_digest()},
        "machine": machine() | {"renderer": renderer_line()},
    }
