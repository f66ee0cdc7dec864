"""The figure of transfer: what a new task takes, against how many tasks came before it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .axes import CHARACTERS, from_the_top
from .groups import Group, Panel
from .protocol import strongest_baseline
from .steps_and_areas import Dashes, Stroke, draw_areas, draw_baseline, draw_steps, two_axes
from .transfer import Line, lines_of

LOOKS = {
    "taught": ("gqn-frozen", "-"),
    "blind": ("gqn-finetune", "--"),
    "untaught": ("gqn-aux", "-."),
    "in turn": ("supervised-frozen", "--"),
    "tier": ("gqn-tier2", "-"),
}
"""Way -> method whose colour it has, and its line."""
NOTED: tuple[Dashes, ...] = (":", (0, (5, 1, 1, 1)), (0, (1, 3)), (0, (2, 1)))
"""Lines of a way's others."""
PIECE = 4
"""Characters that the piece of its line takes from a name."""
BESIDE = 0.06
"""Source tasks by which ways stand apart, so that none hides another."""


def transfer_figure(panel: Panel, rng: np.random.Generator) -> Figure | None:
    """Steps to the threshold and area of a new task against source tasks; None where there are none."""
    lines = lines_of(panel)
    if not lines or panel.threshold is None:
        return None
    budget = max(group.budget for line in lines for _, group in line.points)
    figure, steps, areas = two_axes(panel.title, "tasks learned before", budget)
    strokes = _strokes(lines)
    for place, (line, stroke) in enumerate(zip(lines, strokes, strict=True)):
        shift = BESIDE * (place - (len(lines) - 1) / 2)
        points = [(count + shift, group) for count, group in line.points]
        draw_steps(steps, points, panel.threshold, stroke)
        draw_areas(areas, points, stroke, rng)
    for axes in (steps, areas):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    baseline = strongest_baseline(panel)
    if baseline is not None:
        draw_baseline(areas, baseline)
    _name_lines(areas, lines, strokes, baseline)
    return figure


def _strokes(lines: Sequence[Line]) -> list[Stroke]:
    """No two alike."""
    noted, strokes = Counter[str](), []
    for line in lines:
        method, plain = LOOKS[line.way]
        dashes = NOTED[noted[line.way] % len(NOTED)] if line.note else plain
        noted[line.way] += bool(line.note)
        strokes.append(Stroke(method, dashes))
    return strokes


def _name_lines(axes: Axes, lines: Sequence[Line], strokes: Sequence[Stroke], baseline: Group | None) -> None:
    """Names right of the axes, from the top, each beside a piece of its line."""
    named = [(line.name, stroke) for line, stroke in zip(lines, strokes, strict=True)]
    if baseline is not None:
        named.append((baseline.label, Stroke(baseline.method, "-")))
    texts = [textwrap.fill(name, CHARACTERS - PIECE) for name, _ in named]
    for text, (_, stroke), height in zip(texts, named, from_the_top(texts), strict=True):
        how: dict[str, Any] = {"transform": axes.transAxes, "color": stroke.color}
        ends = (1.03, 1.11), (height, height)
        axes.plot(*ends, linestyle=stroke.dashes, linewidth=1.6, clip_on=False, **how)
        axes.text(1.13, height, text, fontsize=9.3, va="center", **how)
