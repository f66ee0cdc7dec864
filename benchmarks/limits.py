"""What this process may use of the machine: cores and memory, less than it has in a container or a job."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits."""
MEMINFO = Path("/proc/meminfo")


def usable_cores() -> int:
    """Cores that this process may run on, at least one."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _text(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        bound = min(bound, math.ceil(int(quota) / int(period)))
    return max(1, bound)


def usable_memory() -> float:
    """Bytes that are free for this process, inf where the system does not tell."""
    found = [line.split()[1] for line in _text(MEMINFO).splitlines() if line.startswith("MemAvailable:")]
    free = 1024.0 * int(found[0]) if found else math.inf
    most, used = (_text(CGROUP / name).strip() for name in ("memory.max", "memory.current"))
    if most.isdigit() and used.isdigit():
        free = min(free, float(int(most) - int(used) + _reclaimable()))
    return free


def _reclaimable() -> int:
    """Bytes of files that the system keeps in memory for as long as nobody needs it."""
    lines = _text(CGROUP / "memory.stat").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("inactive_file ")]
    return int(found[0]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
