"""Tiers that read several steps of an episode, wherever their codes are used."""

import copy
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gqn_transfer.agents.build_multitask import make_multitask_agent
from gqn_transfer.agents.encoded_observation import EncodedObservation
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv, encode_images
from gqn_transfer.agents.extractors import GQNExtractor
from gqn_transfer.agents.eyes import freeze
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.agents.views import RecentCodes, RecentViews
from gqn_transfer.checkpoint import fingerprint
from gqn_transfer.encoder import Encoder, load_encoder, tiered
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.tier import Tier, TierConfig, save_tier

Make = Callable[..., VecEnv]
CONFIG = TierConfig(size=5, width=16, depth=1, history=3)


def tier_on(base: Encoder, config: TierConfig = CONFIG) -> Encoder:
    torch.manual_seed(0)
    made = tiered(base, Tier(base.features_dim, config).eval())
    made.fit_statistics(torch.randn(20, config.size))
    made.fingerprint = fingerprint(made.state_dict())
    return made


@torch.no_grad()
def recalled(encoder: Encoder, codes: list[np.ndarray]) -> np.ndarray:
    """What the tier says of codes (C,) of successive steps."""
    return encoder.recall(torch.from_numpy(np.stack(codes)[None]))[0].numpy()


def still(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


# The network.


def test_it_reads_every_step_in_its_order() -> None:
    torch.manual_seed(0)
    tier, codes = Tier(12, CONFIG), torch.randn(4, 3, 12, requires_grad=True)
    read = tier(codes)
    assert read.shape == (4, 5)
    assert not torch.allclose(tier(codes.flip(1)), read, atol=1e-3)
    (gradient,) = torch.autograd.grad(read.square().sum() + read[:, 0].sum(), codes)
    assert (gradient.abs().sum((0, 2)) > 0).all()


def test_a_step_alone_is_an_episodes_first() -> None:
    tier, codes = Tier(12, CONFIG), torch.randn(4, 12)
    torch.testing.assert_close(tier(codes), tier(codes[:, None].repeat(1, 3, 1)))


def test_it_is_frozen_and_kept_like_any_other(trained_run: Path, tmp_path: Path, encoder: Encoder) -> None:
    made = tier_on(encoder)
    codes = torch.randn(2, 3, 12)
    statistics = {"feature_mean": made.feature_mean, "feature_std": made.feature_std}
    tier = made.representation.tier
    save_tier(tmp_path / "tier", trained_run / "encoder", tier, statistics, {"frames": 7})
    again = load_encoder(tmp_path / "tier")
    assert again.remembers
    assert torch.equal(again.recall(codes), made.recall(codes))
    before = again.recall(codes)
    assert torch.equal(freeze(again).recall(codes), before)
    assert list(again.parameters()) == []


# Its codes.


def assert_alike(
    encoded: VecEnv, plain: VecEnv, read: Callable[[list[np.ndarray]], np.ndarray], steps: int = 6
) -> None:
    """That `encoded` has what `read` makes of all codes of the running episode in `plain`."""

    def compare(code: np.ndarray, episode: list[np.ndarray]) -> None:
        np.testing.assert_allclose(code, read(episode), rtol=1e-4, atol=1e-4)

    ours, theirs = encoded.reset(), plain.reset()
    episodes = [[code] for code in theirs["representation"]]
    for _ in range(steps):
        for code, episode in zip(ours["representation"], episodes, strict=True):
            compare(code, episode)
        (ours, _, dones, infos), (theirs, _, _, known) = (
            encoded.step(still(encoded)),
            plain.step(still(plain)),
        )
        for index, episode in enumerate(episodes):
            if dones[index]:
                last = known[index]["terminal_observation"]["representation"]
                compare(infos[index]["terminal_observation"]["representation"], [*episode, last])
                episodes[index] = []
            episodes[index].append(theirs["representation"][index])


def last(episode: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The last codes, with copies of the first before it."""
    return ([episode[0]] * count + episode)[-count:]


def test_environments_keep_what_an_episode_has_shown(fake_arm: type[gymnasium.Env], encoder: Encoder) -> None:
    def venv() -> VecEnv:
        made = DummyVecEnv([lambda h=h: fake_arm(horizon=h) for h in (5, 2, 3)])
        made.seed(3)
        return made

    made = tier_on(encoder)
    encoded, plain = EncodedVecEnv(venv(), made, "cpu"), EncodedVecEnv(venv(), encoder, "cpu")
    assert encoded.observation_space["representation"].shape == (5,)
    assert set(encoded.observation_space.spaces) == {"representation", "viewpoint", "goal"}
    assert_alike(encoded, plain, lambda episode: recalled(made, last(episode, 3)))


def test_an_episodes_first_code_is_that_of_its_view(make_venv: Make, encoder: Encoder) -> None:
    made, view = tier_on(encoder), make_venv().reset()
    codes = EncodedVecEnv(make_venv(), made, "cpu").reset()["representation"]
    np.testing.assert_allclose(
        codes, encode_images(made, view["image"], view["viewpoint"]), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("history", [1, 2])
def test_a_tier_stands_on_one_that_remembers(history: int, make_venv: Make, encoder: Encoder) -> None:
    second = tier_on(encoder)
    third = tier_on(second, TierConfig(size=4, depth=0, history=history))
    assert third.remembers
    assert third.below == (second, history)
    encoded = EncodedVecEnv(make_venv(horizon=3), third, "cpu")
    plain = EncodedVecEnv(make_venv(horizon=3), copy.deepcopy(second), "cpu")
    assert_alike(encoded, plain, lambda episode: recalled(third, last(episode, history)))


def test_several_views_are_averaged_on_top(make_venv: Make, encoder: Encoder) -> None:
    made = tier_on(encoder)
    encoded = RecentViews(EncodedVecEnv(make_venv(), made, "cpu"), 2)
    plain = EncodedVecEnv(make_venv(), made, "cpu")
    assert_alike(encoded, plain, lambda episode: np.mean(last(episode, 2), 0))


def test_a_single_environment_has_the_same(fake_arm: type[gymnasium.Env], encoder: Encoder) -> None:
    made = tier_on(encoder)
    env = EncodedObservation(fake_arm(), made, "cpu", views=2)
    plain = EncodedObservation(fake_arm(), encoder, "cpu")
    for seed in (5, 6):
        seen, codes = [env.reset(seed=seed)[0]], [plain.reset(seed=seed)[0]["representation"]]
        for _ in range(4):
            seen.append(env.step(np.zeros(2))[0])
            codes.append(plain.step(np.zeros(2))[0]["representation"])
        read = [recalled(made, last(codes[: k + 1], 3)) for k in range(len(codes))]
        for k, observation in enumerate(seen):
            assert env.observation_space.contains(observation)
            expected = np.mean(last(read[: k + 1], 2), 0)
            np.testing.assert_allclose(observation["representation"], expected, rtol=1e-4, atol=1e-4)


def test_without_a_history_nothing_is_kept(make_venv: Make, encoder: Encoder) -> None:
    made = tier_on(encoder, TierConfig(size=5, depth=1))
    assert not made.remembers
    assert not encoder.remembers
    assert not isinstance(EncodedVecEnv(make_venv(), made, "cpu").venv, RecentCodes)


def test_eyes_in_a_policy_refuse_it(make_venv: Make, encoder: Encoder) -> None:
    space = make_venv().observation_space
    for mode in ("frozen", "finetune"):
        with pytest.raises(
            ValueError, match=r"reads several steps .* wrap the environments in EncodedVecEnv"
        ):
            GQNExtractor(space, tier_on(encoder), mode)


# Its training.


def test_it_is_trained_on_the_codes_of_as_many_steps(encoder: Encoder) -> None:
    def mixed(views: int) -> MixedVecEnv:
        codes = EncodedVecEnv(as_sb3(ArmVectorEnv("Reach-v0", 2, image_size=16)), encoder, "cpu")
        return MixedVecEnv({"Reach-v0": RecentCodes(codes, views) if views > 1 else codes})

    how = {"encoder": None, "seed": 0, "n_steps": 10, "batch_size": 10, "n_epochs": 1, "device": "cpu"}
    agent = make_multitask_agent(mixed(3), tier=CONFIG, **how)
    assert agent.observation_space["representation"].shape == (3, 12)
    before = copy.deepcopy(agent.policy.features_extractor.tier.state_dict())
    agent.learn(20)
    after = agent.policy.features_extractor.tier.state_dict()
    assert not any(torch.equal(after[name], value) for name, value in before.items())
    for views in (1, 2):
        with pytest.raises(ValueError, match=f"history=3 is given the codes of {views} steps: wrap the Enc"):
            make_multitask_agent(mixed(views), tier=CONFIG, **how)
