"""The files of a suite: the only place that knows how cells, curves and encoders lie on disk.

`FOLDER/cells/<cell.name>/` holds `config.json`, `curve.csv` and, written last, `done.json`.
`FOLDER/encoders/<recipe>/` may hold `predictions.png`, `probes.csv`, `training.csv`; `FOLDER/films/` films.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gqn_transfer.files import read_json, write_text

from .cells import Cell

Floats = NDArray[np.float64]


class CurveRow(NamedTuple):
    """One evaluation: a line of `curve.csv`. `score` is the success rate over `episodes`."""

    steps: int
    score: float
    return_mean: float
    return_std: float
    episodes: int
    wall_seconds: float


HEADER = ",".join(CurveRow._fields)
FORMAT_VERSION = 1
"""Of the files of a suite."""


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


@dataclass(frozen=True)
class CellRecord:
    """What one cell left on disk. Arrays are float64 (E,), empty before the first evaluation."""

    cell: Cell
    steps: Floats
    score: Floats
    episode_return: Floats
    wall_seconds: Floats
    config: dict[str, Any]
    done: dict[str, Any] | None

    @property
    def status(self) -> str:
        """ "done", "failed" (a traceback, or no evaluation) or "running" (or interrupted)."""
        if self.done is None:
            return "running"
        return "failed" if self.done.get("failed") or not self.steps.size else "done"


@dataclass(frozen=True)
class EncoderRecord:
    """What one encoder recipe left on disk; a table is its header and its rows of text."""

    name: str
    predictions: Path | None
    probes: list[list[str]]
    training: list[list[str]]


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
        return _as_curve([])
    if not lines or lines[0] != HEADER:
        raise _malformed(path, 1, f"the header is {(lines or [''])[0]!r}")
    rows = [_parse(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for number, (before, after) in enumerate(itertools.pairwise(rows), start=3):
        if after.steps <= before.steps:
            raise _malformed(path, number, f"steps {after.steps} come after {before.steps}")
    return _as_curve(rows)


def read_suite(folder: Path) -> list[CellRecord]:
    """All cells of a suite's folder, in the order of their fields."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordError(f"No folder {folder}. `gqn-bench run SUITE --out {folder}` makes one.")
    found = sorted(folder.glob("cells/*/config.json"))
    if not found:
        raise RecordError(
            f"{folder} holds no cells (cells/*/config.json). Give the folder that "
            f"`gqn-bench run SUITE --out FOLDER` wrote, or start that command first."
        )
    records = [read_cell(path.parent) for path in found]
    cells = [record.cell for record in records]
    twice = [path.parent.name for path, cell in zip(found, cells, strict=True) if cells.count(cell) > 1]
    if twice:
        raise RecordError(f"{folder}: the same cell lies in {', '.join(twice)}; keep one of them.")
    return sorted(records, key=lambda record: record.cell[:7])


def read_suite_info(folder: Path) -> dict[str, Any]:
    """`suite.json`, or {} where there is none; its key "cells" may list the planned cells."""
    path = Path(folder) / "suite.json"
    return _read_json(path) if path.exists() else {}


def planned_cells(folder: Path) -> list[dict[str, Any]]:
    """The cells that `suite.json` lists, as JSON; [] where there is none."""
    return list(read_suite_info(folder).get("cells", []))


def film_path(folder: Path, cell: Cell) -> Path:
    """Where the film of an agent of the cell, of whatever seed, lies, if there is one."""
    return Path(folder) / "films" / f"{cell._replace(seed=0, suite='').name}.gif"


def read_encoders(folder: Path) -> list[EncoderRecord]:
    """Every encoder recipe that left a folder under `FOLDER/encoders/`, by name."""
    found = sorted(path for path in (Path(folder) / "encoders").glob("*") if path.is_dir())
    return [read_encoder(path) for path in found]


def read_cell(folder: Path) -> CellRecord:
    """What a cell left; RecordError for what is malformed, cut, or written by a newer version."""
    config = _read_json(folder / "config.json")
    try:
        cell = Cell.from_json(config["cell"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(
            f"{folder / 'config.json'}: no valid cell ({error!r}); expected the fields "
            f"{', '.join(Cell._fields)} under 'cell'. Delete the folder and run the suite again."
        ) from error
    done = _read_json(folder / "done.json") if (folder / "done.json").exists() else None
    path = folder / "curve.csv"
    unfinished = done is None or bool(done.get("failed"))
    curve = read_curve(path, allow_torn=unfinished) if path.exists() else _as_curve([])
    if done is not None and not unfinished and curve.steps.size:
        _check_whole(path, curve, done)
    return CellRecord(cell, curve.steps, curve.score, curve.return_mean, curve.wall_seconds, config, done)


def _check_whole(path: Path, curve: Curve, done: Mapping[str, Any]) -> None:
    """RecordError if a finished cell's curve is not the one that it ended with."""
    steps = int(curve.steps[-1])
    if steps < done.get("env_steps", steps):
        problem = f"ends at {steps:,} steps, the cell at {done['env_steps']:,}"
    elif done.get("curve", "") not in ("", curve_mark(path)):
        problem = "has changed since its cell ended"
    else:
        return
    raise RecordError(f"{path} {problem}: bring the file back, or delete its folder and run the suite again.")


def read_encoder(folder: Path) -> EncoderRecord:
    """What is known of one encoder: of a recipe, or of one that ships."""
    image = folder / "predictions.png"
    tables = [_read_table(folder / name) for name in ("probes.csv", "training.csv")]
    return EncoderRecord(folder.name, image if image.exists() else None, *tables)


def _read_table(path: Path) -> list[list[str]]:
    """Header and rows of a small CSV of any columns; [] where there is none."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    rows = [row for row in csv.reader(whole.splitlines()) if row]
    for row in rows:
        if len(row) != len(rows[0]):
            raise RecordError(
                f"{path}: the row {','.join(row)!r} has {len(row)} values, the header "
                f"{len(rows[0])}; delete the file and make the encoder's table again."
            )
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except ValueError as error:
        raise RecordError(str(error)) from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} holds a {type(found).__name__}, expected an object.")
    version = found.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RecordError(
            f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}: a newer one wrote "
            "it; update gqn-transfer"
        )
    return found


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


def _as_curve(rows: list[CurveRow]) -> Curve:
    columns = np.array(rows, dtype=np.float64).reshape(-1, len(CurveRow._fields)).T
    return Curve(*columns)


def _malformed(path: Path, number: int, what: str) -> RecordError:
    return RecordError(
        f"{path}, line {number}: {what}. Expected the header {HEADER!r} and one such row per "
        f"evaluation. Delete the cell's folder and run the suite again."
    )
