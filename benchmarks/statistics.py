"""Statistics as pure functions of arrays: no files, no figures, an explicit Generator.

Shapes: S or `runs` seeds, `tasks` tasks, E evaluations, R resamples. Intervals are 95 %
percentile intervals. One run has no interval: (nan, nan). NaN in, NaN out: a NaN score is never
trimmed away, and in `steps_to_threshold` a window that holds one does not reach the threshold.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
WINDOW = 3
"""Consecutive evaluations whose mean score must reach the threshold."""


class Statistic(Protocol):
    """Reduces one axis, as `numpy.mean`, `numpy.median` and `interquartile_mean` do."""

    def __call__(self, values: Floats, /, *, axis: int) -> Floats: ...


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval, nan where there is none."""

    value: float
    low: float
    high: float


class Ratio(NamedTuple):
    """Median T(baseline) / median T(method); a bound where one of them is censored.

    `kind`: "estimate"; "at_least" (the baseline is censored), "at_most" (the method is);
    "not_reached" (both; value nan); "no_pairs" (no seed in common; value nan).
    """

    kind: Literal["estimate", "at_least", "at_most", "not_reached", "no_pairs"]
    value: float
    low: float
    high: float
    pairs: int

    @property
    def text(self) -> str:
        """ "4.1x", ">4.0x", "<0.50x", "not reached" or "no common seed"; bounds round outwards."""
        if self.kind == "not_reached":
            return "not reached"
        if self.kind == "no_pairs":
            return "no common seed"
        sign = {"estimate": "", "at_least": ">", "at_most": "<"}[self.kind]
        return f"{sign}{two_digits(self.value, self.kind)}x"

    @property
    def interval_text(self) -> str:
        """ "2.2–6.0"; "2.2–∞" where resamples left the baseline censored; "" for one pair."""
        if math.isnan(self.low):
            return ""
        high = "∞" if math.isinf(self.high) else two_digits(self.high, "at_most")
        return f"{two_digits(self.low, 'at_least')}–{high}"


def interquartile_mean(values: ArrayLike, *, axis: int | None = None) -> Floats:
    """Mean of what the 25 % lowest and 25 % highest leave, of the flattened array or one axis.

    As scipy.stats.trim_mean(values, 0.25): floor(n / 4) go at each end, so up to 3 values it
    is the mean.
    """
    array = np.asarray(values, dtype=np.float64)
    rows = array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, -1)
    count = rows.shape[-1]
    if count == 0:
        raise ValueError("The interquartile mean of no values is undefined; give at least one.")
    cut = count // 4
    kept = np.sort(rows, axis=-1)[..., cut : count - cut].mean(axis=-1)
    mean = np.where(np.isnan(rows).any(axis=-1), np.nan, kept)
    return mean[0] if axis is None else mean


def resample_runs(runs: int, tasks: int, rng: np.random.Generator, resamples: int) -> NDArray[np.int64]:
    """Indices of runs, drawn with replacement within each task: int (R, runs, tasks)."""
    return rng.integers(runs, size=(resamples, runs, tasks))


