"""A tier with a bottleneck: noise while tasks train it, none for those who read it, and what it costs."""

import re

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gqn_transfer.agents.build_multitask import fit_heads, make_multitask_agent
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv
from gqn_transfer.agents.multitask import MultiTaskPPO
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.tier import Tier, TierConfig

CONFIG = TierConfig(size=6, width=16, depth=1, bottleneck=0.1)


def agent_with(encoder: Encoder, bottleneck: float) -> MultiTaskPPO:
    codes = EncodedVecEnv(as_sb3(ArmVectorEnv("Reach-v0", 4, image_size=16)), encoder, "cpu")
    return make_multitask_agent(
        MixedVecEnv({"Reach-v0": codes}), encoder=None, seed=0, tier=TierConfig(6, 16, 1, bottleneck),
        n_steps=25, batch_size=50, n_epochs=4, device="cpu",
    )  # fmt: skip


def codes_met(agent: MultiTaskPPO) -> torch.Tensor:
    return torch.from_numpy(agent.env.reset()["representation"])


def test_half_the_rows_are_noisy_in_training_and_none_elsewhere() -> None:
    torch.manual_seed(0)
    tier, codes = Tier(12, CONFIG), torch.randn(4_000, 12)
    mean = tier.eval()(codes)
    assert torch.equal(mean, tier(codes))
    noisy = tier.train()(codes)
    moved = (noisy != mean).any(1)
    assert 0.45 < moved.float().mean() < 0.55
    spread = (noisy - mean)[moved].std(0)
    _, log_deviation = tier._distribution(tier._read(codes[moved]))
    torch.testing.assert_close(spread, log_deviation.exp().square().mean(0).sqrt(), rtol=0.1, atol=0)


def test_the_divergence_is_from_a_standard_normal() -> None:
    tier, codes = Tier(12, CONFIG), torch.randn(5, 12)
    mean, log_deviation = tier._distribution(tier._read(codes))
    expected = kl_divergence(Normal(mean, log_deviation.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(tier.divergence(codes), expected)
    plain = Tier(12, TierConfig(size=6))
    assert torch.equal(plain.divergence(codes), torch.zeros(5))
    assert torch.equal(plain.train()(codes), plain.eval()(codes))


def test_its_weight_is_that_of_the_divergence_in_the_loss(encoder: Encoder) -> None:
    agent = agent_with(encoder, 0.1)
    agent.learn(100)
    rows = agent._rows()[0]
    agent.policy.set_training_mode(False)  # without noise losses compare
    with_it = agent._loss(rows)
    observations = agent.rollout_buffer._get_samples(rows).observations
    divergence = agent.policy.features_extractor.tier.divergence(observations["representation"]).mean()
    agent.policy.features_extractor.tier.config = TierConfig(6, 16, 1)
    torch.testing.assert_close(with_it - agent._loss(rows), 0.1 * divergence)


def test_it_makes_tasks_leave_out_what_they_do_not_need(encoder: Encoder) -> None:
    """The more, the larger its weight; the encoder below stays."""
    left = {}
    for weight in (1e-6, 0.1):
        agent = agent_with(encoder, weight)
        tier = agent.policy.features_extractor.tier
        first = tier.divergence(codes_met(agent)).mean().item()
        agent.learn(1_000)
        left[weight] = tier.divergence(codes_met(agent)).mean().item() / first
    assert left[0.1] < 0.9 * left[1e-6]


def test_agents_act_and_heads_are_fitted_without_noise(encoder: Encoder) -> None:
    agent = agent_with(encoder, 0.1)
    agent.learn(100)
    calls: list[bool] = []
    tier = agent.policy.features_extractor.tier
    tier.register_forward_pre_hook(lambda module, _: calls.append(module.training))
    agent.policy.train()
    fit_heads(agent)
    agent.collect_rollouts(agent.env, agent._init_callback(None), agent.rollout_buffer, agent.n_steps)
    agent.policy.train()
    agent.predict(agent.env.reset())
    assert len(calls) > agent.n_steps
    assert not any(calls)


@pytest.mark.parametrize(("name", "value", "least"), [("bottleneck", -0.1, 0), ("history", 0, 1)])
def test_impossible_ones_are_refused(name: str, value: float, least: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name}={value}: expected at least {least}")):
        TierConfig(**{name: value})
