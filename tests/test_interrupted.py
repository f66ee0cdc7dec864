"""Cells that are killed go on from their last evaluation, to the same curve; others begin again."""

from pathlib import Path
from typing import Any

import pytest

from gqn_transfer.benchmarks import interrupted, run_cell
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.curves import read_curve
from gqn_transfer.benchmarks.run_cell import How
from gqn_transfer.files import read_json, write_json

CELL = Cell(
    "t", "Reach-v0", "state", "ppo", "fixed", "", 0, 1000,
    (("batch_size", 50), ("episodes", 2), ("evaluate_every", 250), ("num_envs", 2)),
)  # fmt: skip
VERSIONS = {"versions": {"revision": "abc", "sources": "0123"}}


class Killed(BaseException):
    """No `except Exception` holds it up: as a kill would be."""


def killed_at(steps: int, monkeypatch: pytest.MonkeyPatch, before_keeping: bool) -> None:
    """Let the next cell die at its evaluation of that many steps, before or after its agent is kept."""

    def keep(agent: Any, folder: Path, has_ended: bool) -> None:
        if agent.num_timesteps >= steps and before_keeping:
            raise Killed
        interrupted.keep(agent, folder, has_ended)
        if agent.num_timesteps >= steps:
            raise Killed

    monkeypatch.setattr(run_cell, "keep", keep)


