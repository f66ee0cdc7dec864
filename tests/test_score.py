"""Scores of agents: deterministic episodes on their own starts, success at the last step."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gqn_transfer.agents.build import make_agent, observe
from gqn_transfer.benchmarks.evaluation import EVALUATION_SEED, evaluate
from gqn_transfer.encoder import Encoder

Make = Callable[..., VecEnv]


class Still:
    """An agent that does nothing, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict, bool]] = []

    def predict(self, observations: dict, deterministic: bool) -> tuple[np.ndarray, None]:
        self.asked.append((observations, deterministic))
        return np.zeros((len(next(iter(observations.values()))), 2), np.float32), None


def scored(fake_arm: type[gymnasium.Env], *how: dict, seed: int = 0) -> tuple[Any, Still, VecEnv]:
    venv = DummyVecEnv([lambda h=h: fake_arm("state", **h) for h in how])
    return evaluate(agent := Still(), venv, seed), agent, venv  # type: ignore[arg-type]


def test_success_counts_at_the_last_step_only(fake_arm: type[gymnasium.Env]) -> None:
    at = [{"horizon": 4, "success_at": moment} for moment in (-1, 2, 3, 4)]
    score = scored(fake_arm, *at)[0]
    assert (score.score, score.episodes) == (0.25, 4)


def test_only_the_first_episode_of_each_env_counts(fake_arm: type[gymnasium.Env]) -> None:
    how = [{"horizon": 2, "success_at": 2}, {"horizon": 7, "success_at": 6}]
    score, agent, _ = scored(fake_arm, *how)
    assert len(agent.asked) == 7
    assert score.score == 0.5
    expected = []
    for index, one in enumerate(how):
        env = fake_arm("state", **one)
        env.reset(seed=EVALUATION_SEED + index)
        expected.append(one["horizon"] * (1 - np.abs(env.place).sum()))
    assert score.return_mean == pytest.approx(np.mean(expected), rel=1e-5)
    assert score.return_std == pytest.approx(np.std(expected), rel=1e-5)


def test_later_episodes_do_not_take_a_success_back(fake_arm: type[gymnasium.Env]) -> None:
    class Once(fake_arm):  # type: ignore[misc, valid-type]
        def step(self, action: np.ndarray) -> tuple:
            *rest, info = super().step(action)
            return *rest, info | {"is_success": info["is_success"] and len(self.seeds) == 1}

    makers = [lambda: Once("state", horizon=2, success_at=2), lambda: fake_arm("state", horizon=7)]
    assert evaluate(Still(), DummyVecEnv(makers), 0).score == 0.5  # type: ignore[arg-type]


def test_same_starts_every_time_and_other_ones_for_other_seeds(fake_arm: type[gymnasium.Env]) -> None:
    venv, agent = DummyVecEnv([lambda: fake_arm("state")] * 3), Still()
    first, second = (evaluate(agent, venv, 2) for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert venv.envs[1].seeds[0] == EVALUATION_SEED + 2 * 1000 + 1
    assert evaluate(agent, venv, 3) != first  # type: ignore[arg-type]


def test_evaluation_is_deterministic(make_venv: Make, encoder: Encoder) -> None:
    agent = make_agent(
        "gqn-frozen", make_venv(), encoder=encoder, seed=0, n_steps=4, batch_size=4, device="cpu"
    )
    held_out = observe("gqn-frozen", make_venv(3), encoder)
    first, second = (evaluate(agent, held_out, 0) for _ in range(2))
    assert first == second
    agent.learn(8)
    assert evaluate(agent, held_out, 0).return_mean != first.return_mean


def test_evaluation_asks_for_the_mean_action(fake_arm: type[gymnasium.Env]) -> None:
    assert all(deterministic for _, deterministic in scored(fake_arm, {})[1].asked)
