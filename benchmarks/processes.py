"""Pools of worker processes: forked from a server that has imported what takes seconds and has opened no GL
context, which must not be forked; silent on Ctrl-C, and never left behind by a parent that was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from gqn_transfer.limits import keep_freed_memory, usable_cores

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["gqn_transfer.agents.build"])  # not mujoco, whose import may open a display


@contextmanager
def worker_pool(workers: int | None, jobs: int, fresh: bool = False) -> Iterator[ProcessPoolExecutor]:
    """A pool for `jobs` jobs, one process per core unless `workers` says otherwise.

    fresh: a new process for every job. An exception in the block, Ctrl-C among them, drops jobs that wait.
    """
    pool = _pool(max(1, min(workers or usable_cores(), jobs)), fresh)
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


class ProcessEach(Executor):
    """A process of its own for every job, as many as there are jobs: one that dies takes no other along."""

    def __init__(self) -> None:
        self._pools: list[ProcessPoolExecutor] = []

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        pool = _pool(1)
        self._pools.append(pool)
        future = pool.submit(fn, *arguments, **keywords)
        future.add_done_callback(lambda _: self._end(pool))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in list(self._pools):
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        self._pools.remove(pool)
        pool.shutdown(wait=False)


def _pool(workers: int, fresh: bool = False) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=_CONTEXT,
        initializer=_begin,
        max_tasks_per_child=1 if fresh else None,
    )


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent's one message is enough
    keep_freed_memory()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()  # which is not the server that this one was forked from
    assert parent is not None
    parent.join()
    os._exit(1)
