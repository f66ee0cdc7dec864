"""What a container or a job may use of a machine."""

import math
import os
from pathlib import Path

import pytest

from gqn_transfer import limits


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    monkeypatch.setattr(limits, "MEMINFO", tmp_path / "meminfo")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores"), [(None, 8), ("max 100000\n", 8), ("250000 100000\n", 3), ("5000 100000\n", 1)]
)
def test_cores(quota: str | None, cores: int, machine: Path) -> None:
    if quota:
        (machine / "cpu.max").write_text(quota)
    assert limits.usable_cores() == cores


def test_memory(machine: Path) -> None:
    assert limits.usable_memory() == math.inf
    (machine / "meminfo").write_text("MemFree: 1 kB\nMemAvailable:   2000 kB\n")
    assert limits.usable_memory() == 2000 * 1024
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("1000000\n")
    assert limits.usable_memory() == 2000 * 1024
    (machine / "memory.max").write_text("1500000\n")
    assert limits.usable_memory() == 500_000
    (machine / "memory.stat").write_text("total_inactive_file 5\ninactive_file 300000\n")
    assert limits.usable_memory() == 800_000
