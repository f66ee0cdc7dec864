"""An agent in the middle of its training: saved with all that decides how it goes on, bit for bit.

Only between two rollouts of an on-policy algorithm: its buffer is then empty. What SB3 draws comes from the
global generators of NumPy and PyTorch, so that these are part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper
from torch import Tensor

from .algorithms import algorithm_named
from .augmentation import RandomShiftVecEnv
from .auxiliary import AuxiliaryBound
from .build import Recipe, collector_of
from .eyes import EncoderSource
from .saving import load_agent, read_agent, save_agent

LAST_SEEN = "last_observation."
"""Before the keys of the observation that the agent acts on next."""
SCENES = "scenes."
"""Before the names of what the kept states of `gqn-aux` show."""


def can_resume(recipe: Recipe) -> bool:
    """True if an agent goes on as if it had not been stopped: off-policy ones lose their replay buffer."""
    return not algorithm_named(recipe.algo).is_off_policy


def save_training(agent: BaseAlgorithm, folder: Path) -> None:
    """Write an agent of `make_agent` between two rollouts, its environments and generators with it."""
    venv: VecEnv = agent.get_env()  # type: ignore[assignment]
    (bookmark,) = venv.env_method("bookmark", indices=[0])
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    shift = _shift(venv)
    facts = {
        "environments": bookmark.generators,
        "numpy": [name, position, has_gauss, gauss],
        "shift": shift.rng.bit_generator.state if shift else None,
    }
    tensors = {
        "offsets": torch.from_numpy(shift.offsets if shift else np.zeros((2, 0), int)),
        "actions": torch.from_numpy(bookmark.actions),
        "numpy_keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "torch": torch.get_rng_state(),
    }
    if agent.device.type == "cuda":
        tensors["torch_cuda"] = torch.cuda.get_rng_state(agent.device)
    if (bound := _bound(agent)) is not None:
        facts["bound"] = bound.rng.bit_generator.state
        facts["scenes"], moments = collector_of(agent).bookmark()
        tensors |= {SCENES + key: torch.from_numpy(values) for key, values in moments.items()}
    for key, values in agent._last_obs.items():  # type: ignore[union-attr]
        tensors[LAST_SEEN + key] = torch.from_numpy(np.ascontiguousarray(values))
    save_agent(agent, folder, tensors, facts)


def load_training(
    folder: Path, venv: VecEnv, encoder: EncoderSource | None = None, device: str = "auto"
) -> BaseAlgorithm:
    """The agent that `save_training` wrote: `learn` goes on as if it had never stopped."""
    agent = load_agent(folder, venv, encoder, device)
    tensors, facts = read_agent(folder)
    venv = agent.get_env()  # type: ignore[assignment]
    _live_again(venv, facts["environments"], tensors["actions"].numpy())
    agent._last_obs = _arrays(LAST_SEEN, tensors)
    begun = not len(tensors["actions"])
    agent._last_episode_starts = np.full(venv.num_envs, begun)
    if (shift := _shift(venv)) is not None:
        shift.rng.bit_generator.state, shift.offsets = facts["shift"], tensors["offsets"].numpy()
    if (bound := _bound(agent)) is not None:
        bound.rng.bit_generator.state = facts["bound"]
        collector_of(agent).go_back(facts["scenes"], _arrays(SCENES, tensors))
    _restore_global_generators(facts, tensors)
    return agent


def _live_again(venv: VecEnv, generators: list[dict[str, Any]], actions: np.ndarray) -> None:
    """Bring the environments and all wrappers to where they were in the running episodes."""
    venv.env_method("begin_as", generators, indices=[0])
    venv.unwrapped._reset_seeds()  # a seed given before would win
    venv.reset()
    for each in actions:
        venv.step(each)


def _restore_global_generators(facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    name, position, has_gauss, gauss = facts["numpy"]
    keys = tensors["numpy_keys"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(tensors["torch"])
    if "torch_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["torch_cuda"])


def _arrays(prefix: str, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value.numpy() for name, value in tensors.items() if name.startswith(prefix)
    }


def _bound(agent: BaseAlgorithm) -> AuxiliaryBound | None:
    return getattr(agent, "auxiliary", None)


def _shift(venv: VecEnv) -> RandomShiftVecEnv | None:
    return unwrap_vec_wrapper(venv, RandomShiftVecEnv)
