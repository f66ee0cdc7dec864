"""An agent in the middle of its training: saved with all that decides how it goes on, bit for bit.

Only between two calls of `learn`: the buffer of an on-policy algorithm is then empty, that of an off-policy
one has files of its own. What SB3 draws comes from the global generators of NumPy and PyTorch, so that these
are part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper
from torch import Tensor

from .augmentation import RandomShiftVecEnv
from .auxiliary import AuxiliaryBound
from .eyes import EncoderSource
from .mixed_vec_env import parts_of
from .refilling import Refilling
from .replay_files import bring_back_replay, drop_pieces, keep_replay, missing_pieces
from .saving import below, load_agent, read_agent, read_facts, restore_agent, save_agent
from .scene_collector import collectors_in

LAST_SEEN = "last_observation."
"""Before the keys of the observation that the agent acts on next."""
ACTIONS, SCENES = "actions.", "scenes."
"""Before the number of a task: its actions in the running episodes; what states kept for a bound show."""


def can_resume(folder: Path) -> bool:
    """False if the agent in `folder` has lost files of its replay buffer."""
    replay = read_facts(folder)["replay"]
    return replay is None or not missing_pieces(folder, replay)


def save_training(agent: BaseAlgorithm, folder: Path, has_ended: bool = False) -> None:
    """Write an agent between two calls of `learn`, its environments and generators with it.

    has_ended: it will not learn on, so that its replay buffer need not be kept.
    """
    venv: VecEnv = agent.get_env()  # type: ignore[assignment]
    bookmarks = [part.env_method("bookmark", indices=[0])[0] for part in parts_of(venv)]
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    shift = _shift(venv)
    facts: dict[str, Any] = {
        "environments": [bookmark.generators for bookmark in bookmarks],
        "numpy": [name, position, has_gauss, gauss],
        "own": {key: rng.bit_generator.state for key, rng in _own_generators(agent).items()},
        "scenes": [],
        "replay": keep_replay(agent, folder) if isinstance(agent, Refilling) and not has_ended else None,
    }
    tensors = {
        "offsets": torch.from_numpy(shift.offsets if shift else np.zeros((2, 0), int)),
        "numpy_keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "torch": torch.get_rng_state(),
    }
    if agent.device.type == "cuda":
        tensors["torch_cuda"] = torch.cuda.get_rng_state(agent.device)
    for number, bookmark in enumerate(bookmarks):
        tensors[f"{ACTIONS}{number}"] = torch.from_numpy(bookmark.actions)
    for number, collector in enumerate(collectors_in(venv)):
        known, moments = collector.bookmark()
        facts["scenes"].append(known)
        tensors |= {f"{SCENES}{number}.{key}": torch.from_numpy(values) for key, values in moments.items()}
    for key, values in agent._last_obs.items():  # type: ignore[union-attr]
        tensors[LAST_SEEN + key] = torch.from_numpy(np.ascontiguousarray(values))
    save_agent(agent, folder, tensors, facts)
    drop_pieces(folder, facts["replay"])


def load_training(
    folder: Path, venv: VecEnv, encoder: EncoderSource | None = None, device: str = "auto"
) -> BaseAlgorithm:
    """The agent of `make_agent` that `save_training` wrote: `learn` goes on as if it had never stopped."""
    agent = load_agent(folder, venv, encoder, device)
    _go_on(agent, folder)
    return agent


def restore_training(agent: BaseAlgorithm, folder: Path) -> None:
    """Bring an agent, made as the one that `save_training` wrote was made, to where that one stood."""
    restore_agent(agent, folder)
    _go_on(agent, folder)


def _go_on(agent: BaseAlgorithm, folder: Path) -> None:
    """Environments, wrappers and generators of an agent that has its weights."""
    tensors, facts = read_agent(folder)
    venv: VecEnv = agent.get_env()  # type: ignore[assignment]
    actions = _arrays(ACTIONS, tensors)
    for number, part in enumerate(parts_of(venv)):
        _live_again(part, facts["environments"][number], actions[str(number)])
    agent._last_obs = _arrays(LAST_SEEN, tensors)
    begun = [np.full(part.num_envs, not len(actions[str(k)])) for k, part in enumerate(parts_of(venv))]
    agent._last_episode_starts = np.concatenate(begun)
    if (shift := _shift(venv)) is not None:
        shift.offsets = tensors["offsets"].numpy()
    for number, collector in enumerate(collectors_in(venv)):
        collector.go_back(facts["scenes"][number], _arrays(f"{SCENES}{number}.", tensors))
    if isinstance(agent, Refilling) and facts["replay"] is not None:
        bring_back_replay(agent, folder, facts["replay"])
    for key, rng in _own_generators(agent).items():
        rng.bit_generator.state = facts["own"][key]
    _restore_global_generators(facts, tensors)


def _live_again(venv: VecEnv, generators: list[dict[str, Any]], actions: np.ndarray) -> None:
    """Bring the environments and all wrappers to where they were in the running episodes."""
    venv.env_method("begin_as", generators, indices=[0])
    venv.unwrapped._reset_seeds()  # a seed given before would win
    venv.reset()
    for each in actions:
        venv.step(each)


def _own_generators(agent: BaseAlgorithm) -> dict[str, np.random.Generator]:
    """Those that an agent and its wrappers draw from, beside SB3's global ones, by name."""
    bound: AuxiliaryBound | None = getattr(agent, "auxiliary", None)
    found = {
        "shift": getattr(_shift(agent.get_env()), "rng", None),
        "bound": getattr(bound, "rng", None),
        "surgery": getattr(agent, "surgery_rng", None),
        "replay": getattr(getattr(agent, "replay_buffer", None), "rng", None),
        "exploration": agent.action_space.np_random if isinstance(agent, Refilling) else None,
    }
    return {name: rng for name, rng in found.items() if rng is not None}


def _restore_global_generators(facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    name, position, has_gauss, gauss = facts["numpy"]
    keys = tensors["numpy_keys"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(tensors["torch"])
    if "torch_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["torch_cuda"])


def _arrays(prefix: str, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in below(prefix, tensors).items()}


def _shift(venv: VecEnv | None) -> RandomShiftVecEnv | None:
    return None if venv is None else unwrap_vec_wrapper(venv, RandomShiftVecEnv)
