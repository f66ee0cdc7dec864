"""The learning curve of a pretraining run: a CSV row and a line on the terminal at a time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .files import csv_text, write_text
from .scenes import Batch

PRINTED = {
    "step": "step",
    "seconds": "seconds",
    "loss": "loss",
    "kl": "kl",
    "test_state": "test state",
    "test_mse_1": "test mse",
    "test_mse_foreground_1": "foreground",
    "test_mse_target_1": "target",
    "spread": "spread of r",
}
"""Columns of the file that people see, and their titles: held-out errors are from one context view."""
COLUMN = 11
"""Characters."""


class TrainingLog:
    """`training.csv` of a run, and what people see of it."""

    def __init__(self, path: Path, tensorboard: Path | None = None) -> None:
        self.path, self.printed = path, False
        self.board = _summary_writer(tensorboard) if tensorboard else None

    def print_plateaus(self, batch: Batch) -> None:
        """Errors of drawing nothing: a run stuck at one of them is seen at once."""
        pixels = batch.images[:, -1].astype(np.float64) / 255
        of_image = ((pixels - pixels.mean(0)) ** 2).mean(-1)
        of_colour = ((pixels - pixels.mean((0, 1, 2))) ** 2).mean()
        foreground = of_image[batch.labels[:, -1] > 0].mean() if batch.labels[:, -1].any() else 0.0
        tqdm.write(
            f"plateaus: mse {of_image.mean():.4f} ({foreground:.4f} in the foreground) for the mean image, "
            f"{of_colour:.4f} for the mean colour"
        )

    def write(self, row: dict[str, float]) -> None:
        """Append one row to the file and print it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        columns = self._columns(list(row))
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writerow({key: _short(value) for key, value in row.items()})
        self._print(row)
        if self.board:
            for name in row.keys() - {"step"}:
                self.board.add_scalar(name, row[name], int(row["step"]))

    def _columns(self, named: list[str]) -> list[str]:
        """The file's columns, once it has those of `named` that an earlier version did not write."""
        text = self.path.read_text() if self.path.exists() else ""
        known, *rows = csv.reader(text.splitlines()) if text else [[]]
        new = [name for name in named if name not in known]
        if new:
            write_text(self.path, csv_text(known + new, (row + [""] * len(new) for row in rows)))
        return known + new

    def _print(self, row: dict[str, float]) -> None:
        """One line of a table whose header comes with the first row of a call; the rest is in the file."""
        shown = {title: row[key] for key, title in PRINTED.items() if key in row}
        if not self.printed:
            tqdm.write(" ".join(title.rjust(COLUMN) for title in shown))
        tqdm.write(" ".join(f"{_short(value)}".rjust(COLUMN) for value in shown.values()))
        self.printed = True

    def drop_rows_after(self, step: int) -> None:
        """Forget rows that a resumed run will write again."""
        if not self.path.exists():
            return
        with open(self.path, newline="") as file:
            reader = csv.DictReader(file)
            whole = [row for row in reader if None not in row.values()]  # a full disk cuts one short
            rows = [row for row in whole if int(row["step"]) <= step]
        write_text(self.path, csv_text(reader.fieldnames or [], (row.values() for row in rows)))


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RuntimeError("TensorBoard is not installed: pip install 'gqn-transfer[tensorboard]'") from error
    return SummaryWriter(str(folder))


def _short(value: float) -> float | str:
    return value if isinstance(value, int) else f"{value:.4g}"
