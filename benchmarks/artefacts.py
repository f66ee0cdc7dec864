"""Encoders as recipes: which scenes, which pretraining. Built once per suite, before its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch

from gqn_transfer.encoder import available_encoders, find_checkpoint, is_function, is_untrained
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.files import read_json
from gqn_transfer.presets import PRESETS, SIZES
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes

from .claims import claimed
from .encoder_report import report_encoder
from .provenance import provenance
from .scene_factory import ScenesConfig, make_scenes
from .source_config import SEED, SourceConfig
from .source_stage import train_source
from .stages import seed_apart, stage_named


@dataclass(frozen=True)
class Recipe:
    """An encoder that a suite makes for itself."""

    scenes: str
    """Key of `SCENES`."""
    preset: str
    """Key of `gqn_transfer.presets.PRESETS`."""
    seed: int = 0
    """Of first weights and batches."""


@dataclass(frozen=True)
class SourceRecipe:
    """An encoder that tasks have trained on, or a tier on top of one: made once for all who name it."""

    scenes: str
    """Key of `SCENES`: on which rendering goes on, and its codes are standardised."""
    stage: SourceConfig
    """Starts from an encoder of `ENCODERS`, or from one that ships."""


SCENES: Mapping[str, ScenesConfig] = MappingProxyType(
    {
        "smoke": ScenesConfig(scenes=64, test_scenes=32, views=4),
        "reach-20k": ScenesConfig(),
        "reach-point-20k": ScenesConfig(tasks=("Reach-v0", "Point-v0")),
        "core-200k": ScenesConfig(scenes=200_000, views=5, tasks=("Reach-v0", "Grasp-v0", "Pose-v0")),
        "core-20k": ScenesConfig(tasks=("Reach-v0", "Grasp-v0", "Pose-v0")),
        "all-200k": ScenesConfig(scenes=200_000, views=5, randomize="full", tasks=tuple(TASKS)),
    }
)
"""Name -> what to render."""

ENCODERS: Mapping[str, Recipe | SourceRecipe] = MappingProxyType(
    {
        "smoke-gqn": Recipe("smoke", "tiny"),
        "reach-gqn": Recipe("reach-20k", "cpu-30min"),
        "reach-random": Recipe("reach-20k", "random"),
        "reach-ae": Recipe("reach-20k", "autoencoder"),
        "reach-supervised": Recipe("reach-20k", "regressor-20min"),
        "jaco-256": Recipe("all-200k", "cpu-2h-things"),
        "jaco-256-ae": Recipe("all-200k", "autoencoder-2h-things"),
        "jaco-256-random": Recipe("all-200k", "random"),
        "jaco-core": Recipe("core-200k", "cpu-2h-things"),
        "jaco-core-ae": Recipe("core-200k", "autoencoder-2h-things"),
        **{f"jaco-core-r{size}": Recipe("core-200k", f"gpu-15min-r{size}") for size in SIZES},
        **{f"reach-point-r{size}": Recipe("reach-point-20k", f"cpu-20min-r{size}") for size in SIZES},
    }
)
"""Name in `Cell.encoder` -> recipe, see `recipe_of`."""


START = "start-"
"""Before the name of what stages begin with: the folder of what is known of it on their scenes."""


class Unfinished(RuntimeError):
    """A stage was stopped before its end; the same command goes on from there."""


def recipe_of(encoder: str) -> Recipe | SourceRecipe | None:
    """How a suite makes the encoder of that name: one of `ENCODERS`, with "-seedN" behind it from seed N, or
    a source stage. None for what exists: one that ships, a checkpoint's path, a function's name."""
    if encoder in available_encoders():
        return None
    if (stage := stage_named(encoder)) is not None:
        return SourceRecipe("core-20k", stage)
    pattern, seed = seed_apart(encoder)
    recipe = ENCODERS.get(encoder) or ENCODERS.get(pattern.removesuffix(SEED))
    return replace(recipe, seed=seed) if isinstance(recipe, Recipe) else recipe


def check(encoder: str) -> None:
    """CheckpointError if it is no recipe, no function, and there is none of that name or path, or if what its
    recipe starts from is not there."""
    first = lineage(encoder)[0]
    if recipe_of(first) is None and not is_function(first):
        find_checkpoint(first)


def existing(encoder: str) -> Path | str | None:
    """A checkpoint's folder, or the name of a function that makes an encoder; None for a recipe."""
    return _found(encoder) if recipe_of(encoder) is None else None


