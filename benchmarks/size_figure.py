"""The figure of sizes: what a new task takes, against the numbers of the code it is learned from."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from .axes import STYLES
from .groups import Panel
from .protocol import strongest_baseline
from .sizes import sized
from .statistics import interquartile_mean
from .steps_and_areas import Stroke, draw_areas, draw_baseline, draw_steps, two_axes

DASHES = ("-", "--", ":")
"""Of codes before any task, and after some."""


def size_figure(panel: Panel, rng: np.random.Generator) -> Figure | None:
    """Steps to the threshold and area against the size of r; None where sizes are not compared."""
    found = sized(panel)
    if not found or panel.threshold is None:
        return None
    budget = max(one.group.budget for one in found)
    figure, steps, areas = two_axes(panel.title, "numbers of the code", budget)
    for number, sources in enumerate(dict.fromkeys(one.sources for one in found)):
        points = [(float(one.size), one.group) for one in found if one.sources == sources]
        stroke = Stroke("gqn-frozen", DASHES[number % len(DASHES)])
        draw_steps(steps, points, panel.threshold, stroke)
        draw_areas(areas, points, stroke, rng)
        size, group = points[-1]
        end = (size, float(interquartile_mean(group.areas)))
        name = f"after {sources} tasks" if sources else "frozen GQN"
        areas.annotate(name, end, (8, 0), textcoords="offset points", fontsize=9.3, color=stroke.color,
                       va="center", annotation_clip=False)  # fmt: skip
    if (baseline := strongest_baseline(panel)) is not None:
        height, color = draw_baseline(areas, baseline), STYLES[baseline.method].color
        areas.text(1.04, height, baseline.label, transform=areas.get_yaxis_transform(), fontsize=9.3,
                   color=color, va="center")  # fmt: skip
    for axes in (steps, areas):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted({one.size for one in found})))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    return figure
