"""Records in groups, groups in panels: what is compared with what.

A group is the cells that are equal but for the seed and the suite they belong to; a panel is the
groups of one task, camera, algorithm and look. Only finished seeds count. A final score is the score of
the last evaluation; the threshold is half the state oracle's mean final score.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from gqn_transfer.agents.methods import METHODS
from gqn_transfer.encoder import is_function

from .cells import Cell
from .curves import RecordError
from .records import CellRecord
from .statistics import (
    Floats,
    area_under_curve,
    steps_to_threshold,
)

METHOD_ORDER = tuple(METHODS)
"""Order of rows and legends."""
ORACLE = "state"
LOOKS = {"none": "", "colors": ", random colours", "full": ", random colours, lights and textures"}
"""What a title says of an environment's `randomize`."""
EXTRA_FRAMES = ("pretraining_frames", "auxiliary_frames")
"""Keys of done.json: frames that an encoder was trained on, and those rendered for an auxiliary loss."""


@dataclass(frozen=True)
class Group:
    """The records of cells that are equal but for the seed, sorted by seed."""

    label: str
    variant: int
    """Counts groups of one method within a panel: 0 unless encoder, steps or options differ."""
    cell: Cell
    records: tuple[CellRecord, ...]

    @property
    def method(self) -> str:
        return self.cell.method

    def with_status(self, status: str) -> tuple[CellRecord, ...]:
        """The records that are "done", "failed" or "running"."""
        return tuple(record for record in self.records if record.status == status)

    @functools.cached_property
    def finished(self) -> tuple[CellRecord, ...]:
        return self.with_status("done")

    @functools.cached_property
    def final_scores(self) -> Floats:
        """Score of the last evaluation of each finished seed: (S,)."""
        return np.array([record.score[-1] for record in self.finished])

    @functools.cached_property
    def areas(self) -> Floats:
        """Area under the score curve of each finished seed: (S,)."""
        return self.areas_until(math.inf)

    def areas_until(self, steps: float) -> Floats:
        """The same of the evaluations up to `steps`: what can be compared with a group that ran no longer."""
        early = [(one.steps[one.steps <= steps], one.score[one.steps <= steps]) for one in self.finished]
        return np.array([area_under_curve(x, y) if x.size else math.nan for x, y in early])

    def times(self, threshold: float | None) -> Floats:
        """Steps to the threshold of each finished seed, inf if censored, nan without one: (S,)."""
        if threshold is None:
            return np.full(len(self.finished), math.nan)
        found = [steps_to_threshold(one.steps, one.score, threshold) for one in self.finished]
        return np.array(found, dtype=np.float64)

    @property
    def budget(self) -> float:
        """Last evaluation that every finished seed made, in steps."""
        return min((float(record.steps[-1]) for record in self.finished), default=math.nan)

    @property
    def extra_frames(self) -> int:
        """Frames rendered for the eyes alone, before the agent's training or beside it; mostly none."""
        done = [record.done or {} for record in self.records]
        return max(sum(int(one.get(key) or 0) for key in EXTRA_FRAMES) for one in done)

    def mean_of(self, key: str) -> float:
        """Mean of a number in done.json over the finished seeds; nan where none has it."""
        found = [(record.done or {}).get(key) for record in self.finished]
        values = [float(value) for value in found if value is not None]
        return float(np.mean(values)) if values else math.nan


@dataclass(frozen=True)
class Panel:
    """What is compared: the groups of one task, camera and algorithm, and their threshold."""

    task: str
    camera: str
    algo: str
    randomize: str
    groups: tuple[Group, ...]
    oracle: Group | None
    """The state oracle: of this panel, else of another one of the task; its best setting."""

    @property
    def title(self) -> str:
        return f"{self.task}, {self.place}"

    @property
    def place(self) -> str:
        """What it has in common with panels of other tasks, but for the algorithm."""
        return f"{self.camera} camera{LOOKS[self.randomize]}"

    @property
    def slug(self) -> str:
        look = "" if self.randomize == "none" else f"-{self.randomize}"
        return f"{self.task}-{self.camera}{look}-{self.algo}".lower().replace("/", "-")

    @functools.cached_property
    def threshold(self) -> float | None:
        """Half the oracle's mean final score; None without an oracle or if it never succeeds."""
        if self.oracle is None or not self.oracle.final_scores.mean():
            return None
        return float(self.oracle.final_scores.mean() / 2)

    def best_of(self, groups: Iterable[Group]) -> Group | None:
        """The one with the largest mean area, over the steps that all of them ran."""
        found = list(groups)
        steps = min((group.budget for group in found), default=math.nan)
        return max(found, key=lambda group: float(group.areas_until(steps).mean()), default=None)

    def groups_of(self, methods: Iterable[str]) -> list[Group]:
        """Groups with a finished seed of the methods, in the order of `methods`."""
        ranked = [[g for g in self.groups if g.method == name and g.finished] for name in methods]
        return [group for groups in ranked for group in groups]


