"""Learning curves on disk: `curve.csv`, one evaluation a row, each there as soon as it is made."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gqn_transfer.files import write_text

from .statistics import Floats


class CurveRow(NamedTuple):
    """One evaluation: a line of `curve.csv`. `score` is the success rate over `episodes`."""

    steps: int
    score: float
    return_mean: float
    return_std: float
    episodes: int
    wall_seconds: float


HEADER = ",".join(CurveRow._fields)


class RecordError(ValueError):
    """A file of a suite is missing or malformed; the text names the file and the cure."""


class Curve(NamedTuple):
    """The columns of `curve.csv`, E evaluations each: float64 (E,), steps strictly rising."""

    steps: Floats
    score: Floats
    return_mean: Floats
    return_std: Floats
    episodes: Floats
    wall_seconds: Floats


def append_row(path: Path, row: CurveRow) -> None:
    """Append one evaluation, on disk when this returns; a new or empty file gets the header."""
    path = Path(path)
    size = path.stat().st_size if path.exists() else 0
    if size and not path.read_bytes().endswith(b"\n"):
        raise RecordError(f"{path}: the last line is torn; call rewind_curve(path, steps), then append.")
    cells = (int(row.steps), float(row.score), float(row.return_mean), float(row.return_std))
    line = ",".join(repr(value) for value in (*cells, int(row.episodes), float(row.wall_seconds)))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n" if size else f"{HEADER}\n{line}\n")
        file.flush()
        os.fsync(file.fileno())


def curve_mark(path: Path) -> str:
    """What `done.json` says of the curve it was written for: no line lost, none changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def rewind_curve(path: Path, steps: int) -> float:
    """Drop every evaluation after `steps` and a torn last line; return the seconds of the one at `steps`.

    RecordError if there is none.
    """
    curve = read_curve(path, allow_torn=True)
    if steps not in curve.steps:
        raise RecordError(f"{path} has no evaluation at {steps} steps")
    kept = int(np.flatnonzero(curve.steps == steps)[0]) + 1
    lines = Path(path).read_text(encoding="utf-8").split("\n")[: kept + 1]
    write_text(path, "\n".join(lines) + "\n")
    return float(curve.wall_seconds[kept - 1])


def read_curve(path: Path, *, allow_torn: bool = False) -> Curve:
    """Read `curve.csv`; refuses anything malformed.

    `allow_torn` passes over a last line without a newline: another process is writing it.
    """
    text = Path(path).read_text(encoding="utf-8")
    whole, _, rest = text.rpartition("\n")
    if rest and not allow_torn:
        raise _malformed(path, text.count("\n") + 1, "the line has no end: the file is truncated")
    lines = whole.split("\n") if whole else []
    if not lines and allow_torn:
        return as_curve([])
    if not lines or lines[0] != HEADER:
        raise _malformed(path, 1, f"the header is {(lines or [''])[0]!r}")
    rows = [_parse(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for number, (before, after) in enumerate(itertools.pairwise(rows), start=3):
        if after.steps <= before.steps:
            raise _malformed(path, number, f"steps {after.steps} come after {before.steps}")
    return as_curve(rows)


def _parse(path: Path, number: int, line: str) -> CurveRow:
    values = line.split(",")
    if len(values) != len(CurveRow._fields):
        raise _malformed(path, number, f"{len(values)} values in {line!r}")
    try:
        steps, score, mean, std, episodes, wall = values
        row = CurveRow(int(steps), float(score), float(mean), float(std), int(episodes), float(wall))
    except ValueError as error:
        raise _malformed(path, number, str(error)) from error
    if row.steps < 0 or not 0 <= row.score <= 1:
        raise _malformed(path, number, f"steps {steps}, score {score}: no success rate in [0, 1]")
    return row


def as_curve(rows: list[CurveRow]) -> Curve:
    """Columns of rows; of none, empty ones."""
    columns = np.array(rows, dtype=np.float64).reshape(-1, len(CurveRow._fields)).T
    return Curve(*columns)


def _malformed(path: Path, number: int, what: str) -> RecordError:
    return RecordError(
        f"{path}, line {number}: {what}. Expected the header {HEADER!r} and one such row per "
        f"evaluation. Delete the cell's folder and run the suite again."
    )
