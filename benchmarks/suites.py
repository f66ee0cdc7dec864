"""Suites: every experiment is rows of data; a new idea is a new row, never a new script."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

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
        "small": {"gqn": "jaco-small", "ae": "jaco-small-ae", "random": "reach-random"},
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
    settings that `gqn-bench tune` has found.
    """
    if unknown := [key for key in options if key not in OPTION_KEYS]:
        raise ValueError(f"unknown options {', '.join(unknown)}; known: {', '.join(OPTION_KEYS)}")
    return tuple(
        Cell(
            suite, task, method, algo, camera, encoder_for(method, family), seed, steps,
            tuple(sorted((options | (tuned_settings(method) if tuned else {})).items())),
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
QUICK_METHODS = ("state", "pixels-aug", "random-frozen", "gqn-frozen")
SMALL: dict[str, Any] = {"episodes": 2, "evaluate_every": 250, "num_envs": 2}

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
                seeds=[6, 7, 8],
                family="small",
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


def with_encoder(suite: Suite, encoder: str) -> Suite:
    """The suite with `encoder` (a name, a path, or a function of your own) in place of the GQN's, also where
    its architecture alone is taken. Controls of another training stay as they are."""
    cells = tuple(
        cell._replace(encoder=encoder) if TRAINED_BY.get(cell.method) == "gqn" else cell
        for cell in suite.cells
    )
    return dataclasses.replace(suite, cells=cells)


def suite_named(name: str) -> Suite:
    """The suite of that name; ValueError lists what exists."""
    if name not in SUITES:
        raise ValueError(
            f"unknown suite {name!r}; known: {', '.join(SUITES)}, or one of your own: "
            "a file that ends in .toml, or FILE.py:CELLS"
        )
    return SUITES[name]