def stratified_bootstrap(
    scores: ArrayLike, statistic: Statistic, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of `statistic` over the flattened scores (runs, tasks).

    Runs are resampled within a task. One run gives (nan, nan): its spread is unknown, not zero.
    """
    matrix = _matrix(scores)
    runs, tasks = matrix.shape
    if runs < 2 or np.isnan(matrix).any():
        return math.nan, math.nan
    samples = matrix[resample_runs(runs, tasks, rng, resamples), np.arange(tasks)]
    low, high = np.quantile(statistic(samples.reshape(resamples, -1), axis=-1), [0.025, 0.975])
    return float(low), float(high)


def estimate(
    scores: ArrayLike, statistic: Statistic, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """`statistic` of scores (runs,) or (runs, tasks), with its interval; all nan for no run."""
    matrix = _matrix(scores)
    if matrix.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(statistic(matrix.reshape(1, -1), axis=-1)[0])
    return Estimate(value, *stratified_bootstrap(matrix, statistic, rng, resamples))


def sample_efficiency_curve(
    scores: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Scores (runs, tasks, E) -> (3, E): interquartile mean, low and high at each evaluation.

    One set of resampled runs serves all evaluations, for a run is one draw, its points are not.
    """
    cube = np.asarray(scores, dtype=np.float64)
    if cube.ndim != 3:
        raise ValueError(f"scores have shape {cube.shape}, expected (runs, tasks, evaluations).")
    runs, tasks, evaluations = cube.shape
    curve = np.full((3, evaluations), np.nan)
    chosen = resample_runs(runs, tasks, rng, resamples) if runs > 1 else None
    for index in range(evaluations):
        now = cube[:, :, index]
        curve[0, index] = interquartile_mean(now)
        if chosen is not None and not np.isnan(now).any():
            samples = now[chosen, np.arange(tasks)].reshape(resamples, -1)
            curve[1:, index] = np.quantile(interquartile_mean(samples, axis=-1), [0.025, 0.975])
    return curve


def area_under_curve(steps: ArrayLike, scores: ArrayLike) -> float:
    """Mean height of a curve, steps (E,) and scores (E,), from step 0 to its last step.

    Trapezoids divided by the last step, so that a perfect agent has 1. Without an evaluation at
    step 0 the curve starts there at 0: an untrained agent is given no success.
    """
    x, y = _paired(steps, scores)
    if x[0] > 0:
        x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    return float(np.trapezoid(y, x) / x[-1]) if x[-1] > 0 else float(y[-1])


def steps_to_threshold(steps: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """First of steps (E,) at which it and the two before have a mean score >= threshold.

    inf when censored: never reached, or fewer than three evaluations. The tolerance of 1e-9
    keeps rounding from deciding, for three times 0.48 is not quite 3 * 0.48.
    """
    x, y = _paired(steps, scores)
    if len(y) < WINDOW:
        return math.inf
    means = np.lib.stride_tricks.sliding_window_view(y, WINDOW).mean(axis=-1)
    reached = np.flatnonzero(means >= threshold - 1e-9)
    return float(x[reached[0] + WINDOW - 1]) if len(reached) else math.inf


def ratio(
    baseline: ArrayLike,
    method: ArrayLike,
    budgets: tuple[float, float],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Ratio:
    """Median T(baseline) (S,) / median T(method) (S,), paired by seed, inf where censored.

    `budgets` are those of baseline and method, where their runs stopped: a censored seed takes
    its budget at least, and anything at most, and so a median that one enters, alone or as half of
    it, is known only within bounds. The interval resamples seeds, the same for both sides, and takes
    the low quantile of the lower bounds and the high quantile of the upper ones, so that censoring
    can only widen it.
    """
    pair = np.stack(_paired(baseline, method, empty=True))
    count = pair.shape[1]
    if count == 0:
        return Ratio("no_pairs", math.nan, math.nan, math.nan, 0)
    low, high = _ratio_bounds(pair[:, None], budgets)
    value_low, value_high = float(low[0]), float(high[0])
    interval = (math.nan, math.nan)
    if count > 1:
        chosen = rng.integers(count, size=(resamples, count))
        lows, highs = _ratio_bounds(pair[:, chosen], budgets)
        # Steps, not interpolation: inf times 0 is nan.
        interval = (
            float(np.quantile(lows, 0.025, method="lower")),
            float(np.quantile(highs, 0.975, method="higher")),
        )
    if value_low == value_high:
        return Ratio("estimate", value_low, *interval, count)
    if value_low == 0 and math.isinf(value_high):
        return Ratio("not_reached", math.nan, *interval, count)
    if math.isinf(value_high):
        return Ratio("at_least", value_low, *interval, count)
    return Ratio("at_most", value_high, *interval, count)


def paired_difference(
    method: ArrayLike, baseline: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Mean of method (S,) - baseline (S,), paired by seed, with its bootstrap interval."""
    ours, theirs = _paired(method, baseline, empty=True)
    return estimate(ours - theirs, np.mean, rng, resamples)


def two_digits(value: float, kind: str = "estimate") -> str:
    """Two significant digits, "4.1", "0.48", "123"; "at_least" rounds down, "at_most" up."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 1 - math.floor(math.log10(abs(value))))
    # Rounding twice undoes float error first: ceil(0.5 * 100 + 1e-14) would be 51.
    scaled = round(value * 10**decimals, 6)
    outward = {"at_least": math.floor(scaled), "at_most": math.ceil(scaled)}
    return f"{outward.get(kind, round(scaled)) / 10**decimals:.{decimals}f}"


def _ratio_bounds(times: Floats, budgets: tuple[float, float]) -> tuple[Floats, Floats]:
    """Times (2, R, S) of baseline and method, inf if censored -> lowest and highest ratio of medians (R,)."""
    latest = np.median(times, axis=-1)
    earliest = np.median(np.minimum(times, np.array(budgets)[:, None, None]), axis=-1)
    with np.errstate(invalid="ignore"):
        low = np.where(np.isinf(latest[1]), 0.0, earliest[0] / latest[1])
        high = np.where(np.isinf(latest[0]), np.inf, latest[0] / earliest[1])
    return low, high


def _matrix(scores: ArrayLike) -> Floats:
    matrix = np.asarray(scores, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2:
        raise ValueError(f"scores have shape {matrix.shape}, expected (runs,) or (runs, tasks).")
    return matrix


def _paired(first: ArrayLike, second: ArrayLike, empty: bool = False) -> tuple[Floats, Floats]:
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape or not (one.size or empty):
        raise ValueError(
            f"Two arrays of shapes {one.shape} and {two.shape}; give two non-empty arrays of one "
            f"length. Seeds of which one side is missing must be left out on both."
        )
    return one, two
