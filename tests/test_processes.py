"""Pools whose parent is killed: no worker is left behind."""

import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gqn_transfer.benchmarks.processes import worker_pool

PROGRAM = """
import os, sys, time
from pathlib import Path
from gqn_transfer.benchmarks.processes import worker_pool

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(100)

if __name__ == "__main__":
    with worker_pool(1, 1) as pool:
        pool.submit(work, sys.argv[1]).result()
"""


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program, note = tmp_path / "program.py", tmp_path / "pid"
    program.write_text(PROGRAM)
    parent = subprocess.Popen([sys.executable, str(program), str(note)])
    _wait_for(lambda: note.exists() and note.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: not _alive(int(note.read_text())))
    assert not _alive(int(note.read_text()))


def imported() -> set[str]:
    return {"torch", "stable_baselines3", "mujoco"} & sys.modules.keys()


def test_workers_begin_with_what_takes_long_to_import_and_opens_no_display() -> None:
    with worker_pool(1, 1) as pool:
        assert pool.submit(imported).result() == {"torch", "stable_baselines3"}


def faults() -> list[int]:
    """Pages that the system hands out for each of ten tensors of 64 MiB, one after the other."""
    torch.empty(2**24).fill_(1.0)
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(10):
        torch.empty(2**24).fill_(1.0)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return [after - before for before, after in pairwise(counts)]


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_workers_keep_the_memory_that_they_free() -> None:
    with worker_pool(1, 1) as pool:
        found = sorted(pool.submit(faults).result())
    assert sum(found[:-1]) < 1_000  # else 16,384 each; one may need a new place, beside smaller things


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def _wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
