"""The smoke suite end to end: every stage really happens, and only once."""

import csv
import errno
import io
import math
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gqn_transfer.benchmarks import claims, engine, job_queue, run_cell, work
from gqn_transfer.benchmarks.cell_files import cell_folder, finished
from gqn_transfer.benchmarks.cells import Cell, Suite
from gqn_transfer.benchmarks.claims import lock_of
from gqn_transfer.benchmarks.curves import read_curve
from gqn_transfer.benchmarks.engine import RunOptions
from gqn_transfer.benchmarks.job_queue import Engine, JobQueue, in_order
from gqn_transfer.benchmarks.overrides import Overrides, overridden
from gqn_transfer.benchmarks.processes import ProcessEach
from gqn_transfer.benchmarks.progress import Progress, progress_in
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.benchmarks.report import write_report
from gqn_transfer.benchmarks.run_cell import How
from gqn_transfer.benchmarks.shown import Shown
from gqn_transfer.benchmarks.stages import FOR_SIZES, SOURCES, Sources
from gqn_transfer.benchmarks.suites import SMALL, SUITES
from gqn_transfer.benchmarks.work import Outcome, failure, plan, work_on_cell
from gqn_transfer.checkpoint import CheckpointError
from gqn_transfer.envs import TASKS
from gqn_transfer.files import read_json, write_json
from gqn_transfer.reference import read_reference

SMOKE = SUITES["smoke"]


def run(suite: Suite, folder: Path, **options: Any) -> Progress:
    progress = engine.run_suite(suite, folder, RunOptions(**options), Console(file=io.StringIO()))
    assert progress.count("failed") == 0
    return progress


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    run(SMOKE, folder)
    return folder


def test_seed_by_seed_long_cells_first_and_last_those_that_wait() -> None:
    cells = [
        Cell("t", "Reach-v0", method, "ppo", "fixed", encoder, seed, steps)
        for seed in (1, 0)
        for method, encoder, steps in (
            ("state", "", 10), ("gqn-frozen", "reach-gqn-seed{seed}", 30), ("gqn-frozen", "jaco-small", 20),
            ("pixels", "", 18),
        )
    ]  # fmt: skip
    names = [job if isinstance(job, str) else (job.seed, job.steps) for job in in_order(cells)]
    first = ["reach-gqn-seed0", "jaco-small", (0, 18), (0, 20), (0, 10), (0, 30)]  # pixels are slow
    assert names == [*first, "reach-gqn-seed1", (1, 18), (1, 20), (1, 10), (1, 30)]


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
    run(SMOKE, smoke)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_cell_is_run_again_to_the_same_curve(smoke: Path, tmp_path: Path) -> None:
    cell = next(cell for cell in SMOKE.cells if cell.method == "state")
    suite = Suite("one cell", (cell,))
    place = cell_folder(tmp_path, cell)
    whole = cell_folder(smoke, cell)
    place.mkdir(parents=True)
    (place / "curve.csv").write_text((whole / "curve.csv").read_text()[:-10])  # killed while writing
    run(suite, tmp_path)
    again, before = read_curve(place / "curve.csv"), read_curve(whole / "curve.csv")
    assert again.score.tolist() == before.score.tolist()
    assert again.return_mean.tolist() == before.return_mean.tolist()


def queue_of(
    folder: Path, pool: Executor, slots: int, cells: Sequence[Cell], until: float | None = None
) -> JobQueue:
    shown = Shown(cells, folder, Console(file=io.StringIO()))
    return JobQueue(Engine(pool, pool, engine.work_on_cell, slots), folder, {}, until, shown)


STATE, _, FROZEN = SMOKE.cells


