"""Does what tasks teach compound? Fits of a measure against the number of source tasks, and which ones fail.

The proposal asks whether the gain grows exponentially. Three models: constant (tasks teach nothing that a new
one can use), linear, exponential. A model is excluded if the means of the groups lie further from it than
the spread within groups explains: lack of fit over pure error, its distribution by a bootstrap of residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from .statistics import RESAMPLES, Floats

LEVEL = 0.05
"""Of the test: a model is excluded where less of the resamples fit worse than the data."""
RATES = np.linspace(-3.0, 3.0, 601)
"""Exponents that are tried."""
SMALLEST = 1e-12
"""Of a sum of squares, so that equal values divide."""


@dataclass(frozen=True)
class Fit:
    """One model of values against the number of source tasks."""

    model: str
    start: float
    """Value at no source task."""
    growth: float
    """Of a task more: added (linear), or the exponent (exponential); 0 if constant."""
    probability: float
    """Share of resamples under the model that fit it no better than the data; nan if nothing tests it."""

    @property
    def excluded(self) -> bool:
        """True if the data contradict the model."""
        return self.probability < LEVEL


def fit_gains(
    counts: Floats, values: Floats, rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[Fit]:
    """Every model fitted to values (P, S) of S seeds at each of P numbers of source tasks, counts (P,).

    A model with as many parameters as there are counts cannot be tested, nor can any with one seed.
    """
    counts, values = np.asarray(counts, float), np.asarray(values, float)
    if values.ndim != 2 or len(values) != len(counts):
        raise ValueError(f"counts {counts.shape} and values {values.shape}: expected (P,) and (P, S)")
    found = []
    for name, model in MODELS.items():
        start, growth = model(counts, values.mean(1)[None])[1][0]
        chance = _probability(counts, values, name, rng, resamples)
        found.append(Fit(name, float(start), float(growth), chance))
    return found


def gains_sentence(fits: list[Fit]) -> str:
    """What the data exclude, in words."""
    tested = [fit for fit in fits if not np.isnan(fit.probability)]
    if not tested:
        return "Too few seeds or numbers of tasks to exclude any growth."
    excluded = [fit.model for fit in tested if fit.excluded]
    left = [fit.model for fit in fits if not fit.excluded]
    gone = f"The data exclude {' and '.join(excluded)} growth" if excluded else "The data exclude no growth"
    return f"{gone}; {', '.join(left) or 'none'} {'is' if len(left) < 2 else 'are'} left."


def growth_sentence(fits: list[Fit]) -> str:
    """What a task more adds by the models that grow, whether or not the data exclude them."""
    known = {fit.model: fit for fit in fits}
    line, curve = known["linear"], known["exponential"]
    return (
        f"Fitted: {line.start:.2f} and {line.growth:+.2f} a task, or {curve.start:.2f} times "
        f"{np.exp(curve.growth):.2f} a task."
    )


def _probability(
    counts: Floats, values: Floats, name: str, rng: np.random.Generator, resamples: int
) -> float:
    model, (groups, seeds) = MODELS[name], values.shape
    if seeds < 2 or groups <= PARAMETERS[name]:
        return float("nan")
    means = values.mean(1)
    fitted = model(counts, means[None])[0][0]
    pool = (values - means[:, None]).ravel()
    drawn = fitted[None, :, None] + pool[rng.integers(pool.size, size=(resamples, groups, seeds))]
    observed = _lack_of_fit(counts, values[None], model)[0]
    return float((_lack_of_fit(counts, drawn, model) >= observed).mean())


def _lack_of_fit(counts: Floats, values: Floats, model: Model) -> Floats:
    """Squares of the means' distances from the model over squares within groups: values (R, P, S) -> (R,)."""
    means = values.mean(2)
    away = (means - model(counts, means)[0]) ** 2
    within = ((values - means[:, :, None]) ** 2).sum((1, 2))
    return values.shape[2] * away.sum(1) / (within + SMALLEST)


def _constant(counts: Floats, means: Floats) -> tuple[Floats, Floats]:
    start = means.mean(1)
    return np.repeat(start[:, None], len(counts), 1), np.stack([start, np.zeros(len(means))], 1)


def _linear(counts: Floats, means: Floats) -> tuple[Floats, Floats]:
    away = counts - counts.mean()
    slope = means @ away / max(float(away @ away), SMALLEST)
    start = means.mean(1) - slope * counts.mean()
    return start[:, None] + slope[:, None] * counts, np.stack([start, slope], 1)


def _exponential(counts: Floats, means: Floats) -> tuple[Floats, Floats]:
    shapes = np.exp(np.outer(RATES, counts))  # (G, P)
    squares = (shapes**2).sum(1)
    starts = means @ shapes.T / squares  # (R, G)
    best = (starts**2 * squares).argmax(1)  # what the best start of each exponent explains
    start = starts[np.arange(len(means)), best]
    return start[:, None] * shapes[best], np.stack([start, RATES[best]], 1)


Model = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""Counts (P,) and means (R, P) -> fitted means (R, P) and start and growth (R, 2)."""
MODELS: Mapping[str, Model] = MappingProxyType(
    {"constant": _constant, "linear": _linear, "exponential": _exponential}
)
PARAMETERS: Mapping[str, int] = MappingProxyType({"constant": 1, "linear": 2, "exponential": 2})
