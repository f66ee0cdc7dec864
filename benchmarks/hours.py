"""About how long cells take on this machine: paces of finished ones, scaled by how fast it renders now."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import cache
from types import MappingProxyType

from gqn_transfer.agents.algorithms import ALGORITHMS
from gqn_transfer.limits import usable_cores
from gqn_transfer.presets import PRESETS

from .artefacts import SCENES, SourceRecipe, lineage, recipe_of
from .cells import Cell
from .doctor import steps_per_second

PACES: Mapping[str, float] = MappingProxyType(
    {
        "state": 1100.0, "pixels": 530.0, "pixels-aug": 500.0, "pixels-gqn-arch": 120.0,
        "gqn-finetune": 130.0, "gqn-aux": 50.0, "random-frozen": 640.0, "ae-frozen": 640.0,
        "supervised-frozen": 640.0, "gqn-frozen": 640.0, "gqn-tier2": 640.0,
    }
)  # fmt: skip
"""Method -> training steps a second on one core, evaluations included. Measured on cells of suite `quick`;
the oracle's on suite `oracle`; those of methods that train an encoder on suite `methods`."""
OFF_POLICY_PACES: Mapping[str, float] = MappingProxyType(
    {"pixels": 14.0, "pixels-aug": 14.0, "pixels-gqn-arch": 3.0, "gqn-finetune": 3.0}
)
"""The same of SAC and TD3, guesses from `agent_speed`; of methods that learn no eyes `FROZEN_OFF_POLICY`."""
FROZEN_OFF_POLICY = 80.0
"""Of SAC and TD3 where the eyes are not trained."""
REFERENCE = 2900.0
"""Steps a second of one environment with pixels on that machine, when idle, as `gqn-bench doctor` says."""
SCENES_PER_HOUR = 430_000.0
"""That a suite's own encoder is trained on, steps times batch, on one core there."""
SMALL_SCENES = 1_000
"""Scenes below which a recipe is one for tests, and takes no time worth counting."""


def seconds_of(cells: Iterable[Cell], made: Container[str] = (), workers: int | None = None) -> float:
    """Wall time of `cells`, so many side by side, by default one a core, with the encoders that they make for
    themselves, unless they are `made`."""
    cells = list(cells)
    work = sum(cell.steps / pace_of(cell) for cell in cells)
    names = {name for cell in cells if cell.encoder for name in lineage(cell.encoder_name)}
    work += 3600 * sum(_encoder_hours(name) for name in names if name not in made)
    return work / min(workers or usable_cores(), usable_cores()) / speed()


@cache
def speed() -> float:
    """Of this machine's rendering, relative to the reference."""
    return steps_per_second("pixels") / REFERENCE


def pace_of(cell: Cell) -> float:
    """Steps a second of a cell on one core of the reference."""
    if ALGORITHMS[cell.algo].is_off_policy:
        return OFF_POLICY_PACES.get(cell.method, FROZEN_OFF_POLICY)
    return PACES[cell.method]


def _encoder_hours(encoder: str) -> float:
    """Of the pretraining of a recipe on one core; 0 for what is there already."""
    recipe = recipe_of(encoder)
    if isinstance(recipe, SourceRecipe):
        pace = PACES["gqn-frozen" if recipe.stage.tier else "gqn-aux"]
        return recipe.stage.steps * len(recipe.stage.tasks) / pace / 3600
    if recipe is None or SCENES[recipe.scenes].scenes <= SMALL_SCENES:
        return 0.0
    preset = PRESETS[recipe.preset]
    return preset.steps * preset.batch / SCENES_PER_HOUR
