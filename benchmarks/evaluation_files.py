"""What `gqn-bench evaluate` leaves in its folder: JSON with everything, a long CSV, probes and pictures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gqn_transfer.evaluation import in_batches
from gqn_transfer.files import csv_text, write_json, write_text
from gqn_transfer.scenes import Scenes

from .checkpoint_evaluation import CHANCE, Evaluated, Evaluation
from .encoder_report import as_csv, draw_predictions
from .likeness import Likeness, likenesses
from .provenance import command_line, git_revision, library_versions, machine

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "prior_sample_*": "predictions with latents sampled from the prior; they are what the model predicts",
        "prior_mean_*": "one deterministic prediction, each latent at the mean of its prior: no sample",
        "reconstruction_*": "latents sampled from the posterior, which sees the query image: no prediction",
        "mean_image_*": "the average training view as the answer to every query",
        "*_mse": "mean squared error on [0, 1], predictions clamped, over the part's pixels in all scenes",
        "*_psnr": "mean over scenes and samples of the PSNR of each image (of its pixels of the part)",
        "*_psnr_of_mean_mse": "PSNR of *_mse: bad images weigh more in it than in the mean of PSNRs",
        "*_ssim": "structural similarity, Gaussian window of 11 pixels, mean over scenes and samples",
        "elbo_above_floor": "-ELBO without its constant: KL plus what the pixels cost beyond a perfect image",
        "elbo_*": "at a sigma wider than its training's a mixture of Gaussians also pays for the "
        "distances of its components",
        "elbo_bits": "-ELBO in bits per 8-bit sub-pixel",
        "kl": "KL of posterior and prior, mean over posterior samples",
        "probe_*_median_error": "median error of the state read from one view: ridge, mlp, regressor (the "
        "checkpoint's own head) or guess (the training scenes' mean)",
        "probe_*, view_*": "of codes of one view; a spatial code is averaged to 2 by 2 first",
        "probe_*_r2": "share of the variance over held-out scenes that this explains",
        "task_mlp_median_error": "the mlp probe, fitted on scenes, on frames of episodes between an expert's "
        "and a random agent's",
        "task_own_*_median_error": "the same frames, by probes fitted on other frames of the task: what an "
        "agent's head could learn there",
        "task_strangeness": "median distance of such frames' codes to the nearest training code, over that "
        "of held-out scenes",
        "view_distance_ratio": "distance of standardised codes of one scene over that of two, other camera",
        "view_retrieval": "share of codes whose nearest code from another camera is of the same scene",
    }
)
"""Figure -> what it is; `*` stands for the rest of a name."""


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """`predictions*.png`, `probes.csv` of the first checkpoint, `evaluation.csv`, `likeness.csv` of several;
    `evaluation.json` last."""
    for stale in (*out.glob("predictions*.png"), out / "likeness.csv"):  # of other checkpoints
        stale.unlink(missing_ok=True)
    first, seed = next(iter(evaluation.checkpoints)), evaluation.ground.config.seed
    for label, one in evaluation.checkpoints.items():
        if one.subject.draws:
            name = "predictions.png" if label == first else f"predictions-{slug(label)}.png"
            draw_predictions(one.subject, evaluation.ground.test, out / name, label, seed)
    write_text(out / "probes.csv", as_csv(list(evaluation.checkpoints[first].probes)))
    write_text(out / "evaluation.csv", figures_csv(evaluation))
    if alike := likenesses(evaluation.ground, evaluation.checkpoints):
        write_text(out / "likeness.csv", likeness_csv(alike))
    write_json(out / "evaluation.json", as_json(evaluation))


def likeness_csv(rows: list[Likeness]) -> str:
    """One line a pair of checkpoints."""
    return csv_text(Likeness._fields, ([*row[:2], *(f"{value:.4f}" for value in row[2:])] for row in rows))


def slug(label: str) -> str:
    """The label as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", label).strip("-.")


def figures_csv(evaluation: Evaluation) -> str:
    """One line a figure, long: checkpoint, figure, part, contexts, value, unit."""
    everything = {label: one.figures for label, one in evaluation.checkpoints.items()}
    rows = (  # without contexts csv leaves the cell empty
        (label, row.figure, row.part, row.contexts, f"{row.value:.6g}", row.unit)
        for label, figures in (everything | {CHANCE: evaluation.chance}).items()
        for row in figures
    )
    return csv_text(("checkpoint", "figure", "part", "contexts", "value", "unit"), rows)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, with what it was made with."""
    ground = evaluation.ground
    return {
        "command": command_line(),
        "versions": library_versions() | {"revision": git_revision()},
        "machine": machine() | {"device": str(ground.device)},
        "settings": asdict(ground.config) | {"precision": "fp32"},
        "scenes": {
            "count": ground.count,
            "views": ground.test.meta["views"],
            "query": "the last view of a scene; its contexts are the first of the others",
            "fingerprint": scenes_fingerprint(ground.test, ground.count),
            **{key: ground.test.meta.get(key) for key in ("recipe", "renderer", "versions")},
        },
        "definitions": dict(DEFINITIONS),
        "checkpoints": {label: _one_json(one) for label, one in evaluation.checkpoints.items()},
        CHANCE: [row._asdict() for row in evaluation.chance],
    }


def scenes_fingerprint(scenes: Scenes, count: int) -> str:
    """16 hex digits of the first `count` scenes: images, viewpoints, labels and state."""
    digest = hashlib.sha256()
    for batch in in_batches(scenes, count):
        for array in batch:
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _one_json(one: Evaluated) -> dict[str, Any]:
    facts = ("objective", "steps", "fingerprint", "max_contexts", "final_sigma")
    return {
        **{key: getattr(one.subject, key) for key in facts},
        "figures": [row._asdict() for row in one.figures],
        "not_computed": dict(one.not_computed),
    }
