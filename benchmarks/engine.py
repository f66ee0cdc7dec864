"""Runs a suite: encoders and cells side by side, as many as there are slots, here or on a Ray cluster.

Several commands may run one suite in one folder: what one of them has claimed the others leave to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gqn_transfer.limits import usable_cores, usable_memory

from .artefacts import check, made_in
from .cell_files import cell_folder, failed, finished
from .cells import Suite
from .hours import seconds_of
from .job_queue import PATIENCE, Engine, JobQueue, in_order, time_is_up
from .processes import ProcessEach
from .progress import Progress, progress_of
from .provenance import provenance
from .ray_engine import RayCells
from .ray_options import RayOptions
from .shown import Shown, duration
from .work import plan, render_scenes, work_on_cell

CELL_MEMORY = 2.5e9
"""Bytes that a cell may need."""


@dataclass(frozen=True)
class RunOptions:
    """How a suite is run."""

    workers: int | None = None
    """Cells side by side; by default one a core, as far as memory allows."""
    retry_failed: bool = False
    """Run cells again that have failed."""
    time_limit: float | None = None
    """Seconds after which no cell is started, and those that run stop at their next evaluation."""
    tensorboard: bool = False
    """Let cells write events for TensorBoard too."""
    ray: RayOptions | None = None
    """Where cells run on a Ray cluster, instead of on this machine."""


def run_suite(
    suite: Suite, folder: Path, options: RunOptions | None = None, console: Console | None = None
) -> Progress:
    """Render scenes, train encoders, run the unfinished cells; return how far the suite then is."""
    options, console = options or RunOptions(), console or Console()
    until = None if options.time_limit is None else time.monotonic() + options.time_limit
    facts = provenance()
    console.print(f"rendering with {facts['machine']['renderer']}", soft_wrap=True)
    plan(suite.cells, folder)
    todo = [cell for cell in suite.cells if _is_to_do(cell_folder(folder, cell), options.retry_failed)]
    console.print(f"{len(suite.cells)} cells, {len(suite.cells) - len(todo)} ended before")
    if todo and options.ray is None:
        slots = _slots(options, len(todo))
        about = duration(seconds_of(todo, made_in(folder), slots))
        console.print(f"the others take about {about} here, {slots} side by side")
    encoders = sorted({cell.encoder_name for cell in todo if cell.encoder})
    for encoder in encoders:
        check(encoder)
    for encoder in encoders:
        while not render_scenes(encoder, folder):  # another command renders them
            if time_is_up(until):
                return progress_of(suite.cells, folder)
            time.sleep(PATIENCE)
    with (
        _engine(options, len(todo)) as engine,
        Shown(suite.cells, folder, console, engine.slots) as shown,
    ):
        queue = JobQueue(engine, folder, facts, until, shown, options.tensorboard)
        queue.run(in_order(todo))
    return progress_of(suite.cells, folder)


@contextmanager
def _engine(options: RunOptions, jobs: int) -> Iterator[Engine]:
    """This machine's processes, or a Ray cluster; at most one slot a job."""
    with ProcessEach() as processes:
        if options.ray is None:
            yield Engine(processes, processes, work_on_cell, _slots(options, jobs))
        else:
            work = RayCells(options.ray)
            slots = max(1, min(options.workers or work.slots, jobs))
            with ThreadPoolExecutor(slots) as threads:
                try:
                    yield Engine(processes, threads, work, slots)
                except BaseException:  # Ctrl-C among them
                    threads.shutdown(wait=False, cancel_futures=True)
                    work.cancel()
                    raise


def _slots(options: RunOptions, jobs: int) -> int:
    """Processes side by side on this machine for so many jobs."""
    return max(1, min(options.workers or default_workers(), jobs))


def default_workers() -> int:
    """One worker a core, fewer where memory, as far as the system tells of it, would not do."""
    return max(1, int(min(usable_cores(), usable_memory() / CELL_MEMORY)))


def _is_to_do(place: Path, retry_failed: bool) -> bool:
    return not finished(place) and (retry_failed or not failed(place))
