"""Latent layers of the generator: their Gaussians, and what one rollout through them leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .pixels import Pixels

LOG_STD_BOUND = 5.0
"""Latent log standard deviations are squashed smoothly into (-5, 5)."""


class Noise(NamedTuple):
    """Standard normal numbers for one rank of a data-parallel run: those of its part of the whole batch."""

    generator: torch.Generator
    rank: int = 0
    ranks: int = 1

    @classmethod
    def of(cls, source: torch.Generator | Noise | None) -> Noise | None:
        """A plain generator is the noise of a run of one rank."""
        return cls(source) if isinstance(source, torch.Generator) else source

    def of_shape(self, shape: tuple[int, ...]) -> Tensor:
        """(B, ...) for this rank's B scenes, on the generator's device."""
        count, *rest = shape
        whole = (self.ranks * count, *rest)
        drawn = torch.randn(whole, generator=self.generator, device=self.generator.device)
        return drawn[self.rank * count :][:count]


class Gaussian(NamedTuple):
    """Diagonal Gaussian over one latent layer, (B, z, s, s), float32."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Gaussian:
        """(B, 2z, s, s) of any floating type -> Gaussian in float32."""
        mean, log_std = parameters.float().chunk(2, dim=1)
        return cls(mean, LOG_STD_BOUND * torch.tanh(log_std / LOG_STD_BOUND))

    def detach(self) -> Gaussian:
        """The same Gaussian, cut off from gradients."""
        return Gaussian(self.mean.detach(), self.log_std.detach())

    def sample(self, noise: Tensor | None) -> Tensor:
        """Mean plus deviation times standard normal `noise` (B, z, s, s), or the mean without any."""
        return self.mean if noise is None else self.mean + self.log_std.exp() * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, summed over all but the batch: (B,), nats."""
        scaled = (value - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * scaled**2 - self.log_std - 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))


def kl_divergence(posterior: Gaussian, prior: Gaussian) -> Tensor:
    """KL(posterior || prior) over the last three axes, nats: (..., z, s, s) -> (...)."""
    difference = posterior.log_std - prior.log_std
    scaled = (posterior.mean - prior.mean) * torch.exp(-prior.log_std)
    return 0.5 * (torch.expm1(2 * difference) - 2 * difference + scaled**2).sum((-3, -2, -1))


class LatentStep(NamedTuple):
    """One latent layer of a rollout; `posterior` is None in a prediction."""

    prior: Gaussian
    posterior: Gaussian | None
    z: Tensor


@dataclass(frozen=True)
class Rollout:
    """Result of `Generator.forward`."""

    pixels: Pixels
    """Distribution of the image given the latents."""
    steps: tuple[LatentStep, ...]
    """One per latent layer."""

    @property
    def mean(self) -> Tensor:
        """Mean of the image, (B, 3, H, W), float32, not clamped."""
        return self.pixels.mean

    def kl(self, balance: float = 0.5) -> Tensor:
        """Closed-form KL of each layer given the samples of those before it: (L, B), nats.

        balance: share of the gradient that goes to the prior (Hafner et al. 2021, "KL balancing"); the
        value is the same for all, and at 0.5 so is the gradient to the KL's own.
        """
        posterior, prior = self._stack("posterior"), self._stack("prior")
        if balance == 0.5:
            return kl_divergence(posterior, prior)
        to_prior = kl_divergence(posterior.detach(), prior)
        to_posterior = kl_divergence(posterior, prior.detach())
        change = 2 * balance * to_prior + 2 * (1 - balance) * to_posterior
        return change - change.detach() + to_prior.detach()

    def log_ratio(self) -> Tensor:
        """log p(z) - log q(z) at the sampled latents, (B,), nats: for importance weighting."""
        terms = [
            step.prior.log_prob(step.z) - step.posterior.log_prob(step.z)
            for step in self.steps
            if step.posterior is not None
        ]
        return torch.stack(terms).sum(0)

    def _stack(self, which: str) -> Gaussian:
        each = [getattr(step, which) for step in self.steps]
        means, log_stds = zip(*each, strict=True)
        return Gaussian(torch.stack(means), torch.stack(log_stds))
