"""What a suite has left on disk: its cells and their curves.

`FOLDER/cells/<cell.name>/` holds `config.json`, `curve.csv` and, written last, `done.json`.
`FOLDER/films/` may hold films.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gqn_transfer.files import read_json

from .cell_files import CONFIG, CURVE, DONE, FORMAT_VERSION, SUITE
from .cells import Cell
from .curves import Curve, RecordError, as_curve, curve_mark, read_curve
from .statistics import Floats


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


def read_suite(folder: Path) -> list[CellRecord]:
    """All cells of a suite's folder, in the order of their fields."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordError(f"No folder {folder}. `gqn-bench run SUITE --out {folder}` makes one.")
    found = sorted(folder.glob(f"cells/*/{CONFIG}"))
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
    path = Path(folder) / SUITE
    return _read_json(path) if path.exists() else {}


def planned_cells(folder: Path) -> list[dict[str, Any]]:
    """The cells that `suite.json` lists, as JSON; [] where there is none."""
    return list(read_suite_info(folder).get("cells", []))


def film_path(folder: Path, cell: Cell) -> Path:
    """Where the film of an agent of the cell, of whatever seed, lies, if there is one."""
    return Path(folder) / "films" / f"{cell._replace(seed=0, suite='').name}.gif"


def read_cell(folder: Path) -> CellRecord:
    """What a cell left; RecordError for what is malformed, cut, or written by a newer version."""
    config = _read_json(folder / CONFIG)
    try:
        cell = Cell.from_json(config["cell"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(
            f"{folder / 'config.json'}: no valid cell ({error!r}); expected the fields "
            f"{', '.join(Cell._fields)} under 'cell'. Delete the folder and run the suite again."
        ) from error
    done = _read_json(folder / DONE) if (folder / DONE).exists() else None
    path = folder / CURVE
    unfinished = done is None or bool(done.get("failed"))
    curve = read_curve(path, allow_torn=unfinished) if path.exists() else as_curve([])
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
