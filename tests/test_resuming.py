"""Training that is stopped between two rollouts goes on bit for bit as if it had not been."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents import auxiliary
from gqn_transfer.agents.build import Recipe, make_agent
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.resuming import can_resume, load_training, save_training
from gqn_transfer.agents.scene_collector import SceneCollector, collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.presets import PRESETS

SIZES = dataclasses.replace(PRESETS["tiny"].model, image_size=16)
ROLLOUT = 20
"""Steps of each environment: five rollouts an episode of 100 steps."""


def venv(method: str, **how: Any) -> VecEnv:
    obs = METHODS[method].observation
    made = as_sb3(ArmVectorEnv("Reach-v0", 2, obs=obs, image_size=36, **how))
    made.seed(5)
    return made


def weights(agent: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.policy.state_dict().items()}


@pytest.mark.parametrize(
    ("method", "algo", "how"),
    [
        ("state", "ppo", {}),
        ("state", "a2c", {}),
        ("pixels-aug", "ppo", {"camera": "moving"}),
        ("pixels-aug", "ppo", {"camera": "jump", "randomize": "colors", "views": 3}),
    ],
)
@pytest.mark.parametrize("rollouts", [1, 5], ids=["within an episode", "at the end of one"])
def test_it_goes_on_as_if_it_had_not_stopped(
    method: str, algo: str, how: dict[str, Any], rollouts: int, tmp_path: Path
) -> None:
    how = dict(how)
    views = {"views": how.pop("views")} if "views" in how else {}
    short = {"n_steps": ROLLOUT} | ({"batch_size": 20, "n_epochs": 2} if algo == "ppo" else {})
    agent = make_agent(method, venv(method, **how), algo=algo, seed=3, device="cpu", **short, **views)
    agent.learn(rollouts * ROLLOUT * 2)
    save_training(agent, tmp_path)
    agent.learn(ROLLOUT * 6, reset_num_timesteps=False)
    torch.manual_seed(99), np.random.seed(99)  # noqa: NPY002
    again = load_training(tmp_path, venv(method, **how), device="cpu")
    again.learn(ROLLOUT * 6, reset_num_timesteps=False)
    assert again.num_timesteps == agent.num_timesteps == (rollouts + 3) * ROLLOUT * 2
    ours, theirs = weights(agent), weights(again)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for key, values in agent._last_obs.items():
        np.testing.assert_array_equal(again._last_obs[key], values)


def test_cached_codes_of_several_views_come_back(encoder: Encoder, tmp_path: Path) -> None:
    def made() -> VecEnv:
        small = as_sb3(ArmVectorEnv("Reach-v0", 2, image_size=16, camera="moving"))
        small.seed(5)
        return small

    short = {"n_steps": ROLLOUT, "batch_size": 20, "n_epochs": 1, "views": 3}
    agent = make_agent("gqn-frozen", made(), encoder=encoder, seed=3, device="cpu", **short)
    save_training(agent.learn(ROLLOUT * 2), tmp_path)
    agent.learn(ROLLOUT * 2, reset_num_timesteps=False)
    again = load_training(tmp_path, made(), encoder, device="cpu")
    again.learn(ROLLOUT * 2, reset_num_timesteps=False)
    theirs = weights(again)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(agent).items())


@pytest.mark.parametrize("looks", ["none", "full"])
def test_the_bounds_scenes_come_back(looks: str, tmp_path: Path) -> None:
    """A ring of twelve states, filled and begun again, whose views have to be drawn anew."""

    def made() -> VecEnv:
        small = as_sb3(ArmVectorEnv("Reach-v0", 2, image_size=16, randomize=looks))
        small.seed(5)
        return small

    source = Encoder.untrained(SIZES)
    short = {"n_steps": ROLLOUT, "batch_size": 20, "n_epochs": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auxiliary, "BATCH", 4)
        patch.setattr(SceneCollector.__init__, "__defaults__", (11,))
        agent = make_agent("gqn-aux", made(), encoder=source, seed=3, device="cpu", **short)
        save_training(agent.learn(ROLLOUT * 2 * 3), tmp_path)
        assert collector_of(agent).frames == 2 * 7 * 3
        agent.learn(ROLLOUT * 4, reset_num_timesteps=False)
        again = load_training(tmp_path, made(), source, device="cpu")
        again.learn(ROLLOUT * 4, reset_num_timesteps=False)
    ours, theirs = (collector_of(one) for one in (agent, again))
    assert ours.frames == theirs.frames == 2 * 12 * 3
    for kept, drawn in zip(ours._kept, theirs._kept, strict=True):
        np.testing.assert_array_equal(kept, drawn)
    for before, after in zip(parts_of(agent), parts_of(again), strict=True):
        assert torch.equal(before, after)


def collector_of(agent: Any) -> SceneCollector:
    (found,) = collectors_in(agent.get_env())
    return found


def parts_of(agent: Any) -> list[torch.Tensor]:
    """Weights of policy and generator."""
    return [*agent.policy.state_dict().values(), *agent.auxiliary.model.state_dict().values()]


def test_who_cannot_go_on() -> None:
    def recipe(method: str, algo: str) -> Recipe:
        return Recipe(method, algo, 0, {}, "")

    assert can_resume(recipe("gqn-finetune", "ppo"))
    assert can_resume(recipe("state", "a2c"))
    assert not can_resume(recipe("state", "sac"))
    assert can_resume(recipe("gqn-aux", "ppo"))
