"""What a source stage hands on: its encoder as a checkpoint, or its tier on the one it started from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gqn_transfer.agents.multitask import MultiTaskPPO
from gqn_transfer.agents.scene_collector import collectors_in
from gqn_transfer.checkpoint import read_record, save_checkpoint
from gqn_transfer.encoder import Encoder, feature_statistics, load_encoder, tiered
from gqn_transfer.reference import copy_reference
from gqn_transfer.scenes import Scenes
from gqn_transfer.tier import Tier, save_tier

from .source_config import SourceConfig


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
    recipe, known = scenes.meta["recipe"], [record["scenes"]["recipe"], *record.get("source_scenes", [])]
    if config.rendering and recipe not in known:  # else counted by its start already
        own["source_scenes"] = [*known[1:], recipe]
        own["frames"] += len(scenes) * scenes.meta["views"]
    own["frames"] += rendered
    save_checkpoint(folder, tensors | statistics, record | own)


def _save_tier(
    agent: MultiTaskPPO, start: Path, scenes: Scenes, folder: Path, record: Mapping[str, Any]
) -> None:
    tier: Tier = copy.deepcopy(agent.policy.features_extractor.tier).cpu().eval()  # type: ignore[union-attr, assignment]
    statistics = feature_statistics(tiered(load_encoder(start), tier).representation, scenes)
    save_tier(folder, start, tier, statistics, record)
