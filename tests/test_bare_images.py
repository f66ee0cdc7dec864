"""Images reach the eyes as they are, in every call, and what comes out is the same."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents import build, extractors
from gqn_transfer.agents.bare_images import BareImagesPolicy
from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.precision import autocast

SHORT: dict[str, Any] = {"n_steps": 10, "batch_size": 20, "n_epochs": 2, "device": "cpu"}


@pytest.fixture
def arms() -> Iterator[Callable[[], VecEnv]]:
    made: list[VecEnv] = []

    def make() -> VecEnv:
        made.append(as_sb3(ArmVectorEnv("Reach-v0", 2)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_every_call_hands_uint8_to_the_extractor(
    arms: Callable[[], VecEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent("pixels-aug", arms(), seed=0, **SHORT)
    seen: list[torch.dtype] = []
    look = extractors.Convolutions.forward

    def forward(self: Any, images: torch.Tensor, viewpoints: torch.Tensor) -> torch.Tensor:
        seen.append(images.dtype)
        return look(self, images, viewpoints)

    monkeypatch.setattr(extractors.Convolutions, "forward", forward)
    observation, _ = agent.policy.obs_to_tensor(agent.get_env().reset())
    actions, _, _ = agent.policy(observation)
    agent.policy.evaluate_actions(observation, actions)
    agent.policy.predict_values(observation)
    agent.policy.get_distribution(observation)
    assert seen == [torch.uint8] * 4


@pytest.mark.parametrize("method", ["pixels-aug", "gqn-finetune"])
def test_it_learns_what_sb3s_policy_learns_bit_for_bit(
    method: str, arms: Callable[[], VecEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = "jaco-small-ae" if METHODS[method].needs_encoder else None
    ours = make_agent(method, arms(), seed=0, encoder=encoder, **SHORT).learn(40)
    monkeypatch.setattr(build, "BareImagesPolicy", MultiInputActorCriticPolicy)
    theirs = make_agent(method, arms(), seed=0, encoder=encoder, **SHORT).learn(40)
    assert isinstance(ours.policy, BareImagesPolicy)
    assert not isinstance(theirs.policy, BareImagesPolicy)
    weights = theirs.policy.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in ours.policy.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_scaling_is_the_same_in_every_precision(precision: str) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 4, 8, 8)
    with autocast(torch.device("cpu"), precision):
        found = extractors.scaled(images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert torch.equal(found, (images.float() / 255).to(found.dtype))


def test_agents_that_see_no_images_keep_sb3s_policy(arms: Callable[[], VecEnv]) -> None:
    encoder = Encoder.untrained(build.shared("jaco-small-ae").config)
    agent = make_agent("gqn-frozen", arms(), encoder=encoder, seed=0, **SHORT)
    assert not isinstance(agent.policy, BareImagesPolicy)
