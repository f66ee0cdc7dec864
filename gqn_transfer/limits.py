"""What this process may use of the machine: cores and memory, less than it has in a container or a job, and
how it keeps what it has."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits."""
MEMINFO = Path("/proc/meminfo")

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
"""Parameters of glibc's mallopt: how many blocks are mapped by themselves, how much free memory is given
back at once, how much is asked for in advance."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where its C library is glibc.

    Else glibc gives tensors of more than 32 MiB back as soon as they are freed, and the next one is zeroed
    page by page: an eighth of the time of pretraining, a sixth of raw pixels' (docs/decisions/0004, 0013).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 2**26)


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
