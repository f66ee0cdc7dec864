"""Random shift: a crop of the padded image, another one each time, seeded; images only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from gqn_transfer.agents.augmentation import RandomShiftReplayBuffer, RandomShiftVecEnv, shifted

Make = Callable[..., VecEnv]


def actions(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


def pictures(count: int = 20) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 9, 9, 3), np.uint8)


def drawn(count: int, pixels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(-pixels, pixels + 1, (2, count))


def test_shift_is_a_crop_of_the_padded_image() -> None:
    images, offsets = pictures(200), drawn(200)
    for before, after, (row, column) in zip(images, shifted(images, offsets), offsets.T, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), "edge")
        np.testing.assert_array_equal(after, padded[2 + row : 11 + row, 2 + column : 11 + column])


def test_no_shift_is_identity() -> None:
    np.testing.assert_array_equal(shifted(pictures(), np.zeros((2, 20), int)), pictures())


def shifted_venv(make_venv: Make, seed: int = 0, **how: Any) -> RandomShiftVecEnv:
    return RandomShiftVecEnv(make_venv(**how), 3, np.random.default_rng(seed))


def test_every_offset_happens_and_is_seeded(make_venv: Make) -> None:
    def offsets(seed: int) -> list[tuple[int, ...]]:
        venv = shifted_venv(make_venv, seed, count=2, horizon=1)
        venv.reset()
        found = []
        for _ in range(150):
            found += map(tuple, venv.offsets.T)
            venv.step(actions(venv))
        return found

    assert set(offsets(0)) == {(row, column) for row in range(-3, 4) for column in range(-3, 4)}
    assert offsets(0) == offsets(0) != offsets(1)


def test_an_episode_keeps_its_offset_to_its_last_image(make_venv: Make) -> None:
    raw, ours = make_venv(2, horizon=3), shifted_venv(make_venv, count=2, horizon=3)
    pairs = [(raw.reset(), ours.reset())]
    first = ours.offsets.copy()
    for _ in range(2):
        pairs.append((raw.step(actions(raw))[0], ours.step(actions(ours))[0]))
    for before, after in pairs:
        np.testing.assert_array_equal(after["image"], shifted(before["image"], first))
        for key in ("viewpoint", "goal"):
            np.testing.assert_array_equal(before[key], after[key])
    observation, _, dones, infos = ours.step(actions(ours))
    theirs, *_, their_infos = raw.step(actions(raw))
    assert dones.all()
    for index in range(2):
        last, their_last = (each[index]["terminal_observation"]["image"] for each in (infos, their_infos))
        np.testing.assert_array_equal(last[None], shifted(their_last[None], first[:, [index]]))
    assert not np.array_equal(ours.offsets, first)
    np.testing.assert_array_equal(observation["image"], shifted(theirs["image"], ours.offsets))


def filled_buffer(
    make_venv: Make, pixels: int, seed: int = 0
) -> tuple[RandomShiftReplayBuffer, list[np.ndarray]]:
    """A buffer that holds one transition of one environment, and the images before and after it."""
    venv = VecTransposeImage(make_venv(1))
    buffer = RandomShiftReplayBuffer(
        10, venv.observation_space, venv.action_space, pixels=pixels, rng=np.random.default_rng(seed)
    )
    first = venv.reset()
    following, rewards, dones, infos = venv.step(actions(venv))
    buffer.add(first, following, actions(venv), rewards, dones, infos)
    return buffer, [first["image"][0], following["image"][0]]


def offsets_of(samples: torch.Tensor, image: np.ndarray) -> list[int]:
    """Which of the 25 shifts each sample is: it must be one of them."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), "edge")
    crops = [padded[:, r : r + 16, c : c + 16] for r in range(5) for c in range(5)]
    found = [[k for k, crop in enumerate(crops) if np.array_equal(crop, one)] for one in samples.numpy()]
    assert all(len(each) == 1 for each in found)
    return [each[0] for each in found]


def test_samples_are_shifted_anew_each_time(make_venv: Make) -> None:
    buffer, (before, after) = filled_buffer(make_venv, 2)
    samples = buffer.sample(300)
    one = offsets_of(samples.observations["image"], before)
    other = offsets_of(samples.next_observations["image"], after)
    assert set(one) == set(other) == set(range(25))
    assert one != other


def test_samples_keep_the_rest(make_venv: Make) -> None:
    buffer, _ = filled_buffer(make_venv, 2)
    plain, _ = filled_buffer(make_venv, 0)
    ours, theirs = buffer.sample(3), plain.sample(3)
    for key in ("viewpoint", "goal"):
        assert torch.equal(ours.observations[key], theirs.observations[key])
        assert torch.equal(ours.next_observations[key], theirs.next_observations[key])
    assert torch.equal(ours.actions, theirs.actions)
    assert ours.observations["image"].dtype == torch.uint8


def test_no_shift_of_samples_is_identity(make_venv: Make) -> None:
    buffer, (before, _) = filled_buffer(make_venv, 0)
    np.testing.assert_array_equal(buffer.sample(2).observations["image"][1].numpy(), before)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_buffers_shift_is_seeded(make_venv: Make, seed: int) -> None:
    one, other = (filled_buffer(make_venv, 2, index)[0].sample(20) for index in (0, seed))
    assert torch.equal(one.observations["image"], other.observations["image"]) == (seed == 0)
