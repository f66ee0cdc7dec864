"""Runs encoders and cells of a suite side by side: skips what is finished, records what fails, goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from rich.console import Console

from gqn_transfer.files import read_json, write_json

from .artefacts import pretraining_frames, provenance, ready, scenes_for
from .processes import worker_pool
from .records import read_curve
from .run_cell import run_cell
from .suites import Cell, Suite

Job = Cell | str
"""A cell to run, or the name of an encoder to train."""


def run_suite(suite: Suite, folder: Path, workers: int | None = None, console: Console | None = None) -> int:
    """Render scenes, train encoders, run the unfinished cells; return how many cells have failed."""
    console = console or Console()
    facts = provenance()
    console.print(f"rendering with {facts['machine']['renderer']}", soft_wrap=True)
    write_json(
        folder / "suite.json",
        {"cells": [cell._asdict() | {"options": dict(cell.options)} for cell in suite.cells]},
    )
    todo = [cell for cell in suite.cells if not finished(cell_folder(folder, cell))]
    console.print(f"{len(suite.cells)} cells, {len(suite.cells) - len(todo)} finished before")
    encoders = sorted({cell.encoder for cell in todo if cell.encoder})
    for encoder in encoders:
        scenes_for(encoder, folder)
    free = sum(not cell.encoder for cell in todo)
    cores, at_once = os.cpu_count() or 1, len(encoders) + free
    workers = workers or cores
    with worker_pool(workers, len(todo), fresh=True) as pool:
        threads = max(1, cores // max(1, min(workers, at_once)))
        _Queue(pool, folder, facts, console).run(encoders, todo, threads)
    return sum(failed(cell_folder(folder, cell)) for cell in suite.cells)


class _Queue:
    """Jobs of one pool: encoders first, cells without one beside them, the others as theirs gets ready."""

    def __init__(self, pool: Executor, folder: Path, facts: dict[str, Any], console: Console) -> None:
        self.pool, self.folder, self.facts, self.console = pool, folder, facts, console
        self.jobs: dict[Future[Path | str | None], Job] = {}

    def run(self, encoders: Sequence[str], cells: Sequence[Cell], threads: int) -> None:
        """Until every encoder is trained, on `threads` cores, and every cell has ended; a line for each."""
        for encoder in encoders:
            self.jobs[self.pool.submit(ready, encoder, self.folder, threads)] = encoder
        self._submit([cell for cell in cells if not cell.encoder], None)
        started, count, total = time.monotonic(), 0, len(encoders) + len(cells)
        while self.jobs:
            for future in wait(self.jobs, return_when=FIRST_COMPLETED).done:
                job, result, count = self.jobs.pop(future), future.result(), count + 1
                if isinstance(job, str):
                    self._submit([cell for cell in cells if cell.encoder == job], result)
                self.console.print(self._line(job, count, total, started), soft_wrap=True)

    def _submit(self, cells: Iterable[Cell], encoder: Path | str | None) -> None:
        """Long ones first, so that no core waits long at the end."""
        frames = pretraining_frames(encoder) if encoder else 0
        for cell in sorted(cells, key=lambda cell: cell.steps, reverse=True):
            place = cell_folder(self.folder, cell)
            self.jobs[self.pool.submit(run_cell, cell, place, encoder, frames, self.facts)] = cell

    def _line(self, job: Job, count: int, total: int, started: float) -> str:
        minutes = (time.monotonic() - started) / 60
        left = minutes / count * (total - count)
        name = f"encoder {job}" if isinstance(job, str) else job.name
        outcome = "ready" if isinstance(job, str) else _outcome(cell_folder(self.folder, job))
        return f"{count:3d}/{total}  {name:60s} {outcome}  ({minutes:.0f} min, about {left:.0f} to go)"


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Where a cell of the suite in `folder` lives."""
    return folder / "cells" / cell.name


def finished(folder: Path) -> bool:
    """True once the cell's last file is there and does not tell of a failure."""
    return (folder / "done.json").exists() and not failed(folder)


def failed(folder: Path) -> bool:
    """True if the cell ended with a traceback."""
    path = folder / "done.json"
    return path.exists() and bool(read_json(path).get("failed"))


def _outcome(folder: Path) -> str:
    if failed(folder):
        return "[red]failed[/red], see its done.json"
    last = read_curve(folder / "curve.csv")
    return f"success {last.score[-1]:.0%}, return {last.return_mean[-1]:.1f}"
