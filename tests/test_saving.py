"""Saved agents act and learn on as before; what does not fit is refused by name; nothing is pickled."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.saving import AgentError, load_agent, save_agent
from gqn_transfer.checkpoint import CheckpointError
from gqn_transfer.encoder import Encoder

Make = Callable[..., VecEnv]
SHORT: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 4, "batch_size": 4, "n_epochs": 1},
    "a2c": {"n_steps": 4},
    "sac": {"learning_starts": 4, "batch_size": 4, "gradient_steps": 1, "buffer_size": 100},
}
SHORT["td3"] = SHORT["sac"]
CASES = [
    ("state", "ppo"), ("state", "a2c"), ("state", "td3"), ("pixels-aug", "sac"), ("gqn-frozen", "ppo"),
    ("gqn-frozen", "sac"), ("gqn-finetune", "ppo"), ("gqn-finetune", "sac"), ("pixels-gqn-arch", "ppo"),
]  # fmt: skip


def venv_for(method: str, make_venv: Make, count: int = 2) -> VecEnv:
    row = METHODS[method]
    return make_venv(count, obs=row.observation, image_size=36 if row.eyes == "convolutions" else 16)


def trained(method: str, make_venv: Make, encoder: Encoder, algo: str = "ppo", **how: Any) -> Any:
    eyes = encoder if METHODS[method].needs_encoder else None
    venv = venv_for(method, make_venv)
    agent = make_agent(method, venv, encoder=eyes, algo=algo, seed=3, device="cpu", **(SHORT[algo] | how))
    return agent.learn(16)


def loaded(folder: Path, method: str, make_venv: Make, encoder: Encoder) -> Any:
    eyes = encoder if METHODS[method].needs_encoder else None
    return load_agent(folder, venv_for(method, make_venv), eyes, device="cpu")


@pytest.mark.parametrize(("method", "algo"), CASES)
def test_it_acts_as_it_did(method: str, algo: str, make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    agent = trained(method, make_venv, copy.deepcopy(encoder), algo)
    save_agent(agent, tmp_path)
    again = loaded(tmp_path, method, make_venv, encoder)
    observation = agent.get_env().reset()
    ours, theirs = (one.predict(observation, deterministic=True)[0] for one in (agent, again))
    np.testing.assert_array_equal(ours, theirs)
    assert again.num_timesteps == agent.num_timesteps == 16
    assert again.recipe == agent.recipe


@pytest.mark.parametrize(("method", "algo"), CASES)
def test_optimisers_go_on(method: str, algo: str, make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    agent = trained(method, make_venv, copy.deepcopy(encoder), algo)
    save_agent(agent, tmp_path)
    again = loaded(tmp_path, method, make_venv, encoder)
    owners = ("actor", "critic") if hasattr(agent, "critic") else ("policy",)
    for name in owners:
        ours, theirs = (getattr(one, name).optimizer.state_dict() for one in (agent, again))
        assert ours["state"].keys() == theirs["state"].keys() != set()
        for index, values in ours["state"].items():
            assert all(torch.equal(value, theirs["state"][index][key]) for key, value in values.items())
        groups = [json.dumps(each["param_groups"], sort_keys=True) for each in (ours, theirs)]
        assert groups[0] == groups[1]
    if algo == "sac":
        assert torch.equal(again.log_ent_coef, agent.log_ent_coef)
        assert again.ent_coef_optimizer.state_dict()["state"] != {}
    again.learn(8, reset_num_timesteps=False)
    assert again.num_timesteps == 24


def test_a_loaded_agent_learns_as_one_that_was_never_saved(
    make_venv: Make, encoder: Encoder, tmp_path: Path
) -> None:
    agent = trained("state", make_venv, encoder)
    save_agent(agent, tmp_path)

    def next_update(one: Any) -> dict[str, torch.Tensor]:
        one.set_env(venv_for("state", make_venv))
        set_random_seed(1)  # SB3 draws from the global generators
        return one.learn(8, reset_num_timesteps=False).policy.state_dict()

    again = loaded(tmp_path, "state", make_venv, encoder)
    ours, theirs = next_update(agent), next_update(again)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("counts_on", [True, False])
@pytest.mark.parametrize("algo", ["sac", "td3"])
def test_replay_is_filled_again_before_the_next_update(
    algo: str, counts_on: bool, make_venv: Make, encoder: Encoder, tmp_path: Path
) -> None:
    save_agent(trained("state", make_venv, encoder, algo), tmp_path)
    again = loaded(tmp_path, "state", make_venv, encoder)
    before = copy.deepcopy(again.critic.state_dict())
    again.learn(4, reset_num_timesteps=not counts_on)
    assert all(torch.equal(value, before[name]) for name, value in again.critic.state_dict().items())
    again.learn(8, reset_num_timesteps=False)
    assert any(not torch.equal(value, before[name]) for name, value in again.critic.state_dict().items())


def test_saving_again_leaves_one_file_of_weights(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    agent = trained("state", make_venv, encoder)
    save_agent(agent, tmp_path)
    save_agent(agent.learn(8, reset_num_timesteps=False), tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    assert loaded(tmp_path, "state", make_venv, encoder).num_timesteps == 24


def test_another_encoder_is_refused(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    save_agent(trained("gqn-frozen", make_venv, copy.deepcopy(encoder)), tmp_path)
    other = copy.deepcopy(encoder)
    other.fingerprint = "f" * 16
    with pytest.raises(AgentError, match=f"trained with the encoder {encoder.fingerprint}, this one is ffff"):
        loaded(tmp_path, "gqn-frozen", make_venv, other)
    with pytest.raises(ValueError, match="method 'gqn-frozen' needs an encoder"):
        load_agent(tmp_path, make_venv())


def test_another_encoder_without_a_name_is_refused_too(
    make_venv: Make, encoder: Encoder, tmp_path: Path
) -> None:
    first, other = (Encoder.untrained(encoder.config, seed) for seed in (0, 1))  # type: ignore[arg-type]
    assert first.fingerprint == other.fingerprint == ""
    save_agent(trained("gqn-frozen", make_venv, first), tmp_path)
    loaded(tmp_path, "gqn-frozen", make_venv, Encoder.untrained(encoder.config, 0))  # type: ignore[arg-type]
    with pytest.raises(AgentError, match=r"trained with the encoder [0-9a-f]{16}, this one is [0-9a-f]{16}"):
        loaded(tmp_path, "gqn-frozen", make_venv, other)


def test_any_encoder_of_the_architecture_serves_where_weights_are_new(
    make_venv: Make, encoder: Encoder, tmp_path: Path
) -> None:
    agent = trained("pixels-gqn-arch", make_venv, copy.deepcopy(encoder))
    save_agent(agent, tmp_path)
    other = copy.deepcopy(encoder)
    other.fingerprint = "f" * 16
    again = loaded(tmp_path, "pixels-gqn-arch", make_venv, other)
    for name, value in agent.policy.state_dict().items():
        assert torch.equal(again.policy.state_dict()[name], value), name


def test_other_spaces_are_refused(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    save_agent(trained("pixels", make_venv, encoder), tmp_path)
    with pytest.raises(AgentError, match=r"was trained with spaces .*36, 36.*, this environment gives .*44"):
        load_agent(tmp_path, make_venv(image_size=44), device="cpu")


def test_other_formats_are_refused(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    save_agent(trained("state", make_venv, encoder), tmp_path)
    record = json.loads((tmp_path / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps(record | {"format_version": 99}))
    with pytest.raises(AgentError, match="format_version is 99, this program reads 2; train the agent again"):
        loaded(tmp_path, "state", make_venv, encoder)
    with pytest.raises(AgentError, match=r"holds no agent: it has no agent\.json; write one with save_agent"):
        loaded(tmp_path / "nothing", "state", make_venv, encoder)


def test_cut_weights_are_refused(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    save_agent(trained("state", make_venv, encoder), tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is missing or truncated"):
        loaded(tmp_path, "state", make_venv, encoder)


def test_weights_of_another_agent_are_refused(make_venv: Make, encoder: Encoder, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    save_agent(trained("state", make_venv, encoder), one)
    save_agent(trained("state", make_venv, encoder, learning_rate=1e-3), other)
    (mine,), (foreign,) = one.glob("*.safetensors"), other.glob("*.safetensors")
    mine.write_bytes(foreign.read_bytes())
    with pytest.raises(CheckpointError, match=r"is not what the record beside it describes"):
        loaded(one, "state", make_venv, encoder)
