"""What an encoder knows: probes of its codes from one view, and pictures of what its GQN predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gqn_transfer.encoder import load_gqn
from gqn_transfer.files import csv_text, write_bytes, write_text
from gqn_transfer.prediction_samples import prediction_samples
from gqn_transfer.probes import ProbeRow
from gqn_transfer.scenes import Scenes
from gqn_transfer.subject import Subject, read_subject

from .drawings import figure_png
from .encoder_probes import CPU, probed
from .prediction_figure import prediction_figure

PICTURE_SCENES, PICTURE_SAMPLES, PICTURE_CONTEXTS = 6, 16, 3
"""Rows of the picture; prior samples of each; context views, if the checkpoint was trained with so many."""


def report_encoder(checkpoint: Path, train: Scenes, test: Scenes, folder: Path) -> list[ProbeRow]:
    """Write `predictions.png` (for a GQN) and `probes.csv` into `folder`; return the probes' rows."""
    subject = read_subject(checkpoint)
    if subject.draws:
        draw_predictions(subject, test, folder / "predictions.png", folder.name)
    rows = probed(subject, train, test, len(test), CPU).rows
    write_text(folder / "probes.csv", as_csv(rows))  # last: its presence says that all is there
    return rows


def draw_predictions(subject: Subject, test: Scenes, path: Path, title: str, seed: int = 0) -> None:
    """Write the picture of predictions of the first held-out scenes."""
    batch = test.gather(np.arange(min(PICTURE_SCENES, len(test))))
    contexts = min(subject.max_contexts, PICTURE_CONTEXTS, test.meta["views"] - 1)
    generator = torch.Generator().manual_seed(seed)
    found = prediction_samples(load_gqn(subject.folder), batch, contexts, PICTURE_SAMPLES, generator)
    png = figure_png(prediction_figure(found, title))
    write_bytes(path, png)


def as_csv(rows: list[ProbeRow]) -> str:
    """The rows under their names, figures rounded to four digits."""
    return csv_text(
        ProbeRow._fields, ([*row[:3], f"{row.median_error:.4f}", f"{row.r2:.4f}"] for row in rows)
    )
