"""Suites: every experiment is rows of data; a new idea is a new row, never a new script."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

OPTION_KEYS = ("episodes", "evaluate_every", "num_envs")
"""Keys that `Cell.options` may hold: evaluation episodes, steps between evaluations, parallel envs."""


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
        return json.dumps(self._asdict() | {"options": dict(self.options)}, sort_keys=True, separators=(",", ":"))

    @property
    def name(self) -> str:
        """Folder name: readable slug and 8 hex digits of the canonical JSON."""
        digest = hashlib.sha256(self.canonical_json.encode()).hexdigest()[:8]
        return f"{self.task}-{self.camera}-{self.method}-{self.algo}-seed{self.seed}-{digest}".lower()

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Cell:
        """The inverse of `canonical_json`, after `json.loads`."""
        return cls(**(fields | {"options": tuple(sorted(fields["options"].items()))}))
