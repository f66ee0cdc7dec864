"""The figure of transfer: what a new task takes, against how many tasks came before it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .axes import CHARACTERS, STYLES, from_the_top
from .groups import Group, Panel
from .protocol import strongest_baseline
from .steps_and_areas import Stroke, draw_areas, draw_baseline, draw_steps, two_axes
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
    budget = max(group.budget for line in lines for _, group in line.points)
    figure, steps, areas = two_axes(panel.title, "tasks learned before", budget)
    for place, line in enumerate(lines):
        shift = BESIDE * (place - (len(lines) - 1) / 2)
        points = [(count + shift, group) for count, group in line.points]
        draw_steps(steps, points, panel.threshold, _stroke(line))
        draw_areas(areas, points, _stroke(line), rng)
    for axes in (steps, areas):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    baseline = strongest_baseline(panel)
    if baseline is not None:
        draw_baseline(areas, baseline)
    _name_lines(areas, lines, baseline)
    return figure


def _stroke(line: Line) -> Stroke:
    method, dashes = LOOKS[line.way]
    return Stroke(method, ":" if line.note else dashes)


def _name_lines(axes: Axes, lines: Sequence[Line], baseline: Group | None) -> None:
    """Names right of the axes, from the top."""
    names = [(line.name, _stroke(line).color) for line in lines]
    if baseline is not None:
        names.append((baseline.label, STYLES[baseline.method].color))
    texts = [textwrap.fill(name, CHARACTERS) for name, _ in names]
    for text, (_, color), height in zip(texts, names, from_the_top(texts), strict=True):
        axes.text(1.04, height, text, transform=axes.transAxes, fontsize=9.3, color=color, va="center")
