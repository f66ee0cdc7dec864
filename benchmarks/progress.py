"""How far a suite is: read from its folder, so that any command can tell, also of what another one runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cell_files import CURVE, cell_folder, failed, finished
from .cells import Cell
from .claims import is_claimed
from .curves import RecordError, read_curve
from .records import planned_cells

STATES = ("done", "failed", "running", "interrupted", "waiting")


@dataclass(frozen=True)
class CellProgress:
    """One cell, as its folder says."""

    cell: Cell
    state: str
    """One of `STATES`."""
    steps: int
    """At the last evaluation."""
    score: float
    """Of the last evaluation, nan before the first."""
    seconds: float
    """What it has run for, as far as is known."""


@dataclass(frozen=True)
class Progress:
    """All cells of a suite."""

    cells: tuple[CellProgress, ...]

    def count(self, state: str) -> int:
        """Cells in a state."""
        return Counter(cell.state for cell in self.cells)[state]

    @property
    def running(self) -> list[CellProgress]:
        """Those that some process has."""
        return [cell for cell in self.cells if cell.state == "running"]

    @property
    def steps_per_second(self) -> float:
        """Of all that runs now, together."""
        return sum(cell.steps / cell.seconds for cell in self.running if cell.seconds)

    def seconds_left(self, slots: int) -> float | None:
        """Of cells in `slots` at once, each at the pace of those of its method; None before any is known."""
        pace = _pace(self.cells)
        left = [cell for cell in self.cells if cell.state not in ("done", "failed")]
        if not pace or not left:
            return None if left else 0.0
        mean = sum(pace.values()) / len(pace)
        work = [(one.cell.steps - one.steps) * pace.get(one.cell.method, mean) for one in left]
        return max(sum(work) / max(1, min(slots, len(left))), *work)


def progress_of(
    cells: Sequence[Cell], folder: Path, done: dict[Cell, CellProgress] | None = None
) -> Progress:
    """Of a suite's cells in its folder. `done` holds cells that need not be read again, and is filled."""
    done = {} if done is None else done
    for cell in cells:
        if cell not in done and finished(cell_folder(folder, cell)):
            done[cell] = _of_cell(cell, cell_folder(folder, cell))
    return Progress(tuple(done.get(cell) or _of_cell(cell, cell_folder(folder, cell)) for cell in cells))


def progress_in(folder: Path) -> Progress:
    """Of all cells that any command has planned in a folder."""
    planned = planned_cells(folder)
    if not planned:
        raise RecordError(f"{folder} holds no suite: `gqn-bench run SUITE --out {folder}` makes one")
    return progress_of([Cell.from_json(cell) for cell in planned], folder)


def _of_cell(cell: Cell, place: Path) -> CellProgress:
    steps, score, seconds = _last(place / CURVE)
    if finished(place):
        return CellProgress(cell, "done", steps, score, seconds)
    if is_claimed(place):
        return CellProgress(cell, "running", steps, score, seconds)
    state = "failed" if failed(place) else "interrupted" if place.exists() else "waiting"
    return CellProgress(cell, state, steps, score, seconds)


def _last(path: Path) -> tuple[int, float, float]:
    """Steps, score and seconds of a curve's last evaluation."""
    try:
        curve = read_curve(path, allow_torn=True)
    except (RecordError, OSError):
        return 0, float("nan"), 0.0
    if not len(curve.steps):
        return 0, float("nan"), 0.0
    return int(curve.steps[-1]), float(curve.score[-1]), float(curve.wall_seconds[-1])


def _pace(cells: Sequence[CellProgress]) -> dict[str, float]:
    """Method -> seconds a step."""
    steps: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    for cell in cells:
        if cell.steps:
            steps[cell.cell.method] += cell.steps
            seconds[cell.cell.method] += cell.seconds
    return {method: seconds[method] / steps[method] for method in steps}
