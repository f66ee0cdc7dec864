"""Source stages: several tasks train an encoder on, end to end, or a tier on top of it that stays as it is,
before new tasks are learned from what they have made."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build_multitask import add_rendering, make_multitask_agent
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv, Numbered
from gqn_transfer.agents.multitask import MultiTaskPPO
from gqn_transfer.agents.resuming import restore_training, save_training
from gqn_transfer.agents.saving import RECORD
from gqn_transfer.agents.scene_collector import PretrainingScenes, SceneCollector, collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.checkpoint import read_record, save_checkpoint
from gqn_transfer.encoder import (
    Encoder,
    feature_statistics,
    load_encoder,
    load_gqn,
    tiered,
)
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.files import read_json, write_json, write_text
from gqn_transfer.reference import copy_reference
from gqn_transfer.scenes import Scenes
from gqn_transfer.tier import Tier, TierConfig, save_tier

from .evaluation import evaluate
from .records import CurveRow, append_row, rewind_curve

AGENT, ENCODER, CONFIG, DONE = "agent", "encoder", "config.json", "done.json"
"""In a stage's folder: the agent at its last evaluation; the encoder at the end; what it is; written last."""
SEED = "-seed{seed}"
"""At the end of a stage's name, filled or left open."""
GRADIENTS = "gradients.csv"
"""Beside them: how far the tasks' gradients on what they share agree."""


@dataclass(frozen=True)
class SourceConfig:
    """One source stage. Equal configs give equal encoders."""

    encoder: str
    """The name of its start, whose generator goes along if rendering goes on."""
    tasks: tuple[str, ...]
    """In the order of their heads."""
    steps: int = 200_000
    """Environment steps of each task."""
    rendering: bool = True
    """The GQN's bound stays on as a loss beside the tasks'."""
    tier: TierConfig | None = None
    """What is trained instead of the encoder: a second representation on top of it."""
    teach: bool = True
    """The tasks train the encoder; else their heads alone, and rendering what they meet trains it."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Of `agents.build_multitask.Sharing` and of PPO, sorted: what differs from the defaults."""
    seed: int = 0
    num_envs: int = 16
    """Of each task."""
    evaluate_every: int = 20_000
    """Steps of each task."""
    episodes: int = 50
    """Of an evaluation of a task."""

    def __post_init__(self) -> None:
        if self.tier is not None and self.rendering:
            raise ValueError(
                "below a tier the encoder is frozen, and rendering has nothing to train: leave it out"
            )
        if not (self.teach or self.rendering):
            raise ValueError("neither tasks nor rendering train the encoder: leave teach or rendering on")

    @property
    def name(self) -> str:
        """Of its folder: what is in it, 8 hex digits of all its fields but the seed, and the seed."""
        return self.pattern.replace("{seed}", str(self.seed))

    @property
    def pattern(self) -> str:
        """Its name with the seed left open, for cells that each have a stage of their own seed."""
        fields = {key: value for key, value in asdict(self).items() if key != "seed"}
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        tasks = "-".join(task.split("-")[0] for task in self.tasks)
        kind = "-tier" if self.tier else "-untaught" if not self.teach else "" if self.rendering else "-blind"
        what = f"{Path(self.encoder).name}-{tasks}-{self.steps // 1000}k{kind}".lower()
        return f"{what}-{digest}" + SEED


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
    facts = {"start": read_record(start)["fingerprint"]} | dict(facts)
    _refuse_another(config, folder, facts["start"])
    if (folder / DONE).exists():
        return folder / ENCODER
    torch.set_num_threads(1)
    until, agent = time.monotonic() + seconds, source_agent(config, start, scenes)
    held_out = {
        task: Numbered(_arms(task, config.episodes, scenes, start if config.tier else None), k)
        for k, task in enumerate(config.tasks)
    }
    started = time.monotonic() - _go_on(agent, config, folder, facts)
    if not agent.num_timesteps:
        _record(agent, held_out, config, folder, started)
    while agent.num_timesteps < config.steps * len(config.tasks):
        if time.monotonic() > until:
            return None
        agent.learn(config.evaluate_every * len(config.tasks), reset_num_timesteps=False)
        _record(agent, held_out, config, folder, started)
        save_training(agent, folder / AGENT)
    save_encoder(agent, config, start, scenes, folder / ENCODER, facts)
    write_json(folder / DONE, {"steps": config.steps, "seconds": round(time.monotonic() - started, 1)})
    return folder / ENCODER


