"""Suites of transfer to new tasks, as rows of data: does it help that tasks have trained the encoder, that
its code is larger, or that a second representation stands on it (docs/decisions/0015)?"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gqn_transfer.presets import SIZES

from .cells import Cell, Suite
from .raw_pixels_suites import ORACLE_BUDGETS
from .source_config import SEED
from .stages import (
    ALL_SOURCES,
    CORE,
    FOR_SIZES,
    FOR_TIERS,
    FULL_SEEDS,
    HELD_OUT,
    RELATED,
    SEEDS,
    SOURCES,
    Sources,
    for_task,
)
from .stages import STEPS as STAGE_STEPS
from .tuned import tuned_settings

SMALL_BUDGETS = dict.fromkeys((*HELD_OUT, "Reach-v0"), 100_000)
"""Environment steps of a new task in the small suites."""
FULL_BUDGETS = {task: 2 * steps for task, steps in ORACLE_BUDGETS.items()}
"""The same in the full ones."""
SMALL_SIZES = (32, 256, 1024)
"""Of codes, in the small suite."""
EQUAL_WIDTH = 234
"""Of heads on r that have as many weights as the tier and heads on s of the tuned width."""
Arm = tuple[str, str, Mapping[str, Any]]
"""Method, encoder and what it changes of the method's tuned settings."""
BESIDE: tuple[Arm, ...] = (("state", "", {}), ("pixels", "", {}), ("pixels-aug", "", {}))
"""Beside all others: the oracle, for the threshold, and raw pixels; which are stronger on these tasks is not
known."""
HEADS: tuple[Arm, ...] = (
    ("gqn-frozen", CORE, {}),
    ("gqn-frozen", CORE, {"head_width": EQUAL_WIDTH}),
    ("gqn-frozen", CORE, {"head_depth": 4}),
)
"""On r: heads as ever, with a tier's weights in addition, and deeper ones."""


def frozen(sources: Sources) -> Arm:
    """A new task on what these sources have made, as it is."""
    return ("gqn-tier2" if "tier" in sources.kind else "gqn-frozen", sources.pattern, {})


def finetuned(sources: Sources) -> Arm:
    """A new task that trains on what these sources have made."""
    return ("gqn-finetune", sources.pattern, {})


def transfer(
    suite: str,
    budgets: Mapping[str, int],
    arms: Iterable[Arm],
    seeds: Iterable[int] = SEEDS,
) -> tuple[Cell, ...]:
    """Every task of `budgets` (task -> steps) from each of `arms`, with the seeds of the source stages."""
    arms, seeds = list(arms), list(seeds)
    return tuple(
        Cell(
            suite, task, method, "ppo", "fixed", encoder, seed, steps,
            tuple(sorted((tuned_settings(method) | dict(options)).items())),
        )
        for task, steps in budgets.items()
        for method, encoder, options in arms
        for seed in seeds
    )  # fmt: skip


def shared(suites: Mapping[str, Suite], name: str) -> dict[str, Suite]:
    """The suites; cells that several of them have belong to suite `name`, so that a folder has them once."""

    def common(cell: Cell) -> Cell:
        return cell._replace(suite=name)

    times = Counter(common(cell) for suite in suites.values() for cell in suite.cells)
    return {
        key: dataclasses.replace(
            suite, cells=tuple(common(cell) if times[common(cell)] > 1 else cell for cell in suite.cells)
        )
        for key, suite in suites.items()
    }


def new_tasks(*tasks: str, budgets: Mapping[str, int] = SMALL_BUDGETS) -> dict[str, int]:
    """Task -> steps, of these tasks."""
    return {task: budgets[task] for task in tasks}


SMALL_SUITES = shared(
    {
        "sources-small": Suite(
            "what every source task learns by itself, as a measure of learning them together",
            transfer("sources-small", dict.fromkeys(SOURCES, STAGE_STEPS), [("gqn-finetune", CORE, {})]),
        ),
        "tasks-small": Suite(
            "transfer: a new task from an encoder that 0, 1 or 3 tasks have trained on, and controls",
            transfer(
                "tasks-small",
                new_tasks(*HELD_OUT),
                [
                    *BESIDE,
                    *(frozen(Sources(SOURCES[:count])) for count in (0, 1, 3)),
                    frozen(Sources(SOURCES[:1], steps=3 * STAGE_STEPS, batches=3)),
                    *(frozen(Sources(SOURCES, kind)) for kind in ("blind", "untaught")),
                ],
            ),
        ),
        "sizes-small": Suite(
            "transfer: codes of 32, 256 and 1,024 numbers after 20 minutes of pretraining, Reach and Point",
            transfer(
                "sizes-small",
                new_tasks("Reach-v0", "Point-v0"),
                [*BESIDE, *(("gqn-frozen", f"reach-point-r{size}{SEED}", {}) for size in SMALL_SIZES)],
            ),
        ),
        "tiers-small": Suite(
            "transfer: a new task from a second representation that 1 or 3 tasks have trained, and controls",
            transfer(
                "tiers-small",
                new_tasks(*HELD_OUT),
                [
                    *BESIDE,
                    *HEADS,
                    frozen(Sources(SOURCES)),
                    *(frozen(Sources(SOURCES[:count], "tier")) for count in (1, 3)),
                    frozen(Sources(SOURCES[:1], "tier", steps=3 * STAGE_STEPS, batches=3)),
                    frozen(Sources(SOURCES[:1], "tier", steps=0)),
                ],
            ),
        ),
    },
    "transfer-small",
)
"""For two cores."""
FULL_SUITES = shared(
    {
        "tasks": Suite(
            "transfer, for a GPU: each of six tasks from an encoder that 0, 1, 2, 4 or all others trained on",
            tuple(
                cell
                for task in ALL_SOURCES
                for cell in transfer(
                    "tasks",
                    new_tasks(task, budgets=FULL_BUDGETS),
                    [
                        *BESIDE,
                        *(
                            (method, core, {})
                            for method in ("gqn-frozen", "gqn-finetune")
                            for core in (CORE, "jaco-256")
                        ),
                        *(frozen(sources) for sources in for_task(task)),
                        *(finetuned(sources) for sources in for_task(task) if sources.kind == "taught"),
                    ],
                    FULL_SEEDS,
                )
            ),
        ),
        "sizes": Suite(
            "transfer, for a GPU: codes of 32 to 1,024 numbers, before tasks and after four",
            transfer(
                "sizes",
                new_tasks(*HELD_OUT, budgets=FULL_BUDGETS),
                [
                    *BESIDE,
                    *(("gqn-frozen", f"{CORE}-r{size}", {}) for size in SIZES),
                    *(frozen(sources) for sources in FOR_SIZES),
                ],
                FULL_SEEDS,
            ),
        ),
        "tiers": Suite(
            "transfer, for a GPU: tiers from related and from other tasks, against r wide, deep and trained",
            transfer(
                "tiers",
                new_tasks(*RELATED, budgets=FULL_BUDGETS),
                [
                    *BESIDE,
                    *HEADS,
                    *(("gqn-frozen", f"{CORE}-r{size}", {}) for size in (256, 512)),  # wider, else alike
                    ("gqn-finetune", CORE, {}),
                    *(frozen(sources) for sources in FOR_TIERS),
                ],
                FULL_SEEDS,
            ),
        ),
    },
    "transfer",
)
"""For a machine with a GPU."""
TRANSFER_SUITES: Mapping[str, Suite] = MappingProxyType({**SMALL_SUITES, **FULL_SUITES})
"""Name -> suite."""
