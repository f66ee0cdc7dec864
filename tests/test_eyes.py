"""Eyes inside policies: frozen ones stay frozen, trained ones are trained by the right loss."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from gqn_transfer.agents import eyes as module
from gqn_transfer.agents.critic_eyes import CriticEyesSACPolicy, CriticEyesTD3Policy
from gqn_transfer.agents.extractors import Convolutions, GQNExtractor
from gqn_transfer.agents.eyes import FrozenEyes, TrainedEyes, freeze
from gqn_transfer.checkpoint import load_tensors
from gqn_transfer.encoder import Encoder

SHORT = {"n_steps": 4, "batch_size": 4, "n_epochs": 1, "device": "cpu"}
Make = Callable[..., VecEnv]


def ppo(venv: VecEnv, encoder: Encoder | str, **policy: Any) -> PPO:
    keywords = {"features_extractor_class": GQNExtractor, "features_extractor_kwargs": {"encoder": encoder}}
    return PPO("MultiInputPolicy", venv, policy_kwargs=keywords | policy, seed=0, **SHORT)


def changed(encoder: Encoder, folder: Path) -> list[str]:
    """Names of the tensors that are no longer the checkpoint's."""
    stored = load_tensors(folder / "encoder")
    kept = encoder.state_dict()
    assert len(kept) > 10
    return [n for n, v in kept.items() if not torch.equal(v, stored.get(f"model.{n}", stored.get(n)))]


@pytest.mark.parametrize("share", [True, False])
def test_frozen_encoder_survives_construction_and_learning(
    make_venv: Make, trained_run: Path, share: bool
) -> None:
    model = ppo(make_venv(), str(trained_run), share_features_extractor=share)
    assert model.policy.ortho_init
    eyes = model.policy.features_extractor.eyes.encoder
    assert changed(eyes, trained_run) == []
    trunk = model.policy.features_extractor.trunk[0].weight.clone()
    model.learn(16)
    assert not torch.equal(trunk, model.policy.features_extractor.trunk[0].weight)
    assert changed(eyes, trained_run) == []


def test_the_guard_against_re_initialisation_matters(
    make_venv: Make, trained_run: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module.EncoderEyes, "apply")
    ppo(
        make_venv(), encoder.to(memory_format=torch.contiguous_format)
    )  # else ortho_init fails, not overwrites
    assert "representation.enter.0.weight" in changed(encoder, trained_run)


def test_optimisers_do_not_see_the_encoder(make_venv: Make, encoder: Encoder) -> None:
    model = ppo(make_venv(), encoder)
    frozen = {tensor.data_ptr() for tensor in encoder.state_dict().values()}
    assert list(encoder.parameters()) == []
    assert not frozen & {parameter.data_ptr() for parameter in model.policy.parameters()}
    optimised = {p.data_ptr() for group in model.policy.optimizer.param_groups for p in group["params"]}
    assert optimised
    assert not frozen & optimised
    assert not any("eyes" in name for name, _ in model.policy.named_parameters())


def test_saved_policies_hold_the_encoder(make_venv: Make, encoder: Encoder) -> None:
    state = ppo(make_venv(), encoder).policy.state_dict()
    key = "features_extractor.eyes.encoder.representation.enter.0.weight"
    assert torch.equal(state[key], encoder.state_dict()["representation.enter.0.weight"])


def test_training_mode_leaves_the_encoder_in_eval(make_venv: Make, encoder: Encoder) -> None:
    policy = ppo(make_venv(), encoder).policy
    policy.set_training_mode(True)
    assert policy.training
    assert policy.features_extractor.trunk.training
    assert not any(part.training for part in encoder.modules())


def test_encoder_is_shared_not_copied(make_venv: Make, encoder: Encoder) -> None:
    policy = ppo(make_venv(), encoder, share_features_extractor=False).policy
    assert policy.pi_features_extractor is not policy.vf_features_extractor
    assert policy.pi_features_extractor.eyes.encoder is policy.vf_features_extractor.eyes.encoder is encoder


def test_eyes_need_no_gradient(make_venv: Make, encoder: Encoder) -> None:
    space = make_venv().observation_space
    eyes = GQNExtractor(space, encoder).eyes
    assert not eyes(torch.rand(2, 3, 16, 16), torch.randn(2, 7)).requires_grad


def test_unknown_mode(make_venv: Make, encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"mode='melted': expected"):
        GQNExtractor(make_venv().observation_space, encoder, mode="melted")


