"""The figure of transfer: what a new task takes, against how many tasks came before it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from .axes import CHARACTERS, GID, INK, SOFT, STYLES, from_the_top, tidy_axes, title_axes
from .figures import HEIGHT, WIDTH
from .groups import Group, Panel
from .protocol import strongest_baseline
from .statistics import estimate, interquartile_mean
from .transfer import Line, lines_of

LOOKS = {
    "taught": ("gqn-frozen", "-"),
    "blind": ("gqn-finetune", "--"),
    "untaught": ("gqn-aux", "-."),
    "in turn": ("supervised-frozen", "--"),
    "tier": ("gqn-tier2", "-"),
}
"""Way -> method whose colour it has, and its line, which is dotted where there are several."""
BESIDE = 0.06
"""Source tasks by which ways stand apart, so that none hides another."""


def transfer_figure(panel: Panel, rng: np.random.Generator) -> Figure | None:
    """Steps to the threshold and area of a new task against source tasks; None where there are none."""
    lines = lines_of(panel)
    if not lines or panel.threshold is None:
        return None
    figure = Figure(figsize=(2 * WIDTH, HEIGHT), facecolor="white")
    left, right = (figure.add_axes((x, 0.145, 0.345, 0.70)) for x in (0.065, 0.465))
    baseline = strongest_baseline(panel)
    for place, line in enumerate(lines):
        shift = BESIDE * (place - (len(lines) - 1) / 2)
        _draw_steps(left, line, panel.threshold, shift)
        _draw_areas(right, line, rng, shift)
    if baseline is not None:
        _draw_baseline(right, baseline)
    budget = max(group.budget for line in lines for _, group in line.points)
    left.set_ylim(0, 1.12 * budget)
    left.axhline(budget, color=SOFT, linewidth=0.8, linestyle=":")
    left.yaxis.set_major_formatter(EngFormatter(sep=""))
    right.set_ylim(0, 1)
    title_axes(left, panel.title, "Steps to the threshold; hollow: not reached")
    title_axes(right, "", "Area under success, interquartile mean, 95 %")
    for axes in (left, right):
        axes.set_xlabel("tasks learned before", fontsize=9, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy_axes(axes)
    _name_lines(right, lines, baseline)
    return figure


def _look(line: Line) -> tuple[str, str, str]:
    """Colour, line and SVG mark."""
    method, dashes = LOOKS[line.way]
    return STYLES[method].color, ":" if line.note else dashes, GID + method


def _draw_steps(axes: Axes, line: Line, threshold: float, shift: float) -> None:
    color, dashes, gid = _look(line)
    medians = []
    for count, group in line.points:
        times = group.times(threshold)
        shown = np.minimum(times, group.budget)
        medians.append(float(np.median(shown)))
        faces = np.where(np.isinf(times), "white", color)
        x = np.full(len(times), count + shift)
        axes.scatter(
            x, shown, s=22, facecolors=list(faces), edgecolors=color, linewidths=0.9, zorder=3, gid=gid
        )
    axes.plot(np.array(line.counts) + shift, medians, dashes, color=color, linewidth=1.6, gid=gid)


def _draw_areas(axes: Axes, line: Line, rng: np.random.Generator, shift: float) -> None:
    color, dashes, gid = _look(line)
    found = [estimate(group.areas, interquartile_mean, rng) for _, group in line.points]
    x, middle = np.array(line.counts) + shift, np.array([one.value for one in found])
    ends = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
    axes.errorbar(
        x, middle, np.nan_to_num(ends), fmt=f"o{dashes}", color=color, markersize=4.5, linewidth=1.6,
        elinewidth=1, capsize=2, gid=gid,
    )  # fmt: skip


def _draw_baseline(axes: Axes, group: Group) -> None:
    color = STYLES[group.method].color
    axes.axhline(float(interquartile_mean(group.areas)), color=color, linewidth=1.2, gid=GID + group.method)


def _name_lines(axes: Axes, lines: Sequence[Line], baseline: Group | None) -> None:
    """Names right of the axes, from the top."""
    names = [(line.name, _look(line)[0]) for line in lines]
    if baseline is not None:
        names.append((baseline.label, STYLES[baseline.method].color))
    texts = [textwrap.fill(name, CHARACTERS) for name, _ in names]
    for text, (_, color), height in zip(texts, names, from_the_top(texts), strict=True):
        axes.text(1.04, height, text, transform=axes.transAxes, fontsize=9.3, color=color, va="center")
