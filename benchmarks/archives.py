"""Finished cells in one file, to bring results from one machine to another and put them together there."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gqn_transfer.files import write_atomic, write_bytes

from .cell_files import CONFIG, CURVE, DONE, SUITE, finished
from .cells import Cell
from .claims import claimed
from .curves import RecordError
from .interrupted import AGENT
from .records import planned_cells, read_cell
from .work import plan

CELL_FILES = (CONFIG, CURVE, DONE)
"""Of a cell, the last one written last here too."""
ENCODER_FILES = ("*.csv", CONFIG, DONE)
"""Of a suite's own encoders: their tables; weights, codes and pictures stay."""


def export_cells(folder: Path, archive: Path) -> int:
    """Pack the finished cells of `folder` and its plan into a zip file; return how many."""
    places = sorted(path.parent for path in folder.glob(f"cells/*/{DONE}") if finished(path.parent))
    if not places:
        raise RecordError(f"{folder} has no finished cells to export")

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(SUITE, json.dumps({"cells": planned_cells(folder)}))
            for place in places:
                for name in CELL_FILES:
                    file.write(place / name, f"cells/{place.name}/{name}")
            for path in _encoder_files(folder):
                file.write(path, path.relative_to(folder).as_posix())

    write_atomic(archive, write)
    return len(places)


def import_cells(archive: Path, folder: Path) -> int:
    """Add the cells of an archive to `folder`; return how many were new.

    RecordError if a cell is finished there too, with another curve.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            cells, tables = dict(_cells_in(file, archive)), dict(_tables_in(file))
            planned = [Cell.from_json(cell) for cell in json.loads(file.read(SUITE))["cells"]]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{archive} is no archive of cells ({error}): `gqn-bench export` writes one"
        ) from error
    for name, files in cells.items():
        _check(name, files, archive)
    new = {name: files for name, files in cells.items() if not _has(folder / "cells" / name, files)}
    for name, files in new.items():
        _add(folder / "cells" / name, files)
    known = {path.name for path in (folder / "encoders").glob("*")}
    for path, content in tables.items():
        if PurePosixPath(path).parts[1] not in known:
            write_bytes(folder / path, content)
    plan(planned, folder)
    return len(new)


def _check(name: str, files: dict[str, bytes], archive: Path) -> None:
    """RecordError unless the files are those of a finished cell of that name."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            write_bytes(Path(folder, file), content)
        record = read_cell(Path(folder))
    if record.cell.name != name or record.status != "done":
        raise RecordError(f"{archive}: {name} holds {record.cell.name}, {record.status}, not that cell, done")


def _cells_in(file: zipfile.ZipFile, archive: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Name and files of each cell; nothing else is read from an archive, whatever it holds."""
    names = [PurePosixPath(name).parts for name in file.namelist()]
    for cell in sorted({parts[1] for parts in names if len(parts) == 3 and parts[0] == "cells"}):
        if cell in (".", ".."):
            raise RecordError(f"{archive} names a cell {cell!r}")
        yield cell, {name: file.read(f"cells/{cell}/{name}") for name in CELL_FILES}


def _encoder_files(folder: Path) -> list[Path]:
    return sorted(path for name in ENCODER_FILES for path in folder.glob(f"encoders/*/{name}"))


def _tables_in(file: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Path and content of what the archive tells of encoders."""
    for name in file.namelist():
        parts = PurePosixPath(name).parts
        known = len(parts) == 3 and any(PurePosixPath(parts[2]).match(one) for one in ENCODER_FILES)
        if known and parts[0] == "encoders" and parts[1] not in (".", ".."):
            yield name, file.read(name)


def _has(place: Path, files: dict[str, bytes]) -> bool:
    if not finished(place):
        return False
    if (place / CURVE).read_bytes() != files[CURVE]:
        raise RecordError(
            f"{place} is finished with another curve than the archive's: delete the one that you do not want"
        )
    return True


def _add(place: Path, files: dict[str, bytes]) -> None:
    with claimed(place) as ours:
        if not ours:
            raise RecordError(f"{place} is running here: stop it, or import when it has ended")
        shutil.rmtree(place / AGENT, ignore_errors=True)  # of an earlier try, which is not the one that ended
        for name in CELL_FILES:
            write_bytes(place / name, files[name])
