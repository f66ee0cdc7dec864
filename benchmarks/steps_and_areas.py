"""The pair of axes that transfer and sizes are drawn on: steps to the threshold, and area under success."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .axes import GID, INK, SOFT, STYLES, tidy_axes, title_axes
from .figures import HEIGHT, WIDTH
from .groups import Group
from .statistics import estimate, interquartile_mean

Points = Sequence[tuple[float, Group]]
"""Where on the horizontal axis, and what stands there."""


Dashes = str | tuple[int, tuple[int, ...]]
"""As Matplotlib's `linestyle`."""


class Stroke(NamedTuple):
    """How a line looks."""

    method: str
    """Whose colour it has."""
    dashes: Dashes

    @property
    def color(self) -> str:
        return STYLES[self.method].color

    @property
    def gid(self) -> str:
        return GID + self.method


def two_axes(title: str, across: str, budget: float) -> tuple[Figure, Axes, Axes]:
    """Figure and its axes of steps and of areas. across: what both have on the horizontal axis."""
    figure = Figure(figsize=(2 * WIDTH, HEIGHT), facecolor="white")
    steps, areas = (figure.add_axes((x, 0.145, 0.345, 0.70)) for x in (0.065, 0.465))
    steps.set_ylim(0, 1.12 * budget)
    steps.axhline(budget, color=SOFT, linewidth=0.8, linestyle=":")
    steps.yaxis.set_major_formatter(EngFormatter(sep=""))
    areas.set_ylim(0, 1)
    title_axes(steps, title, "Steps to the threshold; hollow: not reached")
    title_axes(areas, "", "Area under success, interquartile mean, 95 %")
    for axes in (steps, areas):
        axes.set_xlabel(across, fontsize=9, color=INK)
        tidy_axes(axes)
    return figure, steps, areas


def draw_steps(axes: Axes, points: Points, threshold: float, stroke: Stroke) -> None:
    """Every seed, hollow at its budget where it is censored, and a line through the medians."""
    medians = []
    for x, group in points:
        times = group.times(threshold)
        shown = np.minimum(times, group.budget)
        medians.append(float(np.median(shown)))
        faces = np.where(np.isinf(times), "white", stroke.color)
        axes.scatter(
            np.full(len(times), x), shown, s=22, facecolors=list(faces), edgecolors=stroke.color,
            linewidths=0.9, zorder=3, gid=stroke.gid,
        )  # fmt: skip
    where = [x for x, _ in points]
    axes.plot(where, medians, linestyle=stroke.dashes, color=stroke.color, linewidth=1.6, gid=stroke.gid)


def draw_areas(axes: Axes, points: Points, stroke: Stroke, rng: np.random.Generator) -> None:
    """Interquartile means with their intervals."""
    found = [estimate(group.areas, interquartile_mean, rng) for _, group in points]
    ends = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
    axes.errorbar(
        [x for x, _ in points], [one.value for one in found], np.nan_to_num(ends), fmt="o",
        linestyle=stroke.dashes, color=stroke.color, markersize=4.5, linewidth=1.6, elinewidth=1, capsize=2,
        gid=stroke.gid,
    )  # fmt: skip


def draw_baseline(axes: Axes, group: Group) -> float:
    """A level line of another method, and its height."""
    stroke, height = Stroke(group.method, "-"), float(interquartile_mean(group.areas))
    axes.axhline(height, color=stroke.color, linewidth=1.2, gid=stroke.gid)
    return height
