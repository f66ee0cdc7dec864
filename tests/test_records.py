"""Files survive a crash, a round trip changes nothing, and malformed ones are refused by line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.benchmarks.cell_files import FORMAT_VERSION
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.curves import (
    HEADER,
    CurveRow,
    RecordError,
    append_row,
    curve_mark,
    read_curve,
    rewind_curve,
)
from gqn_transfer.benchmarks.records import planned_cells, read_suite
from gqn_transfer.files import write_json

ROWS = [CurveRow(0, 0.02, 7.5, 1.25, 50, 1.5), CurveRow(1000, 0.1, 1 / 3, 2.0, 50, 9.75)]


def write_cell(folder: Path, seed: int = 0, rows: list[CurveRow] = ROWS) -> Path:
    cell = Cell("toy", "Reach", "pixels", "ppo", "fixed", "", seed, 1000, (("episodes", 50),))
    place = folder / "cells" / cell.name
    place.mkdir(parents=True)
    write_json(place / "config.json", {"cell": json.loads(cell.canonical_json)})
    for row in rows:
        append_row(place / "curve.csv", row)
    return place


def test_rows_round_trip_exactly(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    for row in ROWS:
        append_row(path, row)
    assert path.read_text().splitlines()[0] == HEADER
    np.testing.assert_array_equal(np.stack(read_curve(path), axis=1), np.array(ROWS))


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    row = CurveRow(np.int64(5), np.float32(0.5), np.float64(2), np.float64(0), np.int64(50), 1.0)  # type: ignore[arg-type]
    append_row(tmp_path / "curve.csv", row)
    assert (tmp_path / "curve.csv").read_text().splitlines()[1] == "5,0.5,2.0,0.0,50,1.0"
    write_json(tmp_path / "done.json", {"a": np.float32(0.5), "b": np.arange(2)})
    assert json.loads((tmp_path / "done.json").read_text()) == {"a": 0.5, "b": [0, 1]}


@pytest.mark.parametrize("bad", [{"x": object()}, {"x": float("nan")}])
def test_failed_serialisation_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, bad: dict[str, object]
) -> None:
    path = tmp_path / "done.json"
    write_json(path, {"x": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, bad)
    assert [found.name for found in tmp_path.iterdir()] == ["done.json"]
    assert json.loads(path.read_text()) == {"x": 1}


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "done.json"
    write_json(path, {"x": 1})

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"x": 2})
    assert [found.name for found in tmp_path.iterdir()] == ["done.json"]
    assert json.loads(path.read_text()) == {"x": 1}


@pytest.mark.parametrize("torn", ["", "2000,0.", "2000,0.5,1.0,2.0,50,1"])
def test_a_curve_is_cut_back_to_an_evaluation(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "curve.csv"
    for row in ROWS:
        append_row(path, row)
    with path.open("a") as file:
        file.write(torn)
    if torn:
        with pytest.raises(RecordError, match=r"curve.csv, line 4.*truncated.*Delete the cell's folder"):
            read_curve(path)
        with pytest.raises(RecordError, match="rewind_curve"):
            append_row(path, ROWS[0])
    assert len(read_curve(path, allow_torn=True).steps) == 2
    assert rewind_curve(path, ROWS[1].steps) == ROWS[1].wall_seconds
    append_row(path, CurveRow(2000, 0.5, 1.0, 2.0, 50, 12.0))
    assert read_curve(path).steps.tolist() == [0, 1000, 2000]
    assert rewind_curve(path, 0) == ROWS[0].wall_seconds
    assert read_curve(path).steps.tolist() == [0]
    with pytest.raises(RecordError, match=r"curve\.csv has no evaluation at 1000 steps"):
        rewind_curve(path, 1000)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"),
        ("step,score\n", "line 1"),
        (f"{HEADER}\n0,0.5,1,1,50\n", "line 2"),
        (f"{HEADER}\n0,much,1,1,50,1\n", "line 2"),
        (f"{HEADER}\n0,50,1,1,50,1\n", "line 2"),
        (f"{HEADER}\n0,nan,1,1,50,1\n", "line 2"),
        (f"{HEADER}\n0,0,1,1,50,1\n100,0,1,1,50,1\n100,0,1,1,50,1\n", "line 4"),
    ],
)
def test_malformed_curves_name_file_line_header_and_cure(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(RecordError) as error:
        read_curve(path)
    for part in (str(path), where, HEADER, "Delete the cell's folder"):
        assert part in str(error.value)


def test_suite_round_trip_and_status(tmp_path: Path) -> None:
    done, failed = write_cell(tmp_path, 0), write_cell(tmp_path, 1)
    running, fresh = write_cell(tmp_path, 2), write_cell(tmp_path, 3, rows=[])
    write_json(done / "done.json", {"wall_seconds": 9.0})
    write_json(failed / "done.json", {"failed": "Traceback: boom"})
    (running / "curve.csv").open("a").write("2000,0.")  # another process is writing
    records = read_suite(tmp_path)
    assert [record.status for record in records] == ["done", "failed", "running", "running"]
    assert [record.steps.tolist() for record in records] == [[0, 1000]] * 3 + [[]]
    assert [record.cell.name for record in records] == [p.name for p in (done, failed, running, fresh)]
    assert records[0].episode_return.tolist() == [7.5, 1 / 3]
    assert records[0].wall_seconds.tolist() == [1.5, 9.75]


@pytest.mark.parametrize("marked", [True, False])
def test_a_finished_cells_curve_that_was_cut_or_edited_is_no_result(marked: bool, tmp_path: Path) -> None:
    place = write_cell(tmp_path)
    curve, facts = place / "curve.csv", {"env_steps": 1000}
    write_json(place / "done.json", facts | ({"curve": curve_mark(curve)} if marked else {}))
    whole = curve.read_text()
    assert read_suite(tmp_path)[0].status == "done"
    curve.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(RecordError, match=r"ends at 0 steps, the cell at 1,000: .*delete its folder"):
        read_suite(tmp_path)
    curve.write_text(whole.replace("0.1,", "0.9,"))
    if marked:
        with pytest.raises(RecordError, match=r"has changed since its cell ended: bring the file back"):
            read_suite(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "done.json"])
def test_files_of_a_newer_version_are_not_called_broken(name: str, tmp_path: Path) -> None:
    place = write_cell(tmp_path)
    write_json(place / "done.json", {"env_steps": 1000})
    content = json.loads((place / name).read_text())
    write_json(place / name, content | {"format_version": FORMAT_VERSION + 1})
    with pytest.raises(RecordError, match=r"a newer one wrote it; update gqn-transfer"):
        read_suite(tmp_path)
    write_json(tmp_path / "suite.json", {"format_version": FORMAT_VERSION + 1, "cells": []})
    with pytest.raises(RecordError, match=r"suite.json .*a newer one wrote it"):
        planned_cells(tmp_path)


def test_a_cell_with_fields_that_are_not_known_is_refused(tmp_path: Path) -> None:
    place = write_cell(tmp_path)
    cell = json.loads((place / "config.json").read_text())["cell"]
    write_json(place / "config.json", {"cell": cell | {"colour": "red"}})
    with pytest.raises(RecordError, match=r"no valid cell .*colour.*written by another version"):
        read_suite(tmp_path)


def test_finished_cell_without_an_evaluation_counts_as_failed(tmp_path: Path) -> None:
    write_json(write_cell(tmp_path, rows=[]) / "done.json", {})
    assert read_suite(tmp_path)[0].status == "failed"


def test_missing_and_empty_folders_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"No folder .*nowhere.*gqn-bench run"):
        read_suite(tmp_path / "nowhere")
    with pytest.raises(RecordError, match=r"no cells.*gqn-bench run"):
        read_suite(tmp_path)


def test_broken_config_and_copied_cells_are_refused(tmp_path: Path) -> None:
    place = write_cell(tmp_path)
    (place.parent / "copy").mkdir()
    (place.parent / "copy" / "config.json").write_bytes((place / "config.json").read_bytes())
    with pytest.raises(RecordError, match="same cell lies in copy"):
        read_suite(tmp_path)
    (place.parent / "copy" / "config.json").write_text('{"cell": {"task": "Reach"}}')
    with pytest.raises(RecordError, match=r"copy.config.json: no valid cell"):
        read_suite(tmp_path)
    (place.parent / "copy" / "config.json").write_text("{")
    with pytest.raises(RecordError, match="is not JSON"):
        read_suite(tmp_path)
