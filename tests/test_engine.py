"""The smoke suite end to end: every stage really happens, and only once."""

import csv
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from gqn_transfer.benchmarks import engine, run_cell
from gqn_transfer.benchmarks.records import read_curve, read_suite
from gqn_transfer.benchmarks.report import write_report
from gqn_transfer.benchmarks.suites import SMALL, SUITES, Cell, Suite
from gqn_transfer.envs import TASKS
from gqn_transfer.files import read_json, write_json
from gqn_transfer.reference import read_reference

SMOKE = SUITES["smoke"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    assert engine.run_suite(SMOKE, folder, console=Console(file=io.StringIO())) == 0
    return folder


def test_every_cell_took_its_steps_and_learned(smoke: Path) -> None:
    records = read_suite(smoke)
    assert {record.cell for record in records} == set(SMOKE.cells)
    for record in records:
        assert record.status == "done"
        assert record.steps.tolist() == [0, 250, 500]
        assert record.done is not None
        assert record.done["gradient_steps"] > 0


def test_the_encoder_was_trained_on_rendered_scenes(smoke: Path) -> None:
    record = read_json(smoke / "encoders/smoke-gqn/encoder/checkpoint.json")
    assert record["steps"] == 20
    assert record["frames"] == 64 * 4
    cell = next(record for record in read_suite(smoke) if record.cell.method == "gqn-frozen")
    assert cell.done is not None
    assert cell.done["encoder_fingerprint"] == record["fingerprint"]
    assert cell.done["pretraining_frames"] == 64 * 4


def test_a_cell_compares_the_look_with_the_encoders(smoke: Path) -> None:
    encoder = smoke / "encoders/smoke-gqn/encoder"
    cell = next(record for record in read_suite(smoke) if record.cell.method == "gqn-frozen")
    assert cell.done is not None
    assert cell.done["scene_warning"] == ""
    assert set(read_reference(encoder)) == set(TASKS)
    assert run_cell._scene_warning("Reach-v0", 64, encoder) == ""
    assert "looks different" in run_cell._scene_warning("Reach-v0", 32, encoder)


def test_the_encoder_was_probed_and_drawn(smoke: Path) -> None:
    folder = smoke / "encoders/smoke-gqn"
    rows = list(csv.DictReader((folder / "probes.csv").open()))
    assert {(row["probe"], row["quantity"]) for row in rows} >= {("ridge", "target"), ("mlp", "hand")}
    assert (folder / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_touches_nothing(smoke: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.glob("*/**/*") if path.is_file()}
    assert engine.run_suite(SMOKE, smoke, console=Console(file=io.StringIO())) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_cell_is_run_again_to_the_same_curve(smoke: Path, tmp_path: Path) -> None:
    cell = next(cell for cell in SMOKE.cells if cell.method == "state")
    suite = Suite("one cell", (cell,))
    place = engine.cell_folder(tmp_path, cell)
    whole = engine.cell_folder(smoke, cell)
    place.mkdir(parents=True)
    (place / "curve.csv").write_text((whole / "curve.csv").read_text()[:-10])  # killed while writing
    assert engine.run_suite(suite, tmp_path, console=Console(file=io.StringIO())) == 0
    again, before = read_curve(place / "curve.csv"), read_curve(whole / "curve.csv")
    assert again.score.tolist() == before.score.tolist()
    assert again.return_mean.tolist() == before.return_mean.tolist()


def test_cells_without_an_encoder_do_not_wait_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder here is ready only after the state cell has run."""
    free_cell_ran, order = threading.Event(), []

    def train(name: str, folder: Path, threads: int) -> Path:
        assert free_cell_ran.wait(20), "the state cell waits for an encoder that it does not use"
        order.append(name)
        return tmp_path / "encoder"

    def run(cell: Cell, folder: Path, encoder: Path | None, *_: object) -> None:
        assert encoder == (tmp_path / "encoder" if cell.encoder else None)
        order.append(cell.method)
        if not cell.encoder:
            free_cell_ran.set()

    monkeypatch.setattr(engine, "ready", train)
    monkeypatch.setattr(engine, "run_cell", run)
    monkeypatch.setattr(engine, "pretraining_frames", lambda _: 0)
    monkeypatch.setattr(engine, "_outcome", lambda _: "")
    cells = [cell for cell in SMOKE.cells if cell.method in ("state", "gqn-frozen")]
    with ThreadPoolExecutor(2) as pool:
        queue = engine._Queue(pool, tmp_path, {}, Console(file=io.StringIO()))
        queue.run(["smoke-gqn"], cells, threads=1)
    assert order == ["state", "smoke-gqn", "gqn-frozen"]


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    good = next(cell for cell in SMOKE.cells if cell.method == "state")
    bad = good._replace(task="Reech-v0")
    text = io.StringIO()
    failures = engine.run_suite(Suite("two", (bad, good)), tmp_path, console=Console(file=text))
    assert failures == 1
    assert "Reech" in read_json(engine.cell_folder(tmp_path, bad) / "done.json")["failed"]
    assert engine.finished(engine.cell_folder(tmp_path, good))
    assert "failed" in text.getvalue()


def test_a_failed_cell_is_tried_again(tmp_path: Path) -> None:
    cell: Cell = SMOKE.cells[0]
    write_json(engine.cell_folder(tmp_path, cell) / "done.json", {"failed": "Traceback"})
    assert not engine.finished(engine.cell_folder(tmp_path, cell))


def test_a_budget_smaller_than_the_evaluations_distance_is_kept(tmp_path: Path) -> None:
    options = tuple(sorted(({**SMALL, "evaluate_every": 1_000}).items()))
    cell = Cell("t", "Reach-v0", "state", "a2c", "fixed", "", 0, 64, options)
    run_cell.run_cell(cell, tmp_path / "cell", None)
    assert read_json(tmp_path / "cell/done.json")["env_steps"] == 64


def test_the_report_of_the_smoke_suite(smoke: Path) -> None:
    page = write_report(smoke)
    text = page.read_text()
    for cell in SMOKE.cells:
        assert cell.method in text
    assert re.search(r"End of training, .*: step 20, seconds [\d.]+, .*spread of r", text)
    assert (page.parent / "summary.csv").exists()
