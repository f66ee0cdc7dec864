"""How near a predicted image is to the true one: squared error, PSNR and SSIM, on [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

ARM, TARGET, FINGERS = 1, 2, 4
"""Labels of pixels."""
PARTS: Mapping[str, tuple[int, ...] | None] = MappingProxyType(
    {"image": None, "arm": (ARM, FINGERS), "target": (TARGET,), "fingers": (FINGERS,)}
)
"""Part of an image -> its labels in `Batch.labels`; None for all pixels."""
LEAST_MSE = 1e-10
"""Errors below it count as 100 dB, so that one perfect image does not make a mean infinite. Rounding to
8 bits costs 1.3e-6 (59 dB)."""
WINDOW, WINDOW_SIGMA = 11, 1.5
"""Of SSIM: the Gaussian window of Wang et al. 2004, pixels."""
STABILISERS = (0.01**2, 0.03**2)
"""Of SSIM: (K1 L)² and (K2 L)² for images of range L = 1."""


class ImageErrors(NamedTuple):
    """Errors of B images; the last axis is B, axes before those named here may be anything."""

    squares: Tensor
    """Sum of squared errors over the pixels and channels of each part, (..., P, B)."""
    numbers: Tensor
    """How many numbers these are, three a pixel, (..., P, B): 0 where an image does not show the part."""
    ssim: Tensor
    """Structural similarity of the whole image, (..., B)."""


def image_errors(prediction: Tensor, truth: Tensor, masks: Tensor) -> ImageErrors:
    """Errors of predictions (B, 3, H, W), clamped for display, against truths in [0, 1].

    masks (P, B, 1, H, W), bool, as `part_masks` makes them.
    """
    shown = prediction.clamp(0, 1)
    squares = ((shown - truth) ** 2).sum(1, keepdim=True)
    numbers = 3.0 * masks.sum((2, 3, 4))
    return ImageErrors((squares * masks).sum((2, 3, 4)), numbers, ssim(shown, truth))


def part_masks(labels: Tensor) -> Tensor:
    """Which pixels belong to each of `PARTS`: labels (B, H, W) -> bool (P, B, 1, H, W)."""
    everything = torch.ones_like(labels, dtype=torch.bool)
    masks = [everything if kinds is None else is_any(labels, kinds) for kinds in PARTS.values()]
    return torch.stack(masks)[:, :, None]


def is_any(labels: Tensor, kinds: Sequence[int]) -> Tensor:
    """bool, of the labels' shape: those that are one of `kinds`."""
    return torch.isin(labels, torch.tensor(kinds, dtype=labels.dtype, device=labels.device))


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of mean squared errors on [0, 1], dB."""
    return -10 * torch.log10(mse.clamp(min=LEAST_MSE))


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity of images (B, 3, H, W) in [0, 1]: (B,), 1 for equal images.

    Wang et al. 2004: 11x11 Gaussian window of deviation 1.5, K1 = 0.01, K2 = 0.03, population moments, each
    channel by itself, averaged over channels and over the places where the window fits.
    """
    if min(one.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side, got {tuple(one.shape)}")
    mean_one, mean_other = _window_mean(one), _window_mean(other)
    variance_one = _window_mean(one * one) - mean_one**2
    variance_other = _window_mean(other * other) - mean_other**2
    covariance = _window_mean(one * other) - mean_one * mean_other
    brightness, contrast = STABILISERS
    numerator = (2 * mean_one * mean_other + brightness) * (2 * covariance + contrast)
    squares = mean_one**2 + mean_other**2 + brightness
    return (numerator / (squares * (variance_one + variance_other + contrast))).mean((1, 2, 3))


def _window_mean(images: Tensor) -> Tensor:
    """Gaussian-weighted mean around each place where the window fits: (B, C, H, W) -> (B, C, H-10, W-10)."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.softmax(-(offsets**2) / (2 * WINDOW_SIGMA**2), 0)
    flat = images.flatten(0, 1)[:, None]
    rows = nn.functional.conv2d(flat, weights.view(1, 1, -1, 1))
    return nn.functional.conv2d(rows, weights.view(1, 1, 1, -1)).unflatten(0, images.shape[:2])[:, :, 0]
