"""About how long cells take on this machine: paces of finished ones, scaled by how fast it renders now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from .artefacts import ENCODERS, SCENES
from .cells import Cell
from .doctor import steps_per_second
from .limits import usable_cores

PACES: Mapping[str, float] = MappingProxyType(
    {
        "state": 1100.0, "pixels": 410.0, "pixels-aug": 410.0, "pixels-gqn-arch": 80.0, "gqn-finetune": 80.0,
        "gqn-aux": 60.0, "random-frozen": 640.0, "ae-frozen": 640.0, "supervised-frozen": 640.0,
        "gqn-frozen": 640.0, "gqn-tier2": 640.0,
    }
)  # fmt: skip
"""Method -> training steps a second on one core, evaluations included: of the cells of `quick`; those of
encoders that the agent trains are guesses from `agent_speed`."""
REFERENCE = 2900.0
"""Steps a second of one environment with pixels on that machine, when idle, as `gqn-bench doctor` says."""
ENCODER_HOURS = 0.75
"""Of a suite's own encoder, on one core there."""
SMALL_SCENES = 1_000
"""Scenes below which a recipe is one for tests, and takes no time worth counting."""


def seconds_of(cells: Iterable[Cell]) -> float:
    """Wall time of all `cells` on all cores, with the encoders that they make for themselves."""
    cells = list(cells)
    work = sum(cell.steps / PACES[cell.method] for cell in cells)
    work += 3600 * ENCODER_HOURS * sum(map(_is_trained, {cell.encoder for cell in cells}))
    return work / usable_cores() / speed()


@cache
def speed() -> float:
    """Of this machine's rendering, relative to the reference."""
    return steps_per_second("pixels") / REFERENCE


def _is_trained(encoder: str) -> bool:
    recipe = ENCODERS.get(encoder)
    return recipe is not None and recipe.preset != "random" and SCENES[recipe.scenes].scenes > SMALL_SCENES
