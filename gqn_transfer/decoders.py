"""Decoders: modules with a loss on the scene's code. The GQN's generator is one; others can be added.

Each is asked the same `Question`. What an encoder is trained for is which decoders stand on it and with what
weights (`PretrainConfig.decoders`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .condition import CONDITIONS
from .image_quality import ARM, FINGERS, PARTS, TARGET, is_any
from .latents import Noise
from .model import GQN, GQNConfig, elbo, to_float
from .state_columns import Standardised, held, witnesses
from .upsampling import Upsampler, initialise

Metrics = dict[str, float]
Report = Callable[[], Metrics]
"""Called only for the steps that are logged: the errors of a batch cost a tenth of its step."""
LABELS = 5
"""Kinds of pixels: background, arm, target or object, shadow, fingers."""


class Question(NamedTuple):
    """B codes, and for each a view of its scene: one that no context showed, or the only context."""

    r: Tensor
    """(B, C[, h, w]), the sum over contexts."""
    viewpoints: Tensor
    """(B, 7) of the query."""
    images: Tensor
    """uint8 (B, 3, H, W): the query."""
    labels: Tensor
    """uint8 (B, 1, H, W): kinds of the query's pixels."""
    state: Tensor
    """(B, S): the simulator's."""


@dataclass(frozen=True)
class Schedule:
    """What changes over a run, at one step."""

    sigma: float
    """Standard deviation of the pixel likelihood."""
    self_context: float
    """Probability that a batch's only context is the query view itself (the warm-up's autoencoding)."""
    prior_only: bool
    """True while latents take their prior means: the error of a prediction, without a posterior."""
    emphasis: float = 1.0
    """Exponent of the rendering's weights by label: at 0 all pixels count the same."""


class Decoder(Protocol):
    """Anything with a loss on codes. Modules among them are trained and saved with the encoder."""

    needs_query: bool
    """False where the code alone is asked for: every view of a batch is then a scene of its own."""

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[Tensor, Report]:
        """Scalar to minimise, and what computes numbers for the log."""
        ...

    def errors(self, question: Question) -> Metrics:
        """Held-out figures by name, without randomness."""
        ...


class RenderingDecoder:
    """The GQN's evidence lower bound, per pixel channel, with the pixels of small things weighted up.

    No module: the generator is the GQN's. The weighting is ours (docs/decisions/0004-pretraining.md);
    `errors` does not use it.
    """

    needs_query = True

    def __init__(
        self,
        model: GQN,
        label_weights: Sequence[float] = (1.0,) * LABELS,
        kl_balance: float = 0.5,
        margin: int = 0,
    ) -> None:
        self.model, self.kl_balance, self.margin = model, kl_balance, margin
        self.label_weights = by_label(label_weights)

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[Tensor, Report]:
        r, viewpoints, images, labels, _ = question
        if schedule.prior_only:
            pixels, kl = self.model.rollout(r, viewpoints).pixels, r.new_zeros(1, len(r))
        else:
            rollout = self.model.rollout(r, viewpoints, images, noise)
            pixels, kl = rollout.pixels, rollout.kl(self.kl_balance)
        weights = (self.label_weights**schedule.emphasis).to(r.device)[labels.long()]
        if self.margin:
            weights = functional.max_pool2d(weights, 2 * self.margin + 1, 1, self.margin)
        objective = elbo(pixels.log_likelihood(to_float(images), schedule.sigma, weights), kl)

        @torch.no_grad()
        def report() -> Metrics:
            return {"kl": float(kl.sum(0).mean())} | squared_errors(pixels.mean, images, labels)

        return -objective.mean() / math.prod(images.shape[1:]), report

    def errors(self, question: Question) -> Metrics:
        """Of prior-mean predictions."""
        mean = self.model.predict(question.r, question.viewpoints, sample=False)
        return squared_errors(mean, question.images, question.labels)