def _found(encoder: str) -> Path | str:
    return encoder if is_function(encoder) else find_checkpoint(encoder)


def made_in(folder: Path) -> set[str]:
    """Names of the encoders that a suite has finished in `folder`."""
    return {path.parents[1].name for path in (folder / "encoders").glob("*/encoder/checkpoint.json")}


def lineage(encoder: str) -> tuple[str, ...]:
    """The encoder, and before it what it starts from."""
    recipe = recipe_of(encoder)
    before = lineage(recipe.stage.encoder) if isinstance(recipe, SourceRecipe) else ()
    return (*before, encoder)


def scenes_for(encoder: str, folder: Path) -> tuple[Scenes, Scenes] | None:
    """The training and held-out scenes of a recipe, rendered in `folder`/scenes on all cores if need be.

    None for an encoder that exists already: a shipped name or a checkpoint's path.
    """
    recipe = recipe_of(encoder)
    return None if recipe is None else make_scenes(SCENES[recipe.scenes], folder / "scenes" / recipe.scenes)


def ready(encoder: str, folder: Path, threads: int, seconds: float | None = None) -> Path | str:
    """The checkpoint of `encoder`; a recipe is trained on `threads` cores in `folder`/encoders first.

    The name of a function that makes an encoder stays what it is. `Unfinished` if `seconds` were too few.
    """
    recipe, scenes, place = recipe_of(encoder), scenes_for(encoder, folder), folder / "encoders" / encoder
    if recipe is None or scenes is None:
        return _found(encoder)
    if isinstance(recipe, SourceRecipe):
        start = Path(ready(recipe.stage.encoder, folder, threads, seconds))
        if not isinstance(recipe_of(recipe.stage.encoder), SourceRecipe):
            with claimed(there := place.with_name(START + Path(recipe.stage.encoder).name)) as ours:
                if ours:  # else another stage of the same start is at it
                    _looked_at(start, scenes, there)
        made = _trained_by_tasks(recipe.stage, start, place, scenes[0], seconds)
        return _looked_at(made, scenes, place)
    torch.set_num_threads(threads)
    preset = replace(PRESETS[recipe.preset], seed=recipe.seed)
    result = pretrain(preset, *scenes, place, max_seconds=seconds, provenance=provenance())
    if not result.finished:
        raise Unfinished(
            f"pretraining of {encoder} stopped at step {result.step}: run the same command again"
        )
    return _looked_at(result.encoder, scenes, place)


def _looked_at(encoder: Path, scenes: tuple[Scenes, Scenes], place: Path) -> Path:
    """The encoder, once its probes and pictures lie in `place`."""
    if not (place / "probes.csv").exists():
        report_encoder(encoder, *scenes, place)
    return encoder


def _trained_by_tasks(
    stage: SourceConfig, start: Path, place: Path, scenes: Scenes, seconds: float | None
) -> Path:
    limit = math.inf if seconds is None else seconds
    made = train_source(stage, start, place, scenes, provenance(), limit)
    if made is None:
        raise Unfinished(f"the source stage {stage.name} was stopped: run the same command again")
    return made


def pretraining_frames(checkpoint: Path | str) -> int:
    """Frames rendered for the checkpoint's training, 0 for an untrained one and for a function's."""
    if not isinstance(checkpoint, Path):
        return 0
    record = read_json(checkpoint / "checkpoint.json")
    return 0 if is_untrained(record) else int(record["frames"])