class WithBatchNorm(nn.Module):
    """A network of one's own whose output depends on the mode it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        )

    def forward(self, images: torch.Tensor, viewpoints: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_batch_norm_and_dropout_stay_asleep(make_venv: Make, mode: str) -> None:
    own = Encoder(WithBatchNorm(), (8,), image_size=16)
    model = ppo(make_venv(), own, features_extractor_kwargs={"encoder": own, "mode": mode})
    eyes = model.policy.features_extractor.eyes
    before = {name: value.clone() for name, value in eyes.encoder.named_buffers() if "running" in name}
    assert len(before) == 2
    model.learn(8)
    model.policy.set_training_mode(True)
    for name, value in eyes.encoder.named_buffers():
        if name in before:
            assert torch.equal(value, before[name]), name
    inputs = torch.rand(3, 3, 16, 16), torch.zeros(3, 7)
    assert torch.equal(eyes(*inputs), eyes(*inputs))


# Images


def test_images_divided_twice_or_not_at_all(make_venv: Make, encoder: Encoder) -> None:
    model = ppo(make_venv(), encoder)
    observation = make_venv().reset()
    seen: list[torch.Tensor] = []
    encoder.representation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.policy.predict_values(model.policy.obs_to_tensor(observation)[0])
    assert seen[0].max() == pytest.approx(observation["image"].max() / 255)
    raw = ppo(make_venv(), copy.deepcopy(encoder), normalize_images=False)
    with pytest.raises(ValueError, match=r"float images up to 25\d.*leave normalize_images=True"):
        raw.learn(4)


@pytest.mark.parametrize("brightest", [2.0, 1 / 255])
def test_images_of_another_range_are_refused_by_all_eyes(encoder: Encoder, brightest: float) -> None:
    images = torch.full((1, 3, 36, 36), brightest)
    with pytest.raises(ValueError, match="eyes take uint8, or floats in"):
        Convolutions("nature", 3)(images)
    with pytest.raises(ValueError, match="eyes take uint8, or floats in"):
        FrozenEyes(encoder)(images[..., :16, :16], torch.zeros(1, 7))
    dark = torch.zeros(1, 3, 36, 36)
    Convolutions("nature", 3)(dark)


def test_a_frozen_encoder_does_not_follow_an_optimiser_that_was_made_before(encoder: Encoder) -> None:
    parameters = list(encoder.parameters())
    freeze(encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_eyes_sum_views(encoder: Encoder) -> None:
    frozen = FrozenEyes(encoder)
    images, viewpoints = torch.rand(4, 6, 16, 16), torch.randn(4, 14)
    parts = [frozen(images[:, 3 * k : 3 * k + 3], viewpoints[:, 7 * k : 7 * k + 7]) for k in range(2)]
    torch.testing.assert_close(frozen(images, viewpoints), (parts[0] + parts[1]) / 2)


# Fine-tuning


def finetuned(venv: VecEnv, encoder: Any, algo: type = PPO, policy: Any = "MultiInputPolicy") -> Any:
    keywords = {
        "features_extractor_class": GQNExtractor,
        "features_extractor_kwargs": {"encoder": encoder, "mode": "finetune"},
    }
    short = SHORT if algo is PPO else {"learning_starts": 4, "batch_size": 4, "device": "cpu"}
    return algo(policy, venv, policy_kwargs=keywords, seed=0, **short)


def test_fine_tuning_starts_from_the_checkpoint_and_leaves_it(make_venv: Make, trained_run: Path) -> None:
    model = finetuned(make_venv(), str(trained_run))
    eyes = model.policy.features_extractor.eyes.encoder
    assert changed(eyes, trained_run) == []  # ortho_init has not touched it
    model.learn(16)
    assert len(changed(eyes, trained_run)) > 10


def test_fine_tuning_copies_the_encoder_it_is_given(make_venv: Make, encoder: Encoder) -> None:
    before = copy.deepcopy(encoder.state_dict())
    finetuned(make_venv(), encoder).learn(8)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not encoder.is_trained


def test_a_frozen_encoder_is_shared_by_all_networks_of_sac(make_venv: Make, trained_run: Path) -> None:
    keywords = {
        "features_extractor_class": GQNExtractor,
        "features_extractor_kwargs": {"encoder": str(trained_run)},
    }
    agent = SAC("MultiInputPolicy", make_venv(), policy_kwargs=keywords, learning_starts=4, device="cpu")
    agent.learn(12)
    networks = (agent.actor, agent.critic, agent.critic_target)
    assert len({id(network.features_extractor.eyes.encoder) for network in networks}) == 1
    for network in networks:
        assert not [name for name, _ in network.named_parameters() if "eyes" in name]
    assert changed(agent.actor.features_extractor.eyes.encoder, trained_run) == []


def encoder_gradient(network: Any) -> float:
    eyes = network.features_extractor.eyes
    return sum(float(p.grad.abs().sum()) for p in eyes.parameters() if p.grad is not None)


def losses_of_sac(agent: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Something that the actor's and something that the critic's gradient can be taken of."""
    observation = agent.policy.obs_to_tensor(agent.get_env().reset())[0]
    actions, log_prob = agent.actor.action_log_prob(observation)
    critic = torch.cat(agent.critic(observation, actions.detach()), 1)
    return log_prob.sum() + actions.sum(), critic.sum()


