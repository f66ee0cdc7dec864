"""Agents: frozen eyes stay frozen, both ways of seeing agree, methods learn, scores are what they say."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gqn_transfer.agents import extractors
from gqn_transfer.agents.augmentation import RandomShiftVecEnv, random_shift
from gqn_transfer.agents.build import ALGORITHMS, make_agent, observe
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv, encode_images
from gqn_transfer.agents.extractors import GQNExtractor, PixelExtractor, VectorExtractor
from gqn_transfer.agents.methods import METHODS, method_named
from gqn_transfer.benchmarks.evaluation import EVALUATION_SEED, evaluate
from gqn_transfer.benchmarks.run_cell import gradient_steps
from gqn_transfer.checkpoint import load_tensors
from gqn_transfer.encoder import Encoder, load_encoder

SHORT = {"n_steps": 4, "batch_size": 4, "n_epochs": 1, "device": "cpu"}
Make = Callable[..., VecEnv]


@pytest.fixture
def encoder(trained_run: Path) -> Encoder:
    return load_encoder(trained_run)


@pytest.fixture
def make_venv(fake_arm: type[gymnasium.Env]) -> Make:
    def make(count: int = 2, **how: Any) -> VecEnv:
        venv = DummyVecEnv([lambda: fake_arm(**how)] * count)
        venv.seed(0)
        return venv

    return make


def actions(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


# EncodedVecEnv


def test_encoded_space(make_venv: Make, encoder: Encoder) -> None:
    raw = make_venv()
    space = EncodedVecEnv(raw, encoder, "cpu").observation_space
    assert set(space.spaces) == {"representation", "viewpoint", "goal"}
    assert space["representation"] == spaces.Box(-np.inf, np.inf, (12,), np.float32)
    assert all(space[key] == raw.observation_space[key] for key in ("viewpoint", "goal"))


def test_encoded_values_and_the_rest(make_venv: Make, encoder: Encoder) -> None:
    raw, encoded = make_venv(), EncodedVecEnv(make_venv(), encoder, "cpu")
    pairs = [(raw.reset(), encoded.reset())]
    for _ in range(6):
        ours, theirs = encoded.step(actions(encoded)), raw.step(actions(raw))
        pairs.append((theirs[0], ours[0]))
        np.testing.assert_array_equal(ours[1], theirs[1])
        np.testing.assert_array_equal(ours[2], theirs[2])
    for before, after in pairs:
        assert encoded.observation_space.contains({key: value[0] for key, value in after.items()})
        for key in ("viewpoint", "goal"):
            np.testing.assert_array_equal(after[key], before[key])
        images = torch.from_numpy(before["image"]).permute(0, 3, 1, 2)
        with torch.no_grad():
            code = encoder.standardise(encoder(images, torch.from_numpy(before["viewpoint"])))
        np.testing.assert_allclose(after["representation"], code, rtol=1e-4, atol=1e-4)


def test_encoded_equals_the_extractor_inside_a_policy(make_venv: Make, encoder: Encoder) -> None:
    model = ppo(make_venv(), encoder)
    raw, encoded = make_venv().reset(), EncodedVecEnv(make_venv(), load_again(encoder), "cpu").reset()
    tensors, _ = model.policy.obs_to_tensor(raw)
    seen: list[torch.Tensor] = []
    model.policy.features_extractor.eyes.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model.policy.predict_values(tensors)
    np.testing.assert_allclose(seen[0], encoded["representation"], rtol=1e-4, atol=1e-4)


def load_again(encoder: Encoder) -> Encoder:
    return copy.deepcopy(encoder)


def test_extractor_and_encoded_env_feed_the_trunk_the_same_numbers(make_venv: Make, encoder: Encoder) -> None:
    raw, encoded = make_venv(), EncodedVecEnv(make_venv(), encoder, "cpu")
    inside = GQNExtractor(spaces.Dict(raw.observation_space.spaces), encoder)
    outside = VectorExtractor(encoded.observation_space)
    fed: list[torch.Tensor] = []
    for extractor in (inside, outside):
        extractor.trunk.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
    images = raw.reset()
    inside(
        {
            "image": torch.from_numpy(images["image"]).permute(0, 3, 1, 2).float() / 255,
            **{key: torch.from_numpy(images[key]) for key in ("viewpoint", "goal")},
        }
    )
    outside(obs_as_tensor(encoded.reset(), torch.device("cpu")))
    ours, theirs = (values.sort(1).values for values in fed)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_terminal_observations_are_encoded(make_venv: Make, encoder: Encoder) -> None:
    raw, encoded = make_venv(3, horizon=2), EncodedVecEnv(make_venv(3, horizon=2), encoder, "cpu")
    raw.reset(), encoded.reset()
    for step in range(4):
        theirs, ours = raw.step(actions(raw)), encoded.step(actions(encoded))
        assert ours[2].all() == (step % 2 == 1)
        for before, after in zip(theirs[3], ours[3], strict=True):
            assert ("terminal_observation" in after) == ("terminal_observation" in before) == (step % 2 == 1)
            if step % 2:
                old, new = before["terminal_observation"], after["terminal_observation"]
                assert set(new) == {"representation", "viewpoint", "goal"}
                code = encode_images(encoder, old["image"][None], old["viewpoint"][None])[0]
                np.testing.assert_allclose(new["representation"], code, rtol=1e-4, atol=1e-4)
                np.testing.assert_array_equal(new["goal"], old["goal"])
                assert after["TimeLimit.truncated"] == before["TimeLimit.truncated"]


def test_one_env_ending_alone_gets_its_own_code(fake_arm: type[gymnasium.Env], encoder: Encoder) -> None:
    def venv() -> VecEnv:
        made = DummyVecEnv([lambda h=h: fake_arm(horizon=h) for h in (5, 1, 5)])
        made.seed(3)
        return made

    raw, encoded = venv(), EncodedVecEnv(venv(), encoder, "cpu")
    raw.reset(), encoded.reset()
    theirs, ours = raw.step(actions(raw)), encoded.step(actions(encoded))
    assert [("terminal_observation" in info) for info in ours[3]] == [False, True, False]
    last = theirs[3][1]["terminal_observation"]
    code = encode_images(encoder, last["image"][None], last["viewpoint"][None])[0]
    got = ours[3][1]["terminal_observation"]["representation"]
    np.testing.assert_allclose(got, code, rtol=1e-4, atol=1e-4)
    assert ours[0]["representation"].shape == (3, 12)


def test_encoded_env_refuses_state(make_venv: Make, encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r'needs observations with `image` and `viewpoint`.*obs="pixels"'):
        EncodedVecEnv(make_venv(obs="state"), encoder)


@pytest.mark.parametrize("kind", [str, Path])
def test_encoders_load_by_path(make_venv: Make, trained_run: Path, encoder: Encoder, kind: type) -> None:
    named = EncodedVecEnv(make_venv(), kind(trained_run), "cpu").reset()
    given = EncodedVecEnv(make_venv(), encoder, "cpu").reset()
    np.testing.assert_array_equal(named["representation"], given["representation"])
    inside = GQNExtractor(make_venv().observation_space, kind(trained_run))
    assert inside.eyes.encoder.fingerprint == encoder.fingerprint


# Frozen eyes inside a policy


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
    monkeypatch.delattr(extractors._Frozen, "apply")
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


# Methods


def build(method: str, make_venv: Make, encoder: Encoder, **how: Any) -> Any:
    row = METHODS[method]
    size = 36 if row.extractor is PixelExtractor else 16  # the smallest image its convolutions take
    venv = make_venv(obs=row.observation, image_size=size)
    eyes = encoder if row.needs_encoder else None
    return make_agent(method, venv, encoder=eyes, seed=0, **(SHORT | how))


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_learns(method: str, make_venv: Make, encoder: Encoder) -> None:
    agent = build(method, make_venv, encoder)
    assert isinstance(agent.policy.features_extractor, METHODS[method].extractor)
    before = copy.deepcopy(agent.policy.features_extractor.state_dict())
    agent.learn(8)
    assert gradient_steps(agent) == 2
    still = [n for n, v in agent.policy.features_extractor.state_dict().items() if torch.equal(v, before[n])]
    assert still == []


@pytest.mark.parametrize("method", ["state", "pixels-aug", "gqn-frozen"])
def test_same_seed_same_agent(method: str, make_venv: Make, encoder: Encoder) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        row = METHODS[method]
        venv = make_venv(obs=row.observation, image_size=16 if row.needs_encoder else 36)
        eyes = encoder if row.needs_encoder else None
        return make_agent(method, venv, encoder=eyes, seed=seed, **SHORT).learn(8).policy.state_dict()

    one, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["action_net.weight"], other["action_net.weight"])


def test_overrides_reach_the_algorithm(make_venv: Make, encoder: Encoder) -> None:
    agent = build("state", make_venv, encoder, gamma=0.5)
    assert (agent.gamma, agent.n_steps, agent.gae_lambda) == (0.5, 4, 0.95)


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


def test_methods_are_listed() -> None:
    with pytest.raises(ValueError, match=f"unknown method 'x'; known: {', '.join(METHODS)}"):
        method_named("x")
    assert all(row.description and row.observation in ("pixels", "state") for row in METHODS.values())


# Random shift


def pictures(count: int = 20) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 9, 9, 3), np.uint8)


def test_shift_is_a_crop_of_the_padded_image() -> None:
    images = pictures(200)
    shifted = random_shift(images, 2, np.random.default_rng(0))
    assert (shifted.shape, shifted.dtype) == (images.shape, np.uint8)
    offsets = set()
    for before, after in zip(images, shifted, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), "edge")
        crops = {(r, c): padded[r : r + 9, c : c + 9] for r in range(5) for c in range(5)}
        found = [offset for offset, crop in crops.items() if np.array_equal(crop, after)]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) == 25  # each of them happens


def test_no_shift_is_identity() -> None:
    np.testing.assert_array_equal(random_shift(pictures(), 0, np.random.default_rng(0)), pictures())


def test_shift_is_seeded() -> None:
    a, b, c = (random_shift(pictures(), 2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_shift_env_changes_images_only(make_venv: Make) -> None:
    raw, shifted = make_venv(), RandomShiftVecEnv(make_venv(), 3, np.random.default_rng(0))
    for before, after in (
        (raw.reset(), shifted.reset()),
        (raw.step(actions(raw))[0], shifted.step(actions(shifted))[0]),
    ):
        assert not np.array_equal(before["image"], after["image"])
        for key in ("viewpoint", "goal"):
            np.testing.assert_array_equal(before[key], after[key])


def test_augmentation_is_for_training_only(make_venv: Make, encoder: Encoder) -> None:
    agent = build("pixels-aug", make_venv, encoder)
    assert isinstance(agent.get_env().venv, RandomShiftVecEnv)
    raw = make_venv(image_size=36)
    assert observe("pixels-aug", raw) is raw
    assert not isinstance(build("pixels", make_venv, encoder).get_env().venv, RandomShiftVecEnv)


def test_observe_encodes(make_venv: Make, encoder: Encoder) -> None:
    assert isinstance(observe("gqn-frozen", make_venv(), encoder), EncodedVecEnv)
    with pytest.raises(ValueError, match="needs an encoder"):
        observe("random-frozen", make_venv())


# Evaluation


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
    agent = build("gqn-frozen", make_venv, encoder)
    held_out = observe("gqn-frozen", make_venv(3), encoder)
    first, second = (evaluate(agent, held_out, 0) for _ in range(2))
    assert first == second
    agent.learn(8)
    assert evaluate(agent, held_out, 0).return_mean != first.return_mean


def test_evaluation_asks_for_the_mean_action(fake_arm: type[gymnasium.Env]) -> None:
    assert all(deterministic for _, deterministic in scored(fake_arm, {})[1].asked)
