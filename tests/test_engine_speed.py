"""The engine's speed: what is timed has happened, and unknown parts are refused by name."""

import re
from pathlib import Path

import pytest

from gqn_transfer.benchmarks import engine_speed
from gqn_transfer.benchmarks.engine_speed import frozen_cells, main, suite_seconds, write_cells
from gqn_transfer.benchmarks.records import read_suite


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1].replace(",", ""))


def test_a_cell_in_the_engine_and_its_agent_alone() -> None:
    """Which of the two takes longer is for a quiet machine to say."""
    assert suite_seconds((short(),), 1) > 0.1
    assert engine_speed.alone(short()) > 0.1


def test_the_overhead_is_the_engines_share(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = iter([103.0, 105.0]), iter([99.0, 101.0])
    monkeypatch.setattr(engine_speed, "suite_seconds", lambda *_, **__: next(inside))
    monkeypatch.setattr(engine_speed, "alone", lambda _: next(outside))
    assert engine_speed.overhead(2000, 0) == (
        "overhead: a cell of 2,000 steps takes 104.0 s in the engine, its agent alone 100.0 s: +4.0% "
        "(alone, engine, engine, alone: 99.0, 103.0, 105.0, 101.0 s)"
    )


def short() -> engine_speed.Cell:
    (cell,) = frozen_cells(1, 2000)
    options = dict(cell.options) | {"episodes": 2, "num_envs": 2}
    return cell._replace(options=tuple(sorted(options.items())))


def test_cells_that_fail_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = short()._replace(task="Reach-v9")
    with pytest.raises(RuntimeError, match="1 of 1 cells failed"):
        suite_seconds((broken,), 1)


def test_the_reports_cells_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_speed, "TASKS", {"Reach-v0": ""})
    monkeypatch.setattr(engine_speed, "POINTS", 10)
    assert write_cells(tmp_path, 1) == 1 * 2 * 8 == len(read_suite(tmp_path))
    record = read_suite(tmp_path)[0]
    assert record.status == "done"
    assert len(record.steps) == engine_speed.POINTS + 1


def test_a_report_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_speed, "REPORTED", ("state", "gqn-frozen"))
    monkeypatch.setattr(engine_speed, "TASKS", {"Reach-v0": ""})
    text = engine_speed.report(0, 1)
    assert text.startswith("report: 4 cells of 100 evaluations in ")
    assert 0.1 < number(text, r"at most ([\d.]+) GB") < 3


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(SystemExit, match="unknown: speed; known: overhead, workers, report"):
        main(("speed",))
