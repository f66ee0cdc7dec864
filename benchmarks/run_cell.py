"""One cell, one folder: build the agent, alternate learning and evaluation, record each evaluation."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build import make_agent, observe
from gqn_transfer.agents.methods import method_named
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import load_encoder
from gqn_transfer.envs.reference import reference_render
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.files import write_json
from gqn_transfer.reference import difference_warning

from .evaluation import evaluate
from .provenance import library_versions, machine
from .records import CurveRow, append_row
from .suites import Cell

DEFAULTS: dict[str, Any] = {"episodes": 50, "evaluate_every": 10_000, "num_envs": 16, "image_size": 64}
"""Values of `Cell.options` that a cell does not set."""


def run_cell(
    cell: Cell, folder: Path, encoder: Path | None, frames: int = 0, provenance: dict[str, Any] | None = None
) -> None:
    """Run `cell` from its start and leave `folder` finished, or recorded as failed.

    encoder: checkpoint folder for methods that need one; frames: what its pretraining rendered.
    """
    torch.set_num_threads(1)  # cells run side by side, one core each
    if folder.exists():
        shutil.rmtree(folder)  # an interrupted try; finished cells never come here
    write_json(folder / "config.json", _config(cell, provenance or {}))
    started = time.monotonic()
    try:
        steps, facts = _learn(cell, folder, encoder)
    except Exception:
        write_json(folder / "done.json", {"failed": traceback.format_exc()})
        return
    seconds = time.monotonic() - started
    done = {
        "wall_seconds": round(seconds, 1),
        "env_steps": steps,
        "env_steps_per_second": round(steps / seconds, 1),
        "pretraining_frames": frames,
    }
    write_json(folder / "done.json", done | facts)


def _learn(cell: Cell, folder: Path, encoder_path: Path | None) -> tuple[int, dict[str, Any]]:
    encoder = load_encoder(encoder_path) if encoder_path else None
    options = DEFAULTS | dict(cell.options)
    warning = _scene_warning(cell.task, options["image_size"], encoder_path)
    if warning:
        print(f"{folder.name}: {warning}", file=sys.stderr)
    training = make_venv(cell, options["num_envs"])
    training.seed(cell.seed)
    agent = make_agent(cell.method, training, encoder=encoder, algo=cell.algo, seed=cell.seed)
    held_out = observe(cell.method, make_venv(cell, options["episodes"]), encoder)
    started = time.monotonic()
    record = partial(_record, agent, held_out, cell, folder, started)
    record()
    while agent.num_timesteps < cell.steps:
        agent.learn(options["evaluate_every"], reset_num_timesteps=False)
        record()
    return agent.num_timesteps, {
        "encoder_fingerprint": encoder.fingerprint if encoder else "",
        "scene_warning": warning,
        "gradient_steps": gradient_steps(agent),
    }


def _scene_warning(task: str, image_size: int, encoder: Path | None) -> str:
    """What to say if `task` looks different now from what `encoder` was trained on; mostly nothing."""
    if encoder is None:
        return ""
    return difference_warning(encoder, task, reference_render(task, image_size)) or ""


def _record(agent: BaseAlgorithm, venv: VecEnv, cell: Cell, folder: Path, started: float) -> None:
    score = evaluate(agent, venv, cell.seed)
    seconds = round(time.monotonic() - started, 1)
    append_row(folder / "curve.csv", CurveRow(agent.num_timesteps, *score, seconds))


def make_venv(cell: Cell, count: int) -> VecEnv:
    """`count` environments of the cell's task in this process, on one thread."""
    options = DEFAULTS | dict(cell.options)
    return as_sb3(
        ArmVectorEnv(
            cell.task,
            count,
            obs=method_named(cell.method).observation,
            camera=cell.camera,
            image_size=options["image_size"],
        )
    )


def gradient_steps(agent: BaseAlgorithm) -> int:
    """Optimiser steps taken so far, as the optimiser itself counted them."""
    counts = [int(state["step"]) for state in agent.policy.optimizer.state.values()]
    return max(counts, default=0)


def _config(cell: Cell, provenance: dict[str, Any]) -> dict[str, Any]:
    fields = cell._asdict() | {"options": dict(cell.options)}
    return {"cell": fields, "versions": library_versions(), "machine": machine()} | provenance
