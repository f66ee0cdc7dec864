"""Aggregates over tasks, as Agarwal et al. 2021 ("Deep RL at the edge of the statistical precipice") advise.

Pure functions of arrays; scores are (runs, tasks) and normalised, so that tasks can be put together.
Intervals are 95 % percentile intervals of runs resampled within each task; one run has none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .statistics import RESAMPLES, Estimate, Floats, resample_runs


def normalised(scores: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Scores (..., tasks) with 0 at `low` and 1 at `high`, numbers or (tasks,).

    nan where `high` is not above `low`: such a task tells nothing apart.
    """
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    width = np.where(top > bottom, top - bottom, np.nan)
    return (np.asarray(scores, np.float64) - bottom) / width


def optimality_gap(values: Floats, /, *, axis: int = -1) -> Floats:
    """How far values fall short of 1 on average; what lies above counts as 1."""
    return 1 - np.minimum(values, 1).mean(axis)


def median_of_tasks(scores: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> Estimate:
    """Median over tasks of the mean over runs: of the tasks' order, it says nothing of their spread."""
    matrix = _matrix(scores)
    runs, tasks = matrix.shape
    value = float(np.median(matrix.mean(0)))
    if runs < 2 or np.isnan(matrix).any():
        return Estimate(value, math.nan, math.nan)
    samples = matrix[resample_runs(runs, tasks, rng, resamples), np.arange(tasks)]
    low, high = np.quantile(np.median(samples.mean(1), axis=-1), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def performance_profile(
    scores: ArrayLike, thresholds: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Share of runs above each of the thresholds (T,), with its interval: (3, T)."""
    matrix, levels = _matrix(scores), np.asarray(thresholds, np.float64)
    runs, tasks = matrix.shape
    profile = np.full((3, len(levels)), np.nan)
    if np.isnan(matrix).any():
        return profile
    profile[0] = (matrix[..., None] > levels).mean((0, 1))
    if runs > 1:
        samples = matrix[resample_runs(runs, tasks, rng, resamples), np.arange(tasks)]
        shares = np.stack([(samples > level).mean((1, 2)) for level in levels], -1)  # (R, T)
        profile[1:] = np.quantile(shares, [0.025, 0.975], axis=0)
    return profile


def probability_of_improvement(
    first: ArrayLike, second: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """How likely a run of `first` (n, tasks) beats one of `second` (m, tasks) on a task drawn at random.

    Ties count half. Runs of the two need not pair, and are resampled apart.
    """
    ours, theirs = _matrix(first), _matrix(second)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"{ours.shape[1]} and {theirs.shape[1]} tasks: expected the same ones for both")
    wins = np.sign(ours[:, None] - theirs[None]) / 2 + 0.5  # (n, m, tasks)
    value = float(wins.mean())
    n, m, tasks = wins.shape
    if min(n, m) < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    rows, columns = resample_runs(n, tasks, rng, resamples), resample_runs(m, tasks, rng, resamples)
    each = [
        wins[rows[:, :, None, task], columns[:, None, :, task], task].mean((1, 2)) for task in range(tasks)
    ]
    low, high = np.quantile(np.mean(each, axis=0), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _matrix(scores: ArrayLike) -> Floats:
    matrix = np.asarray(scores, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"scores have shape {matrix.shape}, expected (runs, tasks), at least one of each")
    return matrix
