"""`gqn-bench run`, killed again and again: nothing finished is lost or done twice, curves are the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.benchmarks.curves import read_curve
from gqn_transfer.benchmarks.progress import progress_in
from gqn_transfer.files import read_json

SUITE = """
[[grid]]
tasks = ["Reach-v0"]
cameras = ["fixed"]
methods = { state = 1000 }
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
    arguments.append("--retry-failed")  # the cells of workers that were killed alone
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
    records = folder.glob("run/cells/*/done.json")
    return {path: path.stat().st_mtime_ns for path in records if not read_json(path).get("failed")}


def workers(command: int) -> list[int]:
    """Processes that run its cells: those that its server has forked."""
    return [worker for server in children(command, "forkserver") for worker in children(server)]


def children(parent: int, called: str = "") -> list[int]:
    """Processes whose parent it is, and whose command has `called` in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mother = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            command = (place / "cmdline").read_text()
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        if mother == parent and called in command:
            found.append(int(place.name))
    return found


SHORT = SUITE.replace("3, 4, 5, 6, 7", "3")
"""Half as many cells."""


def curves_of(suite: str, folder: Path) -> tuple[dict[str, list[list[float]]], float]:
    """Undisturbed: the curves, and the seconds that they take."""
    folder.mkdir()
    (folder / "kills.toml").write_text(suite)
    started = time.monotonic()
    assert start(folder).wait() == 0
    return figures(folder), time.monotonic() - started


@pytest.mark.parametrize(
    ("suite", "kills"), [(SHORT, 3), pytest.param(SUITE, 100, marks=pytest.mark.slow)], ids=["short", "whole"]
)
def test_killed_at_random(suite: str, kills: int, tmp_path: Path) -> None:
    curves, seconds = curves_of(suite, tmp_path / "undisturbed")
    rng, rounds = np.random.default_rng(0), 0
    while kills:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        (folder / "kills.toml").write_text(suite)
        kills -= killed_until_done(folder, rng, seconds, kills)
        before = done(folder)
        assert start(folder).wait() == 0
        assert figures(folder) == curves
        assert len(done(folder)) == len(curves)
        assert before.items() <= done(folder).items()
        assert not list(folder.glob("run/cells/*.lock"))
        rounds += 1


def kill(process: subprocess.Popen[bytes], rng: np.random.Generator) -> None:
    """The whole group; the parent alone, whose workers must follow; or a worker, which takes none along."""
    how = rng.integers(3)
    if how == 0:
        os.killpg(process.pid, signal.SIGKILL)
    elif how == 1 or not (found := workers(process.pid)):
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.kill(int(rng.choice(found)), signal.SIGKILL)


def killed_until_done(folder: Path, rng: np.random.Generator, seconds: float, most: int) -> int:
    """Start the command and kill it, `most` times or until all cells are done; the number of kills."""
    before: dict[Path, int] = {}
    for count in range(most):
        process = start(folder)
        try:
            if process.wait(rng.uniform(0.1, 1) * seconds) == 0:
                return count
        except subprocess.TimeoutExpired:
            kill(process, rng)
            process.wait()
        after = done(folder)
        assert before.items() <= after.items()
        before = after
    return most
