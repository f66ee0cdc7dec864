"""Several predictions of the same query side by side: what the model knows, and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .evaluation import codes_by_contexts, query_of
from .model import GQN
from .scenes import Batch


class PredictionSamples(NamedTuple):
    """Predictions of B queries; images are float32 in [0, 1], channels last."""

    contexts: np.ndarray
    """uint8 (B, M, H, W, 3): the views that were given."""
    truth: np.ndarray
    """uint8 (B, H, W, 3): the query, which was not."""
    mean: np.ndarray
    """(B, H, W, 3): mean of all prior samples."""
    samples: np.ndarray
    """(S, B, H, W, 3): prior samples."""
    deviation: np.ndarray
    """(B, H, W): standard deviation over the samples, the channels' variances averaged."""
    error: np.ndarray
    """(B, H, W): root of the squared error of `mean`, averaged over channels."""


@torch.no_grad()
def prediction_samples(
    model: GQN, batch: Batch, contexts: int, samples: int, generator: torch.Generator
) -> PredictionSamples:
    """`samples` prior samples of the last view of each scene of `batch`, from its first `contexts` views."""
    device = next(model.parameters()).device
    query = query_of(batch, device)
    ((_, r),) = codes_by_contexts(model, batch, (contexts,), device)
    drawn = torch.stack([model.predict(r, query.viewpoint, generator) for _ in range(samples)]).clamp(0, 1)
    mean = drawn.mean(0)
    deviation = drawn.var(0, correction=0).mean(1).sqrt()
    error = ((mean - query.image) ** 2).mean(1).sqrt()
    return PredictionSamples(
        batch.images[:, :contexts],
        batch.images[:, -1],
        _channels_last(mean),
        _channels_last(drawn),
        deviation.cpu().numpy(),
        error.cpu().numpy(),
    )


def _channels_last(images: Tensor) -> np.ndarray:
    return images.movedim(-3, -1).cpu().numpy()
