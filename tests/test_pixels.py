"""The pixels' distribution: exact likelihoods, one component or several."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from gqn_transfer.pixels import Pixels, likelihood_floor


def random_pixels(components: int) -> Pixels:
    generator = torch.Generator().manual_seed(components)
    channels = 3 if components == 1 else 4 * components
    return Pixels.from_parameters(torch.randn(4, channels, 8, 8, generator=generator), components)


def random_images() -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(9))


def test_one_component_is_the_gaussian() -> None:
    pixels, images = random_pixels(1), random_images()
    expected = Normal(pixels.mean, 0.3).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(pixels.log_likelihood(images, 0.3), expected)


def test_a_mixture_is_torchs_mixture() -> None:
    pixels, images = random_pixels(3), random_images()
    weights = Categorical(logits=pixels.log_weights.permute(0, 2, 3, 1))
    parts = Independent(Normal(pixels.means.permute(0, 3, 4, 1, 2), 0.3), 1)
    mixture = MixtureSameFamily(weights, parts)
    expected = mixture.log_prob(images.permute(0, 2, 3, 1)).sum((1, 2))
    torch.testing.assert_close(pixels.log_likelihood(images, 0.3), expected)
    torch.testing.assert_close(pixels.mean, mixture.mean.permute(0, 3, 1, 2))


def test_weights_multiply_what_lies_above_the_floor() -> None:
    pixels, images = random_pixels(2), random_images()
    floor = likelihood_floor(0.3, 3 * 8 * 8)
    plain, doubled = (
        pixels.log_likelihood(images, 0.3, torch.full((4, 1, 8, 8), weight)) + floor for weight in (1.0, 2.0)
    )
    torch.testing.assert_close(doubled, 2 * plain)
    torch.testing.assert_close(plain - floor, pixels.log_likelihood(images, 0.3))


def test_halving_the_region_of_a_small_thing_pays_the_same_each_time() -> None:
    """The reason for mixtures: a red dot somewhere in n pixels costs about log n, not next to nothing."""

    def loss(region: int, components: int) -> float:
        chance = torch.zeros(64).index_fill(0, torch.arange(region), 1 / region)
        image = torch.zeros(1, 3, 8, 8)
        image[:, 0, 0, 0] = 1.0  # the dot is in the first of the region's pixels
        red = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
        if components == 1:
            pixels = Pixels((red * chance.view(8, 8))[None, None], torch.zeros(1, 1, 8, 8))
        else:
            means = torch.stack([torch.zeros(3, 8, 8), red.expand(3, 8, 8)])[None]
            chances = torch.stack([1 - chance, chance]).clamp(1e-6).view(1, 2, 8, 8)
            pixels = Pixels(means, chances.log())
        return -float(pixels.log_likelihood(image, 0.1)) - likelihood_floor(0.1, 192)

    gains = {k: [loss(2 * n, k) - loss(n, k) for n in (16, 8, 4)] for k in (1, 2)}
    assert all(gain == pytest.approx(math.log(2), rel=0.15) for gain in gains[2])
    share = [gain / (loss(32, 1) - loss(1, 1)) for gain in gains[1]]
    assert share[0] < 0.05, "a Gaussian hardly cares about the first halving"


def test_the_floor_refuses_a_sigma_of_nothing() -> None:
    with pytest.raises(ValueError, match="sigma must be positive"):
        likelihood_floor(0.0, 12288)


def test_components_must_be_positive() -> None:
    from gqn_transfer.model import GQNConfig

    with pytest.raises(ValueError, match="pixel_components must be at least 1, got 0"):
        GQNConfig(pixel_components=0)
