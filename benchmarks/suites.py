"""Suites: every experiment is rows of data; a new idea is a new row, never a new script."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gqn_transfer.agents.methods import METHODS
from gqn_transfer.choices import named
from gqn_transfer.encoder import is_function

from .candidates import CONTESTS
from .cells import Cell, Suite
from .grids import grid
from .raw_pixels_suites import ORACLE_BUDGETS, RAW_PIXELS_SUITES
from .transfer_suites import TRANSFER_SUITES

QUICK_METHODS = ("state", "pixels", "random-frozen", "gqn-frozen")
SMALL: dict[str, Any] = {"episodes": 2, "evaluate_every": 250, "num_envs": 2}

SINGLE_TASK_METHODS = tuple(name for name in METHODS if name != "gqn-tier2")
"""Methods whose encoder needs no other task."""
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
            "Reach, untuned, with an encoder of the suite's own, preset cpu-30min",
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
                for camera, methods in (
                    ("fixed", SINGLE_TASK_METHODS),
                    ("moving", ("pixels", "pixels-aug", "gqn-frozen")),
                )
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
        **RAW_PIXELS_SUITES,
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
        **TRANSFER_SUITES,
    }
)
"""Name -> suite."""


def with_encoder(suite: Suite, encoder: str) -> Suite:
    """The suite with `encoder` (a name, a path, or a function of your own) in place of the GQN's, also where
    its architecture alone is taken, but for a function's, whose network cannot be made anew. Controls of
    another training stay as they are."""

    def takes_it(cell: Cell) -> bool:
        row = METHODS[cell.method]
        return row.trained_by == "gqn" and not (row.eyes == "fresh" and is_function(encoder))

    cells = tuple(cell._replace(encoder=encoder) if takes_it(cell) else cell for cell in suite.cells)
    if len(set(cells)) < len(cells):
        raise ValueError("this suite compares encoders: leave --encoder out, or write a suite of your own")
    return dataclasses.replace(suite, cells=cells)


def suite_named(name: str) -> Suite:
    """The suite of that name; ValueError lists what exists."""
    own = ", or one of your own: a file that ends in .toml, or FILE.py:CELLS"
    return named(SUITES, name, "suite", own)
