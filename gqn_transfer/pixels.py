"""The distribution of a predicted image: per pixel, a Gaussian or a mixture of Gaussians of one width."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


def parameters_per_pixel(components: int) -> int:
    """Numbers that a mixture of `components` colours takes; one has no weight."""
    return 3 if components == 1 else 4 * components


class Pixels(NamedTuple):
    """Independent pixels. One component is the paper's likelihood.

    With several, a pixel may be "floor, or the red of the target": what a small thing costs while its
    place is uncertain is then the logarithm of the uncertainty, and every halving of it pays the same.
    Under one Gaussian it pays next to nothing until the place is known to the pixel
    (docs/decisions/0004-pretraining.md).
    """

    means: Tensor
    """Colour of each component, (B, K, 3, H, W), float32, not clamped."""
    log_weights: Tensor
    """Log probability of each component, (B, K, H, W)."""

    @classmethod
    def from_parameters(cls, parameters: Tensor, components: int) -> Pixels:
        """(B, 3, H, W) for one component, (B, 4K, H, W) for K, of any floating type -> Pixels."""
        parameters = parameters.float()
        if components == 1:
            return cls(parameters[:, None], torch.zeros_like(parameters[:, :1]))
        means, logits = parameters.split([3 * components, components], dim=1)
        return cls(means.unflatten(1, (components, 3)), logits.log_softmax(1))

    @property
    def mean(self) -> Tensor:
        """Mean of the image, (B, 3, H, W)."""
        return (self.log_weights.exp()[:, :, None] * self.means).sum(1)

    def log_likelihood(self, images: Tensor, sigma: float, weights: Tensor | None = None) -> Tensor:
        """log p(images) summed over pixels: float (B, 3, H, W) -> (B,), nats.

        weights (B, 1, H, W) multiply each pixel's part above its floor; the result is then a training
        objective, not a likelihood.
        """
        targets = images[:, None].expand_as(self.means)
        squares = mse_loss(self.means, targets, reduction="none").sum(2)  # one kernel each way
        above = torch.logsumexp(self.log_weights - squares / (2 * sigma**2), dim=1, keepdim=True)
        if weights is not None:
            above = above * weights
        return above.flatten(1).sum(1) - likelihood_floor(sigma, math.prod(images.shape[1:]))


def likelihood_floor(sigma: float, dimensions: int) -> float:
    """Negative log likelihood of a perfect mean, nats: 6909.09 at sigma 0.7 and 64x64x3."""
    if sigma <= 0:
        raise ValueError(f"sigma must be positive (the paper: 2.0 down to 0.7), got {sigma}.")
    return dimensions * (0.5 * math.log(2 * math.pi) + math.log(sigma))
