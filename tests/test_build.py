"""`make_agent`: every method with every algorithm it goes with, and what is refused."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.algorithms import ALGORITHMS, UPDATES
from gqn_transfer.agents.augmentation import RandomShiftReplayBuffer, RandomShiftVecEnv
from gqn_transfer.agents.build import environment_seed, make_agent, observe
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.agents.extractors import ImageExtractor, VectorExtractor
from gqn_transfer.agents.eyes import BorrowedEyes
from gqn_transfer.agents.knobs import KNOBS, Knobs, knobs_of
from gqn_transfer.agents.methods import METHODS, method_named
from gqn_transfer.agents.optimiser import EncoderAdam
from gqn_transfer.agents.views import RecentViews
from gqn_transfer.benchmarks.evaluation import EVALUATION_SEED
from gqn_transfer.benchmarks.run_cell import gradient_steps
from gqn_transfer.encoder import Encoder

Make = Callable[..., VecEnv]
SHORT: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 4, "batch_size": 4, "n_epochs": 1},
    "a2c": {"n_steps": 4},
    "sac": {"learning_starts": 4, "batch_size": 4, "gradient_steps": 1, "buffer_size": 100},
}
SHORT["td3"] = SHORT["sac"]
RUNNABLE = dict(METHODS)
PLAIN = [name for name, row in RUNNABLE.items() if not row.auxiliary]
"""Methods that ask nothing special of their environment."""
COMBINATIONS = [(name, algo) for name in PLAIN for algo in METHODS[name].algorithms]


def build(method: str, make_venv: Make, encoder: Encoder, algo: str = "ppo", **how: Any) -> Any:
    row = METHODS[method]
    size = 36 if row.eyes == "convolutions" else 16  # the smallest image its convolutions take
    venv = make_venv(obs=row.observation, image_size=size)
    eyes = encoder if row.needs_encoder else None
    return make_agent(
        method, venv, encoder=eyes, algo=algo, device="cpu", **({"seed": 0} | SHORT[algo] | how)
    )


def networks(agent: Any) -> list[Any]:
    """What holds an extractor that a loss trains."""
    return [agent.actor, agent.critic] if hasattr(agent, "critic") else [agent.policy]


STATISTICS = ("feature_mean", "feature_std", "scale.mean", "scale.scale")
"""Of inputs: fitted once, never trained."""


@pytest.mark.parametrize(("method", "algo"), COMBINATIONS)
def test_every_method_learns_with_every_algorithm(
    method: str, algo: str, make_venv: Make, encoder: Encoder
) -> None:
    agent = build(
        method, make_venv, encoder, algo, **({"warm_up": 0} if METHODS[method].eyes == "finetuned" else {})
    )
    before = [copy.deepcopy(network.features_extractor.state_dict()) for network in networks(agent)]
    agent.learn(16)
    assert gradient_steps(agent) > 0
    for network, old in zip(networks(agent), before, strict=True):
        now = network.features_extractor.state_dict()
        still = {name for name, value in now.items() if torch.equal(value, old[name])}
        assert still <= {name for name in now if name.endswith(STATISTICS)}


@pytest.mark.parametrize(("method", "algo"), COMBINATIONS)
def test_all_methods_end_in_the_same_trunk(method: str, algo: str, make_venv: Make, encoder: Encoder) -> None:
    for network in networks(build(method, make_venv, encoder, algo)):
        trunk = network.features_extractor.trunk
        assert [type(layer).__name__ for layer in trunk] == ["Linear", "LayerNorm", "Tanh"]
        assert trunk[0].out_features == 256


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_methods_differ_in_their_eyes_only(algo: str, make_venv: Make, encoder: Encoder) -> None:
    def settings(agent: Any) -> dict[str, Any]:
        names = ("gamma", "learning_rate", "n_steps", "batch_size", "n_epochs", "tau", "gae_lambda")
        found = {name: getattr(agent, name, None) for name in names}
        heads = {
            name: tuple(p.shape) for name, p in agent.policy.named_parameters() if "extractor" not in name
        }
        (optimiser, *_) = (n.optimizer for n in networks(agent)[::-1])
        rest = {"kind": type(optimiser), "eps": optimiser.defaults["eps"]}
        return found | rest | {n: s for n, s in heads.items() if "target" not in n}

    each = [settings(build(name, make_venv, copy.deepcopy(encoder), algo)) for name in PLAIN]
    assert all(one == each[0] for one in each)
    assert each[0]["kind"] is EncoderAdam


def test_frozen_methods_never_run_the_encoder_in_an_update(make_venv: Make, encoder: Encoder) -> None:
    for algo in ("ppo", "sac"):
        agent = build("gqn-frozen", make_venv, copy.deepcopy(encoder), algo)
        assert isinstance(agent.policy.observation_space["representation"].shape, tuple)
        assert all(isinstance(n.features_extractor, VectorExtractor) for n in networks(agent))
        assert "image" not in agent.observation_space.spaces


@pytest.mark.parametrize("method", ["state", "pixels-aug", "gqn-frozen", "gqn-finetune", "pixels-gqn-arch"])
@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_same_seed_same_agent(method: str, algo: str, make_venv: Make, encoder: Encoder) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        agent = build(method, make_venv, copy.deepcopy(encoder), algo, seed=seed)
        return agent.learn(12).policy.state_dict()

    one, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_new_eyes_have_the_encoders_architecture_and_weights_of_the_seed(
    make_venv: Make, encoder: Encoder
) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        agent = build("pixels-gqn-arch", make_venv, encoder, seed=seed)
        return agent.policy.features_extractor.eyes.encoder.state_dict()

    one, again, other, given = weights(0), weights(0), weights(1), encoder.state_dict()
    assert {n: v.shape for n, v in one.items()} == {n: v.shape for n, v in given.items()}
    assert all(torch.equal(one[name], again[name]) for name in one)
    for those in (other, given):
        assert not torch.equal(one["representation.enter.0.weight"], those["representation.enter.0.weight"])
    assert torch.equal(one["feature_std"], torch.ones(12))


def test_off_policy_eyes_are_the_critics(make_venv: Make, encoder: Encoder) -> None:
    for method in ("pixels", "pixels-aug", "gqn-finetune", "pixels-gqn-arch"):
        for algo in ("sac", "td3"):
            agent = build(method, make_venv, encoder, algo)
            assert isinstance(agent.actor.features_extractor.eyes, BorrowedEyes)
            assert isinstance(agent.critic.features_extractor, ImageExtractor)


# Settings


def test_overrides_reach_the_algorithm(make_venv: Make, encoder: Encoder) -> None:
    agent = build("state", make_venv, encoder, gamma=0.5)
    assert (agent.gamma, agent.n_steps, agent.gae_lambda) == (0.5, 4, 0.95)


def test_knobs_reach_their_parts(make_venv: Make, encoder: Encoder) -> None:
    agent = build("gqn-finetune", make_venv, encoder, head_width=32, encoder_rate=0.1, warm_up=28, views=2)
    assert agent.policy.mlp_extractor.policy_net[0].out_features == 32
    (group,) = (g for g in agent.policy.optimizer.param_groups if "factor" in g)
    assert (group["factor"], group["warm_up"]) == (0.1, 7)
    assert agent.observation_space["image"].shape == (6, 16, 16)
    agent.learn(8)
    pixels = build("pixels-aug", make_venv, encoder, shift=3, network="drq")
    assert pixels.get_env().venv.pixels == 3
    assert (
        len([m for m in pixels.policy.features_extractor.eyes.layers if isinstance(m, torch.nn.Conv2d)]) == 4
    )
    sac = build("pixels-aug", make_venv, encoder, "sac", shift=3, head_width=16)
    assert sac.replay_buffer.pixels == 3
    assert sac.actor.latent_pi[0].out_features == 16


def test_the_warm_up_is_counted_in_environment_steps(make_venv: Make, encoder: Encoder) -> None:
    def updates(algo: str, **how: Any) -> int:
        agent = build("gqn-finetune", make_venv, encoder, algo, warm_up=400, **how)
        optimiser = (agent.critic if hasattr(agent, "critic") else agent.policy).optimizer
        return next(group["warm_up"] for group in optimiser.param_groups if "factor" in group)

    assert updates("ppo", batch_size=4, n_epochs=3) == 300
    assert updates("ppo", batch_size=8, n_epochs=1) == 50
    assert updates("a2c", n_steps=4) == 50  # two environments
    assert updates("sac", gradient_steps=1) == 200


@pytest.mark.parametrize("envs", [1, 2, 64])
def test_replay_takes_as_many_updates_a_step_however_many_environments(envs: int) -> None:
    algorithm = ALGORITHMS["sac"]
    steps = algorithm.updates_per_step(algorithm.settings_for(envs), envs)
    assert steps == max(UPDATES, 1 / envs)


def test_features_of_half_the_memory_in_training_and_evaluation(make_venv: Make, encoder: Encoder) -> None:
    agent = build("gqn-frozen", make_venv, encoder, half=True).learn(8)
    assert agent.observation_space["representation"].dtype == np.float16
    assert agent.rollout_buffer.observations["representation"].dtype == np.float16
    seen = observe("gqn-frozen", make_venv(), encoder, "cpu", half=True)
    assert seen.observation_space == agent.observation_space
    with pytest.raises(ValueError, match="method 'pixels' has no half"):
        build("pixels", make_venv, encoder, half=True)


def test_td3_explores(make_venv: Make, encoder: Encoder) -> None:
    agent = build("state", make_venv, encoder, "td3").learn(8)
    seen = agent.get_env().reset()
    actions = [agent._sample_action(0, agent.action_noise, 2)[0] for agent._last_obs in (seen, seen)]
    assert not np.array_equal(*actions)
    assert build("state", make_venv, encoder, "sac").action_noise is None


def test_neighbouring_seeds_share_no_environment(make_venv: Make, encoder: Encoder) -> None:
    def seeds(seed: int) -> set[int]:
        first = build("state", make_venv, encoder, seed=seed).get_env().unwrapped._seeds
        assert first == [environment_seed(seed), environment_seed(seed) + 1]
        return {environment_seed(seed) + index for index in range(1000)}

    found = [seeds(seed) for seed in (*range(12), 1000, 1001)]
    assert len(set.union(*found)) == sum(map(len, found))
    assert min(map(min, found)) > EVALUATION_SEED + 1000 * 1_000_000


def test_every_knob_belongs_to_some_method() -> None:
    assert {knob for row in METHODS.values() for knob in knobs_of(row)} == set(KNOBS)
    assert set(KNOBS) == {field.name for field in dataclasses.fields(Knobs)}


@pytest.mark.parametrize(
    ("method", "how", "message"),
    [
        (
            "state",
            {"shift": 2},
            r"method 'state' has no shift; it has head_width, head_depth and the settings of",
        ),
        ("gqn-frozen", {"encoder_rate": 1.0}, "method 'gqn-frozen' has no encoder_rate"),
        ("pixels", {"network": "resnet"}, "network='resnet': expected one of nature, drq"),
        ("state", {"head_width": 0}, "head_width=0: expected at least 1"),
        ("state", {"learn_rate": 1e-3}, "unknown settings of ppo: learn_rate; known: .*learning_rate"),
    ],
)
def test_settings_that_do_not_exist(
    method: str, how: dict[str, Any], message: str, make_venv: Make, encoder: Encoder
) -> None:
    with pytest.raises(ValueError, match=message):
        build(method, make_venv, encoder, **how)


# What is refused


def test_what_make_agent_refuses(make_venv: Make, encoder: Encoder) -> None:
    venv = make_venv()
    with pytest.raises(ValueError, match=r"unknown method 'gqn'; known: .*gqn-frozen"):
        make_agent("gqn", venv, seed=0)
    with pytest.raises(ValueError, match=rf"unknown algorithm 'dqn'; known: {', '.join(ALGORITHMS)}"):
        make_agent("pixels", venv, algo="dqn", seed=0)
    with pytest.raises(ValueError, match=r"method 'gqn-frozen' needs an encoder: pass encoder=<name"):
        make_agent("gqn-frozen", venv, seed=0)
    with pytest.raises(ValueError, match=r"method 'pixels' uses no encoder, but one was given"):
        make_agent("pixels", venv, encoder=encoder, seed=0)
    with pytest.raises(ValueError, match=r"'gqn-aux' does not go with algorithm 'sac': choose one of ppo"):
        make_agent("gqn-aux", venv, encoder=encoder, algo="sac", seed=0)


def test_networks_of_ones_own_cannot_be_built_anew(make_venv: Make) -> None:
    own = Encoder(torch.nn.Flatten(), (3,), image_size=16)
    with pytest.raises(ValueError, match="only the architecture of a GQN can be built anew"):
        make_agent("pixels-gqn-arch", make_venv(), encoder=own, seed=0)


def test_methods_are_listed() -> None:
    with pytest.raises(ValueError, match=f"unknown method 'x'; known: {', '.join(METHODS)}"):
        method_named("x")
    assert all(row.description and row.observation in ("pixels", "state") for row in METHODS.values())


# How an agent sees


def test_observe_encodes_and_stacks(make_venv: Make, encoder: Encoder) -> None:
    assert isinstance(observe("gqn-frozen", make_venv(), encoder), EncodedVecEnv)
    stacked = observe("gqn-frozen", make_venv(), copy.deepcopy(encoder), views=3)
    assert isinstance(stacked, RecentViews)
    assert isinstance(stacked.venv, EncodedVecEnv)
    with pytest.raises(ValueError, match="needs an encoder"):
        observe("random-frozen", make_venv())


def test_augmentation_is_for_training_only(make_venv: Make, encoder: Encoder) -> None:
    agent = build("pixels-aug", make_venv, encoder)
    assert isinstance(agent.get_env().venv, RandomShiftVecEnv)
    raw = make_venv(image_size=36)
    assert observe("pixels-aug", raw) is raw
    assert not isinstance(build("pixels", make_venv, encoder).get_env().venv, RandomShiftVecEnv)
    off_policy = build("pixels-aug", make_venv, encoder, "sac")
    assert isinstance(off_policy.replay_buffer, RandomShiftReplayBuffer)
    assert not isinstance(off_policy.get_env().venv, RandomShiftVecEnv)


def test_pixels_stay_bytes_until_the_minibatch(make_venv: Make, encoder: Encoder) -> None:
    for algo in ("ppo", "sac"):
        agent = build("pixels-aug", make_venv, encoder, algo).learn(8)
        buffer = agent.rollout_buffer if algo == "ppo" else agent.replay_buffer
        assert buffer.observations["image"].dtype == np.uint8
