"""What a suite, or the package, holds of an encoder beside its weights: tables and a picture.

`FOLDER/encoders/<recipe>/` may hold `predictions.png`, `probes.csv`, `training.csv`, `rendering.csv`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .curves import RecordError
from .texts import Row


@dataclass(frozen=True)
class EncoderRecord:
    """What one encoder left on disk; rows of CSVs by column, none where there is no file."""

    name: str
    predictions: Path | None
    probes: list[Row]
    training: list[Row]
    rendering: list[Row]

    def last(self, column: str) -> float:
        """The column's value at the end of training; NaN where that is not known."""
        return float(self.training[-1].get(column, math.nan)) if self.training else math.nan

    def probe_error(self, quantity: str, probe: str = "mlp") -> float:
        """Median error of a probe, in the quantity's unit; NaN where it was not probed."""
        found = (row for row in self.probes if (row["probe"], row["quantity"]) == (probe, quantity))
        return float(next(found, {"median_error": "nan"})["median_error"])

    def drawn(self, figure: str, contexts: int) -> float:
        """How well it draws held-out scenes from so many views, by a figure of `rendering.csv`; NaN where
        that was not measured."""
        found = (row for row in self.rendering if (row["figure"], row["contexts"]) == (figure, str(contexts)))
        return float(next(found, {"value": "nan"})["value"])


def mean_of(values: Iterable[float]) -> float:
    """Of figures of several encoders, those that are known; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def read_encoders(folder: Path) -> list[EncoderRecord]:
    """Every encoder recipe that left a folder under `FOLDER/encoders/`, by name."""
    found = sorted(path for path in (Path(folder) / "encoders").glob("*") if path.is_dir())
    return [read_encoder(path) for path in found]


def read_encoder(folder: Path) -> EncoderRecord:
    """What is known of one encoder: of a recipe, or of one that ships. RecordError for a malformed table."""
    image = folder / "predictions.png"
    tables = [_read_table(folder / name) for name in ("probes.csv", "training.csv", "rendering.csv")]
    return EncoderRecord(folder.name, image if image.exists() else None, *tables)


def _read_table(path: Path) -> list[Row]:
    """A small CSV of any columns; a last line that was cut off is left out."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    header, *rows = [row for row in csv.reader(whole.splitlines()) if row] or [[]]
    for row in rows:
        if len(row) != len(header):
            raise RecordError(
                f"{path}: the row {','.join(row)!r} has {len(row)} values, the header "
                f"{len(header)}; delete the file and make the encoder's table again."
            )
    return [dict(zip(header, row, strict=True)) for row in rows]