def source_agent(config: SourceConfig, start: Path, scenes: Scenes) -> MultiTaskPPO:
    """The stage's agent before its first step."""
    below = start if config.tier else None
    venvs = {task: _arms(task, config.num_envs, scenes, below) for task in config.tasks}
    if config.rendering:
        for k, (task, venv) in enumerate(venvs.items()):
            venvs[task] = SceneCollector(venv, np.random.default_rng([config.seed, 2, k]))
    agent = make_multitask_agent(
        MixedVecEnv(venvs),
        encoder=None if config.tier else load_encoder(start),
        seed=config.seed,
        tier=config.tier,
        teach=config.teach,
        **dict(config.settings),
    )
    if config.rendering:
        add_rendering(agent, load_gqn(start), PretrainingScenes(scenes))
    return agent


def save_encoder(
    agent: MultiTaskPPO,
    config: SourceConfig,
    start: Path,
    scenes: Scenes,
    folder: Path,
    facts: Mapping[str, Any],
) -> None:
    """Write the agent's encoder as a checkpoint like the one it started from, or its tier on that one."""
    record = read_record(start)
    steps = config.steps * len(config.tasks)
    own: dict[str, Any] = {"provenance": dict(facts), "source": asdict(config)}
    own["source_steps"] = int(record.get("source_steps", 0)) + steps
    own["frames"] = int(record["frames"]) + steps  # each step of a source has rendered one
    copy_reference(start, folder)
    if config.tier:
        _save_tier(agent, start, scenes, folder, record | own)
        return
    eyes: Encoder = agent.policy.features_extractor.eyes.encoder  # type: ignore[union-attr, assignment]
    parts = {"representation": eyes.representation}
    if config.rendering:
        parts["generator"] = agent.auxiliary.model.generator
    tensors = {
        f"model.{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    statistics = feature_statistics(eyes.representation, scenes)
    rendered = sum(collector.frames for collector in collectors_in(agent.get_env()))
    again = scenes.meta["recipe"] == record["scenes"]["recipe"]  # counted by its start already
    fresh = 0 if again or not config.rendering else len(scenes) * scenes.meta["views"]
    own["frames"] += rendered + fresh
    save_checkpoint(folder, tensors | statistics, record | own)


def _save_tier(
    agent: MultiTaskPPO, start: Path, scenes: Scenes, folder: Path, record: Mapping[str, Any]
) -> None:
    tier: Tier = copy.deepcopy(agent.policy.features_extractor.tier).cpu().eval()  # type: ignore[union-attr, assignment]
    statistics = feature_statistics(tiered(load_encoder(start), tier).representation, scenes)
    save_tier(folder, start, tier, statistics, record)


def _go_on(agent: MultiTaskPPO, config: SourceConfig, folder: Path, facts: Mapping[str, Any]) -> float:
    """Bring the agent to where an earlier try stood; seconds that it had run."""
    if not (folder / AGENT / RECORD).exists():
        for task in config.tasks:
            _curve(folder, task).unlink(missing_ok=True)
        write_json(folder / CONFIG, {"source": asdict(config)} | dict(facts))
        return 0.0
    restore_training(agent, folder / AGENT)
    steps = agent.num_timesteps // len(config.tasks)
    return max(rewind_curve(_curve(folder, task), steps) for task in config.tasks)


def _refuse_another(config: SourceConfig, folder: Path, start: str) -> None:
    """ValueError if what stands in `folder` is another stage, or one from other weights."""
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


def _record(
    agent: MultiTaskPPO, held_out: Mapping[str, VecEnv], config: SourceConfig, folder: Path, started: float
) -> None:
    """Evaluate every task, each with its own head."""
    steps = agent.num_timesteps // len(config.tasks)
    for task, venv in held_out.items():
        score = evaluate(agent, venv, config.seed)
        seconds = round(time.monotonic() - started, 1)
        append_row(_curve(folder, task), CurveRow(steps, *score, seconds))
    if agent.agreement:
        _note_agreement(torch.cat(agent.agreement), steps, folder / GRADIENTS)
        agent.agreement.clear()


def _note_agreement(cosines: torch.Tensor, steps: int, path: Path) -> None:
    """One row for what was learned since the last evaluation, in place of those of a try that was stopped."""
    if not len(cosines):
        return
    before = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    kept = [line for line in before if int(line.split(",")[0]) < steps]
    row = f"{steps},{float(cosines.mean()):.4f},{float((cosines < 0).float().mean()):.4f}"
    write_text(path, "\n".join(["steps,mean_cosine,share_of_conflicts", *kept, row]) + "\n")


def _curve(folder: Path, task: str) -> Path:
    return folder / f"{task}.csv"


def _arms(task: str, count: int, scenes: Scenes, below: Path | None) -> VecEnv:
    """Environments with images of the size of the pretraining's, or with the codes of the encoder `below`."""
    arms = as_sb3(ArmVectorEnv(task, count, image_size=scenes.meta["image_size"]))
    return arms if below is None else EncodedVecEnv(arms, below)
