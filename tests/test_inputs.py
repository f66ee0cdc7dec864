"""What trunks are given: centred, with unit variance of what is seen, for every method alike."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.extractors import Extractor, VectorExtractor
from gqn_transfer.agents.inputs import FRAMES, InputScale
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.encoder import Encoder

Make = Callable[..., VecEnv]
SHORT: dict[str, dict[str, Any]] = {"ppo": {"n_steps": 4, "batch_size": 4}, "sac": {"buffer_size": 100}}
RUN = [name for name, row in METHODS.items() if not row.auxiliary]


def first_observations(agent: Any) -> dict[str, torch.Tensor]:
    seen = [agent.policy.obs_to_tensor(agent.get_env().reset())[0] for _ in range(FRAMES // 2)]
    rows = {key: torch.cat([one[key] for one in seen]) for key in seen[0]}
    return preprocess_obs(rows, agent.observation_space)


@pytest.mark.parametrize("algo", list(SHORT))
@pytest.mark.parametrize("method", RUN)
def test_every_trunk_gets_centred_inputs_of_one_scale(
    method: str, algo: str, make_venv: Make, encoder: Encoder
) -> None:
    row = METHODS[method]
    venv = make_venv(obs=row.observation, image_size=36 if row.eyes == "convolutions" else 16)
    eyes = encoder if row.needs_encoder else None
    agent = make_agent(method, venv, encoder=eyes, algo=algo, seed=0, device="cpu", **SHORT[algo])
    extractors = [module for module in agent.policy.modules() if isinstance(module, Extractor)]
    assert len(extractors) == (1 if algo == "ppo" else 3)  # actor, critic and the critic's target
    with torch.no_grad():
        rows = first_observations(agent)
        for extractor in extractors:
            given = extractor.scale(extractor.inputs(rows))
            assert given.mean(0).abs().max() < 0.5
            if row.observation == "pixels":
                seen = given[:, extractor.scale.seen]
                assert float(seen.square().mean().sqrt()) == pytest.approx(1, abs=0.2)
            else:
                assert torch.equal(extractor.scale.scale, torch.ones_like(extractor.scale.scale))


def test_it_is_identity_until_it_is_fitted() -> None:
    scale, inputs = InputScale(5, slice(2, None)), torch.randn(40, 5) * 3 + 1
    assert torch.equal(scale(inputs), inputs)
    scale.fit(inputs)
    fitted = scale(inputs)
    torch.testing.assert_close(fitted.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted[:, :2], inputs[:, :2] - inputs[:, :2].mean(0))
    assert float(fitted[:, 2:].square().mean()) == pytest.approx(1)


def test_one_scale_for_all_that_is_seen() -> None:
    scale, inputs = InputScale(3, slice(0, None)), torch.randn(1000, 3) * torch.tensor([1.0, 0.1, 0.0])
    scale.fit(inputs)
    assert len(set(scale.scale.tolist())) == 1


def test_what_never_varies_is_not_blown_up() -> None:
    scale = InputScale(3, slice(1, None))
    scale.fit(torch.ones(10, 3))
    assert torch.equal(scale(torch.full((1, 3), 2.0)), torch.ones(1, 3))


def test_sb3s_own_agents_do_without(make_venv: Make, encoder: Encoder) -> None:
    extractor = VectorExtractor(make_venv(obs="state").observation_space)
    assert torch.equal(extractor.scale.scale, torch.ones_like(extractor.scale.scale))
