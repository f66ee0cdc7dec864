"""`gqn-bench run`, killed again and again: nothing finished is lost or done twice, curves are the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.benchmarks.progress import progress_in
from gqn_transfer.benchmarks.records import read_curve
from gqn_transfer.files import read_json

SUITE = """
[[grid]]
tasks = ["Reach-v0"]
cameras = ["fixed"]
methods = { state = 2000 }
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
[grid.options]
num_envs = 2
episodes = 2
evaluate_every = 250
batch_size = 50
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    program = "from gqn_transfer.benchmarks.cli import main; main()"
    arguments = ["run", str(folder / "kills.toml"), "--out", str(folder / "run"), "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], start_new_session=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def figures(folder: Path) -> dict[str, list[list[float]]]:
    """Cell -> its curve without the seconds; every file must be readable."""
    cells = progress_in(folder / "run").cells
    places = {one.cell.name: folder / "run/cells" / one.cell.name for one in cells}
    return {name: [column.tolist() for column in read_curve(place / "curve.csv")[:-1]]
            for name, place in places.items()}  # fmt: skip


def done(folder: Path) -> dict[Path, int]:
    """The record of every finished cell, and when it was written."""
    found = {path: path.stat().st_mtime_ns for path in folder.glob("run/cells/*/done.json")}
    assert not any(read_json(path).get("failed") for path in found)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[list[float]]], float]:
    """The curves, and the seconds that they take."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "kills.toml").write_text(SUITE)
    started = time.monotonic()
    assert start(folder).wait() == 0
    return figures(folder), time.monotonic() - started


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random(
    kills: int, undisturbed: tuple[dict[str, list[list[float]]], float], tmp_path: Path
) -> None:
    rng, curves, seconds = np.random.default_rng(0), *undisturbed
    rounds = 0
    while kills:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        (folder / "kills.toml").write_text(SUITE)
        kills -= killed_until_done(folder, rng, seconds, kills)
        assert start(folder).wait() == 0
        assert figures(folder) == curves
        assert len(done(folder)) == len(curves)
        assert not list(folder.glob("run/cells/*.lock"))
        rounds += 1


def killed_until_done(folder: Path, rng: np.random.Generator, seconds: float, most: int) -> int:
    """Start the command and kill it, `most` times or until all cells are done; the number of kills."""
    before: dict[Path, int] = {}
    for count in range(most):
        process = start(folder)
        try:
            process.wait(rng.uniform(0.1, 1) * seconds)
            return count
        except subprocess.TimeoutExpired:
            whole_group = rng.random() < 0.5  # else the parent alone: its workers must follow
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        after = done(folder)
        assert before.items() <= after.items()
        before = after
    return most
