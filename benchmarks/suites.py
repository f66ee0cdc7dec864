"""Suites: every experiment is rows of data; a new idea is a new row, never a new script."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gqn_transfer.agents.methods import METHODS
from gqn_transfer.encoder import is_function

from .candidates import CONTESTS
from .cells import OPTION_KEYS, Cell, Suite
from .tuned import tuned_settings

TRAINED_BY: Mapping[str, str] = MappingProxyType(
    {
        "random-frozen": "random", "ae-frozen": "ae", "supervised-frozen": "supervised", "gqn-frozen": "gqn",
        "pixels-gqn-arch": "gqn", "gqn-finetune": "gqn", "gqn-aux": "gqn",
    }
)  # fmt: skip
"""Method -> what its encoder was trained by; where the agent trains new weights, that encoder's architecture
is taken."""
FAMILIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "smoke": {"gqn": "smoke-gqn"},
        "reach": {
            "gqn": "reach-gqn", "random": "reach-random", "ae": "reach-ae", "supervised": "reach-supervised",
        },
        "small": {
            "gqn": "jaco-small", "ae": "jaco-small-ae", "supervised": "jaco-small-supervised",
            "random": "reach-random",
        },
        "256": {"gqn": "jaco-256", "ae": "jaco-256-ae", "random": "jaco-256-random"},
    }
)  # fmt: skip
"""Family -> what trained an encoder -> its recipe in `artefacts.ENCODERS`, or its shipped name. Encoders of a
family have the same architecture, and those that were trained saw the same frames."""


def grid(
    suite: str,
    tasks: Iterable[str],
    cameras: Iterable[str],
    methods: Mapping[str, int],
    seeds: Iterable[int],
    family: str = "reach",
    tuned: bool = False,
    algo: str = "ppo",
    **options: Any,
) -> tuple[Cell, ...]:
    """Every combination.

    methods: each method's budget in steps; family: of the encoders, a key of `FAMILIES`; tuned: with the
    settings that `gqn-bench tune` has found, where `options` do not say otherwise.
    """
    if unknown := [key for key in options if key not in OPTION_KEYS]:
        raise ValueError(f"unknown options {', '.join(unknown)}; known: {', '.join(OPTION_KEYS)}")
    if tuned and algo != "ppo":
        raise ValueError(f"tuned settings are those of ppo, not of {algo}: leave tuned out")
    changed = {method: (tuned_settings(method) if tuned else {}) | options for method in methods}
    return tuple(
        Cell(
            suite, task, method, algo, camera, encoder_for(method, family), seed, steps,
            tuple(sorted(changed[method].items())),
        )
        for task in tasks
        for camera in cameras
        for method, steps in methods.items()
        for seed in seeds
    )  # fmt: skip


def encoder_for(method: str, family: str) -> str:
    """The method's encoder in a family, "" if it needs none; ValueError if the family lacks it."""
    if method not in TRAINED_BY:
        return ""
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    if TRAINED_BY[method] not in known:
        raise ValueError(
            f"family {family!r} has no encoder trained by {TRAINED_BY[method]!r}, which method {method!r} "
            f"needs; it has {', '.join(known)}"
        )
    return known[TRAINED_BY[method]]


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
    "Reach-v0": 400_000, "Point-v0": 400_000, "Track-v0": 640_000, "Press-v0": 960_000, "Pose-v0": 1_200_000,
    "Grasp-v0": 1_200_000, "Push-v0": 1_200_000, "Place-v0": 1_600_000,
}  # fmt: skip
"""Environment steps of every method but the oracle in the comparison with raw pixels: four times the oracle's
until its pilot sets them."""
SEEDS = range(20, 25)
"""Of the comparison with raw pixels: no run before has used them."""
QUICK_METHODS = ("state", "pixels-aug", "random-frozen", "gqn-frozen")
SMALL: dict[str, Any] = {"episodes": 2, "evaluate_every": 250, "num_envs": 2}