def test_cells_without_an_encoder_do_not_wait_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder here is ready only after the state cell has run."""
    free_cell_ran, order = threading.Event(), []

    def train(name: str, folder: Path, threads: int, seconds: float | None) -> Path:
        assert free_cell_ran.wait(20), "the state cell waits for an encoder that it does not use"
        order.append(name)
        return tmp_path / "encoder"

    def work(cell: Cell, folder: Path, encoder: Path | None, *_: object) -> Outcome:
        assert encoder == (tmp_path / "encoder" if cell.encoder else None)
        order.append(cell.method)
        if not cell.encoder:
            free_cell_ran.set()
        return Outcome.DONE

    monkeypatch.setattr(job_queue, "work_on_encoder", train)
    monkeypatch.setattr(engine, "work_on_cell", work)
    monkeypatch.setattr(job_queue, "pretraining_frames", lambda _: 0)
    with ThreadPoolExecutor(2) as pool:
        queue_of(tmp_path, pool, 2, (STATE, FROZEN)).run(["smoke-gqn", STATE, FROZEN])
    assert order == ["state", "smoke-gqn", "gqn-frozen"]


def test_what_another_command_has_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def work(cell: Cell, *_: object) -> Outcome:
        asked.append(cell.seed)
        return Outcome.BUSY if asked == [0] else Outcome.DONE

    monkeypatch.setattr(engine, "work_on_cell", work)
    monkeypatch.setattr(job_queue, "PATIENCE", 0.2)
    cells = (STATE, STATE._replace(seed=1))
    with ThreadPoolExecutor(1) as pool:
        queue_of(tmp_path, pool, 1, cells).run(cells)
    assert asked == [0, 1, 0]


def test_when_the_time_is_up_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def work(cell: Cell, *arguments: Any) -> Outcome:
        given.append(arguments[-1].seconds)
        time.sleep(0.5)
        return Outcome.STOPPED

    monkeypatch.setattr(engine, "work_on_cell", work)
    cells = (STATE, STATE._replace(seed=1))
    with ThreadPoolExecutor(1) as pool:
        queue_of(tmp_path, pool, 1, cells, until=time.monotonic() + 0.3).run(cells)
    assert len(given) == 1
    assert 0 < given[0] <= 0.3


def test_scenes_that_another_command_renders_are_not_waited_for_beyond_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(engine, "render_scenes", lambda encoder, _: bool(asked.append(encoder)))
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    progress = run(Suite("one cell", (FROZEN,)), tmp_path, time_limit=0.3)
    assert progress.count("done") == 0
    assert set(asked) == {"smoke-gqn"}
    assert 2 <= len(asked) <= 4


def test_cells_of_an_encoder_that_was_not_ready_in_time_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "work_on_encoder", lambda *_: Outcome.STOPPED)
    with ThreadPoolExecutor(1) as pool:
        queue_of(tmp_path, pool, 1, (FROZEN,)).run(["smoke-gqn", FROZEN])
    assert not (tmp_path / "cells").exists()


def test_a_time_limit_stops_cells_at_an_evaluation_and_the_next_command_goes_on(
    smoke: Path, tmp_path: Path
) -> None:
    suite = Suite("one cell", (STATE,))
    progress = run(suite, tmp_path, time_limit=0.0)
    assert progress.count("done") == 0
    place = cell_folder(tmp_path, STATE)
    run_cell.run_cell(STATE, place, None, How(provenance=engine.provenance(), seconds=0.0))
    assert not (place / "done.json").exists()
    assert read_curve(place / "curve.csv").steps.tolist() == [0]
    assert run(suite, tmp_path).count("done") == 1
    ours, theirs = (read_curve(cell_folder(each, STATE) / "curve.csv") for each in (tmp_path, smoke))
    assert ours.return_mean.tolist() == theirs.return_mean.tolist()


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    bad = STATE._replace(task="Reech-v0")
    text = io.StringIO()
    progress = engine.run_suite(Suite("two", (bad, STATE)), tmp_path, console=Console(file=text))
    assert (progress.count("failed"), progress.count("done")) == (1, 1)
    assert "Reech" in read_json(cell_folder(tmp_path, bad) / "done.json")["failed"]
    assert "failed" in text.getvalue()


def test_a_failed_cell_is_tried_again_only_when_asked_for(tmp_path: Path) -> None:
    place = cell_folder(tmp_path, STATE)
    write_json(place / "done.json", {"failed": "Traceback"})
    suite = Suite("one", (STATE,))
    quiet = Console(file=io.StringIO())
    assert engine.run_suite(suite, tmp_path, console=quiet).count("failed") == 1
    assert read_json(place / "done.json") == {"failed": "Traceback"}
    assert run(suite, tmp_path, retry_failed=True).count("done") == 1


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def finish_and_die(cell: Cell, folder: Path, *rest: Any) -> None:
    work_on_cell(cell, folder, *rest)
    die()


@pytest.mark.parametrize("ended", [True, False])
def test_a_killed_worker_says_nothing_against_what_has_ended_or_goes_on(ended: bool, tmp_path: Path) -> None:
    """Killed after its last file; or because another command has taken its cell over."""
    place = cell_folder(tmp_path, STATE)

    class Pool(ProcessEach):
        def submit(self, fn: Any, *arguments: Any) -> Any:
            future = super().submit(finish_and_die if ended else die, *arguments)
            if not ended:
                threading.Timer(0.0, write_json, (lock_of(place), {"token": "faster", "count": 0})).start()
            return future

    until = None if ended else time.monotonic() + 8
    with Pool() as pool:
        queue_of(tmp_path, pool, 1, (STATE,), until).run([STATE])
    assert finished(place) == ended
    assert (place / "done.json").exists() == ended


def test_a_killed_worker_takes_no_other_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool(ProcessEach):
        def submit(self, fn: Any, cell: Cell, *rest: Any) -> Any:
            return super().submit(die if cell.seed else fn, cell, *rest)

    cells = (STATE._replace(seed=1), STATE)
    with Pool() as pool:
        queue_of(tmp_path, pool, 2, cells).run(cells)
    assert "its process was killed" in read_json(cell_folder(tmp_path, cells[0]) / "done.json")["failed"]
    assert finished(cell_folder(tmp_path, STATE))


def test_a_full_disk_fails_the_cell_while_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_cell, "append_row", full)
    place = cell_folder(tmp_path, STATE)
    assert engine.work_on_cell(STATE, tmp_path, None, How()) is Outcome.FAILED
    assert "No space left on device" in read_json(place / "done.json")["failed"]
    monkeypatch.setattr(run_cell, "write_json", full)
    monkeypatch.setattr(work, "write_json", full)
    with pytest.raises(OSError, match="No space left"), ThreadPoolExecutor(1) as pool:
        queue_of(tmp_path, pool, 1, (STATE._replace(seed=1),)).run([STATE._replace(seed=1)])
    assert not list(tmp_path.glob("cells/*.lock"))


@pytest.mark.parametrize(("memory", "workers"), [(24e9, 8), (6e9, 2), (math.inf, 8), (1e3, 1)])
def test_workers_are_as_many_as_cores_and_memory_allow(
    memory: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "usable_memory", lambda: memory)
    monkeypatch.setattr(engine, "usable_cores", lambda: 8)
    assert engine.default_workers() == workers


@pytest.mark.parametrize(("workers", "expected"), [(1, 1), (5, 3)])
def test_it_says_how_many_cells_run_side_by_side(tmp_path: Path, workers: int, expected: int) -> None:
    cells = tuple(Cell("t", "Reach-v0", "state", "ppo", "fixed", "", seed, 100) for seed in range(3))
    shown = io.StringIO()
    options = RunOptions(workers=workers, time_limit=0)  # nothing is started
    engine.run_suite(Suite("three", cells), tmp_path, options, Console(file=shown, width=100))
    assert f"here, {expected} side by side" in shown.getvalue()


def test_an_encoder_that_is_not_there_is_named_before_anything_runs(tmp_path: Path) -> None:
    suite = Suite("two", (STATE, FROZEN._replace(encoder="nowhere")))
    with pytest.raises(CheckpointError, match="'nowhere' is neither a shipped encoder"):
        engine.run_suite(suite, tmp_path, console=Console(file=io.StringIO()))
    assert not (tmp_path / "cells").exists()


def test_an_encoder_that_fails_fails_its_cells_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no scenes")

    monkeypatch.setattr(job_queue, "work_on_encoder", fail)
    with ThreadPoolExecutor(2) as pool:
        queue_of(tmp_path, pool, 2, (STATE, FROZEN)).run(["smoke-gqn", FROZEN, STATE])
    assert finished(cell_folder(tmp_path, STATE))
    text = read_json(cell_folder(tmp_path, FROZEN) / "done.json")["failed"]
    assert "its encoder smoke-gqn failed" in text
    assert "no scenes" in text


def test_an_encoder_that_fails_leaves_earlier_failures_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no scenes")

    earlier = FROZEN._replace(seed=1)
    write_json(cell_folder(tmp_path, earlier) / "done.json", {"failed": "a traceback"})
    monkeypatch.setattr(job_queue, "work_on_encoder", fail)
    with ThreadPoolExecutor(1) as pool:
        queue_of(tmp_path, pool, 1, (FROZEN, earlier)).run(["smoke-gqn", FROZEN])
    assert read_json(cell_folder(tmp_path, earlier) / "done.json") == {"failed": "a traceback"}
    assert "no scenes" in read_json(cell_folder(tmp_path, FROZEN) / "done.json")["failed"]


def test_a_stage_takes_over_what_it_stands_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own claim and that of the encoder that it starts from, which is made with it; none for one that
    ships."""
    looked_at: list[str] = []
    monkeypatch.setattr(job_queue, "free_if_left", lambda place: looked_at.append(place.name) or True)
    on_own, on_shipped = FOR_SIZES[0].stage(40).name, Sources(SOURCES).stage(30).name
    with ThreadPoolExecutor(1) as pool:
        queue = queue_of(tmp_path, pool, 1, ())
        assert queue._can_begin(on_own)
        assert queue._can_begin(on_shipped)
    assert looked_at == [FOR_SIZES[0].core, on_own, on_shipped]


