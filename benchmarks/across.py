"""All tasks of one camera and algorithm together: normalised scores, profiles, probability of improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .aggregates import (
    median_of_tasks,
    normalised,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from .protocol import BASELINES, ORACLE, Group, Panel
from .statistics import Estimate, Floats, estimate, interquartile_mean

LEVELS = np.linspace(0, 1, 51)
"""Of performance profiles: shares of what the oracle achieves."""


@dataclass(frozen=True)
class Standing:
    """One method over all tasks."""

    method: str
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

    camera: str
    algo: str
    tasks: tuple[str, ...]
    runs: int
    """Seeds of each method and task that were counted: as many as all have finished."""
    standings: tuple[Standing, ...]
    improvements: dict[tuple[str, str], Estimate]
    """(method, baseline) -> how likely a run of the one beats a run of the other."""
    left_out: tuple[str, ...]
    """Methods without a finished seed on every task."""

    @property
    def slug(self) -> str:
        """For names of files and links."""
        return f"together-{self.camera}-{self.algo}".lower()


def together(panels: Sequence[Panel], rng: np.random.Generator) -> list[Together]:
    """For each camera and algorithm whose panels have an oracle."""
    keys = dict.fromkeys((panel.camera, panel.algo) for panel in panels if panel.threshold is not None)
    found = []
    for camera, algo in keys:
        own = [
            one for one in panels if (one.camera, one.algo) == (camera, algo) and one.threshold is not None
        ]
        found.append(_together(camera, algo, own, rng))
    return [one for one in found if one.standings]


def _together(camera: str, algo: str, panels: Sequence[Panel], rng: np.random.Generator) -> Together:
    groups = {method: [_only(panel, method) for panel in panels] for method in _methods(panels)}
    whole = {method: each for method, each in groups.items() if all(one is not None for one in each)}
    runs = min((len(one.finished) for each in whole.values() for one in each if one), default=0)
    scores = {method: _scores(panels, each, runs) for method, each in whole.items()}
    standings = tuple(_standing(method, matrix, rng) for method, matrix in scores.items())
    improvements = {
        (method, baseline): probability_of_improvement(matrix, scores[baseline], rng)
        for method, matrix in scores.items()
        for baseline in BASELINES
        if baseline in scores and baseline != method
    }
    tasks = tuple(panel.task for panel in panels)
    left_out = tuple(method for method in groups if method not in whole)
    return Together(camera, algo, tasks, runs, standings, improvements, left_out)


def _methods(panels: Sequence[Panel]) -> list[str]:
    names = dict.fromkeys(group.method for panel in panels for group in panel.groups)
    return [name for name in names if name != ORACLE]


def _only(panel: Panel, method: str) -> Group | None:
    """The method's first group with a finished seed."""
    return next((group for group in panel.groups if group.method == method and group.finished), None)


def _scores(panels: Sequence[Panel], groups: Sequence[Group | None], runs: int) -> Floats:
    """Normalised final scores (runs, tasks) of the first seeds."""
    finals = np.stack([group.final_scores[:runs] for group in groups if group], axis=1)
    untrained = [_untrained(panel) for panel in panels]
    oracle = [float(panel.oracle.final_scores.mean()) for panel in panels if panel.oracle]
    return normalised(finals, untrained, oracle)


def _untrained(panel: Panel) -> float:
    """Mean score of the panel's agents before their first update."""
    first = [one.score[0] for group in panel.groups for one in group.finished if one.steps[0] == 0]
    return float(np.mean(first)) if first else 0.0


def _standing(method: str, scores: Floats, rng: np.random.Generator) -> Standing:
    return Standing(
        method,
        scores,
        iqm=estimate(scores, interquartile_mean, rng),
        mean=estimate(scores, np.mean, rng),
        median=median_of_tasks(scores, rng),
        gap=estimate(scores, optimality_gap, rng),
        profile=performance_profile(scores, LEVELS, rng),
    )
