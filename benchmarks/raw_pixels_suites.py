"""The comparison with raw pixels, as rows of data: three tiers, random looks, and another algorithm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .cells import Cell, Suite
from .grids import grid

ORACLE_BUDGETS = {
    "Reach-v0": 100_000,
    "Point-v0": 100_000,
    "Track-v0": 160_000,
    "Press-v0": 240_000,
    "Pose-v0": 300_000,
    "Grasp-v0": 300_000,
    "Push-v0": 300_000,
    "Place-v0": 400_000,
}
"""Environment steps that an agent which sees the state needs, and some: from pilots on other seeds."""
RAW_PIXELS_BUDGETS = {
    **{(task, camera): 4 * steps for task, steps in ORACLE_BUDGETS.items() for camera in ("fixed", "moving")},
    ("Reach-v0", "moving"): 600_000,
}
"""Task and camera -> environment steps of every method but the oracle: on Reach at least four times what the
frozen GQN needed with other seeds (docs/decisions/0005); of other tasks four times the oracle's, for now."""
FAMILY_OF = {"Reach-v0": "small", "Grasp-v0": "core", "Pose-v0": "core"}
"""Task -> family of encoders that have seen its things; those of other tasks `EVERY_TASK` has."""
EVERY_TASK = "256"
"""The family that has seen the things of all tasks."""
PILOT_SEEDS, PILOT_STEPS = (1200, 1201), 400_000
"""Of runs that set budgets and settings of Grasp and Pose, and are no result."""
LONG_STEPS = 3_000_000
"""Of raw pixels alone: do they learn the task at all?"""
EVALUATIONS = 40
"""Of a run, at least: what takes a fourth of a budget is then known to a tenth."""
SEEDS = range(20, 25)
"""Of the comparison with raw pixels: no run before has used them."""
TWO_METHODS = ("pixels", "gqn-frozen")
"""Raw pixels without a shift: with one they were worse (docs/decisions/0013)."""
WITH_CONTROL = (*TWO_METHODS, "ae-frozen")
"""On Reach the autoencoder's code is as good as the GQN's: here it may not be missing."""
FROZEN_METHODS = ("pixels", "pixels-aug", "random-frozen", "ae-frozen", "gqn-frozen")
FIRST_METHODS = {"fixed": ("pixels-gqn-arch", *FROZEN_METHODS), "moving": FROZEN_METHODS}
"""Camera -> methods of the first tier. The encoder's architecture from new weights is the strongest raw-pixel
baseline that suite `methods` has found, and takes five times as long as the others."""
OFF_POLICY: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"state": {}, "pixels-aug": {"shift": 3, "network": "drq"}, "gqn-frozen": {}}
)
"""Method -> options: DrQ's network, and its shift of 4 of 84 pixels, which is 3 of 64."""
THIRD_METHODS = ("supervised-frozen", "gqn-finetune", "gqn-aux")
THIRD_TIER = (
    ("Grasp-v0", "moving"), ("Pose-v0", "moving"), ("Point-v0", "fixed"), ("Track-v0", "fixed"),
    ("Press-v0", "fixed"), ("Push-v0", "fixed"), ("Place-v0", "fixed"),
)  # fmt: skip


def raw_pixels(
    suite: str,
    task: str,
    camera: str,
    methods: Iterable[str],
    seeds: Iterable[int],
    family: str = "",
    oracle: bool = True,
    **options: Any,
) -> tuple[Cell, ...]:
    """One task and camera of the comparison, tuned, with the oracle that its threshold comes from unless
    another part of its suite has it; encoders of the task's family unless another is named."""
    family, budget = family or FAMILY_OF.get(task, EVERY_TASK), RAW_PIXELS_BUDGETS[task, camera]
    first = [{"state": ORACLE_BUDGETS[task]}] if oracle else []
    return tuple(
        cell
        for budgets in (*first, dict.fromkeys(methods, budget))
        for cell in grid(
            suite, [task], [camera], budgets, seeds, family, tuned=True,
            **{"evaluate_every": every(max(budgets.values()))} | options,
        )
    )  # fmt: skip


