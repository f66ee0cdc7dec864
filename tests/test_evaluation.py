"""Figures of predictions: models whose answers are known, and nothing of the query in the contexts."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gqn_transfer.encoder import load_gqn
from gqn_transfer.evaluation import (
    Figure,
    Protocol,
    codes_by_contexts,
    image_figures,
    in_batches,
    mean_image,
    mean_image_figures,
    possible_contexts,
    rendering_figures,
)
from gqn_transfer.image_quality import PARTS, ImageErrors
from gqn_transfer.latents import Gaussian, LatentStep, Rollout
from gqn_transfer.model import GQNConfig, likelihood_floor
from gqn_transfer.pixels import Pixels
from gqn_transfer.prediction_samples import prediction_samples
from gqn_transfer.scenes import Batch, Scenes

SIZE = 16
DIMENSIONS = 3 * SIZE**2


class Copier(torch.nn.Module):
    """Its code is the image and its prediction the code; its posterior draws the query image.

    The posterior of each of two layers has mean 1, where the prior has 0: a KL of 1/2 nat each.
    """

    config = GQNConfig(image_size=SIZE, latent_map=4)

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.encoded: list[Tensor] = []

    def encode_views(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        self.encoded.append(images)
        return images.float() / 255

    def rollout(
        self, r: Tensor, viewpoints: Tensor, image: Tensor | None = None, generator: Any = None
    ) -> Rollout:
        zero = torch.zeros(len(r), 1, 1, 1)
        prior, posterior = Gaussian(zero, zero), None if image is None else Gaussian(zero + 1, zero)
        noise = (
            0.0
            if generator is None or image is not None
            else torch.randn(prior.mean.shape, generator=generator)
        )
        step = LatentStep(prior, posterior, zero)
        return Rollout(Pixels.from_parameters((r if image is None else image) + 0.1 * noise, 1), (step, step))

    def predict(self, r: Tensor, viewpoints: Tensor, generator: Any = None) -> Tensor:
        return self.rollout(r, viewpoints, None, generator).mean


def plain_scenes(*levels: list[int], labels: int = 0) -> Batch:
    """A scene a list, of views that are each one shade of grey."""
    grey = np.array(levels, np.uint8)[:, :, None, None, None]
    images = np.broadcast_to(grey, (*grey.shape[:2], SIZE, SIZE, 3)).copy()
    shape = images.shape[:-1]
    viewpoints = np.zeros((*shape[:2], 7), np.float32)
    return Batch(images, viewpoints, np.full(shape, labels, np.uint8), np.zeros((len(grey), 1), np.float32))


def evaluated(
    batches: list[Batch], contexts: tuple[int, ...] = (1,), samples: int = 2, seed: int = 0, **how: Any
) -> dict[tuple[str, str, int | None], Figure]:
    protocol = Protocol(contexts, samples, **how)
    generator = torch.Generator().manual_seed(seed)
    figures = rendering_figures(Copier(), batches, protocol, generator)  # type: ignore[arg-type]
    return {(row.figure, row.part, row.contexts): row for row in figures}


def test_the_query_is_never_encoded() -> None:
    model, batch = Copier(), plain_scenes([10, 20, 30, 200], [11, 21, 31, 201])
    rendering_figures(model, [batch], Protocol((1, 3)), torch.Generator())  # type: ignore[arg-type]
    shades = set(torch.cat(model.encoded).unique().tolist())
    assert shades == {10, 11, 20, 21, 30, 31}


def test_a_model_that_copies_its_context_is_caught() -> None:
    """Were the query among the contexts, a copier would be perfect."""
    found = evaluated([plain_scenes([51, 102, 153])])
    assert found["prior_mean_mse", "image", 1].value == pytest.approx(0.16)  # (0.2 - 0.6)²
    assert found["reconstruction_mse", "image", 1].value == pytest.approx(0, abs=1e-10)


def test_more_contexts_are_summed() -> None:
    found = evaluated([plain_scenes([51, 51, 102])], (1, 2))
    assert found["prior_mean_mse", "image", 1].value == pytest.approx(0.04)
    assert found["prior_mean_mse", "image", 2].value == pytest.approx(0, abs=1e-10)


def test_too_few_views_are_refused() -> None:
    batch = plain_scenes([10, 20, 30])
    with pytest.raises(ValueError, match=r"3 contexts and a query that is none of them need 4 views"):
        list(codes_by_contexts(Copier(), batch, (3,), torch.device("cpu")))  # type: ignore[arg-type]
    assert possible_contexts((1, 2, 3, 5), 3) == ((1, 2), (3, 5))
    assert possible_contexts((1, 2), 3) == ((1, 2), ())


def test_above_the_floor_a_perfect_model_pays_its_kl_alone() -> None:
    found = evaluated([plain_scenes([10, 200], [30, 7])], sigmas=(0.7, 0.15))
    for sigma in ("0.7", "0.15"):
        assert found["elbo_above_floor", f"sigma {sigma}", 1].value == pytest.approx(1.0, abs=1e-2)
        nats = likelihood_floor(float(sigma), DIMENSIONS) + 1
        bits = (nats / DIMENSIONS + math.log(256)) / math.log(2)
        assert found["elbo_bits", f"sigma {sigma}", 1].value == pytest.approx(bits, abs=1e-5)
    assert found["kl", "all layers", 1].value == pytest.approx(1)
    assert [found["kl", f"layer {layer}", 1].value for layer in (1, 2)] == pytest.approx([0.5, 0.5])


def test_the_bound_at_another_sigma_pays_for_errors_by_it() -> None:
    class Blurred(Copier):
        def rollout(self, r: Tensor, *rest: Any) -> Rollout:
            exact = super().rollout(r, *rest)
            return Rollout(Pixels(exact.pixels.means + 0.1, exact.pixels.log_weights), exact.steps)

    protocol = Protocol((1,), 1, (0.7, 0.1))
    rows = rendering_figures(Blurred(), [plain_scenes([0, 0])], protocol, torch.Generator())  # type: ignore[arg-type]
    above = [row.value for row in rows if row.figure == "elbo_above_floor"]
    expected = [1 + DIMENSIONS * 0.01 / (2 * sigma**2) for sigma in (0.7, 0.1)]
    assert above == pytest.approx(expected, rel=1e-3)


def test_without_a_posterior_there_is_no_bound() -> None:
    found = evaluated([plain_scenes([10, 200])], bound=False)
    assert {name.split("_")[0] for name, _, _ in found} == {"prior"}


def test_psnr_is_the_mean_over_images_and_also_of_the_mean() -> None:
    found = evaluated([plain_scenes([0, 255]), plain_scenes([128, 153])])
    each = [0.0, -20 * math.log10(25 / 255)]
    row = found["prior_mean_psnr", "image", 1]
    assert row.value == pytest.approx(np.mean(each), abs=1e-3)
    assert row.standard_error == pytest.approx(np.std(each, ddof=1) / math.sqrt(2), abs=1e-3)
    mse = (1 + (25 / 255) ** 2) / 2
    assert found["prior_mean_psnr_of_mean_mse", "image", 1].value == pytest.approx(-10 * math.log10(mse))


def test_psnr_of_samples_is_averaged_in_decibels() -> None:
    """Two samples of one scene, MSE 0.1 and 0.001: 20 dB; the mean error would be 13 dB."""
    squares = torch.tensor([0.1, 0.001])[:, None, None].expand(2, len(PARTS), 1)
    errors = ImageErrors(squares, torch.ones(2, len(PARTS), 1), torch.tensor([[0.5], [0.7]]))
    rows = {(row.figure, row.part): row for row in image_figures("some", 1, errors)}
    assert rows["some_psnr", "arm"].value == pytest.approx(20)
    assert rows["some_psnr_of_mean_mse", "arm"].value == pytest.approx(12.967, abs=1e-3)
    assert rows["some_ssim", "image"].value == pytest.approx(0.6)


def test_samples_differ_from_the_mean_and_depend_on_the_seed_alone() -> None:
    batch = plain_scenes([100, 100], [50, 50])
    state = torch.get_rng_state()
    first, same, other = (evaluated([batch], seed=seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert first == same
    sampled = ("prior_sample_mse", "image", 1)
    assert first[sampled] != other[sampled]
    assert first[sampled].value > 1e-4 > first["prior_mean_mse", "image", 1].value


def test_the_number_of_samples_is_kept() -> None:
    """The squared error of noise of deviation 0.1 is 0.01 on average."""
    found = evaluated([plain_scenes(*[[128, 128]] * 50)], samples=40)
    assert found["prior_sample_mse", "image", 1].value == pytest.approx(0.01, rel=0.1)


def test_parts_are_judged_where_they_are_seen() -> None:
    batch = plain_scenes([0, 0], [0, 0])
    batch.labels[0, -1, :3], batch.labels[:, 0] = (
        2,
        1,
    )  # the target in one query; contexts' labels are no matter
    batch.images[0, -1, :3] = 255
    found = evaluated([batch])
    assert found["prior_mean_mse", "target", 1].value == pytest.approx(1)
    assert found["prior_mean_psnr", "target", 1].standard_error is None  # one image shows it
    assert found["prior_mean_mse", "image", 1].value == pytest.approx(3 / 32)
    assert ("prior_mean_mse", "arm", 1) not in found


def test_batches_do_not_matter_to_the_mean(scenes: tuple[Scenes, Scenes], trained_run: Path) -> None:
    """In float32, of a real model, with one and with many batches."""
    model, protocol = load_gqn(trained_run), Protocol((1, 3), 1, bound=False)

    def means(size: int) -> list[float]:
        rows = rendering_figures(model, in_batches(scenes[1], 16, size), protocol, torch.Generator())
        return [row.value for row in rows if row.figure.startswith("prior_mean")]

    assert means(16) == pytest.approx(means(5), rel=1e-4)


def test_figures_of_a_real_model(scenes: tuple[Scenes, Scenes], trained_run: Path) -> None:
    rows = rendering_figures(
        load_gqn(trained_run), in_batches(scenes[1], 16), Protocol((1, 2)), torch.Generator()
    )
    found = {(row.figure, row.part, row.contexts): row for row in rows}
    assert len(found) == len(rows)
    assert ("prior_sample_psnr", "target", 2) in found
    layers = [found["kl", f"layer {k}", 1].value for k in (1, 2)]
    assert found["kl", "all layers", 1].value == pytest.approx(sum(layers), rel=1e-4)
    above = found["elbo_above_floor", "sigma 0.7", 1].value
    error = found["reconstruction_mse", "image", 1].value
    assert above == pytest.approx(sum(layers) + error * DIMENSIONS / (2 * 0.49), rel=0.05)


def test_the_mean_image_knows_no_scene(scenes: tuple[Scenes, Scenes]) -> None:
    train, test = scenes
    image = mean_image(train)
    assert image.shape == (SIZE, SIZE, 3)
    whole = np.concatenate([shard.images for shard in train.shards]) / 255
    np.testing.assert_allclose(image, whole.mean((0, 1)), atol=1e-5)
    rows = {(row.figure, row.part): row.value for row in mean_image_figures(image, in_batches(test, 16, 5))}
    truth = test.gather(np.arange(16)).images[:, -1] / 255
    assert rows["mean_image_mse", "image"] == pytest.approx(((truth - image) ** 2).mean(), rel=1e-4)
    assert rows["mean_image_psnr", "image"] >= rows["mean_image_psnr_of_mean_mse", "image"]


def test_in_batches_covers_each_scene_once(scenes: tuple[Scenes, Scenes]) -> None:
    found = in_batches(scenes[1], 11, 4)
    sizes, states = zip(*((len(batch.images), batch.state) for batch in found), strict=True)
    assert sizes == (4, 4, 3)
    np.testing.assert_array_equal(np.concatenate(states), scenes[1].all_state()[:11])


def test_samples_for_the_picture() -> None:
    batch = plain_scenes([51, 102, 153], [0, 0, 0])
    found = prediction_samples(Copier(), batch, 2, 500, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert found.contexts.shape == (2, 2, SIZE, SIZE, 3)
    assert (found.truth[0] == 153).all()
    assert found.samples.shape == (500, 2, SIZE, SIZE, 3)
    np.testing.assert_allclose(found.mean, found.samples.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.deviation[0], 0.1, atol=0.01)
    np.testing.assert_allclose(found.error[0], np.abs(found.mean[0] - 0.6).mean(-1), atol=1e-5)
