"""Suites of transfer to new tasks, as rows of data: does it help that tasks have trained the encoder, that
its code is larger, or that a second representation stands on it (docs/decisions/0015)?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .cells import Cell, Suite
from .stages import CORE, HELD_OUT, SEEDS, SOURCES, pattern
from .stages import STEPS as STAGE_STEPS
from .tuned import tuned_settings

STEPS = 100_000
"""Environment steps of a new task."""
EQUAL_WIDTH = 234
"""Of heads on r that have as many weights as the tier and heads on s of the tuned width."""
Arm = tuple[str, str, Mapping[str, Any]]
"""Method, encoder and what it changes of the method's tuned settings."""


def transfer(suite: str, tasks: Iterable[str], arms: Iterable[Arm]) -> tuple[Cell, ...]:
    """Every task from each of `arms`, with the seeds of the source stages."""
    arms = list(arms)
    return tuple(
        Cell(
            suite, task, method, "ppo", "fixed", encoder, seed, STEPS,
            tuple(sorted((tuned_settings(method) | dict(options)).items())),
        )
        for task in tasks
        for method, encoder, options in arms
        for seed in SEEDS
    )  # fmt: skip


BESIDE: tuple[Arm, ...] = (("state", "", {}), ("pixels", "", {}))
"""Beside all others: the oracle, for the threshold, and raw pixels."""
TRANSFER_SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "sources-small": Suite(
            "what every source task learns by itself, as a measure of learning them together",
            tuple(
                cell._replace(steps=STAGE_STEPS)
                for cell in transfer("sources-small", SOURCES, [("gqn-finetune", CORE, {})])
            ),
        ),
        "tasks-small": Suite(
            "transfer: a new task from an encoder that 0, 1 or 3 tasks have trained on, and controls",
            transfer(
                "tasks-small",
                HELD_OUT,
                [
                    *BESIDE,
                    *(("gqn-frozen", pattern(count), {}) for count in (0, 1, 3)),
                    ("gqn-frozen", pattern(1, steps=3 * STAGE_STEPS), {}),
                    *(("gqn-frozen", pattern(3, kind), {}) for kind in ("blind", "untaught")),
                ],
            ),
        ),
        "sizes-small": Suite(
            "transfer: codes of 32, 256 and 1,024 numbers after 20 minutes of pretraining, Reach and Point",
            transfer(
                "sizes-small",
                ("Reach-v0", "Point-v0"),
                [*BESIDE, *(("gqn-frozen", f"reach-point-r{size}", {}) for size in (32, 256, 1024))],
            ),
        ),
        "tiers-small": Suite(
            "transfer: a new task from a second representation that 1 or 3 tasks have trained, and controls",
            transfer(
                "tiers-small",
                HELD_OUT,
                [
                    *BESIDE,
                    ("gqn-frozen", CORE, {}),
                    ("gqn-frozen", CORE, {"head_width": EQUAL_WIDTH}),
                    ("gqn-frozen", CORE, {"head_depth": 4}),
                    ("gqn-frozen", pattern(3), {}),
                    *(("gqn-tier2", pattern(count, "tier"), {}) for count in (1, 3)),
                ],
            ),
        ),
    }
)
"""Name -> suite."""
