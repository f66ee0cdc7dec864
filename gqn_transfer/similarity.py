"""How alike two encoders' codes of the same views are: up to rotation and scale, and in the same numbers."""

from __future__ import annotations

from torch import Tensor

from .probes import fit_ridge

FEWEST = 4
"""Views that show a quantity, below which nothing is fitted."""


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019, equation 1 with its linear kernel) of codes
    (N, C) and (N, D) of the same N views: 1 if they differ by rotation and scale alone, near 0 if nothing
    linear connects them (with N well above C and D). nan where one of them is constant."""
    check_pairs(one, other)
    ours, theirs = (codes.double() - codes.double().mean(0) for codes in (one, other))
    shared = (theirs.T @ ours).square().sum()
    own = (ours.T @ ours).norm() * (theirs.T @ theirs).norm()
    return float(shared / own) if own > 0 else float("nan")


def probe_agreement(one: Tensor, other: Tensor, quantity: Tensor) -> float:
    """Share of a quantity (N, Q) in the second half of the views that a linear probe, fitted on `one` (N, C)
    in the first half, reads from `other` (N, C): 1 where both say it in the same numbers, below 0 where the
    probe misleads. With `other` = `one` it is the probe's own share."""
    check_pairs(one, other)
    if one.shape != other.shape:
        raise ValueError(f"codes {tuple(one.shape)} and {tuple(other.shape)}: a probe needs the same length")
    half = len(one) // 2
    mean, std = one[:half].mean(0), one[:half].std(0).clamp(min=1e-6)
    read = fit_ridge((one[:half] - mean) / std, quantity[:half], (other[half:] - mean) / std)
    left = read - quantity[half:]
    spread = quantity[half:] - quantity[half:].mean(0)
    return float(1 - left.square().sum() / spread.square().sum())


def agreement_where_shown(one: Tensor, other: Tensor, quantity: Tensor) -> float:
    """`probe_agreement` over the views whose scene holds the quantity, which is zero where it does not: else
    what is read is whether it is there at all. nan where the codes have other lengths, or hardly a scene has
    it."""
    shown = quantity.any(1)
    if one.shape != other.shape or shown.sum() < FEWEST:
        return float("nan")
    return probe_agreement(one[shown], other[shown], quantity[shown])


def check_pairs(one: Tensor, other: Tensor) -> None:
    """ValueError unless both are codes of the same views."""
    if one.dim() != 2 or other.dim() != 2 or len(one) != len(other) or len(one) < 2:
        raise ValueError(
            f"codes {tuple(one.shape)} and {tuple(other.shape)}: expected (N, C) and (N, D) of the same N "
            "views, at least 2"
        )