@pytest.mark.parametrize(("beside", "threads"), [((), 2), ((STATE,), 1)])
def test_an_encoder_has_all_cores_where_nothing_else_can_run(
    beside: tuple[Cell, ...], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def train(name: str, folder: Path, threads: int, seconds: float | None) -> Path:
        given.append(threads)
        return tmp_path

    monkeypatch.setattr(job_queue, "work_on_encoder", train)
    monkeypatch.setattr(engine, "work_on_cell", lambda *_: Outcome.DONE)
    monkeypatch.setattr(job_queue, "pretraining_frames", lambda _: 0)
    monkeypatch.setattr(job_queue, "usable_cores", lambda: 2)
    with ThreadPoolExecutor(2) as pool:
        queue_of(tmp_path, pool, 2, (FROZEN, *beside)).run(["smoke-gqn", FROZEN, *beside])
    assert given == [threads]


def test_another_machines_claim_that_stands_still_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of this one: workers are new processes, which have seen nothing stand still."""
    monkeypatch.setattr(claims, "STALE", 0.5)
    monkeypatch.setattr(job_queue, "PATIENCE", 0.2)
    place = cell_folder(tmp_path, STATE)
    place.parent.mkdir()
    owner = {"token": "other", "machine": "elsewhere", "pid": 1, "started": "1", "count": 7}
    write_json(lock_of(place), owner)
    assert run(Suite("one", (STATE,)), tmp_path, time_limit=60.0).count("done") == 1


def test_a_failure_is_not_repeated_by_every_command_that_comes_across_it(tmp_path: Path) -> None:
    place = cell_folder(tmp_path, STATE)
    (place / "curve.csv").parent.mkdir(parents=True)
    write_json(place / "done.json", {"failed": "of another command, since this one was given"})
    assert work_on_cell(STATE, tmp_path, None, How()) is Outcome.FAILED
    assert "of another command" in read_json(place / "done.json")["failed"]
    assert work_on_cell(STATE, tmp_path, None, How(failure=failure(place))) is Outcome.DONE


def test_commands_with_other_seeds_plan_together(tmp_path: Path) -> None:
    for seeds in ((0,), (1, 2), (0,)):
        plan(overridden(Suite("one", (STATE,)), Overrides(seeds=seeds)).cells, tmp_path)
    assert [cell.cell.seed for cell in progress_in(tmp_path).cells] == [1, 2, 0]


def test_two_commands_on_one_folder_share_the_work(tmp_path: Path) -> None:
    cells = tuple(STATE._replace(seed=seed) for seed in range(4))
    with ThreadPoolExecutor(2) as both:
        results = [both.submit(run, Suite("four", cells), tmp_path, workers=1) for _ in range(2)]
    assert all(result.result().count("done") == 4 for result in results)
    for cell in cells:
        assert "resumed_at" not in read_json(cell_folder(tmp_path, cell) / "config.json")
        assert read_curve(cell_folder(tmp_path, cell) / "curve.csv").steps.tolist() == [0, 250, 500]


def test_events_for_tensorboard_where_they_are_wanted(smoke: Path, tmp_path: Path) -> None:
    assert not list(smoke.rglob("*tfevents*"))
    run_cell.run_cell(STATE, tmp_path / "cell", None, How(tensorboard=True))
    files = list((tmp_path / "cell/tensorboard").rglob("*tfevents*"))
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for file in files:
        events = reader.EventAccumulator(str(file)).Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend(each.step for each in events.Scalars(tag))
    assert sorted(found["evaluation/success"]) == [250, 500]
    assert {"evaluation/return", "train/loss"} <= set(found)


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