class StateDecoder(nn.Module):
    """Regression of the simulator's state, linear in the normalised code: trained on what the probes
    read, so a reference for them."""

    needs_query: ClassVar[bool] = False

    def __init__(self, code_shape: tuple[int, ...], columns: int) -> None:
        super().__init__()
        width = math.prod(code_shape)
        self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, columns))
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.witness: Tensor
        self.register_buffer("witness", torch.full((columns,), -1), persistent=False)

    def standardise(self, state: np.ndarray, names: Sequence[str] = ()) -> None:
        """Take the mean and the deviation of each column from `state` (N, S). names: of the columns; those of
        what a scene does not hold count neither here nor in the loss."""
        targets = Standardised(state, held(state, names) if names else None)
        self.mean.copy_(torch.from_numpy(targets.mean))
        self.scale.copy_(torch.from_numpy(targets.std).clamp(min=1e-3))
        if names:
            self.tell_missing(names)

    def tell_missing(self, names: Sequence[str]) -> None:
        """Let columns of what a scene does not hold count for nothing. names: of the columns."""
        self.witness.copy_(torch.from_numpy(witnesses(names)))

    def predict(self, r: Tensor) -> Tensor:
        """State in its own units: (B, C[, h, w]) -> (B, S)."""
        return self.head(r).float() * self.scale + self.mean

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[Tensor, Report]:
        error = self._error(question)
        loss = functional.smooth_l1_loss(error, torch.zeros_like(error))  # zero where nothing is to be read
        return loss, lambda: {"state": float((error.detach() ** 2).mean())}

    def errors(self, question: Question) -> Metrics:
        """Mean squared error over all columns, in units of their variance."""
        return {"state": float((self._error(question) ** 2).mean())}

    def _error(self, question: Question) -> Tensor:
        error = self.head(question.r).float() - (question.state - self.mean) / self.scale
        return error * ((self.witness < 0) | (question.state[:, self.witness] != 0))


class SegmentationDecoder(nn.Module):
    """Kind of every pixel of the query view, as a rendered label: without latents, by cross entropy."""

    needs_query: ClassVar[bool] = True

    def __init__(
        self, config: GQNConfig, code_shape: tuple[int, ...], label_weights: Sequence[float] = (1.0,) * LABELS
    ) -> None:
        super().__init__()
        self.condition = CONDITIONS[config.conditioning](code_shape, config)
        self.decoder = Upsampler(config.condition_channels, config.scale, LABELS, self.condition.finer)
        initialise(self)
        self.condition.quieten_code()
        self.label_weights: Tensor
        self.register_buffer("label_weights", by_label(label_weights), persistent=False)

    def predict(self, r: Tensor, query_viewpoint: Tensor) -> Tensor:
        """Logits of each label: (B, C[, h, w]), (B, 7) -> (B, 5, H, W)."""
        return self.decoder(*self.condition(r, query_viewpoint)).float()

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[Tensor, Report]:
        logits, labels = self.predict(question.r, question.viewpoints), question.labels[:, 0].long()
        each = functional.cross_entropy(logits, labels, self.label_weights, reduction="none")
        loss = each.mean()  # not over the weights' sum, which ranks would each have their own of
        return loss, lambda: intersections(logits.detach(), labels)

    def errors(self, question: Question) -> Metrics:
        """Intersection over union of the arm's and the target's pixels."""
        logits = self.predict(question.r, question.viewpoints)
        return intersections(logits, question.labels[:, 0].long())


def by_label(weights: Sequence[float]) -> Tensor:
    """(LABELS,): fingers weigh as much as the arm where they are not told apart."""
    every = [*weights, weights[ARM]] if len(weights) == LABELS - 1 else weights
    return torch.tensor(every, dtype=torch.float32)


def squared_errors(mean: Tensor, images: Tensor, labels: Tensor) -> Metrics:
    """Mean squared error over all pixels, over the foreground (arm, target, shadows), over the target and
    over the fingers: images uint8, labels (B, 1, H, W)."""
    squares = ((mean.clamp(0, 1) - images.float() / 255) ** 2).mean(1, keepdim=True)
    parts = {"mse_foreground": labels > 0, "mse_target": labels == TARGET, "mse_fingers": labels == FINGERS}
    of_parts = {name: float(squares[part].sum() / part.sum().clamp(min=1)) for name, part in parts.items()}
    return {"mse": float(squares.mean())} | of_parts


def intersections(logits: Tensor, labels: Tensor) -> Metrics:
    """Intersection over union by kind: logits (B, 5, H, W), labels (B, H, W)."""
    found = logits.argmax(1)
    result = {}
    for name in ("arm", "target"):
        kinds = PARTS[name] or ()
        ours, theirs = is_any(found, kinds), is_any(labels, kinds)
        both, either = ours & theirs, ours | theirs
        result[f"overlap_{name}"] = float(both.sum() / either.sum().clamp(min=1))
    return result


Weights = Sequence[float]


def _state_decoder(
    config: GQNConfig, code_shape: tuple[int, ...], columns: int, label_weights: Weights
) -> StateDecoder:
    return StateDecoder(code_shape, columns)


def _segmentation_decoder(
    config: GQNConfig, code_shape: tuple[int, ...], columns: int, label_weights: Weights
) -> SegmentationDecoder:
    return SegmentationDecoder(config, code_shape, label_weights)


Build = Callable[[GQNConfig, tuple[int, ...], int, Weights], nn.Module]
DECODERS: Mapping[str, Build] = MappingProxyType(
    {"state": _state_decoder, "segmentation": _segmentation_decoder}
)
"""Name in `PretrainConfig.decoders` beside "rendering" -> builder: sizes, code's shape, number of the state's
columns, weights by label."""
