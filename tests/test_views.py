"""`RecentViews`: the last views in order, copies at an episode's start, ends that belong to their episode."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecTransposeImage

from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv, encode_images
from gqn_transfer.agents.views import RecentViews
from gqn_transfer.encoder import Encoder

Make = Callable[..., VecEnv]


def actions(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


def history(venv: VecEnv, steps: int) -> list[dict[str, np.ndarray]]:
    """What a plain environment shows, in order, for comparison; `ends` are its last observations."""
    return [venv.reset(), *(venv.step(actions(venv))[0] for _ in range(steps))]


def test_the_last_views_follow_one_another(make_venv: Make) -> None:
    plain, stacked = make_venv(horizon=9), RecentViews(make_venv(horizon=9), 3)
    alone = history(plain, 4)
    together = [stacked.reset(), *(stacked.step(actions(stacked))[0] for _ in range(4))]
    for now, seen in enumerate(together):
        assert stacked.observation_space.contains({key: value[0] for key, value in seen.items()})
        for back in range(3):  # 0 is the latest, which comes last
            then = alone[max(now - back, 0)]
            place = 2 - back
            np.testing.assert_array_equal(seen["image"][..., 3 * place : 3 * place + 3], then["image"])
            np.testing.assert_array_equal(seen["viewpoint"][:, 7 * place : 7 * place + 7], then["viewpoint"])
        np.testing.assert_array_equal(seen["goal"], alone[now]["goal"])


def test_an_episodes_end_and_the_next_ones_start(make_venv: Make, fake_arm: type) -> None:
    def venv() -> VecEnv:
        made = DummyVecEnv([lambda h=h: fake_arm(horizon=h) for h in (2, 5)])
        made.seed(0)
        return made

    plain, stacked = venv(), RecentViews(venv(), 2)
    alone, _ = [plain.reset()], stacked.reset()
    for step in range(2):
        observation, _, dones, infos = plain.step(actions(plain))
        ours, _, _, our_infos = stacked.step(actions(stacked))
        if step == 0:
            alone.append(observation)
    assert dones.tolist() == [True, False]
    last = our_infos[0]["terminal_observation"]
    np.testing.assert_array_equal(last["image"][..., :3], alone[1]["image"][0])
    np.testing.assert_array_equal(last["image"][..., 3:], infos[0]["terminal_observation"]["image"])
    for half in (slice(3), slice(3, 6)):
        np.testing.assert_array_equal(ours["image"][0][..., half], observation["image"][0])
    np.testing.assert_array_equal(ours["image"][1][..., :3], alone[1]["image"][1])


def test_codes_are_averaged_which_is_the_same_to_an_encoder(make_venv: Make, encoder: Encoder) -> None:
    codes = RecentViews(EncodedVecEnv(make_venv(horizon=3), copy.deepcopy(encoder), "cpu"), 2)
    images = RecentViews(make_venv(horizon=3), 2)
    pairs = [(codes.reset(), images.reset())]
    for _ in range(5):
        ours, theirs = codes.step(actions(codes)), images.step(actions(images))
        pairs.append((ours[0], theirs[0]))
        for one, other in zip(ours[3], theirs[3], strict=True):
            if "terminal_observation" in one:
                ends = ({k: v[None] for k, v in i["terminal_observation"].items()} for i in (one, other))
                pairs.append(tuple(ends))
    assert len(pairs) == 6 + 2 * 1
    for ours, theirs in pairs:
        expected = encode_images(encoder, theirs["image"], theirs["viewpoint"])
        np.testing.assert_allclose(ours["representation"], expected, rtol=1e-4, atol=1e-4)
    assert codes.observation_space == EncodedVecEnv(make_venv(), encoder, "cpu").observation_space


def test_sb3_transposes_stacked_images(make_venv: Make) -> None:
    venv = VecTransposeImage(RecentViews(make_venv(), 2))
    assert venv.observation_space["image"].shape == (6, 16, 16)
    assert venv.reset()["image"].shape == (2, 6, 16, 16)


def test_refusals(make_venv: Make) -> None:
    with pytest.raises(ValueError, match="views=0: expected at least 1"):
        RecentViews(make_venv(), 0)
    with pytest.raises(ValueError, match="needs observations with `image` or `representation`"):
        RecentViews(make_venv(obs="state"), 2)
