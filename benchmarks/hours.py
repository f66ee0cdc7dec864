"""About how long cells take on this machine: measured paces, scaled by how fast it renders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from .artefacts import ENCODERS, SCENES
from .cells import Cell
from .doctor import steps_per_second

PACES: Mapping[str, float] = MappingProxyType(
    {
        "state": 2100.0, "pixels": 430.0, "pixels-aug": 430.0, "pixels-gqn-arch": 90.0, "gqn-finetune": 90.0,
        "gqn-aux": 60.0, "random-frozen": 900.0, "ae-frozen": 900.0, "supervised-frozen": 900.0,
        "gqn-frozen": 900.0, "gqn-tier2": 900.0,
    }
)  # fmt: skip
"""Method -> training steps a second with PPO on one core of the machine that `REFERENCE` is of."""
REFERENCE = 1300.0
"""Steps a second of one environment with pixels there, as `gqn-bench doctor` says."""
ENCODER_HOURS = 0.75
"""Of a suite's own encoder, on one core there."""


def seconds_of(cells: Iterable[Cell]) -> float:
    """Wall time of all `cells` on all cores, with evaluations and the suite's own encoders."""
    cells = list(cells)
    work = sum((cell.steps + _evaluation_steps(cell)) / PACES[cell.method] for cell in cells)
    own = {
        cell.encoder
        for cell in cells
        if cell.encoder in ENCODERS and ENCODERS[cell.encoder].preset != "random"
    }
    trained = [name for name in own if SCENES[ENCODERS[name].scenes].scenes > 1000]  # smoke's takes a second
    work += 3600 * ENCODER_HOURS * len(trained)
    return work / (os.cpu_count() or 1) / speed()


@cache
def speed() -> float:
    """Of this machine's rendering, relative to the reference."""
    return steps_per_second("pixels") / REFERENCE


def _evaluation_steps(cell: Cell) -> int:
    """Steps of a cell's evaluations, of 100 steps an episode, which cost about half of training's."""
    options = cell.run_options
    return (cell.steps // options["evaluate_every"] + 1) * options["episodes"] * 100 // 2
