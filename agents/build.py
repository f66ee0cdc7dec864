"""`make_agent`: a method, an algorithm and a vector environment become a Stable-Baselines3 agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.encoder import Encoder

from .augmentation import RandomShiftVecEnv
from .encoded_vec_env import EncodedVecEnv
from .methods import method_named

PPO_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "n_steps": 125,
        "batch_size": 250,
        "n_epochs": 10,
        "learning_rate": 3e-4,
        "gamma": 0.95,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "ent_coef": 0.0,
        "max_grad_norm": 0.5,
    }
)
"""The same for every method; with 16 environments a rollout is 2,000 steps."""
POLICY_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"net_arch": {"pi": [256, 256], "vf": [256, 256]}, "log_std_init": -1.5}
)
"""The initial noise, exp(-1.5) of an action's range, moves the hand by half a centimetre a step: more knocks
cans over, and Grasp is not learned."""
ALGORITHMS: Mapping[str, tuple[type[BaseAlgorithm], Mapping[str, Any]]] = MappingProxyType(
    {"ppo": (PPO, PPO_SETTINGS)}
)
"""Name -> class and its settings."""


def observe(
    method: str, venv: VecEnv, encoder: Encoder | str | Path | None = None, device: str = "auto"
) -> VecEnv:
    """`venv` as `method` sees it: for evaluation, without augmentation."""
    row = method_named(method)
    if row.needs_encoder and encoder is None:
        raise ValueError(f"method {method!r} needs an encoder: pass encoder=<name, path or Encoder>")
    if not row.needs_encoder and encoder is not None:
        raise ValueError(f"method {method!r} uses no encoder, but one was given")
    return EncodedVecEnv(venv, encoder, device) if encoder is not None else venv


def make_agent(
    method: str,
    venv: VecEnv,
    *,
    encoder: Encoder | str | Path | None = None,
    algo: str = "ppo",
    seed: int,
    device: str = "auto",
    **overrides: Any,
) -> BaseAlgorithm:
    """An untrained agent. `overrides` replace settings of the algorithm by name.

    venv yields observations of the method's kind (`METHODS[method].observation`).
    """
    if algo not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {algo!r}; known: {', '.join(ALGORITHMS)}")
    row = method_named(method)
    seen = observe(method, venv, encoder, device)
    if row.shift:
        seen = RandomShiftVecEnv(seen, row.shift, np.random.default_rng([seed, row.shift]))
    algorithm, settings = ALGORITHMS[algo]
    policy = {**POLICY_SETTINGS, "features_extractor_class": row.extractor}
    keywords = {**settings, "policy_kwargs": policy, "seed": seed, "device": device, "verbose": 0} | overrides
    return algorithm("MultiInputPolicy", seen, **keywords)
