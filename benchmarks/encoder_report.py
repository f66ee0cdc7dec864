"""What an encoder knows: probes of its codes from one view, and pictures of what its GQN predicts."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch

from gqn_transfer.compact import Compact
from gqn_transfer.decoders import StateDecoder
from gqn_transfer.encoder import encode_scenes, load_encoder, load_gqn
from gqn_transfer.evaluation import in_batches
from gqn_transfer.files import write_atomic, write_text
from gqn_transfer.objectives import seen
from gqn_transfer.prediction_samples import prediction_samples
from gqn_transfer.pretrain import load_objective
from gqn_transfer.probes import ProbeRow, errors, probe, quantities
from gqn_transfer.scenes import Scenes
from gqn_transfer.subject import Subject, read_subject

from .figures import figure_png
from .prediction_figure import prediction_figure

PROBE_SCENES, PROBE_VIEWS = 20_000, 3
"""Training scenes that probes are fitted on, each from its first views alone."""
PICTURE_SCENES, PICTURE_SAMPLES, PICTURE_CONTEXTS = 6, 16, 3
"""Rows of the picture; prior samples of each; context views, if the checkpoint was trained with so many."""
CPU = torch.device("cpu")


def report_encoder(checkpoint: Path, train: Scenes, test: Scenes, folder: Path) -> list[ProbeRow]:
    """Write `predictions.png` (for a GQN) and `probes.csv` into `folder`; return the probes' rows."""
    subject = read_subject(checkpoint)
    if subject.draws:
        draw_predictions(subject, test, folder / "predictions.png", folder.name)
    rows = probe_rows(subject, train, test, len(test), CPU)
    write_text(folder / "probes.csv", as_csv(rows))  # last: its presence says that all is there
    return rows


def draw_predictions(subject: Subject, test: Scenes, path: Path, title: str, seed: int = 0) -> None:
    """Write the picture of predictions of the first held-out scenes."""
    batch = test.gather(np.arange(min(PICTURE_SCENES, len(test))))
    contexts = min(subject.max_contexts, PICTURE_CONTEXTS, test.meta["views"] - 1)
    generator = torch.Generator().manual_seed(seed)
    found = prediction_samples(load_gqn(subject.folder), batch, contexts, PICTURE_SAMPLES, generator)
    png = figure_png(prediction_figure(found, title))
    write_atomic(path, lambda temporary: _fill(temporary, png))


def probe_rows(
    subject: Subject, train: Scenes, test: Scenes, count: int, device: torch.device, seed: int = 0
) -> list[ProbeRow]:
    """Probes of single-view codes on the first `count` held-out scenes, and a regressor's own output."""
    columns = train.meta["state_columns"]
    if not quantities(columns):
        return []
    encoder = Compact(load_encoder(subject.folder)).to(device)
    scenes, views = min(PROBE_SCENES, len(train)), min(PROBE_VIEWS, train.meta["views"])
    codes = torch.cat(
        [
            encode_scenes(
                encoder, train, scenes, view, precision="fp32", label=f"codes of view {view + 1}"
            ).cpu()
            for view in range(views)
        ]
    )
    state = np.tile(train.all_state()[:scenes], (views, 1))
    held_out = encode_scenes(encoder, test, count, precision="fp32").cpu()
    rows = probe((codes, state), (held_out, test.all_state()[:count]), columns, seed)
    return rows + (regressor_rows(subject, test, count) if subject.regresses else [])


@torch.no_grad()
def regressor_rows(subject: Subject, test: Scenes, count: int) -> list[ProbeRow]:
    """Errors of a supervised regressor's own output on the same held-out views: the ceiling."""
    objective = load_objective(subject.folder)
    head: StateDecoder = objective.heads["state"]  # type: ignore[assignment]
    predicted = []
    for batch in in_batches(test, count):
        views = seen(batch, slice(1), CPU)
        predicted.append(head.predict(objective.model.encode_views(*views)))
    state = test.all_state()[:count]
    return errors("regressor", torch.cat(predicted).numpy(), state, test.meta["state_columns"])


def as_csv(rows: list[ProbeRow]) -> str:
    """The rows under their names, figures rounded to four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ProbeRow._fields)
    writer.writerows([*row[:3], f"{row.median_error:.4f}", f"{row.r2:.4f}"] for row in rows)
    return text.getvalue()


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
