"""What an encoder is trained for: a weighted sum of the losses of the decoders that stand on its codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .decoders import Decoder, Metrics, Question, Report, Schedule
from .latents import Noise
from .model import GQN, sum_views
from .ranks import ALONE, Ranks
from .scenes import Batch


class SceneTensors(NamedTuple):
    """A `Batch` on a device."""

    images: Tensor
    viewpoints: Tensor
    labels: Tensor
    state: Tensor


class Objective(nn.Module):
    """A GQN, and the decoders that its codes are trained for.

    The query is its own only context, with the schedule's probability of that, or not among the contexts.
    Where no decoder asks about a view, every view of a batch is the only context of a scene of its own.
    """

    def __init__(
        self,
        model: GQN,
        decoders: Mapping[str, Decoder],
        weights: Mapping[str, float] | None = None,
        max_contexts: int = 3,
        queries: int = 1,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.model = model
        self.max_contexts, self.queries, self.ranks = max_contexts, queries, ranks
        self.decoders: dict[str, Decoder] = {}
        self.weights: dict[str, float] = {}
        self.heads = nn.ModuleDict()
        for name, decoder in decoders.items():
            self.add_decoder(name, decoder, (weights or {}).get(name, 1.0))

    def add_decoder(self, name: str, decoder: Decoder, weight: float = 1.0) -> None:
        """Put one more decoder onto the codes; a module is trained and saved with the rest."""
        if name in self.decoders:
            raise ValueError(f"there is a decoder {name!r} already: {', '.join(self.decoders)}")
        self.decoders[name], self.weights[name] = decoder, weight
        if isinstance(decoder, nn.Module):
            self.heads[name] = decoder

    def forward(
        self, batch: Batch | SceneTensors, schedule: Schedule, rng: np.random.Generator
    ) -> tuple[Tensor, Report]:
        """Scalar to minimise, and what computes numbers for the log. All randomness comes from `rng`."""
        question = self._ask(tensors(batch, self.device), schedule, rng)
        noise = Noise(torch.Generator(self.device).manual_seed(int(rng.integers(2**62))), *self.ranks)
        answers = {name: each.loss(question, schedule, noise) for name, each in self.decoders.items()}
        total = torch.stack([self.weights[name] * loss for name, (loss, _) in answers.items()]).sum()
        return total, lambda: {
            key: value for _, report in answers.values() for key, value in report().items()
        }

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Held-out figures: of the last view, from 1 and from `max_contexts` of the others."""
        scenes, metrics = tensors(batch, self.device), Metrics()
        if not self.needs_query:
            return self._errors(self._views_alone(scenes), "")
        last = np.array([scenes.images.shape[1] - 1])
        for contexts in sorted({1, self.max_contexts}):
            r = self._encode(scenes, np.arange(contexts))
            metrics |= self._errors(self._question(r, scenes, last), f"_{contexts}")
            if contexts == 1:
                metrics["spread"] = spread(r)
        return metrics

    @property
    def needs_query(self) -> bool:
        """True if a decoder asks about a view."""
        return any(decoder.needs_query for decoder in self.decoders.values())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def _errors(self, question: Question, suffix: str) -> Metrics:
        found = [decoder.errors(question) for decoder in self.decoders.values()]
        return {f"test_{name}{suffix}": value for errors in found for name, value in errors.items()}

    def _ask(self, batch: SceneTensors, schedule: Schedule, rng: np.random.Generator) -> Question:
        if not self.needs_query:
            return self._views_alone(batch)
        views = rng.permutation(batch.images.shape[1])
        query, others = views[: self.queries], views[self.queries :]
        if rng.random() < schedule.self_context:
            r = self.model.encode_views(*seen(batch, query, self.device))
        else:
            context = others[: rng.integers(1, self.max_contexts + 1)]
            r = self._encode(batch, context).repeat_interleave(self.queries, 0)
        return self._question(r, batch, query)

    def _views_alone(self, batch: SceneTensors) -> Question:
        every = np.arange(batch.images.shape[1])
        return self._question(self.model.encode_views(*seen(batch, every, self.device)), batch, every)

    def _question(self, r: Tensor, batch: SceneTensors, query: np.ndarray) -> Question:
        images, viewpoints = seen(batch, query, self.device)
        labels = flat_views(batch.labels[:, query])[:, None]
        return Question(r, viewpoints, images, labels, batch.state.repeat_interleave(len(query), 0))

    def _encode(self, batch: SceneTensors, views: np.ndarray) -> Tensor:
        codes = self.model.encode_views(*seen(batch, views, self.device))
        return sum_views(codes.unflatten(0, (len(batch.images), len(views))))


def tensors(batch: Batch | SceneTensors, device: torch.device) -> SceneTensors:
    """The same scenes as tensors on `device`; those that are there already stay as they are."""
    return SceneTensors(*(torch.as_tensor(values, device=device) for values in batch))


def seen(
    batch: Batch | SceneTensors, views: np.ndarray | slice, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Some views of a batch, flat: uint8 (B*M, 3, H, W) channels last in memory, (B*M, 7)."""
    images, viewpoints = (torch.as_tensor(values[:, views], device=device) for values in batch[:2])
    return flat_views(images).permute(0, 3, 1, 2), flat_views(viewpoints)


def flat_views(values: Tensor) -> Tensor:
    """(B, M, ...) -> (B*M, ...)."""
    return values.flatten(0, 1)


def spread(r: Tensor) -> float:
    """Standard deviation over scenes of the normalised code, averaged over its entries: 0 = collapsed."""
    normal = nn.functional.layer_norm(r.flatten(1), r.flatten(1).shape[1:])
    return float(normal.std(0).mean())
