"""View invariance: is the code of a scene the same from another camera, and that of another scene not?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

COLLAPSED = 1e-6
"""A code whose every entry deviates less than this over scenes and cameras says nothing."""


class Invariance(NamedTuple):
    """How N scenes, each seen by two cameras, lie in the space of codes."""

    ratio: float
    """Mean distance of two codes of one scene over that of codes of two scenes, always from different
    cameras: 0 for an invariant code; by chance, as for a code that knows the camera alone, 1."""
    retrieval: float
    """Share of codes whose nearest code from the other camera is that of the same scene; chance: 1 / N."""
    scenes: int
    """N."""


def view_invariance(one: Tensor, other: Tensor) -> Invariance | None:
    """Codes (N, C) of the same N scenes from two cameras; None where all codes are alike.

    Entries are standardised over all 2 N codes, so that none outweighs the rest by its scale alone.
    """
    if one.shape != other.shape or one.dim() != 2 or len(one) < 2:
        raise ValueError(
            f"codes {tuple(one.shape)} and {tuple(other.shape)}: expected twice (N, C) with N of at least 2"
        )
    both = torch.cat([one, other])
    deviation = both.std(0)
    alive = deviation > COLLAPSED
    if not alive.any():
        return None
    one, other = ((codes[:, alive] - both.mean(0)[alive]) / deviation[alive] for codes in (one, other))
    distances = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")  # exact near zero
    same = distances.diagonal()
    different = distances[~torch.eye(len(one), dtype=torch.bool, device=one.device)]
    hits = torch.cat([nearest_is_own(distances), nearest_is_own(distances.T)])
    return Invariance(float(same.mean() / different.mean()), float(hits.mean()), len(one))


def nearest_is_own(distances: Tensor) -> Tensor:
    """For each row of (N, N): 1 if its diagonal entry is smallest, 1 / k if it ties with k - 1, else 0."""
    own = distances.diagonal()[:, None]
    nearer, as_near = (distances < own).sum(1), (distances <= own).sum(1)
    return (nearer == 0) / as_near.float()