def test_the_critic_alone_trains_the_eyes(make_venv: Make, encoder: Encoder) -> None:
    agent = finetuned(make_venv(), encoder, SAC, CriticEyesSACPolicy)
    actor_loss, critic_loss = losses_of_sac(agent)
    actor_loss.backward()
    assert encoder_gradient(agent.critic) == 0
    assert agent.actor.features_extractor.trunk[0].weight.grad.abs().sum() > 0
    critic_loss.backward()
    assert encoder_gradient(agent.critic) > 0
    in_actor = {id(p) for group in agent.actor.optimizer.param_groups for p in group["params"]}
    in_critic = {id(p) for group in agent.critic.optimizer.param_groups for p in group["params"]}
    eyes = {id(p) for p in agent.critic.features_extractor.eyes.parameters()}
    assert eyes <= in_critic
    assert not eyes & in_actor


def test_the_actors_loss_does_not_run_back_through_the_critics_eyes(
    make_venv: Make, encoder: Encoder
) -> None:
    agent = finetuned(make_venv(), encoder, SAC, CriticEyesSACPolicy)
    observation = agent.policy.obs_to_tensor(agent.get_env().reset())[0]
    actions, _ = agent.actor.action_log_prob(observation)
    values = agent.critic(observation, actions)
    plain = ContinuousCritic.forward(agent.critic, observation, actions)
    for ours, theirs in zip(values, plain, strict=True):
        assert torch.equal(ours, theirs)
    gradients = [
        torch.autograd.grad(torch.cat(each, 1).sum(), actions, retain_graph=True) for each in (values, plain)
    ]
    assert torch.equal(*(gradient for (gradient,) in gradients))
    torch.cat(values, 1).sum().backward(retain_graph=True)
    assert encoder_gradient(agent.critic) == 0
    assert agent.actor.mu.weight.grad.abs().sum() > 0
    torch.cat(plain, 1).sum().backward()
    assert encoder_gradient(agent.critic) > 0  # what SB3 would have computed, and thrown away


def test_sharing_as_sb3_does_it_trains_the_eyes_by_the_actor(make_venv: Make, encoder: Encoder) -> None:
    """The trap itself: were SB3 to change this, `critic_eyes` could go."""
    keywords = {
        "features_extractor_class": GQNExtractor,
        "features_extractor_kwargs": {"encoder": encoder, "mode": "finetune"},
        "share_features_extractor": True,
    }
    agent = SAC("MultiInputPolicy", make_venv(), policy_kwargs=keywords, device="cpu")
    actor_loss, critic_loss = losses_of_sac(agent)
    critic_loss.backward()
    assert encoder_gradient(agent.critic) == 0
    actor_loss.backward()
    assert encoder_gradient(agent.critic) > 0
    with pytest.raises(ValueError, match="share_features_extractor=True: leave it out"):
        SAC(CriticEyesSACPolicy, make_venv(), policy_kwargs=keywords, device="cpu")


@pytest.mark.parametrize(("algo", "policy"), [(SAC, CriticEyesSACPolicy), (TD3, CriticEyesTD3Policy)])
def test_actors_look_through_the_critics_eyes(
    make_venv: Make, encoder: Encoder, algo: type, policy: type
) -> None:
    agent = finetuned(make_venv(), encoder, algo, policy)
    agent.learn(12)
    seen: list[torch.Tensor] = []
    agent.critic.features_extractor.eyes.register_forward_hook(lambda *call: seen.append(call[2]))
    agent.predict(agent.get_env().reset(), deterministic=True)
    assert len(seen) == 1
    assert not seen[0].requires_grad
    target = agent.critic_target.features_extractor.eyes
    own = agent.critic.features_extractor.eyes
    assert target is not own
    assert target.encoder is not own.encoder
    if algo is TD3:
        assert agent.policy.actor_target.features_extractor.eyes._lender[0] is target


def test_targets_follow_the_trained_eyes_slowly(make_venv: Make, encoder: Encoder) -> None:
    agent = finetuned(make_venv(), encoder, SAC, CriticEyesSACPolicy)
    start = [p.detach().clone() for p in agent.critic.features_extractor.eyes.parameters()]
    agent.learn(12)
    moved, followed = (
        sum(float((p.detach() - q).abs().sum()) for p, q in zip(eyes.parameters(), start, strict=True))
        for eyes in (agent.critic.features_extractor.eyes, agent.critic_target.features_extractor.eyes)
    )
    assert 0 < followed < 0.5 * moved


def test_freezing_refuses_what_is_trained(encoder: Encoder) -> None:
    eyes = TrainedEyes(encoder)
    with pytest.raises(ValueError, match="is being trained inside a policy"):
        freeze(eyes.encoder)
    freeze(encoder)
    with pytest.raises(ValueError, match="no weights left to train"):
        TrainedEyes(encoder)
    assert np.isfinite(eyes(torch.rand(1, 3, 16, 16), torch.zeros(1, 7)).detach().numpy()).all()