EVERY_METHOD = tuple(name for name, row in METHODS.items() if not row.missing)
TWO_METHODS = ("pixels-aug", "gqn-frozen")
FROZEN_METHODS = ("pixels-aug", "random-frozen", "ae-frozen", "gqn-frozen")
OFF_POLICY: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"state": {}, "pixels-aug": {"shift": 3}, "gqn-frozen": {}}
)
"""Method -> options: a shift of 3 of 64 pixels is DrQ's 4 of 84."""
THIRD_METHODS = ("pixels-gqn-arch", "supervised-frozen", "gqn-finetune", "gqn-aux")
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
    family: str = "small",
    **options: Any,
) -> tuple[Cell, ...]:
    """One task and camera of the comparison, tuned, with the oracle that its threshold comes from."""
    budgets = {"state": ORACLE_BUDGETS[task]} | dict.fromkeys(methods, RAW_PIXELS_BUDGETS[task])
    return grid(suite, [task], [camera], budgets, seeds, family, tuned=True, **options)


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "smoke": Suite(
            "every stage in small, for tests: no result",
            grid(
                "smoke",
                tasks=["Reach-v0"],
                cameras=["fixed"],
                methods=dict.fromkeys(["state", "pixels-aug", "gqn-frozen"], 500),
                seeds=[0],
                family="smoke",
                **SMALL,
            ),
        ),
        "quick": Suite(
            "Reach, fixed camera: does the GQN that ships beat raw pixels?",
            grid(
                "quick",
                tasks=["Reach-v0"],
                cameras=["fixed"],
                methods=dict.fromkeys(QUICK_METHODS, 100_000),
                seeds=[12, 13, 14],
                family="small",
                tuned=True,
            ),
        ),
        "from-scratch": Suite(
            "the same with an encoder of the suite's own, pretrained for 40 minutes on one core",
            grid(
                "from-scratch",
                tasks=["Reach-v0"],
                cameras=["fixed"],
                methods=dict.fromkeys(QUICK_METHODS, 100_000),
                seeds=[0, 1, 2],
            ),
        ),
        "methods": Suite(
            "every method, tuned: Reach, fixed camera; the moving camera for raw pixels and the GQN",
            tuple(
                cell
                for camera, methods in (("fixed", EVERY_METHOD), ("moving", TWO_METHODS))
                for cell in grid(
                    "methods",
                    tasks=["Reach-v0"],
                    cameras=[camera],
                    methods=dict.fromkeys(methods, 200_000),
                    seeds=[15, 16, 17],
                    family="small",
                    tuned=True,
                )
            ),
        ),
        "settings": Suite(
            "settings that trials of 100,000 steps cannot tell apart, for longer: chooses, is no result",
            tuple(
                cell
                for method, contest in CONTESTS.items()
                for seed in contest.seeds
                for row in contest.rows
                for cell in grid(
                    "settings",
                    ["Reach-v0"],
                    ["fixed"],
                    {method: contest.steps},
                    [seed],
                    family="small",
                    evaluate_every=20_000,
                    **row,
                )
            ),
        ),
        "raw-pixels-a": Suite(
            "the comparison with raw pixels, first tier: Reach, fixed and moving camera, five seeds",
            tuple(
                cell
                for camera in ("fixed", "moving")
                for cell in raw_pixels("raw-pixels-a", "Reach-v0", camera, FROZEN_METHODS, SEEDS)
            ),
        ),
        "raw-pixels-full": Suite(
            "the same, fixed camera, with random colours, lights and textures, and encoders that know them",
            raw_pixels(
                "raw-pixels-full", "Reach-v0", "fixed", FROZEN_METHODS, SEEDS, "256", randomize="full"
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
                    **options,
                )
            ),
        ),
        "raw-pixels-b": Suite(
            "second tier: Grasp and Pose, fixed camera, three seeds",
            tuple(
                cell
                for task in ("Grasp-v0", "Pose-v0")
                for cell in raw_pixels("raw-pixels-b", task, "fixed", TWO_METHODS, SEEDS[:3])
            ),
        ),
        "raw-pixels-c": Suite(
            "third tier: encoders trained otherwise, on Reach; the moving camera; the other five tasks",
            (
                *raw_pixels("raw-pixels-c", "Reach-v0", "fixed", THIRD_METHODS, SEEDS[:3]),
                *(
                    cell
                    for task, camera in THIRD_TIER
                    for cell in raw_pixels("raw-pixels-c", task, camera, TWO_METHODS, SEEDS[:3])
                ),
            ),
        ),
        "paper": Suite(
            "the comparison at the scale of Eslami et al. 2018: 30M steps, three learning rates, for a GPU",
            tuple(
                cell
                for rate in (1e-4, 3e-4, 1e-3)
                for cell in grid(
                    "paper",
                    tasks=["Reach-v0"],
                    cameras=["fixed", "moving"],
                    methods={"state": 3_000_000, "pixels-aug": 30_000_000, "gqn-frozen": 30_000_000},
                    seeds=[0, 1, 2],
                    family="small",
                    learning_rate=rate,
                    num_envs=64,
                    evaluate_every=100_000,
                )
            ),
        ),
        "oracle": Suite(
            "all tasks from the simulator's state, 40 minutes on 2 cores: can an agent learn them?",
            tuple(
                cell
                for task, steps in ORACLE_BUDGETS.items()
                for cell in grid(
                    "oracle", [task], ["fixed"], {"state": steps}, seeds=[3, 4, 5], evaluate_every=20_000
                )
            ),
        ),
        "ceiling": Suite(
            "Reach, fixed camera, 1M steps: where it fails, is it the encoder, the task or the agent?",
            grid(
                "ceiling",
                tasks=["Reach-v0"],
                cameras=["fixed"],
                methods={"state": 60_000, "supervised-frozen": 1_000_000, "gqn-frozen": 1_000_000},
                seeds=[0],
                evaluate_every=25_000,
            ),
        ),
    }
)
"""Name -> suite."""


RESERVED: Mapping[str, str] = MappingProxyType(
    {
        "tasks": "transfer against the number of tasks that an encoder was trained on end to end",
        "sizes": "transfer against the size of the representation",
        "tiers": "transfer through a second representation on top of the first",
    }
)
"""Names of suites to come -> what for."""


def with_encoder(suite: Suite, encoder: str) -> Suite:
    """The suite with `encoder` (a name, a path, or a function of your own) in place of the GQN's, also where
    its architecture alone is taken, but for a function's, whose network cannot be made anew. Controls of
    another training stay as they are."""

    def takes_it(cell: Cell) -> bool:
        needs_config = METHODS[cell.method].eyes == "fresh"
        return TRAINED_BY.get(cell.method) == "gqn" and not (needs_config and is_function(encoder))

    cells = tuple(cell._replace(encoder=encoder) if takes_it(cell) else cell for cell in suite.cells)
    return dataclasses.replace(suite, cells=cells)


def suite_named(name: str) -> Suite:
    """The suite of that name; ValueError lists what exists."""
    if name in RESERVED:
        raise ValueError(f"suite {name!r} has no cells yet: it is reserved for {RESERVED[name]}")
    if name not in SUITES:
        raise ValueError(
            f"unknown suite {name!r}; known: {', '.join(SUITES)}, or one of your own: "
            "a file that ends in .toml, or FILE.py:CELLS"
        )
    return SUITES[name]
