"""All tasks of one camera and algorithm together: normalised scores, profiles, probability of improvement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .aggregates import (
    median_of_tasks,
    normalised,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from .groups import ORACLE, Group, Panel
from .protocol import BASELINES
from .statistics import Estimate, Floats, estimate, interquartile_mean

LEVELS = np.linspace(0, 1, 51)
"""Of performance profiles: shares of what the oracle achieves."""


@dataclass(frozen=True)
class Standing:
    """One method over all tasks."""

    method: str
    label: str
    """The method, and which of its settings if several ran."""
    scores: Floats
    """Normalised final scores (runs, tasks): 0 is an untrained agent, 1 the state oracle."""
    iqm: Estimate
    mean: Estimate
    median: Estimate
    """Over tasks, of the means over runs."""
    gap: Estimate
    """Optimality gap."""
    profile: Floats
    """(3, T): share of runs above each of `LEVELS`, with its interval."""


@dataclass(frozen=True)
class Together:
    """What panels say together."""

    place: str
    """Camera and looks, as `Panel.place`."""
    algo: str
    slug: str
    """For names of files and links."""
    tasks: tuple[str, ...]
    tasks_left_out: tuple[str, ...]
    """Tasks that a method which runs on all of them has no finished seed on yet."""
    standings: tuple[Standing, ...]
    improvements: dict[tuple[str, str], Estimate]
    """(method, baseline) -> how likely a run of the one beats a run of the other."""
    left_out: tuple[str, ...]
    """Methods without a finished seed on each of `tasks`."""


def together(panels: Sequence[Panel], rng: np.random.Generator) -> list[Together]:
    """For each camera, look and algorithm whose panels have an oracle."""
    alike: dict[str, list[Panel]] = {}
    for panel in panels:
        if panel.threshold is not None:
            alike.setdefault(panel.slug.replace(panel.task.lower(), "together", 1), []).append(panel)
    found = [_together(slug, own, rng) for slug, own in alike.items()]
    return [one for one in found if one.standings]


def _together(slug: str, panels: Sequence[Panel], rng: np.random.Generator) -> Together:
    methods = _methods(panels)
    counted = _counted(panels, methods)
    found = {method: _best_setting(counted, method) for method in methods} if counted else {}
    scores = {method: _scores(counted, groups) for method, groups in found.items() if groups}
    standings = tuple(
        _standing(method, found[method][0].label, matrix, rng) for method, matrix in scores.items()
    )
    improvements = {
        (method, baseline): probability_of_improvement(matrix, scores[baseline], rng)
        for method, matrix in scores.items()
        for baseline in BASELINES
        if baseline in scores and baseline != method
    }
    tasks = tuple(panel.task for panel in counted)
    others = tuple(panel.task for panel in panels if panel not in counted)
    left_out = tuple(method for method in methods if method not in scores)
    place, algo = panels[0].place, panels[0].algo
    return Together(place, algo, slug, tasks, others, standings, improvements, left_out)


def _methods(panels: Sequence[Panel]) -> list[str]:
    names = dict.fromkeys(group.method for panel in panels for group in panel.groups)
    return [name for name in names if name != ORACLE]


def _counted(panels: Sequence[Panel], methods: Sequence[str]) -> list[Panel]:
    """The panels on which every method has a finished seed that was begun on all of them."""
    everywhere = [
        method for method in methods if all(_has(panel, method, finished=False) for panel in panels)
    ]
    return [panel for panel in panels if all(_has(panel, method) for method in everywhere or methods)]


def _has(panel: Panel, method: str, finished: bool = True) -> bool:
    return any(group.method == method and (group.finished or not finished) for group in panel.groups)


def _best_setting(panels: Sequence[Panel], method: str) -> list[Group]:
    """A group a panel, all of one setting: of those finished on every panel, that with the largest mean area.
    Where none is, the only setting that each panel has; [] where one has several."""
    found = [panel.groups_of([method]) for panel in panels]
    settings: dict[tuple[Any, ...], list[Group]] = {}
    for group in itertools.chain.from_iterable(found):
        settings.setdefault((group.cell.encoder, _compared(group)), []).append(group)
    whole = [groups for groups in settings.values() if len(groups) == len(panels)]
    if not whole and all(len(groups) == 1 for groups in found):  # its encoder is that of the task's family
        return [group for (group,) in found]
    return max(whole, key=lambda groups: sum(float(one.areas.mean()) for one in groups), default=[])


def _compared(group: Group) -> tuple[tuple[str, Any], ...]:
    """Its options, but for what goes with a budget."""
    return tuple((key, value) for key, value in group.cell.options if key != "evaluate_every")


def _scores(panels: Sequence[Panel], groups: Sequence[Group]) -> Floats:
    """Normalised final scores (runs, tasks): as many seeds as the method has finished on each task."""
    runs = min(len(group.finished) for group in groups)
    finals = np.stack([group.final_scores[:runs] for group in groups], axis=1)
    untrained = [_untrained(panel) for panel in panels]
    oracle = [float(panel.oracle.final_scores.mean()) for panel in panels if panel.oracle]
    return normalised(finals, untrained, oracle)


def _untrained(panel: Panel) -> float:
    """Mean score of the panel's agents before their first update."""
    first = [one.score[0] for group in panel.groups for one in group.finished if one.steps[0] == 0]
    return float(np.mean(first)) if first else 0.0


def _standing(method: str, label: str, scores: Floats, rng: np.random.Generator) -> Standing:
    return Standing(
        method,
        label,
        scores,
        iqm=estimate(scores, interquartile_mean, rng),
        mean=estimate(scores, np.mean, rng),
        median=median_of_tasks(scores, rng),
        gap=estimate(scores, optimality_gap, rng),
        profile=performance_profile(scores, LEVELS, rng),
    )
