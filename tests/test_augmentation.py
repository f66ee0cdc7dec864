"""Random shift: a crop of the padded image, another one each time, seeded; images only."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from gqn_transfer.agents.augmentation import RandomShiftReplayBuffer, RandomShiftVecEnv, random_shift

Make = Callable[..., VecEnv]


def actions(venv: VecEnv) -> np.ndarray:
    return np.zeros((venv.num_envs, 2), np.float32)


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