def figures(folder: Path) -> list[list[float]]:
    """The curve without its seconds."""
    return [column.tolist() for column in read_curve(folder / "curve.csv")[:-1]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "cell"
    run_cell.run_cell(CELL, folder, None, How(provenance=VERSIONS))
    return folder


def run_killed(folder: Path, steps: int, before_keeping: bool = False, cell: Cell = CELL) -> None:
    with pytest.MonkeyPatch.context() as patch:
        killed_at(steps, patch, before_keeping)
        with pytest.raises(Killed):
            run_cell.run_cell(cell, folder, None, How(provenance=VERSIONS))


def test_it_goes_on_to_the_same_curve(whole: Path, tmp_path: Path) -> None:
    run_killed(tmp_path / "cell", 500)
    run_killed(tmp_path / "cell", 750, before_keeping=True)
    assert read_curve(tmp_path / "cell/curve.csv").steps.tolist() == [0, 250, 500, 750]
    with (tmp_path / "cell/curve.csv").open("a") as file:
        file.write("1000,0.")
    (tmp_path / "cell/agent/.weights.safetensors.0123.tmp").write_text("half")
    run_cell.run_cell(CELL, tmp_path / "cell", None, How(provenance=VERSIONS))
    assert figures(tmp_path / "cell") == figures(whole)
    assert not list((tmp_path / "cell").rglob(".*.tmp"))
    assert read_json(tmp_path / "cell/config.json")["resumed_at"] == [500, 500]
    ours, theirs = (read_json(folder / "done.json") for folder in (tmp_path / "cell", whole))
    assert ours["gradient_steps"] == theirs["gradient_steps"] > 0
    assert ours["env_steps"] == theirs["env_steps"] == 1000


def test_seconds_are_those_of_all_tries(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    run_killed(folder, 500)
    text = (folder / "curve.csv").read_text().splitlines()
    steps, *rest = text[-1].split(",")
    text[-1] = ",".join([steps, *rest[:-1], "5000.0"])
    (folder / "curve.csv").write_text("\n".join(text) + "\n")
    run_cell.run_cell(CELL, folder, None, How(provenance=VERSIONS))
    assert read_curve(folder / "curve.csv").wall_seconds[-1] > 5000
    assert 5000 < read_json(folder / "done.json")["wall_seconds"] < 5100


def test_other_sources_start_anew_and_say_so(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_killed(tmp_path / "cell", 500)
    other = {"versions": {"revision": "abc", "sources": "4567"}}
    run_cell.run_cell(CELL, tmp_path / "cell", None, How(provenance=other))
    config = read_json(tmp_path / "cell/config.json")
    assert config["versions"] == other["versions"]
    assert "resumed_at" not in config
    assert "starts anew: what was kept is of other sources" in capfd.readouterr().err
    assert figures(tmp_path / "cell") == figures(whole)


def test_in_another_precision_it_starts_anew_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on another machine, to which the folder was copied."""
    run_killed(tmp_path / "cell", 500)
    config = read_json(tmp_path / "cell/config.json")
    write_json(tmp_path / "cell/config.json", config | {"machine": {"bf16": "no"}})
    elsewhere = VERSIONS | {"machine": {"bf16": "yes"}}
    run_cell.run_cell(CELL, tmp_path / "cell", None, How(provenance=elsewhere))
    assert "resumed_at" not in read_json(tmp_path / "cell/config.json")
    assert "what was kept was computed in another precision" in capfd.readouterr().err


def test_a_failure_is_forgotten_when_the_cell_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    run_killed(folder, 500)
    write_json(folder / "done.json", {"failed": "No space left on device"})
    run_cell.run_cell(CELL, folder, None, How(provenance=VERSIONS))
    assert not read_json(folder / "done.json").get("failed")
    assert read_json(folder / "config.json")["resumed_at"] == [500]


def test_a_cell_whose_curve_lacks_the_evaluation_starts_anew_and_says_so(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cell"
    run_killed(folder, 500)
    lines = (folder / "curve.csv").read_text().splitlines()
    (folder / "curve.csv").write_text("\n".join(lines[:-1]) + "\n")
    run_cell.run_cell(CELL, folder, None, How(provenance=VERSIONS))
    assert figures(folder) == figures(whole)
    assert "starts anew: its curve lacks the evaluation at 500 steps" in capfd.readouterr().err


def test_another_revision_of_the_same_sources_goes_on(tmp_path: Path) -> None:
    """A commit of something else, of source stages too, costs no cell what it has."""
    run_killed(tmp_path / "cell", 500)
    later = {"versions": VERSIONS["versions"] | {"revision": "def", "stages": "89ab"}}
    run_cell.run_cell(CELL, tmp_path / "cell", None, How(provenance=later))
    assert read_json(tmp_path / "cell/config.json")["resumed_at"] == [500]


OFF_POLICY = CELL._replace(
    algo="sac",
    steps=80,
    options=(("episodes", 1), ("evaluate_every", 20), ("learning_starts", 30), ("num_envs", 2)),
)


def test_off_policy_cells_go_on_too_and_leave_no_replay_buffer(tmp_path: Path) -> None:
    run_cell.run_cell(OFF_POLICY, tmp_path / "whole", None, How(provenance=VERSIONS))
    run_killed(tmp_path / "cell", 60, cell=OFF_POLICY)
    assert list((tmp_path / "cell/agent").glob("replay-*"))
    run_cell.run_cell(OFF_POLICY, tmp_path / "cell", None, How(provenance=VERSIONS))
    assert read_json(tmp_path / "cell/config.json")["resumed_at"] == [60]
    assert figures(tmp_path / "cell") == figures(tmp_path / "whole")
    assert weights_in(tmp_path / "cell") == weights_in(tmp_path / "whole")
    for folder in ("cell", "whole"):
        assert not list((tmp_path / folder / "agent").glob("replay-*"))


def weights_in(folder: Path) -> str:
    return str(read_json(folder / "agent/agent.json")["fingerprint"])


def test_a_cell_that_has_lost_its_replay_buffer_starts_anew_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on another node: a cell takes its agent along, not the gigabytes of its buffer."""
    run_killed(tmp_path / "cell", 40, cell=OFF_POLICY)
    for path in (tmp_path / "cell/agent").glob("replay-*"):
        path.unlink()
    run_cell.run_cell(OFF_POLICY, tmp_path / "cell", None, How(provenance=VERSIONS))
    assert "starts anew: files of its replay buffer are missing" in capfd.readouterr().err
    assert not read_json(tmp_path / "cell/done.json").get("failed")