def panels_of(records: list[CellRecord]) -> list[Panel]:
    """Panels by task, camera, algorithm and looks; groups in METHOD_ORDER."""
    keys = sorted(
        {_key(record.cell) for record in records}, key=lambda key: (key[:3], [*LOOKS].index(key[3]))
    )
    groups = {key: _groups([record for record in records if _key(record.cell) == key]) for key in keys}
    every = [group for key in keys for group in groups[key]]
    return [Panel(*key, groups[key], _oracle(every, key)) for key in keys]


def _key(cell: Cell) -> tuple[str, str, str, str]:
    return cell.task, cell.camera, cell.algo, cell.run_options["randomize"]


def _groups(records: list[CellRecord]) -> tuple[Group, ...]:
    """Groups of one panel; a method with several groups names in its label what differs."""
    cells = sorted({_setting(one.cell) for one in records}, key=_rank)
    found = []
    for cell in cells:
        alike = [other for other in cells if other.method == cell.method]
        own = _once([record for record in records if _setting(record.cell) == cell])
        found.append(Group(_label(cell, alike), alike.index(cell), cell, own))
    return tuple(found)


def _setting(cell: Cell) -> Cell:
    """What the cells of a group have in common: suites may share a folder, and cells."""
    return cell._replace(seed=0, suite="")


def _once(records: Iterable[CellRecord]) -> tuple[CellRecord, ...]:
    """One record for each seed, by seed; RecordError if a seed ran twice, in two suites, to other results."""
    by_seed: dict[int, CellRecord] = {}
    for record in sorted(records, key=lambda one: (one.cell.seed, one.status != "done", one.cell.suite)):
        first = by_seed.setdefault(record.cell.seed, record)
        if record.status == "done" and not np.array_equal(first.score, record.score):
            raise RecordError(
                f"{first.cell.name} and {record.cell.name} are the same run in two suites, with other "
                "results: keep one of them"
            )
    return tuple(by_seed.values())


def _rank(cell: Cell) -> tuple[int, str]:
    known = cell.method in METHOD_ORDER
    place = METHOD_ORDER.index(cell.method) if known else len(METHOD_ORDER)
    return place, cell.canonical_json


def _label(cell: Cell, alike: list[Cell]) -> str:
    parts = []
    if len({other.encoder for other in alike}) > 1 or is_function(cell.encoder):
        parts.append(_encoder(cell.encoder, {other.encoder for other in alike}))
    if len({other.steps for other in alike}) > 1:
        parts.append(f"{cell.steps:,} steps")
    if len({other.options for other in alike}) > 1:
        own = [f"{key}={value}" for key, value in cell.options if key in _differing(alike)]
        parts.append(" ".join(own) or "no options")
    return f"{cell.method} ({', '.join(parts)})" if parts else cell.method


def _differing(cells: list[Cell]) -> set[str]:
    """Options that not all cells have alike; their looks are the panel's."""
    options = [dict(cell.options) for cell in cells]
    every = {key for each in options for key in each} - {"randomize"}
    return {key for key in every if any(each.get(key) != options[0].get(key) for each in options)}


def _encoder(encoder: str, others: set[str]) -> str:
    """Its name; of a source stage without start, seed and digest, as far as it is clear without."""
    without_digest = {other: _without_digest(other) for other in others}
    without_start = {other: _without_start(other, without_digest.values()) for other in others}
    for names in (without_start, without_digest):
        if list(names.values()).count(names[encoder]) == 1:
            return names[encoder] or "no encoder"
    return PurePath(encoder).name


def _without_start(encoder: str, others: Iterable[str]) -> str:
    """others: without their digests, what it starts from among them."""
    name = _without_digest(encoder)
    starts = [f"{other}-" for other in others if name.startswith(f"{other}-") and other]
    is_stage = name != PurePath(encoder).name
    return name.removeprefix(min(starts, key=len)) if starts and is_stage else name


def _without_digest(encoder: str) -> str:
    return re.sub(r"(-[0-9a-f]{8})?-seed\{seed\}$", "", PurePath(encoder).name)


def _oracle(groups: list[Group], key: tuple[str, str, str, str]) -> Group | None:
    task, camera, algo, randomize = key
    fit = [g for g in groups if g.method == ORACLE and g.cell.task == task and g.finished]

    def nearest_then_best(group: Group) -> tuple[bool, bool, bool, float]:
        _, its_camera, its_algo, its_looks = _key(group.cell)
        near = (its_algo == algo, its_camera == camera, its_looks == randomize)
        return *near, float(group.final_scores.mean())

    return max(fit, key=nearest_then_best, default=None)
