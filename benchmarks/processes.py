"""Pools of worker processes: spawned, since a GL context must not be forked, and silent on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def worker_pool(workers: int | None, jobs: int, fresh: bool = False) -> Iterator[ProcessPoolExecutor]:
    """A pool for `jobs` jobs, one process per core unless `workers` says otherwise.

    fresh: a new process for every job. An exception in the block, Ctrl-C among them, drops jobs that wait.
    """
    pool = ProcessPoolExecutor(
        max(1, min(workers or os.cpu_count() or 1, jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_die_on_interrupt,
        max_tasks_per_child=1 if fresh else None,
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _die_on_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent's one message is enough
