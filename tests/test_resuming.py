"""Training that is stopped between two calls of `learn` goes on bit for bit as if it had not been."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents import auxiliary
from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.resuming import can_resume, load_training, save_training
from gqn_transfer.agents.saving import load_agent, save_agent
from gqn_transfer.agents.scene_collector import SceneCollector, collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.checkpoint import CheckpointError
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


OFF_POLICY = {"buffer_size": 60, "learning_starts": 16, "batch_size": 8}
"""With two environments 30 rows, which 40 steps of each overwrite from the first on."""


@pytest.mark.parametrize(
    ("method", "algo"), [("state", "sac"), ("state", "td3"), ("pixels-aug", "sac"), ("gqn-finetune", "td3")]
)
@pytest.mark.parametrize("saves", [[6], [20, 60], [20, 44, 80]], ids=["begun", "full", "begun anew"])
def test_off_policy_it_goes_on_from_its_replay_buffer(
    method: str, algo: str, saves: list[int], encoder: Encoder, tmp_path: Path
) -> None:
    """Also while it still acts at random, and after its buffer has wrapped."""
    source = encoder if METHODS[method].needs_encoder else None
    how = {"encoder": source, "algo": algo, "device": "cpu"}
    agent = make_agent(method, off_policy_venv(method), seed=3, **how, **OFF_POLICY)
    for steps in saves:
        agent.learn(steps - agent.num_timesteps, reset_num_timesteps=False)
        save_training(agent, tmp_path)
    agent.learn(20, reset_num_timesteps=False)
    torch.manual_seed(99), np.random.seed(99)  # noqa: NPY002
    again = load_training(tmp_path, off_policy_venv(method), source, device="cpu")
    again.learn(20, reset_num_timesteps=False)
    assert again.num_timesteps == agent.num_timesteps == saves[-1] + 20
    assert_same_training(agent, again)


def off_policy_venv(method: str) -> VecEnv:
    size = 36 if method == "pixels-aug" else 16
    made = as_sb3(ArmVectorEnv("Reach-v0", 2, obs=METHODS[method].observation, image_size=size))
    made.seed(5)
    return made


def assert_same_training(agent: Any, again: Any) -> None:
    """Weights, and all that the replay buffers hold."""
    ours, theirs = weights(agent), weights(again)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    one, other = agent.replay_buffer, again.replay_buffer
    assert (one.pos, one.full) == (other.pos, other.full)
    for part in ("observations", "next_observations"):
        for key, values in getattr(one, part).items():
            np.testing.assert_array_equal(values, getattr(other, part)[key])
    for part in ("actions", "rewards", "dones", "timeouts"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def off_policy_agent() -> Any:
    return make_agent("state", off_policy_venv("state"), algo="sac", seed=3, device="cpu", **OFF_POLICY)


def pieces_in(folder: Path) -> dict[str, int]:
    """Name -> rows of the pieces of a replay buffer."""
    return {path.name: len(load_file(path)["rewards"]) for path in folder.glob("replay-*")}


def test_a_save_writes_what_is_new_and_drops_what_was_overwritten(tmp_path: Path) -> None:
    agent, seen = off_policy_agent(), []
    for _ in range(5):
        agent.learn(20, reset_num_timesteps=False)
        save_training(agent, tmp_path)
        seen.append(pieces_in(tmp_path))
    assert [sorted(each.values()) for each in seen] == [[10], [10, 10], *[[10, 10, 10]] * 3]
    assert not seen[0].keys() & seen[3].keys()
    save_training(agent, tmp_path)
    assert pieces_in(tmp_path) == seen[-1]
    again = load_training(tmp_path, off_policy_venv("state"), device="cpu")
    again.learn(20, reset_num_timesteps=False)
    save_training(again, tmp_path)
    assert len(pieces_in(tmp_path).keys() & seen[-1].keys()) == 2


def test_one_that_begins_to_count_anew_loses_nothing(tmp_path: Path) -> None:
    """`learn` sets SB3's counter of steps to 0 unless it is told not to."""
    agent = off_policy_agent()
    for _ in range(2):
        save_training(agent.learn(20), tmp_path)
    again = load_training(tmp_path, off_policy_venv("state"), device="cpu")
    assert_same_training(agent, again)
    assert again.replay_buffer.pos == 20


def test_elsewhere_all_of_it_is_written(tmp_path: Path) -> None:
    agent = off_policy_agent().learn(20)
    save_training(agent, tmp_path / "one")
    save_training(agent, tmp_path / "other")
    assert pieces_in(tmp_path / "one") == pieces_in(tmp_path / "other") != {}


def test_one_that_has_ended_keeps_no_replay_buffer(tmp_path: Path) -> None:
    agent = off_policy_agent().learn(20)
    save_training(agent, tmp_path)
    save_training(agent, tmp_path, has_ended=True)
    assert not pieces_in(tmp_path)
    assert can_resume(tmp_path)
    again = load_training(tmp_path, off_policy_venv("state"), device="cpu")
    assert again.refill == OFF_POLICY["learning_starts"]


def test_one_whose_files_are_gone_is_kept_anew(tmp_path: Path) -> None:
    """Because it had ended, or since another agent was saved in its folder."""
    agent = off_policy_agent().learn(20)
    save_training(agent, tmp_path)
    save_training(agent, tmp_path, has_ended=True)
    save_training(agent.learn(20, reset_num_timesteps=False), tmp_path)
    again = load_training(tmp_path, off_policy_venv("state"), device="cpu")
    assert again.replay_buffer.pos == 20
    assert_same_training(agent, again)


def test_one_that_was_refilling_its_buffer_goes_on_doing_so(tmp_path: Path) -> None:
    save_agent(off_policy_agent().learn(40), tmp_path / "weights")
    agent = load_agent(tmp_path / "weights", off_policy_venv("state"), device="cpu")
    agent.learn(10, reset_num_timesteps=False)
    save_training(agent, tmp_path / "training")
    agent.learn(20, reset_num_timesteps=False)
    again = load_training(tmp_path / "training", off_policy_venv("state"), device="cpu")
    again.learn(20, reset_num_timesteps=False)
    assert again.learning_starts == 40 + 16
    assert_same_training(agent, again)


def test_a_missing_or_another_piece_is_named(tmp_path: Path) -> None:
    agent = off_policy_agent()
    for _ in range(2):
        agent.learn(20, reset_num_timesteps=False)
        save_training(agent, tmp_path)
    assert can_resume(tmp_path)
    first, second = sorted(tmp_path.glob("replay-*"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(CheckpointError, match=first.name):
        load_training(tmp_path, off_policy_venv("state"), device="cpu")
    first.unlink()
    assert not can_resume(tmp_path)
