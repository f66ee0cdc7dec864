"""Suites: every experiment is rows of data; a new idea is a new row, never a new script."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

OPTION_KEYS = ("episodes", "evaluate_every", "image_size", "num_envs")
"""Keys that `Cell.options` may hold; `run_cell.DEFAULTS` says what they mean."""


class Cell(NamedTuple):
    """One run: one agent, one task, one seed. Equal cells give equal results."""

    suite: str
    task: str
    method: str
    algo: str
    camera: str
    encoder: str
    """A recipe of `artefacts.ENCODERS`, a shipped name, a checkpoint's path, or "" for none."""
    seed: int
    steps: int
    """Budget in environment steps, summed over the parallel environments."""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def canonical_json(self) -> str:
        """The text whose hash names the cell: sorted keys, no spaces."""
        return json.dumps(
            self._asdict() | {"options": dict(self.options)}, sort_keys=True, separators=(",", ":")
        )

    @property
    def name(self) -> str:
        """Folder name: readable slug and 8 hex digits of the canonical JSON."""
        digest = hashlib.sha256(self.canonical_json.encode()).hexdigest()[:8]
        return f"{self.task}-{self.camera}-{self.method}-{self.algo}-seed{self.seed}-{digest}".lower()

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Cell:
        """The inverse of `canonical_json`, after `json.loads`."""
        return cls(**(fields | {"options": tuple(sorted(fields["options"].items()))}))


@dataclass(frozen=True)
class Suite:
    """Cells that belong together and one line that says what for."""

    description: str
    cells: tuple[Cell, ...]


FROZEN_ENCODER = {"random-frozen": "random", "supervised-frozen": "supervised", "gqn-frozen": "gqn"}
"""Method -> last part of the name of its recipe; the first part is `grid`'s `recipes`."""


def grid(
    suite: str,
    tasks: Iterable[str],
    cameras: Iterable[str],
    methods: Mapping[str, int],
    seeds: Iterable[int],
    recipes: str = "reach",
    **options: int,
) -> tuple[Cell, ...]:
    """Every combination with PPO.

    methods: each method's budget in steps; recipes: family of `artefacts.ENCODERS` that frozen ones use.
    """
    extra = tuple(sorted(options.items()))
    if unknown := [key for key in options if key not in OPTION_KEYS]:
        raise ValueError(f"unknown options {', '.join(unknown)}; known: {', '.join(OPTION_KEYS)}")
    encoders = {method: f"{recipes}-{last}" for method, last in FROZEN_ENCODER.items()}
    return tuple(
        Cell(suite, task, method, "ppo", camera, encoders.get(method, ""), seed, steps, extra)
        for task in tasks
        for camera in cameras
        for method, steps in methods.items()
        for seed in seeds
    )


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
SMALL = {"episodes": 2, "evaluate_every": 250, "num_envs": 2}

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
                recipes="smoke",
                **SMALL,
            ),
        ),
        "quick": Suite(
            "Reach, fixed camera, 50 minutes on 2 cores: does a GQN pretrained for minutes beat raw pixels?",
            grid(
                "quick",
                tasks=["Reach-v0"],
                cameras=["fixed"],
                methods=dict.fromkeys(["state", "pixels-aug", "random-frozen", "gqn-frozen"], 100_000),
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


def suite_named(name: str) -> Suite:
    """The suite of that name; ValueError lists what exists."""
    if name not in SUITES:
        raise ValueError(f"unknown suite {name!r}; known: {', '.join(SUITES)}")
    return SUITES[name]
