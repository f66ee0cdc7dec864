"""Writing so that nothing finished is ever lost: temporary name, fsync, rename."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # processes of several machines write
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomically write `text` as UTF-8."""
    write_atomic(path, lambda temporary: _fill(temporary, text))


def write_bytes(path: Path, content: bytes) -> None:
    """Atomically write `content`."""
    write_atomic(path, lambda temporary: _fill_bytes(temporary, content))


def csv_text(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV, its lines ended by a line feed alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_json(path: Path, content: Any) -> None:
    """Atomically write `content` as indented JSON; NaN is refused, numpy's values are taken as Python's."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, default=_plain) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file; ValueError names the file if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): delete it and run the same command again") from error


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _fill_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")
