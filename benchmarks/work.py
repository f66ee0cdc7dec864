"""What a worker process does for a suite: train an encoder or run a cell, unless another command has it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from gqn_transfer.files import write_json

from .artefacts import Unfinished, existing, lineage, ready, recipe_of, scenes_for
from .cell_files import DONE, FORMAT_VERSION, SUITE, cell_folder, failed, finished
from .cells import Cell
from .claims import claimed
from .records import planned_cells
from .run_cell import How, Source, run_cell

TICK = 0.1
"""Seconds between two looks at a claim that is held for a moment only."""


class Outcome(StrEnum):
    """How work on a cell ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """The time was up; the same command goes on."""
    BUSY = "busy"
    """Another command works on it."""


def work_on_cell(cell: Cell, folder: Path, encoder: Source | None, how: How) -> Outcome:
    """Run `cell` of the suite in `folder`, unless it is finished or another command has it."""
    place = cell_folder(folder, cell)
    with claimed(place) as ours:
        if not ours:
            return Outcome.BUSY
        if is_to_do(place, how):
            run_cell(cell, place, encoder, how)
    return outcome_of(place)


def work_on_encoder(name: str, folder: Path, threads: int, seconds: float | None = None) -> Source | Outcome:
    """The checkpoint of an encoder of the suite in `folder`, trained if need be; or STOPPED, or BUSY."""
    if (there := existing(name)) is not None:
        return there
    for before in lineage(name)[:-1]:
        if isinstance(outcome := work_on_encoder(before, folder, threads, seconds), Outcome):
            return outcome
    with claimed(place_of(name, folder)) as ours:
        if not ours:
            return Outcome.BUSY
        try:
            return ready(name, folder, threads, seconds)
        except Unfinished:
            return Outcome.STOPPED


def render_scenes(encoder: str, folder: Path) -> bool:
    """Render the scenes of an encoder's recipe, and of what it starts from, on all cores; False if another
    command is at it."""
    for name in lineage(encoder):
        if (recipe := recipe_of(name)) is not None:
            with claimed(folder / "scenes" / recipe.scenes) as ours:
                if not ours:
                    return False
                scenes_for(name, folder)
    return True


def plan(cells: Sequence[Cell], folder: Path) -> None:
    """Note `cells` in `suite.json`, beside those of earlier commands with other seeds or methods."""
    fields = [cell.as_json for cell in cells]
    path = folder / SUITE
    while True:
        with claimed(path) as ours:
            if ours:
                before = [cell for cell in planned_cells(folder) if cell not in fields]
                write_json(path, {"format_version": FORMAT_VERSION, "cells": before + fields})
                return
        time.sleep(TICK)


def outcome_of(place: Path) -> Outcome:
    """Of work on a cell that has ended."""
    if finished(place):
        return Outcome.DONE
    return Outcome.FAILED if failed(place) else Outcome.STOPPED


def give_up(cell: Cell, folder: Path, why: str) -> Outcome:
    """Note that `cell` has failed, unless it has ended nevertheless, or another command goes on with it."""
    place = cell_folder(folder, cell)
    with claimed(place) as ours:
        if not ours:
            return Outcome.BUSY
        if not finished(place):
            write_json(place / DONE, {"failed": why})
    return outcome_of(place)


def is_to_do(place: Path, how: How) -> bool:
    """True unless the cell has ended, also if it failed since this command was given."""
    return not finished(place) and failure(place) in (None, how.failure)


def failure(place: Path) -> int | None:
    """When the cell failed, by its file system's clock; None if it has not."""
    return (place / DONE).stat().st_mtime_ns if failed(place) else None


def place_of(job: Cell | str, folder: Path) -> Path:
    """What a process claims that works on a cell, or on the encoder of that name."""
    return folder / "encoders" / job if isinstance(job, str) else cell_folder(folder, job)
