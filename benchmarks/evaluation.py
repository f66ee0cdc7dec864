"""Deterministic evaluation episodes, apart from training: one environment each, all in step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

EVALUATION_SEED = 1_000_000
"""Episode k of cell seed s starts from this + 1000 s + k; seeds of training environments lie above."""


class Score(NamedTuple):
    """One evaluation."""

    score: float
    """Share of episodes whose task condition holds at the last step."""
    return_mean: float
    return_std: float
    episodes: int


def first_seed(seed: int) -> int:
    """That of the first evaluation episode of a cell with this seed."""
    return EVALUATION_SEED + 1000 * seed


def evaluate(agent: BaseAlgorithm, venv: VecEnv, seed: int) -> Score:
    """Run one deterministic episode in each environment of `venv`, from the cell seed's own starts."""
    venv.seed(first_seed(seed))
    observations = venv.reset()
    returns = np.zeros(venv.num_envs)
    ended = np.zeros(venv.num_envs, bool)
    succeeded = np.zeros(venv.num_envs, bool)
    while not ended.all():
        actions, _ = agent.predict(observations, deterministic=True)  # type: ignore[arg-type]
        observations, rewards, dones, infos = venv.step(actions)
        returns += np.where(ended, 0.0, rewards)
        for index in np.flatnonzero(dones & ~ended):
            succeeded[index] = infos[index]["is_success"]
        ended |= dones
    return Score(float(succeeded.mean()), float(returns.mean()), float(returns.std()), venv.num_envs)
