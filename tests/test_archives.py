"""Cells that travel: what is finished, once, and nothing that an archive should not hold."""

import zipfile
from pathlib import Path

import pytest

from gqn_transfer.benchmarks.archives import export_cells, import_cells
from gqn_transfer.benchmarks.cell_files import cell_folder
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.claims import claimed
from gqn_transfer.benchmarks.curves import CurveRow, RecordError, append_row
from gqn_transfer.benchmarks.grids import grid
from gqn_transfer.benchmarks.progress import progress_in
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.files import write_json

CELLS = grid("t", ["Reach-v0"], ["fixed"], {"state": 100}, seeds=range(4))


def write_cell(folder: Path, cell: Cell, score: float = 0.5, finished: bool = True) -> None:
    place = cell_folder(folder, cell)
    write_json(place / "config.json", {"cell": cell.as_json})
    append_row(place / "curve.csv", CurveRow(100, score, 1.0, 0.0, 50, 2.0))
    (place / "agent").mkdir()
    (place / "agent" / "weights.safetensors").write_bytes(b"large")
    if finished:
        write_json(place / "done.json", {"env_steps": 100})


def suite(folder: Path, seeds: tuple[int, ...]) -> Path:
    for seed in seeds:
        write_cell(folder, CELLS[seed])
    write_json(folder / "suite.json", {"cells": [CELLS[seed].as_json for seed in seeds]})
    return folder


def test_two_machines_results_come_together(tmp_path: Path) -> None:
    one, other = suite(tmp_path / "one", (0, 1)), suite(tmp_path / "other", (1, 2))
    write_cell(one, CELLS[3], finished=False)
    assert export_cells(one, tmp_path / "one.zip") == 2
    assert import_cells(tmp_path / "one.zip", other) == 1
    assert [record.cell.seed for record in read_suite(other)] == [0, 1, 2]
    assert all(record.status == "done" for record in read_suite(other))
    assert {cell.cell.seed for cell in progress_in(other).cells} == {0, 1, 2}
    assert import_cells(tmp_path / "one.zip", other) == 0
    assert import_cells(tmp_path / "one.zip", tmp_path / "new") == 2
    assert not list((tmp_path / "new").rglob("agent"))
    suite(tmp_path / "begun", ())
    write_cell(tmp_path / "begun", CELLS[0], finished=False)
    assert import_cells(tmp_path / "one.zip", tmp_path / "begun") == 2
    assert not list((tmp_path / "begun").rglob("agent")), "it is not the one that ended"


def test_what_is_told_of_encoders_comes_along(tmp_path: Path) -> None:
    one, other = suite(tmp_path / "one", (0,)), tmp_path / "other"
    place = one / "encoders" / "stage"
    for name in ("Reach-v0.csv", "config.json", "done.json", "encoder/weights.safetensors", "notes.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("here")
    export_cells(one, tmp_path / "one.zip")
    import_cells(tmp_path / "one.zip", other)
    found = {path.name: path.read_text() for path in (other / "encoders" / "stage").iterdir()}
    assert found == dict.fromkeys(("Reach-v0.csv", "config.json", "done.json"), "here")
    (other / "encoders" / "stage" / "done.json").unlink()
    import_cells(tmp_path / "one.zip", other)
    assert not (other / "encoders" / "stage" / "done.json").exists(), "what is here is left alone"


def test_a_cell_with_another_result_is_refused(tmp_path: Path) -> None:
    export_cells(suite(tmp_path / "one", (0,)), tmp_path / "one.zip")
    write_cell(tmp_path / "other", CELLS[0], score=0.9)
    with pytest.raises(RecordError, match="is finished with another curve than the archive's"):
        import_cells(tmp_path / "one.zip", tmp_path / "other")


def test_a_cell_that_runs_is_left_alone(tmp_path: Path) -> None:
    export_cells(suite(tmp_path / "one", (0,)), tmp_path / "one.zip")
    with (
        claimed(cell_folder(tmp_path / "other", CELLS[0])),
        pytest.raises(RecordError, match="is running here"),
    ):
        import_cells(tmp_path / "one.zip", tmp_path / "other")


def test_archives_write_nowhere_else(tmp_path: Path) -> None:
    export_cells(suite(tmp_path / "one", (0,)), tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip", "a") as file:
        file.writestr("../evil.txt", "x")
        file.writestr("cells/a/b/evil.txt", "x")
    import_cells(tmp_path / "one.zip", tmp_path / "new")
    assert not list(tmp_path.rglob("evil.txt"))
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as file:
        file.writestr("suite.json", '{"cells": []}')
        file.writestr("cells/../config.json", "{}")
    with pytest.raises(RecordError, match=r"names a cell '\.\.'"):
        import_cells(tmp_path / "up.zip", tmp_path / "new")


def test_a_cell_under_another_name_or_with_a_cut_curve_is_refused(tmp_path: Path) -> None:
    one = suite(tmp_path / "one", (0,))
    place = cell_folder(one, CELLS[0])
    export_cells(one, tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as whole, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        for name in whole.namelist():
            bad.writestr(name.replace("seed0", "seed7"), whole.read(name))
    with pytest.raises(RecordError, match=r"seed7-.* holds .*seed0-.*, done, not that cell"):
        import_cells(tmp_path / "bad.zip", tmp_path / "new")
    write_json(place / "done.json", {"env_steps": 200})
    export_cells(one, tmp_path / "cut.zip")
    with pytest.raises(RecordError, match="ends at 100 steps, the cell at 200"):
        import_cells(tmp_path / "cut.zip", tmp_path / "new")
    assert not list(tmp_path.glob("new/cells/*"))


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no")
    for archive in ("no.zip", "nowhere.zip"):
        with pytest.raises(RecordError, match=r"is no archive of cells .*`gqn-bench export` writes one"):
            import_cells(tmp_path / archive, tmp_path / "new")
    with pytest.raises(RecordError, match="has no finished cells to export"):
        export_cells(tmp_path, tmp_path / "x.zip")
