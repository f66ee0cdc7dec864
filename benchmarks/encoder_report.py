"""What an encoder knows: probes of its codes from one view, and pictures of what its GQN predicts."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch

from gqn_transfer.checkpoint import read_record
from gqn_transfer.encoder import encode_scenes, load_encoder, load_gqn
from gqn_transfer.files import write_atomic, write_text
from gqn_transfer.model import to_float
from gqn_transfer.objectives import as_tensors
from gqn_transfer.presets import RENDERING, PretrainConfig
from gqn_transfer.pretrain import load_objective
from gqn_transfer.probes import ProbeRow, errors, probe
from gqn_transfer.scenes import Batch, Scenes

from .figures import figure_png, prediction_figure

PROBE_SCENES, PROBE_VIEWS, PICTURE_SCENES = 20_000, 3, 5
"""Training scenes that probes are fitted on, each from its first views alone; rows of the picture."""


def report_encoder(checkpoint: Path, train: Scenes, test: Scenes, folder: Path) -> list[ProbeRow]:
    """Write `predictions.png` (for a GQN) and `probes.csv` into `folder`; return the probes' rows.

    Scenes without state give no rows.
    """
    config = PretrainConfig.from_dict(read_record(checkpoint)["config"])
    if RENDERING in config.decoders:
        batch = test.gather(np.arange(min(PICTURE_SCENES, len(test))))
        figure = prediction_figure(batch.images, predictions(checkpoint, batch, config.max_contexts))
        write_atomic(folder / "predictions.png", lambda path: _fill(path, figure_png(figure)))
    rows: list[ProbeRow] = []
    if train.meta["state_columns"]:  # scenes of another source have none, and nothing to probe
        rows += probe_rows(checkpoint, train, test)
        if "state" in config.decoders:
            rows += regressor_rows(checkpoint, test)
    write_text(folder / "probes.csv", as_csv(rows))  # last: its presence says that all is there
    return rows


def probe_rows(checkpoint: Path, train: Scenes, test: Scenes) -> list[ProbeRow]:
    """Ridge and MLP probes of single-view codes, fitted on training and scored on held-out scenes."""
    encoder = load_encoder(checkpoint).representation
    count, views = min(PROBE_SCENES, len(train)), min(PROBE_VIEWS, train.meta["views"])
    seen = torch.cat([encode_scenes(encoder, train, count, view) for view in range(views)])
    state = np.tile(train.all_state()[:count], (views, 1))
    held_out = encode_scenes(encoder, test, len(test))
    return probe((seen, state), (held_out, test.all_state()), train.meta["state_columns"])


def regressor_rows(checkpoint: Path, test: Scenes) -> list[ProbeRow]:
    """Errors of a supervised regressor's own output on the same held-out views: the ceiling."""
    objective, batch = load_objective(checkpoint), test.gather(np.arange(len(test)))
    images, viewpoints = as_tensors(batch.images[:, :1], batch.viewpoints[:, :1], torch.device("cpu"))
    with torch.no_grad():
        codes = objective.model.encode_views(images, viewpoints)
        predicted = objective.heads["state"].predict(codes).numpy()  # type: ignore[operator]
    return errors("regressor", predicted, batch.state, test.meta["state_columns"])


@torch.no_grad()
def predictions(checkpoint: Path, batch: Batch, max_contexts: int) -> np.ndarray:
    """(K, B, H, W, 3) in [0, 1]: the last view, predicted from 1..max_contexts of the others."""
    model, cpu = load_gqn(checkpoint), torch.device("cpu")
    _, query = as_tensors(batch.images[:, -1:], batch.viewpoints[:, -1:], cpu)
    pictures = []
    for contexts in range(1, max_contexts + 1):
        seen = torch.from_numpy(batch.images[:, :contexts]).permute(0, 1, 4, 2, 3)
        r = model.encode(to_float(seen), torch.from_numpy(batch.viewpoints[:, :contexts]))
        pictures.append(model.predict(r, query, sample=False).clamp(0, 1).permute(0, 2, 3, 1).numpy())
    return np.stack(pictures)


def as_csv(rows: list[ProbeRow]) -> str:
    """The rows under their names, figures rounded to four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ProbeRow._fields)
    writer.writerows([*row[:3], f"{row.median_error:.4f}", f"{row.r2:.4f}"] for row in rows)
    return text.getvalue()


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
