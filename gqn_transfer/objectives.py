"""What an encoder is trained for: rendering (the GQN's bound) or regression of the simulator's state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .model import GQN, elbo, sum_views, to_float
from .pixels import Pixels
from .scenes import Batch

Metrics = dict[str, float]
Report = Callable[[], Metrics]
"""Called only for the steps that are logged: the errors of a batch cost a tenth of its step."""
TARGET = 2
"""The target's label in `Batch.labels`."""


@dataclass(frozen=True)
class Schedule:
    """What changes over a run, at one step."""

    sigma: float
    """Standard deviation of the pixel likelihood."""
    self_context: float
    """Probability that a batch's only context is the query view itself (the warm-up's autoencoding)."""
    prior_only: bool
    """True while latents take their prior means: the error of a prediction, without a posterior."""


class Objective(Protocol):
    """A module with a loss on a batch of scenes; its `representation` is the encoder being trained."""

    def loss(self, batch: Batch, schedule: Schedule, rng: np.random.Generator) -> tuple[Tensor, Report]:
        """Scalar to minimise, and what computes numbers for the log. All randomness comes from `rng`."""
        ...

    def evaluate(self, batch: Batch) -> Metrics:
        """Held-out figures, without randomness."""
        ...


class Rendering(nn.Module):
    """The GQN's evidence lower bound, per pixel channel, with the pixels of small things weighted up.

    Outside the warm-up the query is never among the contexts. The weighting and the warm-up are
    ours (docs/decisions/0004-pretraining.md); `evaluate` uses neither.
    """

    def __init__(
        self,
        model: GQN,
        max_contexts: int,
        queries: int,
        label_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        kl_balance: float = 0.5,
    ) -> None:
        super().__init__()
        self.model = model
        self.max_contexts, self.queries = max_contexts, queries
        self.kl_balance = kl_balance
        self.label_weights: Tensor
        self.register_buffer("label_weights", torch.tensor(label_weights), persistent=False)

    def loss(self, batch: Batch, schedule: Schedule, rng: np.random.Generator) -> tuple[Tensor, Report]:
        device = next(self.model.parameters()).device
        views = rng.permutation(batch.images.shape[1])
        query, others = views[: self.queries], views[self.queries :]
        images, viewpoints = as_tensors(batch.images[:, query], batch.viewpoints[:, query], device)
        if rng.random() < schedule.self_context:
            r = self.model.encode_views(images, viewpoints)
        else:
            context = others[: rng.integers(1, self.max_contexts + 1)]
            r = self._encode(batch, context).repeat_interleave(self.queries, 0)
        pixels, kl = self._roll_out(r, viewpoints, images, schedule, rng)
        labels = flat_views(torch.from_numpy(batch.labels[:, query]).to(device))[:, None]
        weights = self.label_weights[labels.long()]
        objective = elbo(pixels.log_likelihood(to_float(images), schedule.sigma, weights), kl)

        @torch.no_grad()
        def report() -> Metrics:
            return {"kl": float(kl.sum(0).mean())} | squared_errors(pixels.mean, images, labels)

        return -objective.mean() / math.prod(images.shape[1:]), report

    def _roll_out(
        self, r: Tensor, viewpoints: Tensor, images: Tensor, schedule: Schedule, rng: np.random.Generator
    ) -> tuple[Pixels, Tensor]:
        """The image's distribution and the KL (L, B): of the posterior, or of the prior alone (KL 0)."""
        if schedule.prior_only:
            return self.model.rollout(r, viewpoints).pixels, r.new_zeros(1, len(r))
        noise = torch.Generator(r.device).manual_seed(int(rng.integers(2**62)))
        rollout = self.model.rollout(r, viewpoints, images, noise)
        return rollout.pixels, rollout.kl(self.kl_balance)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Prior-mean predictions of the last view from 1 and from `max_contexts` of the others."""
        device = next(self.model.parameters()).device
        images, viewpoints = as_tensors(batch.images[:, -1:], batch.viewpoints[:, -1:], device)
        labels = torch.from_numpy(batch.labels[:, -1]).to(device)[:, None]
        metrics: Metrics = {}
        for contexts in sorted({1, self.max_contexts}):
            r = self._encode(batch, np.arange(contexts))
            mean = self.model.predict(r, viewpoints, sample=False)
            errors = squared_errors(mean, images, labels)
            metrics |= {f"test_{name}_{contexts}": value for name, value in errors.items()}
            if contexts == 1:
                metrics["spread"] = spread(r)
        return metrics

    def _encode(self, batch: Batch, views: np.ndarray) -> Tensor:
        device = next(self.model.parameters()).device
        codes = self.model.encode_views(
            *as_tensors(batch.images[:, views], batch.viewpoints[:, views], device)
        )
        return sum_views(codes.unflatten(0, (len(batch.images), len(views))))


class Regression(nn.Module):
    """Supervised regression of the simulator's state from single views: the ceiling of any encoder."""

    def __init__(self, model: GQN, state: np.ndarray) -> None:
        """state (N, S): the training scenes', for standardisation."""
        super().__init__()
        self.model = model
        width, columns = math.prod(model.code_shape), state.shape[1]
        self.head = nn.Sequential(
            nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, 256), nn.SiLU(), nn.Linear(256, columns)
        )
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.from_numpy(state.mean(0)))
        self.register_buffer("scale", torch.from_numpy(np.maximum(state.std(0), 1e-3)))

    def loss(self, batch: Batch, schedule: Schedule, rng: np.random.Generator) -> tuple[Tensor, Report]:
        error = self._predict(batch) - self._targets(batch)
        loss = nn.functional.smooth_l1_loss(error, torch.zeros_like(error))
        return loss, lambda: {"mse": float((error.detach() ** 2).mean())}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Mean squared error over all columns, in units of their variance."""
        error = self._predict(batch) - self._targets(batch)
        return {"test_mse": float((error**2).mean())}

    def predict(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """State of each view in its own units: (B, 3, H, W), (B, 7) -> (B, S)."""
        return self.head(self.model.encode_views(images, viewpoints)).float() * self.scale + self.mean

    def _predict(self, batch: Batch) -> Tensor:
        images, viewpoints = as_tensors(batch.images, batch.viewpoints, self.mean.device)
        return self.head(self.model.encode_views(images, viewpoints)).float()

    def _targets(self, batch: Batch) -> Tensor:
        state = torch.from_numpy(batch.state).to(self.mean.device)
        return ((state - self.mean) / self.scale).repeat_interleave(batch.images.shape[1], 0)


def as_tensors(images: np.ndarray, viewpoints: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 (B, M, H, W, 3), (B, M, 7) -> uint8 (B*M, 3, H, W) channels last in memory, (B*M, 7)."""
    pixels = flat_views(torch.from_numpy(images).to(device)).permute(0, 3, 1, 2)
    return pixels, flat_views(torch.from_numpy(viewpoints).to(device))


def flat_views(values: Tensor) -> Tensor:
    """(B, M, ...) -> (B*M, ...)."""
    return values.flatten(0, 1)


def squared_errors(mean: Tensor, images: Tensor, labels: Tensor) -> Metrics:
    """Mean squared error over all pixels, over the foreground (arm, target, shadows), and over the target:
    images uint8, labels (B, 1, H, W)."""
    squares = ((mean.clamp(0, 1) - images.float() / 255) ** 2).mean(1, keepdim=True)
    parts = {"mse_foreground": labels > 0, "mse_target": labels == TARGET}
    of_parts = {name: float(squares[part].sum() / part.sum().clamp(min=1)) for name, part in parts.items()}
    return {"mse": float(squares.mean())} | of_parts


def spread(r: Tensor) -> float:
    """Standard deviation over scenes of the normalised code, averaged over its entries: 0 = collapsed."""
    normal = nn.functional.layer_norm(r.flatten(1), r.flatten(1).shape[1:])
    return float(normal.std(0).mean())
