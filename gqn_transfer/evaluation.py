"""What a GQN's predictions of held-out scenes are worth: the bound, PSNR and SSIM by number of contexts.

The query is always the last view of a scene, its contexts are the first of the others.
Nothing here is a training objective: no weights on pixels, no warm-up, float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .image_quality import PARTS, ImageErrors, image_errors, part_masks, psnr
from .model import GQN, bits_per_dimension, elbo, nats_above_floor, to_float
from .objectives import seen
from .scenes import Batch, Scenes

PAPER_SIGMA = 0.7
"""Pixel standard deviation at which the paper reports its bound."""
CONTEXTS = (1, 2, 3, 5, 7)
BATCH = 50
"""Scenes at a time: what the evaluation needs of memory does not depend on how many there are."""
KINDS = ("prior_sample", "prior_mean", "reconstruction")
"""Images that are judged: latents sampled from the prior, which is the model's prediction; latents at their
prior means, a single deterministic image; latents from the posterior, which has seen the query image."""


@dataclass(frozen=True)
class Protocol:
    """How predictions are judged."""

    contexts: tuple[int, ...] = CONTEXTS
    """Numbers of context views."""
    samples: int = 4
    """Samples of the prior, and of the posterior, for each query."""
    sigmas: tuple[float, ...] = (PAPER_SIGMA,)
    """Pixel standard deviations of the bound."""
    bound: bool = True
    """Whether there is a trained posterior to compute it with."""


class Figure(NamedTuple):
    """One number of the evaluation."""

    figure: str
    """What was measured: matches a key of `DEFINITIONS` in benchmarks/evaluation_files.py."""
    part: str
    """What of: a part of the image, a sigma, a latent layer, a quantity of the simulator's state."""
    contexts: int | None
    """Context views, None where the figure has none."""
    value: float
    unit: str
    standard_error: float | None = None
    """Of the mean over scenes, each scene's samples averaged; None where the value is no such mean."""


class Query(NamedTuple):
    """What is to be predicted of B scenes."""

    viewpoint: Tensor
    """(B, 7)."""
    image: Tensor
    """Float32 in [0, 1], (B, 3, H, W)."""
    masks: Tensor
    """Bool, (P, B, 1, H, W): the pixels of each of `PARTS`."""


class Bound(NamedTuple):
    """Terms of the bound for B queries, one posterior sample each."""

    nats: Tensor
    """The bound at each sigma, (sigmas, B)."""
    kl: Tensor
    """KL of each layer, (L, B), nats."""


class Measured(NamedTuple):
    """What one number of contexts gave; the last axis of every tensor is the scene."""

    errors: dict[str, ImageErrors]
    """Kind -> errors with the samples as first axis."""
    bound: Bound | None
    """With the samples as first axis."""


@torch.no_grad()
def rendering_figures(
    model: GQN, batches: Iterable[Batch], protocol: Protocol, generator: torch.Generator
) -> list[Figure]:
    """Figures of `model`'s predictions over all scenes of `batches`, for each number of contexts."""
    device = next(model.parameters()).device
    found: dict[int, list[Measured]] = {contexts: [] for contexts in protocol.contexts}
    for batch in batches:
        query = query_of(batch, device)
        for contexts, r in codes_by_contexts(model, batch, protocol.contexts, device):
            found[contexts].append(measure(model, r, query, protocol, generator))
    dimensions = 3 * model.config.image_size**2
    return [
        row for contexts, each in found.items()
        for row in summarise(contexts, joined(each), protocol.sigmas, dimensions)
    ]  # fmt: skip


