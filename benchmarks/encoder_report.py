"""What a suite keeps of an encoder that it made: what it knows, how well it draws, and some of its codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gqn_transfer.encoder import load_gqn
from gqn_transfer.evaluation import PAPER_SIGMA, Protocol, in_batches, possible_contexts, rendering_figures
from gqn_transfer.files import csv_text, write_atomic, write_bytes, write_text
from gqn_transfer.prediction_samples import prediction_samples
from gqn_transfer.probes import ProbeRow, quantities
from gqn_transfer.scenes import Scenes
from gqn_transfer.subject import Subject, read_subject

from .encoder_probes import CPU, codes_of_views, probed

PICTURE_SCENES, PICTURE_SAMPLES, PICTURE_CONTEXTS = 6, 16, 3
"""Rows of the picture; prior samples of each; context views, if the checkpoint was trained with so many."""
RENDERING_TABLE, CODES = "rendering.csv", "codes.npz"
"""Files of an encoder's folder."""
REPORTED = ("probes.csv", "predictions.png", RENDERING_TABLE, CODES)
"""All that `report_encoder` writes."""
RENDERING_COLUMNS = ("figure", "contexts", "value")
DRAWN_SCENES, DRAWN_CONTEXTS = 200, (1, 3)
"""Held-out scenes that are predicted, and from how many views."""
DRAWN = (("prior_sample_psnr", "image"), ("elbo_above_floor", f"sigma {PAPER_SIGMA:g}"))
"""Figures that are kept."""
CODED_SCENES = 300
"""Held-out scenes whose codes are kept: with their views many more than a code has numbers."""
AGREED = ("hand", "target")
"""Quantities whose probes are handed from one encoder to another."""


def report_encoder(checkpoint: Path, train: Scenes, test: Scenes, folder: Path) -> list[ProbeRow]:
    """Write into `folder`: `predictions.png` and `rendering.csv` of what draws, `codes.npz`, and, last,
    `probes.csv`, whose rows are returned."""
    subject = read_subject(checkpoint)
    if subject.draws:
        draw_predictions(subject, test, folder / "predictions.png", folder.name)
        write_text(folder / RENDERING_TABLE, rendering_csv(subject, test))
    write_codes(subject, test, folder / CODES)
    rows = probed(subject, train, test, len(test), CPU).rows
    write_text(folder / "probes.csv", as_csv(rows))  # last: its presence says that all is there
    return rows


def rendering_csv(subject: Subject, test: Scenes) -> str:
    """PSNR of predictions and, where there is a posterior, the bound, of held-out scenes."""
    contexts, _ = possible_contexts(DRAWN_CONTEXTS, test.meta["views"])
    protocol = Protocol(contexts, samples=1, bound=subject.infers)
    batches = in_batches(test, min(DRAWN_SCENES, len(test)))
    model, generator = load_gqn(subject.folder), torch.Generator().manual_seed(0)
    rows = rendering_figures(model, batches, protocol, generator) if contexts else []
    kept = [row for row in rows if (row.figure, row.part) in DRAWN]
    return csv_text(RENDERING_COLUMNS, ((row.figure, row.contexts, f"{row.value:.4f}") for row in kept))


def write_codes(subject: Subject, test: Scenes, path: Path) -> None:
    """Codes (N, C) of every view of the first held-out scenes, by itself, and the places (N, 3) of hand and
    target, for comparisons with other encoders; float16 and float32, scene by scene."""
    codes = codes_of_views(subject.folder, test, CODED_SCENES, CPU)
    arrays = {"codes": codes.numpy().astype(np.float16)}
    state = np.repeat(test.all_state()[:CODED_SCENES], test.meta["views"], axis=0)
    for quantity in quantities(test.meta["state_columns"]):
        if quantity.name in AGREED:
            arrays[quantity.name] = state[:, quantity.columns].astype(np.float32)
    write_atomic(path, lambda temporary: _save(temporary, arrays))


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:  # by name, numpy would add an ending
        np.savez(file, **arrays)  # type: ignore[arg-type]


def draw_predictions(subject: Subject, test: Scenes, path: Path, title: str, seed: int = 0) -> None:
    """Write the picture of predictions of the first held-out scenes."""
    from .drawings import figure_png  # cells, which import this too, start sooner without matplotlib
    from .prediction_figure import prediction_figure

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
