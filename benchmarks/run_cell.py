"""One cell, one folder: build the agent, alternate learning and evaluation, record each evaluation."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build import make_agent, observe
from gqn_transfer.agents.methods import method_named
from gqn_transfer.agents.optimiser import optimisers_of
from gqn_transfer.agents.scene_collector import collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import load_encoder
from gqn_transfer.envs.reference import reference_render
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.files import write_json
from gqn_transfer.reference import difference_warning

from .cell_files import CURVE, DONE, FORMAT_VERSION
from .cells import Cell
from .curves import CurveRow, append_row, curve_mark
from .evaluation import evaluate
from .interrupted import begin, go_on, keep
from .provenance import library_versions, machine

Source = Path | str
"""A checkpoint's folder, or the name of a function that makes an encoder."""


@dataclass(frozen=True)
class How:
    """How a cell is run, beside what it is."""

    frames: int = 0
    """What the pretraining of its encoder rendered."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Command, versions and machine, for its record."""
    seconds: float | None = None
    """Stop, unfinished, at the first evaluation after as many."""
    tensorboard: bool = False
    """Write events for TensorBoard too."""
    failure: int | None = None
    """The failure of an earlier try that is to be tried again, by `work.failure`; others stay as they are."""


def run_cell(cell: Cell, folder: Path, encoder: Source | None = None, how: How = How()) -> None:
    """Run `cell`, from where an interrupted try stands, and leave `folder` finished or recorded as failed.

    encoder: for methods that need one.
    """
    torch.set_num_threads(1)  # cells run side by side, one core each
    goes_on = begin(folder, _config(cell, how.provenance))
    try:
        facts = _learn(cell, folder, encoder, goes_on, how)
    except Exception:
        write_json(folder / DONE, {"failed": traceback.format_exc()})
        return
    if facts:
        facts["pretraining_frames"] = how.frames if method_named(cell.method).needs_weights else 0
        facts["curve"] = curve_mark(folder / CURVE)
        write_json(folder / DONE, facts)


def _learn(cell: Cell, folder: Path, source: Source | None, goes_on: bool, how: How) -> dict[str, Any]:
    """What is known of the finished cell, {} if the time was up before."""
    row, encoder = method_named(cell.method), load_encoder(source) if source else None
    options = cell.run_options
    warning = _scene_warning(cell.task, options["image_size"], source) if row.needs_weights else ""
    if warning:
        print(f"{folder.name}: {warning}", file=sys.stderr)
    started = time.monotonic()
    until = math.inf if how.seconds is None else started + how.seconds
    training = make_venv(cell, options["num_envs"])
    if goes_on:
        agent, seconds = go_on(folder, training, encoder)
        started -= seconds
    else:
        agent = make_agent(
            cell.method, training, encoder=encoder, algo=cell.algo, seed=cell.seed, **cell.agent_options
        )
    if how.tensorboard:
        agent.tensorboard_log = str(folder / "tensorboard")
    held_out = observe(cell.method, make_venv(cell, options["episodes"]), encoder, **cell.seen_as)
    record = partial(_record, agent, held_out, cell, folder, started)
    if not goes_on:
        record()
    before, learning = agent.num_timesteps, 0.0
    while agent.num_timesteps < cell.steps:
        if time.monotonic() > until:
            return {}
        left, begun = cell.steps - agent.num_timesteps, time.monotonic()
        agent.learn(min(options["evaluate_every"], left), reset_num_timesteps=False)
        learning += time.monotonic() - begun
        record()
        keep(agent, folder, has_ended=agent.num_timesteps >= cell.steps)
    pace = (agent.num_timesteps - before) / learning if learning else None
    return _facts(agent, time.monotonic() - started, pace) | {
        "encoder_fingerprint": encoder.fingerprint if encoder and row.needs_weights else "",
        "scene_warning": warning,
    }


def _facts(agent: BaseAlgorithm, seconds: float, pace: float | None) -> dict[str, Any]:
    """What is known of a finished agent; `pace` leaves evaluations out, and is that of the last try."""
    return {
        "wall_seconds": round(seconds, 1),
        "env_steps": agent.num_timesteps,
        "env_steps_per_second": None if pace is None else round(pace, 1),
        "gradient_steps": gradient_steps(agent),
        "auxiliary_frames": sum(collector.frames for collector in collectors_in(agent.get_env())),
    }


def _scene_warning(task: str, image_size: int, encoder: Source | None) -> str:
    """What to say if `task` looks different now from what `encoder` was trained on; mostly nothing."""
    if not isinstance(encoder, Path):
        return ""  # there is none, or one of the user's own
    return difference_warning(encoder, task, reference_render(task, image_size)) or ""


def _record(agent: BaseAlgorithm, venv: VecEnv, cell: Cell, folder: Path, started: float) -> None:
    score = evaluate(agent, venv, cell.seed)
    seconds = round(time.monotonic() - started, 1)
    append_row(folder / CURVE, CurveRow(agent.num_timesteps, *score, seconds))
    if agent.tensorboard_log and agent.num_timesteps:  # its logger is there once it has learned
        agent.logger.record("evaluation/success", score.score)
        agent.logger.record("evaluation/return", score.return_mean)
        agent.logger.dump(agent.num_timesteps)


def make_venv(cell: Cell, count: int, render_mode: str | None = None) -> VecEnv:
    """`count` environments of the cell's task in this process, on one thread."""
    options = cell.run_options
    return as_sb3(
        ArmVectorEnv(
            cell.task,
            count,
            render_mode=render_mode,
            obs=method_named(cell.method).observation,
            camera=cell.camera,
            image_size=options["image_size"],
            second_camera=options["second_camera"],
            randomize=options["randomize"],
        )
    )


def gradient_steps(agent: BaseAlgorithm) -> int:
    """Steps so far of the optimiser that took most, as it counted them itself."""
    states = [state for _, optimiser in optimisers_of(agent) for state in optimiser.state.values()]
    return max((int(state["step"]) for state in states), default=0)


def _config(cell: Cell, provenance: Mapping[str, Any]) -> dict[str, Any]:
    own = {"format_version": FORMAT_VERSION, "cell": cell.as_json}
    return own | {"versions": library_versions(), "machine": machine()} | dict(provenance)
