"""What the size of a code is worth and costs: a new task on encoders that differ in nothing else."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gqn_transfer.model import GQN
from gqn_transfer.presets import PRESETS

from .artefacts import Recipe, SourceRecipe, lineage, recipe_of
from .encoder_records import EncoderRecord, mean_of
from .groups import Group, Panel
from .statistics import estimate, interquartile_mean
from .texts import Row, estimate_text, number_text, steps_text

FEWEST = 3
"""Sizes from which on they are compared: two may stand beside each other for another reason."""


@dataclass(frozen=True)
class Sized:
    """A group by the size of the code that it stands on."""

    size: int
    """Numbers of the code r."""
    sources: int
    """Tasks that have trained on it."""
    all_else: tuple[object, ...]
    """What its encoder and its agent are beside: equal where sizes are compared."""
    group: Group

    @property
    def pretrained(self) -> list[str]:
        """The encoders below, of every seed: made by pretraining."""
        names = (lineage(record.cell.encoder_name)[0] for record in self.group.finished)
        return list(dict.fromkeys(names))


def sized(panel: Panel) -> list[Sized]:
    """Groups on frozen codes of a recipe, rising in size; none where sizes are not what is compared."""
    alike: dict[tuple[object, ...], list[Sized]] = {}
    for group in panel.groups_of(["gqn-frozen"]):
        if (one := _sized(group)) is not None:
            alike.setdefault(one.all_else, []).append(one)
    found = [one for each in alike.values() if len({one.size for one in each}) >= FEWEST for one in each]
    return sorted(found, key=lambda one: (one.sources, one.size))


def size_rows(panel: Panel, encoders: Sequence[EncoderRecord], rng: np.random.Generator) -> list[Row]:
    """One row a size: what it is worth to the task, and what it took and reads, as far as the suite made it.

    The cost of enlarging a code is a row's own: a new encoder, pretrained again, and new heads.
    """
    known = {encoder.name: encoder for encoder in encoders}
    rows = []
    for one in sized(panel):
        made = [known[name] for name in one.pretrained if name in known]
        rows.append(
            {
                "size": str(one.size),
                "sources": str(one.sources),
                "seeds": str(len(one.group.finished)),
                "steps_to_threshold_median": steps_text(float(np.median(one.group.times(panel.threshold)))),
                "area": estimate_text(estimate(one.group.areas, interquartile_mean, rng)),
                "parameters": str(_parameters(one.pretrained[0])),
                "pretraining_seconds": number_text(mean_of(encoder.last("seconds") for encoder in made), 0),
                "held_out_mse": number_text(mean_of(encoder.last("test_mse_1") for encoder in made), 5),
                **{
                    f"{name}_error": number_text(mean_of(encoder.probe_error(name) for encoder in made))
                    for name in ("hand", "target")
                },
                "env_steps_per_second": number_text(one.group.mean_of("env_steps_per_second"), 0),
            }
        )
    return rows


def _sized(group: Group) -> Sized | None:
    name = group.records[0].cell.encoder_name
    recipe, stage = recipe_of(lineage(name)[0]), recipe_of(name)
    if not isinstance(recipe, Recipe):
        return None
    sources = len(stage.stage.tasks) if isinstance(stage, SourceRecipe) else 0
    preset = PRESETS[recipe.preset]
    any_size = replace(preset, model=replace(preset.model, representation_size=1))
    all_else = (recipe.scenes, str(any_size), sources, group.cell.options)
    return Sized(preset.model.representation_size, sources, all_else, group)


@functools.cache
def _parameters(encoder: str) -> int:
    recipe = recipe_of(encoder)
    assert isinstance(recipe, Recipe)
    return sum(weight.numel() for weight in GQN(PRESETS[recipe.preset].model).parameters())