def every(budget: int) -> int:
    """Steps between evaluations, in ten thousands."""
    return max(1, budget // EVALUATIONS // 10_000) * 10_000


def pilot(method: str, camera: str = "fixed", seeds: Iterable[int] = PILOT_SEEDS) -> tuple[Cell, ...]:
    """Grasp and Pose with settings tuned on Reach and with those of nobody, to choose from; as many views."""
    steps = PILOT_STEPS // 2 if method == "state" else PILOT_STEPS
    how: dict[str, Any] = {"evaluate_every": 20_000} | ({} if method == "state" else {"views": 3})
    return tuple(
        cell
        for tuned in (True, False)
        for cell in grid(
            "pilot", ("Grasp-v0", "Pose-v0"), [camera], {method: steps}, seeds, "core", tuned=tuned, **how
        )
    )


RAW_PIXELS_SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "raw-pixels-a": Suite(
            "the comparison with raw pixels, first tier: Reach, fixed and moving camera, five seeds",
            tuple(
                cell
                for camera in ("fixed", "moving")
                for cell in raw_pixels("raw-pixels-a", "Reach-v0", camera, FIRST_METHODS[camera], SEEDS)
            ),
        ),
        "pilot": Suite(
            "Grasp and Pose, with and without Reach's settings: sets budgets and settings, is no result",
            (
                *pilot("gqn-frozen"),
                *pilot("gqn-frozen", "moving"),
                *pilot("state", seeds=PILOT_SEEDS[:1]),
                *pilot("pixels", seeds=PILOT_SEEDS[:1]),
            ),
        ),
        "raw-pixels-long": Suite(
            "raw pixels alone for three million steps, Reach, fixed camera: do they learn it at all?",
            (
                *grid("raw-pixels-long", ["Reach-v0"], ["fixed"], {"state": 100_000}, SEEDS[:2], tuned=True),
                *grid(
                    "raw-pixels-long",
                    ["Reach-v0"],
                    ["fixed"],
                    {"pixels": LONG_STEPS},
                    SEEDS[:2],
                    tuned=True,
                    evaluate_every=50_000,
                ),
            ),
        ),
        "raw-pixels-full": Suite(
            "the same, fixed camera, with random colours, lights and textures, and encoders that know them",
            raw_pixels(
                "raw-pixels-full", "Reach-v0", "fixed", FROZEN_METHODS, SEEDS, EVERY_TASK, randomize="full"
            ),
        ),
        "raw-pixels-sac": Suite(
            "the same with SAC, untuned, raw pixels shifted as in DrQ: Reach, fixed camera, three seeds",
            tuple(
                cell
                for method, options in OFF_POLICY.items()
                for cell in grid(
                    "raw-pixels-sac",
                    ["Reach-v0"],
                    ["fixed"],
                    {method: 100_000},
                    SEEDS[:3],
                    "small",
                    algo="sac",
                    evaluate_every=2_500,
                    **options,
                )
            ),
        ),
        "raw-pixels-b": Suite(
            "second tier: Grasp and Pose, fixed camera, three seeds",
            tuple(
                cell
                for task in ("Grasp-v0", "Pose-v0")
                for cell in raw_pixels("raw-pixels-b", task, "fixed", WITH_CONTROL, SEEDS[:3])
            ),
        ),
        "raw-pixels-c": Suite(
            "third tier: encoders trained otherwise, on Reach; the moving camera; the other five tasks",
            (
                *raw_pixels("raw-pixels-c", "Reach-v0", "fixed", THIRD_METHODS, SEEDS[:3]),
                *raw_pixels(
                    "raw-pixels-c", "Reach-v0", "fixed", TWO_METHODS, SEEDS[:3], oracle=False, views=1
                ),  # as many views as the methods that train an encoder
                *(
                    cell
                    for task, camera in THIRD_TIER
                    for cell in raw_pixels("raw-pixels-c", task, camera, TWO_METHODS, SEEDS[:3])
                ),
            ),
        ),
    }
)
"""Name -> suite."""
