"""What a worker process does for a suite: train an encoder or run a cell, unless another command has it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from gqn_transfer.files import read_json

from .artefacts import ENCODERS, Unfinished, ready, scenes_for
from .cells import Cell
from .claims import claimed
from .run_cell import How, Source, run_cell


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
        if not finished(place):
            run_cell(cell, place, encoder, how)
    return outcome_of(place)


def work_on_encoder(name: str, folder: Path, threads: int, seconds: float | None = None) -> Source | Outcome:
    """The checkpoint of an encoder of the suite in `folder`, trained if need be; or STOPPED, or BUSY."""
    if name not in ENCODERS:
        return ready(name, folder, threads)  # it exists
    with claimed(folder / "encoders" / name) as ours:
        if not ours:
            return Outcome.BUSY
        try:
            return ready(name, folder, threads, seconds)
        except Unfinished:
            return Outcome.STOPPED


def render_scenes(encoder: str, folder: Path) -> bool:
    """Render the scenes of an encoder's recipe, on all cores; False if another command is at it."""
    if encoder not in ENCODERS:
        return True
    with claimed(folder / "scenes" / ENCODERS[encoder].scenes) as ours:
        if ours:
            scenes_for(encoder, folder)
        return ours


def outcome_of(place: Path) -> Outcome:
    """Of work on a cell that has ended."""
    if finished(place):
        return Outcome.DONE
    return Outcome.FAILED if failed(place) else Outcome.STOPPED


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
