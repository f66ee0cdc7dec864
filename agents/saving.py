"""Agents on disk: weights and optimisers as safetensors, the rest as JSON. Nothing is ever unpickled.

Stable-Baselines3's own zip holds pickled code that runs when it is loaded; it is never read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from gqn_transfer.checkpoint import fingerprint, read_tensors, write_tensors
from gqn_transfer.files import read_json, write_json

from .build import Recipe, make_agent
from .eyes import EncoderSource, mark_of
from .methods import METHODS
from .optimiser import optimisers_of
from .scene_collector import collectors_in

FORMAT_VERSION = 2
RECORD = "agent.json"
MORE = "more."
"""Before the names of tensors that are kept with the agent."""


class AgentError(ValueError):
    """A saved agent that cannot be used; the message names the file, what was expected and the cure."""


def save_agent(
    agent: BaseAlgorithm,
    folder: Path | str,
    tensors: Mapping[str, Tensor] = MappingProxyType({}),
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write an agent of `make_agent`: weights, optimisers, steps, and what it was made of.

    tensors, facts: more to keep with it, in the same moment, for `read_agent`.

    A replay buffer is not kept, but by `resuming.save_training`: a loaded off-policy agent fills its own
    again, with random actions as at its start, before its next update.
    """
    folder = Path(folder)
    recipe: Recipe = agent.recipe  # type: ignore[attr-defined]
    kept = _tensors(agent) | {MORE + name: tensor for name, tensor in tensors.items()}
    mark = fingerprint(kept)
    weights = f"weights-{mark}.safetensors"
    write_tensors(folder / weights, kept)
    record = {
        "format_version": FORMAT_VERSION,
        "recipe": asdict(recipe),
        "spaces": _spaces(agent),
        "steps": agent.num_timesteps,
        "updates": getattr(agent, "_n_updates", 0),
        "auxiliary_frames": [collector.frames for collector in collectors_in(agent.get_env())],
        "optimisers": {
            name: {"param_groups": each.state_dict()["param_groups"]} for name, each in optimisers_of(agent)
        },  # their moments are among the tensors
        "weights": weights,
        "fingerprint": mark,
        "facts": dict(facts),
    }
    write_json(folder / RECORD, record)
    for old in folder.glob("weights-*.safetensors"):
        if old.name != weights:
            old.unlink()


def load_agent(
    folder: Path | str, venv: VecEnv, encoder: EncoderSource | None = None, device: str = "auto"
) -> BaseAlgorithm:
    """The agent that `save_agent` wrote, on an environment of the same spaces; training goes on from there.

    encoder: the one it was made with, where its method has one; it is refused if its weights differ.
    """
    folder = Path(folder)
    recipe = read_recipe(folder)
    if recipe.method not in METHODS:
        raise AgentError(f"{folder} holds an agent of several tasks: read it with load_multitask")
    check_encoder(folder, recipe, encoder)
    agent = make_agent(
        recipe.method, venv, encoder=encoder, algo=recipe.algo, seed=recipe.seed, device=device,
        **recipe.settings,
    )  # fmt: skip
    restore_agent(agent, folder)
    return agent


def restore_agent(agent: BaseAlgorithm, folder: Path) -> None:
    """Give an agent, made as the saved one was made, that one's weights, optimisers and counters."""
    record = _read_record(folder)
    if _spaces(agent) != record["spaces"]:
        raise AgentError(
            f"{folder} was trained with spaces {record['spaces']}, this environment gives {_spaces(agent)}: "
            "make it with the same arguments"
        )
    _restore(agent, read_tensors(folder / record["weights"], record["fingerprint"]), record, folder)


def read_recipe(folder: Path) -> Recipe:
    """What the agent in `folder` was made of."""
    return Recipe(**_read_record(folder)["recipe"])


def read_agent(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts that `save_agent` was given to keep with the agent."""
    record = _read_record(folder)
    return below(MORE, read_tensors(folder / record["weights"], record["fingerprint"])), record["facts"]


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts alone of `read_agent`."""
    facts: dict[str, Any] = _read_record(folder)["facts"]
    return facts


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise AgentError(f"{folder} holds no agent: it has no {RECORD}; write one with save_agent")
    record = read_json(path)
    if record.get("format_version") != FORMAT_VERSION:
        raise AgentError(
            f"{path}: format_version is {record.get('format_version')!r}, this program reads "
            f"{FORMAT_VERSION}; train the agent again, or use the version that wrote it"
        )
    return record


def check_encoder(folder: Path, recipe: Recipe, encoder: EncoderSource | None) -> None:
    """AgentError if the agent in `folder` was not made with these weights."""
    if recipe.encoder and encoder is not None and mark_of(encoder) != recipe.encoder:
        raise AgentError(
            f"{folder} was trained with the encoder {recipe.encoder}, this one is {mark_of(encoder)}: pass "
            "the same"
        )


def _restore(
    agent: BaseAlgorithm, tensors: dict[str, Tensor], record: Mapping[str, Any], folder: Path
) -> None:
    """Put weights, optimisers and counters into a fresh agent."""
    for prefix, module in _modules(agent):
        try:
            module.load_state_dict(below(f"{prefix}.", tensors))
        except RuntimeError as error:
            raise AgentError(f"{folder} does not fit the agent it describes: {error}") from error
    for name, optimiser in optimisers_of(agent):
        state = {"state": _nested(below(f"optimiser.{name}.", tensors)), **record["optimisers"][name]}
        optimiser.load_state_dict(state)
    if "log_ent_coef" in tensors:
        with torch.no_grad():
            agent.log_ent_coef.copy_(tensors["log_ent_coef"])  # type: ignore[attr-defined]
    agent.num_timesteps, agent._n_updates = record["steps"], record["updates"]
    if hasattr(agent, "refill"):
        agent.refill = agent.learning_starts  # type: ignore[attr-defined]
    for collector, frames in zip(collectors_in(agent.get_env()), record["auxiliary_frames"], strict=True):
        collector.frames = frames


def _tensors(agent: BaseAlgorithm) -> dict[str, Tensor]:
    found = {
        f"{prefix}.{name}": value
        for prefix, module in _modules(agent)
        for name, value in module.state_dict().items()
    }
    for name, optimiser in optimisers_of(agent):
        for index, values in optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{name}.{index}.{key}": value for key, value in values.items()}
    if getattr(agent, "log_ent_coef", None) is not None:
        found["log_ent_coef"] = agent.log_ent_coef  # type: ignore[attr-defined]
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def _modules(agent: BaseAlgorithm) -> Iterator[tuple[str, torch.nn.Module]]:
    yield "policy", agent.policy
    if hasattr(agent, "auxiliary"):
        yield "generator", agent.auxiliary.model.generator


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _nested(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """ "3.exp_avg" -> {3: {"exp_avg": ...}}."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        found.setdefault(int(index), {})[key] = value
    return found


def _spaces(agent: BaseAlgorithm) -> dict[str, Any]:
    """Shapes and types of what the agent sees and does, in words."""
    return {"observation": str(agent.observation_space), "action": str(agent.action_space)}
