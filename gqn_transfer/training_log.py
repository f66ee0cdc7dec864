"""The learning curve of a pretraining run: a CSV row and a line on the terminal at a time."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .files import write_text
from .scenes import Batch


class TrainingLog:
    """`training.csv` of a run, and what people see of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.printed = path, False

    def print_plateaus(self, batch: Batch) -> None:
        """Two errors of drawing nothing: a run stuck at either is seen at once."""
        pixels = batch.images[:, -1].astype(np.float64) / 255
        mean_image, mean_colour = pixels.mean(0), pixels.mean((0, 1, 2))
        tqdm.write(
            f"plateaus: mse {((pixels - mean_image) ** 2).mean():.4f} for the mean image, "
            f"{((pixels - mean_colour) ** 2).mean():.4f} for the mean colour"
        )

    def write(self, row: dict[str, float]) -> None:
        """Append one row to the file and print it."""
        fresh = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow({key: _short(value) for key, value in row.items()})
        self._print(row)

    def _print(self, row: dict[str, float]) -> None:
        """One line of a table whose header comes with the first row of a call."""
        shown = {
            key.replace("foreground", "fg").replace("gradient_norm", "gradient"): v for key, v in row.items()
        }
        widths = [max(len(key), 9) for key in shown]
        if not self.printed:
            tqdm.write(" ".join(key.rjust(width) for key, width in zip(shown, widths, strict=True)))
        values = [
            f"{_short(value)}".rjust(width) for value, width in zip(shown.values(), widths, strict=True)
        ]
        tqdm.write(" ".join(values))
        self.printed = True

    def drop_rows_after(self, step: int) -> None:
        """Forget rows that a resumed run will write again."""
        if not self.path.exists():
            return
        with open(self.path, newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if int(row["step"]) <= step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


def _short(value: float) -> float | str:
    return value if isinstance(value, int) else f"{value:.4g}"