def possible_contexts(asked: Sequence[int], views: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which numbers of contexts scenes of `views` views allow beside the query, and which they do not."""
    possible = tuple(number for number in asked if number + 1 <= views)
    return possible, tuple(number for number in asked if number + 1 > views)


def in_batches(scenes: Scenes, count: int, size: int = BATCH) -> Iterator[Batch]:
    """The first `count` scenes, `size` at a time."""
    for start in range(0, count, size):
        yield scenes.gather(np.arange(start, min(start + size, count)))


def query_of(batch: Batch, device: torch.device) -> Query:
    """The last view of each scene."""
    images, viewpoints = seen(batch, slice(-1, None), device)
    labels = torch.from_numpy(batch.labels[:, -1]).to(device)
    return Query(viewpoints, to_float(images), part_masks(labels))


def codes_by_contexts(
    model: GQN, batch: Batch, numbers: Sequence[int], device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """(M, r summed over the first M views) for each M of `numbers`; the last view is never encoded."""
    most = max(numbers, default=0)
    if most + 1 > batch.images.shape[1]:
        raise ValueError(
            f"{most} contexts and a query that is none of them need {most + 1} views a scene, these have "
            f"{batch.images.shape[1]}"
        )
    if most:
        images, viewpoints = seen(batch, slice(most), device)
        codes = model.encode_views(images, viewpoints).unflatten(0, (len(batch.images), most))
        yield from ((number, codes[:, :number].sum(1)) for number in numbers)


def measure(model: GQN, r: Tensor, query: Query, protocol: Protocol, generator: torch.Generator) -> Measured:
    """Errors and bound of `protocol.samples` samples of a batch of queries."""
    samples, mean, reconstructions, bounds = [], model.rollout(r, query.viewpoint).mean, [], []
    for _ in range(protocol.samples):
        prediction = model.rollout(r, query.viewpoint, None, generator).mean
        samples.append(image_errors(prediction, query.image, query.masks))
        if protocol.bound:
            rollout = model.rollout(r, query.viewpoint, query.image, generator)
            reconstructions.append(image_errors(rollout.mean, query.image, query.masks))
            kl = rollout.kl()
            likelihoods = [rollout.pixels.log_likelihood(query.image, sigma) for sigma in protocol.sigmas]
            bounds.append(Bound(torch.stack([elbo(value, kl) for value in likelihoods]), kl))
    means = [image_errors(mean, query.image, query.masks)]
    kinds = zip(KINDS, (samples, means, reconstructions), strict=True)
    errors = {kind: ImageErrors(*map(torch.stack, zip(*each, strict=True))) for kind, each in kinds if each}
    return Measured(errors, Bound(*map(torch.stack, zip(*bounds, strict=True))) if bounds else None)


def joined(each: Sequence[Measured]) -> Measured:
    """The batches as one."""

    def along_scenes(tensors: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(tensors), -1)

    errors = {
        kind: ImageErrors(*map(along_scenes, zip(*(one.errors[kind] for one in each), strict=True)))
        for kind in each[0].errors
    }
    bounds = [one.bound for one in each if one.bound is not None]
    return Measured(errors, Bound(*map(along_scenes, zip(*bounds, strict=True))) if bounds else None)


def summarise(
    contexts: int, measured: Measured, sigmas: Sequence[float], dimensions: int
) -> Iterator[Figure]:
    """The figures of one number of contexts."""
    for kind, errors in measured.errors.items():
        yield from image_figures(kind, contexts, errors)
    if measured.bound is not None:
        yield from bound_figures(contexts, measured.bound, sigmas, dimensions)


def image_figures(kind: str, contexts: int | None, errors: ImageErrors) -> Iterator[Figure]:
    """MSE, both kinds of PSNR, and SSIM of errors (samples, ..., scenes)."""
    for part, squares, numbers in zip(
        PARTS, errors.squares.unbind(-2), errors.numbers.unbind(-2), strict=True
    ):
        shown = numbers[0] > 0
        if not shown.any():
            continue
        mse = squares.sum() / numbers.sum()
        each = psnr(squares[:, shown] / numbers[:, shown]).mean(0)
        yield Figure(f"{kind}_mse", part, contexts, float(mse), "1")
        yield Figure(f"{kind}_psnr_of_mean_mse", part, contexts, float(psnr(mse)), "dB")
        yield over_scenes(f"{kind}_psnr", part, contexts, each, "dB")
    yield over_scenes(f"{kind}_ssim", "image", contexts, errors.ssim.mean(0), "1")


def bound_figures(contexts: int, bound: Bound, sigmas: Sequence[float], dimensions: int) -> Iterator[Figure]:
    """The bound at each sigma, above its constant floor and in bits, and the KL: whole and of each layer."""
    for sigma, nats in zip(sigmas, bound.nats.unbind(1), strict=True):
        above = nats_above_floor(nats.double(), sigma, dimensions).mean(0)
        bits = bits_per_dimension(nats.double(), dimensions).mean(0)
        yield over_scenes("elbo_above_floor", f"sigma {sigma:g}", contexts, above, "nats")
        yield over_scenes("elbo_bits", f"sigma {sigma:g}", contexts, bits, "bits/dim")
    yield over_scenes("kl", "all layers", contexts, bound.kl.sum(1).mean(0), "nats")
    for layer, kl in enumerate(bound.kl.mean(0), 1):
        yield over_scenes("kl", f"layer {layer}", contexts, kl, "nats")


def over_scenes(figure: str, part: str, contexts: int | None, values: Tensor, unit: str) -> Figure:
    """The mean of one value a scene, (N,), and its standard error."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return Figure(figure, part, contexts, float(values.mean()), unit, error)


def mean_image(scenes: Scenes, count: int = 500) -> np.ndarray:
    """The average view of the first `count` scenes, float32 (H, W, 3): what knowing no scene scores."""
    count = min(count, len(scenes))
    sums = [batch.images.mean(1).sum(0) for batch in in_batches(scenes, count)]
    return (np.sum(sums, 0) / (255 * count)).astype(np.float32)


def mean_image_figures(image: np.ndarray, batches: Iterable[Batch]) -> list[Figure]:
    """Figures of one image (H, W, 3) in [0, 1] as the prediction of every query: the floor of the others."""
    constant, each = torch.from_numpy(image).permute(2, 0, 1), []
    for query in (query_of(batch, torch.device("cpu")) for batch in batches):
        errors = image_errors(constant.expand_as(query.image), query.image, query.masks)
        each.append(Measured({"mean_image": ImageErrors(*(field[None] for field in errors))}, None))
    return list(image_figures("mean_image", None, joined(each).errors["mean_image"]))
