"""The protocol applied to groups of seeds: which are compared, ratios of steps, differences of areas.

Areas are compared over the steps that both sides ran. Of a method with several settings the best one speaks,
by area, as for every other method. Failed seeds are left out on both sides of a pair and must be listed
beside every number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .groups import Group, Panel
from .records import CellRecord
from .statistics import Estimate, Floats, Ratio, paired_difference, ratio, sample_efficiency_curve

RAW_PIXELS = ("pixels-aug", "pixels", "pixels-gqn-arch")
"""The headline compares with the strongest of these, by area under the curve."""
BASELINES = (*RAW_PIXELS, "random-frozen", "ae-frozen")
"""Methods that every other method is compared with."""
HEADLINERS = ("gqn-frozen", "gqn-finetune", "gqn-aux", "gqn-tier2")
"""The headline speaks of the first of these that has a finished seed, not of the best one."""


@dataclass(frozen=True)
class Comparison:
    """One method against one baseline on the seeds that both finished."""

    method: Group
    baseline: Group
    ratio: Ratio
    ratio_with_frames: Ratio
    """The same with each side's extra frames added to its steps."""
    area: Estimate
    """Area of the method minus area of the baseline."""


def compare(panel: Panel, method: Group, baseline: Group, rng: np.random.Generator) -> Comparison | None:
    """Ratio and area difference on common finished seeds; None without a threshold."""
    if panel.threshold is None:
        return None
    seeds = sorted(_seeds(method) & _seeds(baseline))
    theirs, ours = paired_times(panel, baseline, method)
    before = (baseline.extra_frames, method.extra_frames)
    budgets = (baseline.budget, method.budget)
    late = (budgets[0] + before[0], budgets[1] + before[1])
    mine, other = (_on_seeds(group, seeds, group.areas_until(min(budgets))) for group in (method, baseline))
    return Comparison(
        method,
        baseline,
        ratio(theirs, ours, budgets, rng),
        ratio(theirs + before[0], ours + before[1], late, rng),
        paired_difference(mine, other, rng),
    )


def paired_times(panel: Panel, *groups: Group) -> list[Floats]:
    """Steps to the panel's threshold (S,) of each group, on the seeds that all of them finished."""
    seeds = sorted(set.intersection(*(_seeds(group) for group in groups)))
    return [_on_seeds(group, seeds, group.times(panel.threshold)) for group in groups]


def curve_of(
    group: Group, quantity: Callable[[CellRecord], Floats], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Steps (E,) and curve (3, E): interquartile mean, low, high over the group's seeds.

    Finished seeds only, or all that have begun while none is finished; at the evaluations that
    all of them made.
    """
    records = group.finished or tuple(record for record in group.records if record.steps.size)
    if not records:
        return np.empty(0), np.empty((3, 0))
    steps = functools.reduce(np.intersect1d, [record.steps for record in records])
    values = [quantity(record)[np.isin(record.steps, steps)] for record in records]
    return steps, sample_efficiency_curve(np.stack(values)[:, None], rng)


def strongest_baseline(panel: Panel) -> Group | None:
    """The raw-pixel group with the largest mean area, so that no weak one flatters a method.

    Of those that have as many finished seeds as any: one that has just begun does not decide.
    """
    found = panel.groups_of(RAW_PIXELS)
    most = max((len(group.finished) for group in found), default=0)
    return panel.best_of(group for group in found if len(group.finished) == most)


def headliner(panel: Panel) -> Group | None:
    """The group that the headline speaks of: the best setting of the first method that has any."""
    found = panel.groups_of(HEADLINERS)
    return panel.best_of(group for group in found if group.method == found[0].method)


def _seeds(group: Group) -> set[int]:
    return {record.cell.seed for record in group.finished}


def _on_seeds(group: Group, seeds: list[int], values: Floats) -> Floats:
    """The values (S,) of the group's finished seeds, cut to `seeds`, in their order."""
    by_seed = dict(zip((one.cell.seed for one in group.finished), values, strict=True))
    return np.array([by_seed[seed] for seed in seeds], dtype=np.float64)
