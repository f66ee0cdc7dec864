"""Cells: one run each, as plain values whose hash names it, and suites, which are many of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from gqn_transfer.agents.knobs import KNOBS

RUN_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "episodes": 50, "evaluate_every": 10_000, "num_envs": 16, "image_size": 64, "second_camera": False,
        "randomize": "none",
    }
)  # fmt: skip
"""Episodes of an evaluation and steps between two of them; environments in step, their images and looks."""
AGENT_OPTIONS = (
    *KNOBS, "learning_rate", "batch_size", "n_epochs", "n_steps", "ent_coef", "gae_lambda", "vf_coef",
    "max_grad_norm", "clip_range", "gamma", "gradient_steps", "train_freq", "buffer_size", "learning_starts",
    "tau",
)  # fmt: skip
"""Settings of agents that a cell may change: see `agents.knobs` and `agents.algorithms`."""
OPTION_KEYS = (*RUN_OPTIONS, *AGENT_OPTIONS)
"""Keys that `Cell.options` may hold."""


class Cell(NamedTuple):
    """One run: one agent, one task, one seed. Equal cells give equal results."""

    suite: str
    task: str
    method: str
    algo: str
    camera: str
    encoder: str
    """Name of a recipe (`artefacts.recipe_of`), a shipped name, a checkpoint's path, FILE.py:FUNCTION, or ""
    for none. "{seed}" in it stands for the cell's own, where every seed has an encoder of its own."""
    seed: int
    steps: int
    """Budget in environment steps, summed over the parallel environments."""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def encoder_name(self) -> str:
        """The encoder of this cell's seed."""
        return self.encoder.replace("{seed}", str(self.seed))

    @property
    def run_options(self) -> dict[str, Any]:
        """How the cell is run: `RUN_OPTIONS` with what it changes of them."""
        return {key: dict(self.options).get(key, value) for key, value in RUN_OPTIONS.items()}

    @property
    def agent_options(self) -> dict[str, Any]:
        """What it changes of its agent's settings."""
        return {key: value for key, value in self.options if key in AGENT_OPTIONS}

    @property
    def seen_as(self) -> dict[str, Any]:
        """What of its settings shapes observations: arguments of `agents.build.observe`."""
        return {key: value for key, value in self.options if key in ("views", "half")}

    @property
    def as_json(self) -> dict[str, Any]:
        """Its fields as a table: what `from_json` takes."""
        return self._asdict() | {"options": dict(self.options)}

    @property
    def canonical_json(self) -> str:
        """The text whose hash names the cell: sorted keys, no spaces."""
        return json.dumps(self.as_json, sort_keys=True, separators=(",", ":"))

    @property
    def name(self) -> str:
        """Folder name: readable slug and 8 hex digits of the canonical JSON."""
        digest = hashlib.sha256(self.canonical_json.encode()).hexdigest()[:8]
        return f"{self.task}-{self.camera}-{self.method}-{self.algo}-seed{self.seed}-{digest}".lower()

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Cell:
        """The inverse of `as_json`; ValueError for fields that are not a cell's."""
        if set(fields) != set(cls._fields):
            raise ValueError(
                f"{', '.join(fields) or 'nothing'} are not the fields of a cell, {', '.join(cls._fields)}: "
                "written by another version?"
            )
        return cls(**(fields | {"options": tuple(sorted(fields["options"].items()))}))


@dataclass(frozen=True)
class Suite:
    """Cells that belong together and one line that says what for."""

    description: str
    cells: tuple[Cell, ...]
