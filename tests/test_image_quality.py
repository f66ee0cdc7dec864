"""MSE, PSNR and SSIM on images whose errors are known, and against independent values."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from gqn_transfer.image_quality import PARTS, image_errors, part_masks, psnr, ssim


def waves() -> Tensor:
    """(1, 3, 20, 24), sines of another phase in each channel."""
    rows, columns = np.mgrid[0:20, 0:24]
    image = np.stack([0.5 + 0.4 * np.sin(0.5 * rows + 0.3 * columns + c) for c in range(3)])
    return torch.from_numpy(image.astype(np.float32))[None]


def disturbed(image: Tensor) -> Tensor:
    rows, columns = np.mgrid[0:20, 0:24]
    ripple = torch.from_numpy((0.1 * np.cos(0.9 * rows * columns / 7)).astype(np.float32))
    return (0.8 * image + 0.15 + ripple).clamp(0, 1)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images: Tensor) -> Tensor:
    return part_masks(torch.zeros(len(images), *images.shape[-2:]))


@pytest.mark.parametrize(("error", "decibels"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0), (0.5, 6.0206)])
def test_psnr_of_a_known_error(error: float, decibels: float) -> None:
    truth = torch.zeros(2, 3, 12, 12)
    found = image_errors(truth + error, truth, everywhere(truth))
    mse = found.squares[0] / found.numbers[0]
    torch.testing.assert_close(psnr(mse), torch.full((2,), decibels), atol=1e-3, rtol=0)


def test_a_perfect_image_has_a_finite_psnr() -> None:
    assert psnr(torch.tensor([0.0, 1e-12])).tolist() == [100, 100]


def test_predictions_are_clamped() -> None:
    truth = torch.ones(1, 3, 12, 12)
    assert image_errors(truth + 3, truth, everywhere(truth)).squares[0].item() == 0
    assert image_errors(truth - 3, truth, everywhere(truth)).squares[0].item() == 3 * 144
    assert image_errors(truth + 3, truth, everywhere(truth)).ssim.item() == pytest.approx(1)


def test_each_part_counts_its_own_pixels() -> None:
    labels = torch.zeros(2, 12, 12, dtype=torch.uint8)
    labels[0, :2], labels[0, 5, 5], labels[1, 3] = 1, 2, 3  # arm and target in the first image, a shadow
    labels[0, 0, :4] = 4  # fingers are a part of the arm
    truth = torch.zeros(2, 3, 12, 12)
    prediction = truth.clone()
    prediction[0, :, :2] = 0.5
    prediction[0, 1, 5, 5] = 1.0
    found = image_errors(prediction, truth, part_masks(labels))
    assert tuple(PARTS) == ("image", "arm", "target", "fingers")
    assert found.numbers.tolist() == [[432, 432], [72, 0], [3, 0], [12, 0]]
    assert found.squares.tolist() == [[0.25 * 72 + 1, 0], [0.25 * 72, 0], [1, 0], [0.25 * 12, 0]]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (disturbed, 0.8912702591718479),
        (lambda image: 1 - image, -0.739398709258898),
        (lambda image: image.roll(1, 2), 0.833758221670001),
        (lambda image: torch.full_like(image, 0.5), 0.020843086721086968),
    ],
)
def test_ssim_is_that_of_scikit_image(other, expected: float) -> None:
    """Values of scikit-image 0.26: structural_similarity(a, b, data_range=1, gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False, channel_axis=-1)."""
    assert ssim(waves(), other(waves())).item() == pytest.approx(expected, abs=2e-5)


def reference_ssim(one: np.ndarray, other: np.ndarray) -> float:
    """By scipy's filter, one channel after the other, in double precision."""

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    values = []
    for a, b in zip(one.astype(float), other.astype(float), strict=True):
        cross, mu_a, mu_b = mean(a * b) - mean(a) * mean(b), mean(a), mean(b)
        variances = mean(a * a) - mu_a**2 + mean(b * b) - mu_b**2
        top = (2 * mu_a * mu_b + 1e-4) * (2 * cross + 9e-4)
        values.append((top / ((mu_a**2 + mu_b**2 + 1e-4) * (variances + 9e-4))).mean())
    return float(np.mean(values))


def test_ssim_of_noise_is_that_of_another_implementation() -> None:
    one, other = noise(0, 3, 3, 17, 23), noise(1, 3, 3, 17, 23)
    mixed = 0.7 * one + 0.3 * other
    expected = [reference_ssim(a.numpy(), b.numpy()) for a, b in zip(one, mixed, strict=True)]
    np.testing.assert_allclose(ssim(one, mixed).numpy(), expected, atol=2e-5)


def test_ssim_of_equal_inverted_and_constant_images() -> None:
    image = noise(0, 2, 3, 16, 16)
    torch.testing.assert_close(ssim(image, image), torch.ones(2))
    assert (ssim(image, 1 - image) < -0.5).all()
    dark, light = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)  # without contrast, brightness alone
    assert ssim(dark, light).item() == pytest.approx(expected, abs=1e-3)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels a side"):
        ssim(noise(0, 1, 3, 10, 16), noise(1, 1, 3, 10, 16))
