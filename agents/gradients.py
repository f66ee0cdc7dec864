"""Gradients of several tasks on the weights that they share: do they agree, and what is done if not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def cosines(gradients: Tensor) -> Tensor:
    """(k (k - 1) / 2,): the cosine between every two of k gradients (k, P); 0 where one is zero."""
    unit = torch.nn.functional.normalize(gradients, dim=1)
    first, second = torch.triu_indices(len(gradients), len(gradients), 1)
    return (unit[first] * unit[second]).sum(1)


def without_conflicts(gradients: Tensor, rng: np.random.Generator) -> Tensor:
    """Gradients (k, P), each without its part against any other: PCGrad (Yu et al. 2020, algorithm 1)."""
    mended = gradients.clone()
    for task in range(len(gradients)):
        for other in rng.permutation(len(gradients)):
            along = mended[task] @ gradients[other]
            if other != task and along < 0:
                mended[task] -= along / gradients[other].square().sum() * gradients[other]
    return mended
