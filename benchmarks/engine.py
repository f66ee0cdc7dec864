"""Runs the cells of a suite side by side: skips what is finished, records what fails, goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console

from gqn_transfer.files import read_json, write_json

from .artefacts import pretraining_frames, provenance, ready
from .processes import worker_pool
from .records import read_curve
from .run_cell import run_cell
from .suites import Cell, Suite


def run_suite(suite: Suite, folder: Path, workers: int | None = None, console: Console | None = None) -> int:
    """Build the suite's encoders, then run its unfinished cells; return how many cells have failed."""
    console = console or Console()
    facts = provenance()
    console.print(f"rendering with {facts['machine']['renderer']}", soft_wrap=True)
    write_json(
        folder / "suite.json",
        {"cells": [cell._asdict() | {"options": dict(cell.options)} for cell in suite.cells]},
    )
    todo = [cell for cell in suite.cells if not finished(cell_folder(folder, cell))]
    console.print(f"{len(suite.cells)} cells, {len(suite.cells) - len(todo)} finished before")
    encoders = {name: ready(name, folder) for name in sorted({cell.encoder for cell in todo if cell.encoder})}
    run_cells(todo, folder, encoders, facts, workers, console)
    return sum(failed(cell_folder(folder, cell)) for cell in suite.cells)


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    encoders: dict[str, Path],
    facts: dict[str, Any],
    workers: int | None,
    console: Console,
) -> None:
    """Run `cells` side by side, one a core unless `workers` says otherwise; a line for each that ends."""
    if not cells:
        return
    started = time.monotonic()
    with worker_pool(workers, len(cells), fresh=True) as pool:
        jobs: dict[Future[None], Cell] = {}
        for cell in sorted(cells, key=lambda cell: cell.steps, reverse=True):  # long ones first
            checkpoint = encoders.get(cell.encoder)
            frames = pretraining_frames(checkpoint) if checkpoint else 0
            jobs[pool.submit(run_cell, cell, cell_folder(folder, cell), checkpoint, frames, facts)] = cell
        for count, future in enumerate(as_completed(jobs), start=1):
            future.result()
            line = _line(count, len(jobs), started, cell_folder(folder, jobs[future]))
            console.print(line, soft_wrap=True)


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


def _line(count: int, total: int, started: float, folder: Path) -> str:
    minutes = (time.monotonic() - started) / 60
    left = minutes / count * (total - count)
    if failed(folder):
        outcome = "[red]failed[/red], see its done.json"
    else:
        last = read_curve(folder / "curve.csv")
        outcome = f"success {last.score[-1]:.0%}, return {last.return_mean[-1]:.1f}"
    return f"{count:3d}/{total}  {folder.name:60s} {outcome}  ({minutes:.0f} min, about {left:.0f} to go)"
