"""What codes of one view say: probed on held-out scenes, and on frames that agents meet in the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from gqn_transfer.checkpoint import read_record
from gqn_transfer.compact import Compact
from gqn_transfer.decoders import StateDecoder
from gqn_transfer.encoder import encode_scenes, load_encoder
from gqn_transfer.evaluation import in_batches
from gqn_transfer.objectives import seen
from gqn_transfer.pretrain import load_objective
from gqn_transfer.probes import Coded, ProbeRow, errors, probe, quantities
from gqn_transfer.scenes import Scenes
from gqn_transfer.subject import Subject

from .task_frames import TaskFrames

CAMERA = ("camera_x", "camera_y", "camera_z")
"""Columns of where the camera is: read by probes of their own, since every view of a scene has another."""
PROBE_SCENES, PROBE_VIEWS = 20_000, 3
"""Training scenes that probes are fitted on, each from its first views alone."""
CPU = torch.device("cpu")


class Probed(NamedTuple):
    """What was read from one encoder's codes."""

    rows: list[ProbeRow]
    """On the held-out scenes; none where the scenes have no state that probes know."""
    in_tasks: Mapping[str, list[ProbeRow]]
    """On each task's frames, by the same probes."""
    own_in_tasks: Mapping[str, list[ProbeRow]]
    """On the same frames, by probes fitted on others of the task: what an agent's head could learn there."""
    strangeness: Mapping[str, float]
    """How far a task's codes lie from those of training: median distance to the nearest one, relative to
    that of held-out scenes' codes. 1: as near as any scene that was not seen in training. None where all
    codes are one."""


def probed(
    subject: Subject, train: Scenes, test: Scenes, count: int, device: torch.device, seed: int = 0,
    rollouts: Mapping[str, TaskFrames] = MappingProxyType({}),
) -> Probed:  # fmt: skip
    """Probes of single-view codes on the first `count` held-out scenes and on `rollouts` (by task),
    and a regressor's own output."""
    columns = train.meta["state_columns"]
    if not quantities(columns):
        return Probed([], {}, {}, {})
    encoder = Compact(load_encoder(subject.folder)).to(device)

    def coded(scenes: Scenes, first: int, view: int = 0, label: str = "") -> Coded:
        codes = encode_scenes(encoder, scenes, first, view, precision="fp32", label=label)
        return Coded(codes.cpu(), scenes.all_state()[:first])

    scenes, views = min(PROBE_SCENES, len(train)), min(PROBE_VIEWS, train.meta["views"])
    parts = [coded(train, scenes, view, f"codes of view {view + 1}") for view in range(views)]
    seen_often = Coded(torch.cat([part.codes for part in parts]), np.concatenate([p.state for p in parts]))
    held_out = coded(test, count)
    met = {task: coded(frames.judged, len(frames.judged)) for task, frames in rollouts.items()}
    own_in_tasks = {
        task: probe(coded(frames.own, len(frames.own), label=task), [met[task]], columns, seed)[0]
        for task, frames in rollouts.items()
    }
    rows, *in_tasks = probe(seen_often, [held_out, *met.values()], columns, seed)
    usual = nearest_distance(seen_often.codes, held_out.codes)
    cameras = [train.all_viewpoints(view)[:scenes, :3] for view in range(views)]
    rows += probe(
        Coded(seen_often.codes, np.concatenate(cameras)),
        [Coded(held_out.codes, test.all_viewpoints(0)[:count, :3])],
        CAMERA,
        seed,
    )[0]
    return Probed(
        rows + (regressor_rows(subject, test, count) if subject.regresses else []),
        dict(zip(met, in_tasks, strict=True)),
        own_in_tasks,
        {
            task: nearest_distance(seen_often.codes, frames.codes) / usual
            for task, frames in met.items()
            if usual  # 0 where all codes are one
        },
    )


def codes_of_views(folder: Path, scenes: Scenes, count: int, device: torch.device) -> torch.Tensor:
    """Codes (N, C) of every view of the first `count` scenes, each by itself, scene by scene."""
    encoder = Compact(load_encoder(folder)).to(device)
    views = range(scenes.meta["views"])
    each = [encode_scenes(encoder, scenes, count, view, precision="fp32") for view in views]
    return torch.stack(each, 1).flatten(0, 1).cpu()


def nearest_distance(known: torch.Tensor, codes: torch.Tensor) -> float:
    """Median over `codes` (N, C) of the distance to the nearest of `known` (M, C), by whose deviations codes
    are standardised."""
    std = known.std(0).clamp(min=1e-6)
    nearest = [torch.cdist(part / std, known / std).amin(1) for part in codes.split(500)]
    return float(torch.cat(nearest).median())


@torch.no_grad()
def regressor_rows(subject: Subject, test: Scenes, count: int) -> list[ProbeRow]:
    """Errors of a supervised regressor's own output on the same held-out views, of what its scenes had."""
    objective = load_objective(subject.folder)
    head: StateDecoder = objective.heads["state"]  # type: ignore[assignment]
    predicted = []
    for batch in in_batches(test, count):
        views = seen(batch, slice(1), CPU)
        predicted.append(head.predict(objective.model.encode_views(*views)))
    own, asked = read_record(subject.folder)["scenes"]["state_columns"], test.meta["state_columns"]
    both = [column for column in asked if column in own]
    output = torch.cat(predicted).numpy()[:, [own.index(column) for column in both]]
    state = test.all_state()[:count, [asked.index(column) for column in both]]
    return errors("regressor", output, state, both)
