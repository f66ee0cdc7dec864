"""Source stages: several tasks train an encoder on, end to end, or a tier on top of it that stays as it is,
before new tasks are learned from what they have made."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build_multitask import add_rendering, add_task, make_multitask_agent
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv, Numbered
from gqn_transfer.agents.multitask import MultiTaskPPO
from gqn_transfer.agents.resuming import restore_training, save_training
from gqn_transfer.agents.saving import RECORD, read_recipe
from gqn_transfer.agents.scene_collector import PretrainingScenes, SceneCollector, collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.agents.views import RecentCodes
from gqn_transfer.checkpoint import read_record
from gqn_transfer.encoder import load_encoder, load_gqn
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.files import read_json, write_json, write_text
from gqn_transfer.scenes import Scenes

from .cell_files import CONFIG, DONE
from .curves import CurveRow, append_row, rewind_curve
from .encoder_report import REPORTED
from .evaluation import evaluate
from .interrupted import AGENT
from .provenance import changes
from .source_config import SourceConfig
from .source_encoder import save_encoder

ENCODER = "encoder"
"""In a stage's folder: the encoder at its end."""
GRADIENTS = "gradients.csv"
"""Beside them: how far the tasks' gradients on what they share agree."""


def train_source(
    config: SourceConfig,
    start: Path,
    folder: Path,
    scenes: Scenes,
    facts: Mapping[str, Any],
    seconds: float = math.inf,
) -> Path | None:
    """The checkpoint of the stage's encoder, trained in `folder` from where an earlier call stopped.

    start: checkpoint of the encoder that `config` names. scenes: those that it was pretrained on, or such.
    None if `seconds` were over before its end.
    """
    _check_tasks(config.tasks)
    begun = {"start": read_record(start)["fingerprint"], "scenes": scenes.identity}
    facts = begun | dict(facts)
    if (folder / AGENT).exists() or (folder / ENCODER).exists():  # else its tables alone, from an archive
        _refuse_another(config, folder, **begun)
        if (folder / DONE).exists():
            return folder / ENCODER
    torch.set_num_threads(1)
    until, (agent, seconds_before) = time.monotonic() + seconds, _begin(config, start, folder, scenes, facts)
    held_out = _held_out(config, start, scenes)
    started = time.monotonic() - seconds_before
    if not agent.num_timesteps:
        _record(agent, held_out, config, folder, started)
    while agent.num_timesteps < config.steps * len(config.tasks):
        if time.monotonic() > until:
            return None
        if config.in_turn and agent.num_timesteps == config.steps * len(agent.policy.heads):
            agent = _with_next_task(agent, config, start, scenes)
        left = config.steps * len(agent.policy.heads) - agent.num_timesteps  # of all tasks, or of this turn
        practised = len(agent.env.tasks)  # type: ignore[union-attr]
        agent.learn(min(config.evaluate_every * practised, left), reset_num_timesteps=False)
        _record(agent, held_out, config, folder, started)
        save_training(agent, folder / AGENT)
    save_encoder(agent, config, start, scenes, folder / ENCODER, facts)
    write_json(folder / DONE, {"steps": config.steps, "seconds": round(time.monotonic() - started, 1)})
    return folder / ENCODER


def source_agent(config: SourceConfig, start: Path, scenes: Scenes) -> MultiTaskPPO:
    """The stage's agent before its first step: with a head for each task, or for the first one."""
    tasks = config.tasks[:1] if config.in_turn else config.tasks
    agent = make_multitask_agent(
        MixedVecEnv({task: _source(task, config, start, scenes) for task in tasks}),
        encoder=None if config.tier else load_encoder(start),
        seed=config.seed,
        tier=config.tier,
        teach=config.teach,
        **dict(config.settings),
    )
    if config.rendering:
        add_rendering(agent, load_gqn(start), PretrainingScenes(scenes))
    return agent


def _with_next_task(agent: MultiTaskPPO, config: SourceConfig, start: Path, scenes: Scenes) -> MultiTaskPPO:
    """The agent with a head for the task whose turn it is, which alone it practises."""
    task = config.tasks[len(agent.policy.heads)]
    venv = _source(task, config, start, scenes)
    if isinstance(venv, SceneCollector):  # counts on
        venv.frames = sum(before.frames for before in collectors_in(agent.get_env()))
    return add_task(agent, task, venv, beside=False)


def _source(task: str, config: SourceConfig, start: Path, scenes: Scenes) -> VecEnv:
    """Environments of a source task, whose states are kept where rendering goes on."""
    venv = _arms(task, config.num_envs, config, start, scenes)
    if not config.rendering:
        return venv
    return SceneCollector(venv, np.random.default_rng([config.seed, 2, config.tasks.index(task)]))


def _held_out(config: SourceConfig, start: Path, scenes: Scenes) -> dict[str, VecEnv]:
    """Environments that a task is evaluated in."""
    return {
        task: Numbered(_arms(task, config.episodes, config, start, scenes), number)
        for number, task in enumerate(config.tasks)
    }


