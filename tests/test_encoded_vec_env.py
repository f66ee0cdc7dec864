"""`EncodedVecEnv` and `EncodedObservation`: the code of every image, of the last ones too; the rest stays."""

import copy
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gqn_transfer.agents.encoded_observation import EncodedObservation
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv, encode_images
from gqn_transfer.agents.extractors import GQNExtractor, VectorExtractor
from gqn_transfer.encoder import Encoder, load_encoder
from gqn_transfer.precision import autocast

Make = Callable[..., VecEnv]


def actions(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


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
        with torch.no_grad(), autocast(images.device):
            code = encoder.standardise(encoder(images, torch.from_numpy(before["viewpoint"])))
        np.testing.assert_allclose(after["representation"], code, rtol=1e-4, atol=1e-4)


def test_encoded_equals_the_extractor_inside_a_policy(make_venv: Make, encoder: Encoder) -> None:
    policy = {"features_extractor_class": GQNExtractor, "features_extractor_kwargs": {"encoder": encoder}}
    model = PPO("MultiInputPolicy", make_venv(), policy_kwargs=policy, n_steps=4, batch_size=4, device="cpu")
    raw, encoded = make_venv().reset(), EncodedVecEnv(make_venv(), copy.deepcopy(encoder), "cpu").reset()
    tensors, _ = model.policy.obs_to_tensor(raw)
    seen: list[torch.Tensor] = []
    model.policy.features_extractor.eyes.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model.policy.predict_values(tensors)
    np.testing.assert_allclose(seen[0], encoded["representation"], rtol=1e-4, atol=1e-4)


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


def test_one_load_serves_all_who_name_the_same_encoder(make_venv: Make, trained_run: Path) -> None:
    one, other = (EncodedVecEnv(make_venv(), str(trained_run), "cpu").encoder for _ in range(2))
    assert one is other


def test_features_of_half_the_memory(make_venv: Make, encoder: Encoder) -> None:
    whole = EncodedVecEnv(make_venv(horizon=1), encoder, "cpu")
    half = EncodedVecEnv(make_venv(horizon=1), encoder, "cpu", dtype=np.float16)
    assert half.observation_space["representation"].dtype == np.float16
    pairs = [(whole.reset(), half.reset())]
    theirs, ours = whole.step(actions(whole)), half.step(actions(half))
    pairs += [(theirs[0], ours[0])]
    pairs += [(a["terminal_observation"], b["terminal_observation"]) for a, b in zip(theirs[3], ours[3])]  # noqa: B905
    for before, after in pairs:
        assert after["representation"].dtype == np.float16
        np.testing.assert_allclose(after["representation"], before["representation"], rtol=2e-3, atol=2e-3)
    agent = PPO("MultiInputPolicy", half, n_steps=4, batch_size=4, device="cpu")
    agent.learn(8)
    assert agent.rollout_buffer.observations["representation"].dtype == np.float16


def test_a_trained_encoder_is_not_cached(make_venv: Make, trained_run: Path) -> None:
    eyes = GQNExtractor(make_venv().observation_space, str(trained_run), mode="finetune").eyes
    for wrap in (EncodedVecEnv, EncodedObservation):
        env = make_venv() if wrap is EncodedVecEnv else make_venv().envs[0]
        with pytest.raises(ValueError, match="is being trained inside a policy: features kept from it"):
            wrap(env, eyes.encoder)


def test_what_it_encodes_with_cannot_be_trained_afterwards(make_venv: Make, encoder: Encoder) -> None:
    EncodedVecEnv(make_venv(), encoder, "cpu")
    with pytest.raises(ValueError, match=r"no weights left to train.*EncodedVecEnv has frozen it"):
        GQNExtractor(make_venv().observation_space, encoder, mode="finetune")


def test_views_in_one_image_are_summed(make_venv: Make, encoder: Encoder) -> None:
    raw, encoded = make_venv(views=2), EncodedVecEnv(make_venv(views=2), encoder, "cpu")
    seen, code = raw.reset(), encoded.reset()["representation"]
    images = torch.from_numpy(seen["image"]).permute(0, 3, 1, 2).unflatten(1, (2, 3))
    viewpoints = torch.from_numpy(seen["viewpoint"]).unflatten(1, (2, 7))
    with torch.no_grad(), autocast(images.device):
        single = [encoder.standardise(encoder(images[:, k], viewpoints[:, k])) for k in range(2)]
        eyes = GQNExtractor(raw.observation_space, copy.deepcopy(encoder)).eyes
        inside = eyes(images.flatten(1, 2).float() / 255, viewpoints.flatten(1))
    for values in ((single[0] + single[1]) / 2, inside):
        np.testing.assert_allclose(code, values, rtol=1e-4, atol=1e-4)


def test_single_environments_are_encoded_alike(
    fake_arm: type[gymnasium.Env], encoder: Encoder, make_venv: Make
) -> None:
    env = EncodedObservation(fake_arm(), encoder, "cpu")
    raw = fake_arm()
    for ours, theirs in [(env.reset(seed=5)[0], raw.reset(seed=5)[0])] + [
        (env.step(np.zeros(2))[0], raw.step(np.zeros(2))[0]) for _ in range(2)
    ]:
        assert env.observation_space.contains(ours)
        code = encode_images(encoder, theirs["image"][None], theirs["viewpoint"][None])[0]
        np.testing.assert_array_equal(ours["representation"], code)
        np.testing.assert_array_equal(ours["goal"], theirs["goal"])
    with pytest.raises(ValueError, match="EncodedObservation needs observations with `image`"):
        EncodedObservation(fake_arm("state"), encoder)


def test_a_single_environments_last_codes_are_seen_together(
    fake_arm: type[gymnasium.Env], encoder: Encoder
) -> None:
    """As `RecentViews` does it for vectors of environments: an episode starts with its first one thrice."""
    env = EncodedObservation(fake_arm(), encoder, "cpu", views=3)
    one = EncodedObservation(fake_arm(), encoder, "cpu")
    for seed in (5, 6):
        codes = [one.reset(seed=seed)[0]["representation"]] * 3
        seen = [env.reset(seed=seed)[0]["representation"]]
        for _ in range(3):
            codes.append(one.step(np.zeros(2))[0]["representation"])
            seen.append(env.step(np.zeros(2))[0]["representation"])
        for k, ours in enumerate(seen):
            np.testing.assert_allclose(ours, np.mean(codes[k : k + 3], 0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="views=0: expected at least 1"):
        EncodedObservation(fake_arm(), encoder, views=0)


def test_names_of_encoders_load_alone(encoder: Encoder, trained_run: Path) -> None:
    assert load_encoder(trained_run) is not load_encoder(trained_run)


@pytest.mark.parametrize("algo", [A2C, PPO, SAC, TD3, TQC])
@pytest.mark.parametrize("where", ["extractor", "wrapper", "finetuned"])
def test_any_algorithm_takes_it(algo: type, where: str, make_venv: Make, encoder: Encoder) -> None:
    eyes = {
        "features_extractor_class": GQNExtractor,
        "features_extractor_kwargs": {
            "encoder": encoder,
            "mode": "finetune" if where == "finetuned" else "frozen",
        },
    }
    venv = EncodedVecEnv(make_venv(), encoder, "cpu") if where == "wrapper" else make_venv()
    off_policy = {"learning_starts": 4, "batch_size": 4, "buffer_size": 100}
    short = {PPO: {"n_steps": 4, "batch_size": 4}, A2C: {"n_steps": 4}}.get(algo, off_policy)
    agent = algo(
        "MultiInputPolicy", venv, policy_kwargs={} if where == "wrapper" else eyes, device="cpu", **short
    )
    assert agent.learn(16).num_timesteps == 16


def test_crossq_which_knows_vectors_alone(fake_arm: type[gymnasium.Env], encoder: Encoder) -> None:
    def flat() -> gymnasium.Env:
        return gymnasium.wrappers.FlattenObservation(EncodedObservation(fake_arm(), encoder, "cpu"))

    agent = CrossQ("MlpPolicy", DummyVecEnv([flat]), learning_starts=4, batch_size=4, buffer_size=100)
    assert agent.learn(12).num_timesteps == 12
    assert agent.observation_space.shape == (12 + 7 + 12,)
