"""Where a cell's files lie, and what they say at a glance."""

from __future__ import annotations

from pathlib import Path

from gqn_transfer.files import read_json

from .cells import Cell

CONFIG, CURVE, DONE = "config.json", "curve.csv", "done.json"
"""In a cell's folder: what it is and was made with; its evaluations; how it ended, written last."""
SUITE = "suite.json"
"""In a suite's folder: the cells that are planned."""
FORMAT_VERSION = 1
"""Of the files of a suite."""


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Where a cell of the suite in `folder` lives."""
    return folder / "cells" / cell.name


def finished(place: Path) -> bool:
    """True once the cell's last file is there and does not tell of a failure."""
    return (place / DONE).exists() and not failed(place)


def failed(place: Path) -> bool:
    """True if the cell ended with a traceback, or without any evaluation."""
    path = place / DONE
    return path.exists() and (bool(read_json(path).get("failed")) or not (place / CURVE).exists())