def _begin(
    config: SourceConfig, start: Path, folder: Path, scenes: Scenes, facts: Mapping[str, Any]
) -> tuple[MultiTaskPPO, float]:
    """The agent where an earlier try stood, and the seconds that it had run."""
    agent = source_agent(config, start, scenes)
    _check_rollouts(config, agent.n_steps * config.num_envs)
    if not _can_go_on(folder, facts):
        _clear(folder, config)
        write_json(folder / CONFIG, {"source": asdict(config)} | dict(facts))
        return agent, 0.0
    known = read_recipe(folder / AGENT).settings["heads"]
    for task in set(config.tasks) - set(known):  # evaluated, but the agent with its head was not kept
        _curve(folder, task).unlink(missing_ok=True)
    while len(agent.policy.heads) < len(known):
        agent = _with_next_task(agent, config, start, scenes)
    restore_training(agent, folder / AGENT)
    steps = _steps(agent)
    return agent, max(rewind_curve(_curve(folder, task), steps) for task in known)


def _can_go_on(folder: Path, facts: Mapping[str, Any]) -> bool:
    """True if there is an agent that the same code and libraries have trained so far."""
    if not (folder / AGENT / RECORD).exists():
        return False
    changed = changes(read_json(folder / CONFIG).get("versions", {}), facts.get("versions", {}))
    if changed:
        print(f"{folder.name} starts anew: what was kept is of other {', '.join(changed)}", file=sys.stderr)
    return not changed


def _clear(folder: Path, config: SourceConfig) -> None:
    """Remove what an earlier try, or an archive, has left."""
    shutil.rmtree(folder / AGENT, ignore_errors=True)
    tables = (GRADIENTS, CONFIG, DONE, *REPORTED)
    for path in (*(_curve(folder, task) for task in config.tasks), *(folder / name for name in tables)):
        path.unlink(missing_ok=True)


def _steps(agent: MultiTaskPPO) -> int:
    """Of each task that is practised; of tasks in turn, of all so far."""
    return agent.num_timesteps // len(agent.env.tasks)  # type: ignore[union-attr]


def _check_tasks(tasks: tuple[str, ...]) -> None:
    for task in tasks:
        find_task(task)  # refuses unknown ones
    if not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks {', '.join(tasks) or '(none)'}: expected one or more, each once")


def _check_rollouts(config: SourceConfig, rollout: int) -> None:
    """ValueError if a task would be practised for more steps than asked for, and its turn never end."""
    if config.steps % rollout:
        raise ValueError(
            f"steps={config.steps} of a task are no whole number of rollouts of {rollout} steps: choose a "
            "multiple, or another n_steps or num_envs"
        )


def _refuse_another(config: SourceConfig, folder: Path, start: str, scenes: Mapping[str, Any]) -> None:
    """ValueError if what stands in `folder` is another stage, or one from other weights or scenes."""
    if not (folder / CONFIG).exists():
        return
    known = read_json(folder / CONFIG)
    if known["source"] != json.loads(json.dumps(asdict(config))):
        raise ValueError(f"{folder} belongs to another source stage: choose another folder, or delete it")
    if known["start"] != start:
        raise ValueError(
            f"{folder} started from the weights {known['start']} of {config.encoder}, which are {start} now: "
            "choose another folder, or delete it"
        )
    if known["scenes"] != scenes:
        raise ValueError(
            f"{folder} began with scenes of {known['scenes']}, these are of {scenes}: give it the same, or "
            "choose another folder"
        )


def _record(
    agent: MultiTaskPPO, held_out: Mapping[str, VecEnv], config: SourceConfig, folder: Path, started: float
) -> None:
    """Evaluate every task that has a head, with that."""
    steps = _steps(agent)
    for task, venv in list(held_out.items())[: len(agent.policy.heads)]:
        score = evaluate(agent, venv, config.seed)
        seconds = round(time.monotonic() - started, 1)
        append_row(_curve(folder, task), CurveRow(steps, *score, seconds))
    _note_agreement(agent, steps, folder / GRADIENTS)


def _note_agreement(agent: MultiTaskPPO, steps: int, path: Path) -> None:
    """One row for what was learned since the last evaluation, in place of those of a try that was stopped."""
    bound = agent.auxiliary.alignment if hasattr(agent, "auxiliary") else []
    cosines = torch.cat([*(one.cpu() for one in agent.agreement), torch.zeros(0)])
    rendering = torch.tensor([float(cosine) for cosine in bound])
    agent.agreement.clear()
    bound.clear()
    if not len(cosines) + len(rendering):
        return
    before = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    kept = [line for line in before if int(line.split(",")[0]) < steps]
    figures = (cosines.mean(), (cosines < 0).float().mean(), rendering.mean())
    row = ",".join([str(steps), *(f"{float(figure):.4f}" for figure in figures)])
    write_text(path, "\n".join(["steps,mean_cosine,share_of_conflicts,rendering_cosine", *kept, row]) + "\n")


def _curve(folder: Path, task: str) -> Path:
    return folder / f"{task}.csv"


def _arms(task: str, count: int, config: SourceConfig, start: Path, scenes: Scenes) -> VecEnv:
    """Environments with images of the size of the pretraining's, or below a tier with the codes it reads."""
    arms = as_sb3(ArmVectorEnv(task, count, image_size=scenes.meta["image_size"]))
    if config.tier is None:
        return arms
    codes, history = EncodedVecEnv(arms, start), config.tier.history
    return RecentCodes(codes, history) if history > 1 else codes
