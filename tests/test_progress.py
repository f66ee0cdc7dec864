"""How far a suite is, as its folder says, and how that is shown."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from gqn_transfer.benchmarks.cell_files import cell_folder
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.claims import claimed
from gqn_transfer.benchmarks.curves import CurveRow, RecordError, append_row
from gqn_transfer.benchmarks.grids import grid
from gqn_transfer.benchmarks.progress import STATES, progress_in, progress_of
from gqn_transfer.benchmarks.shown import Shown, duration, progress_table, summary_of
from gqn_transfer.benchmarks.work import Outcome
from gqn_transfer.files import write_json

CELLS = grid("t", ["Reach-v0"], ["fixed"], {"state": 1000}, seeds=range(5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished cell, a failed one, one that runs, one that was interrupted, and one that waits."""
    for cell, steps in zip(CELLS, (1000, 250, 500, 250), strict=False):
        place = cell_folder(tmp_path, cell)
        place.mkdir(parents=True)
        append_row(place / "curve.csv", CurveRow(0, 0.0, 0.0, 0.0, 50, 0.0))
        append_row(place / "curve.csv", CurveRow(steps, 0.5, 0.0, 0.0, 50, steps / 100))
    write_json(cell_folder(tmp_path, CELLS[0]) / "done.json", {"wall_seconds": 10})
    write_json(cell_folder(tmp_path, CELLS[1]) / "done.json", {"failed": "Traceback"})
    fields = [cell.as_json for cell in CELLS]
    write_json(tmp_path / "suite.json", {"cells": fields})
    return tmp_path


def test_states_steps_and_what_is_left(folder: Path) -> None:
    with claimed(cell_folder(folder, CELLS[2])):
        found = progress_in(folder)
    assert [cell.state for cell in found.cells] == list(STATES)
    assert [cell.steps for cell in found.cells] == [1000, 250, 500, 250, 0]
    assert math.isnan(found.cells[4].score)
    assert found.steps_per_second == 100
    assert found.seconds_left(1) == pytest.approx((500 + 750 + 1000) / 100)


def test_a_finished_cell_is_read_once(folder: Path) -> None:
    done: dict = {}
    before = progress_of(CELLS, folder, done)
    assert list(done) == [CELLS[0]]
    (cell_folder(folder, CELLS[0]) / "curve.csv").unlink()
    assert progress_of(CELLS, folder, done).cells[0] == before.cells[0]


def test_nothing_known_nothing_promised(tmp_path: Path) -> None:
    found = progress_of(CELLS, tmp_path)
    assert found.seconds_left(1) is None
    assert summary_of(found) == "0 of 5 done"


def test_a_folder_without_a_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no suite: `gqn-bench run SUITE --out"):
        progress_in(tmp_path)


def test_lines_outside_a_terminal(folder: Path) -> None:
    text = io.StringIO()
    with claimed(cell_folder(folder, CELLS[2])), Shown(CELLS, folder, Console(file=text, width=200)) as shown:
        shown.update()
        for cell, outcome in zip(CELLS, (Outcome.DONE, Outcome.FAILED, Outcome.STOPPED), strict=False):
            shown.cell(cell, outcome)
    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    state = "1 of 5 done, 1 failed, 1 running, 1 interrupted, 100 steps/s, about 22 s to go"
    assert lines[0].endswith(f"success 50%  ({state})")
    assert "failed, see its done.json" in lines[1]
    assert "stopped at 500 steps" in lines[2]


def test_the_live_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqn_transfer.benchmarks.shown.REFRESH", -1.0)
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with claimed(cell_folder(folder, CELLS[2])), Shown(CELLS, folder, console) as shown:
        shown.update()
        assert CELLS[2].name in text.getvalue()
        table = progress_table(progress_in(folder))
    assert progress_table(progress_in(folder)) == summary_of(progress_in(folder))
    assert [column.header for column in table.columns] == ["running", "steps", "of", "success", "steps/s"]
    assert table.row_count == 1


def test_durations() -> None:
    assert [duration(seconds) for seconds in (40, 1200, 12600)] == ["40 s", "20 min", "3.5 h"]


def test_cells_are_told_apart(tmp_path: Path) -> None:
    cells: tuple[Cell, ...] = (CELLS[0], CELLS[0]._replace(steps=2000))
    assert len({cell_folder(tmp_path, cell) for cell in cells}) == 2
