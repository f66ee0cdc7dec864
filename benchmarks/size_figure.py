"""The figure of sizes: what a new task takes, against the numbers of the code it is learned from."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, ScalarFormatter

from .axes import GID, INK, SOFT, STYLES, tidy_axes, title_axes
from .figures import HEIGHT, WIDTH
from .groups import Panel
from .protocol import strongest_baseline
from .sizes import Sized, sized
from .statistics import estimate, interquartile_mean

STYLE = STYLES["gqn-frozen"]
DASHES = ("-", "--", ":")
"""Of codes before any task, and after some."""


def size_figure(panel: Panel, rng: np.random.Generator) -> Figure | None:
    """Steps to the threshold and area against the size of r; None where sizes are not compared."""
    found = sized(panel)
    if not found or panel.threshold is None:
        return None
    figure = Figure(figsize=(2 * WIDTH, HEIGHT), facecolor="white")
    left, right = (figure.add_axes((x, 0.145, 0.345, 0.70)) for x in (0.065, 0.465))
    for number, sources in enumerate(dict.fromkeys(one.sources for one in found)):
        line = [one for one in found if one.sources == sources]
        dashes = DASHES[number % len(DASHES)]
        _draw_steps(left, line, panel.threshold, dashes)
        _draw_areas(right, line, rng, dashes)
        end = line[-1]
        name = f"after {sources} tasks" if sources else "frozen GQN"
        height = float(interquartile_mean(end.group.areas))
        right.annotate(name, (end.size, height), (8, 0), textcoords="offset points", fontsize=9.3,
                       color=STYLE.color, va="center", annotation_clip=False)  # fmt: skip
    budget = max(one.group.budget for one in found)
    left.set_ylim(0, 1.12 * budget)
    left.axhline(budget, color=SOFT, linewidth=0.8, linestyle=":")
    left.yaxis.set_major_formatter(EngFormatter(sep=""))
    right.set_ylim(0, 1)
    if (baseline := strongest_baseline(panel)) is not None:
        color = STYLES[baseline.method].color
        height = float(interquartile_mean(baseline.areas))
        right.axhline(height, color=color, linewidth=1.2, gid=GID + baseline.method)
        right.text(1.04, height, baseline.label, transform=right.get_yaxis_transform(), fontsize=9.3,
                   color=color, va="center")  # fmt: skip
    title_axes(left, panel.title, "Steps to the threshold; hollow: not reached")
    title_axes(right, "", "Area under success, interquartile mean, 95 %")
    sizes = sorted({one.size for one in found})
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("numbers of the code", fontsize=9, color=INK)
        tidy_axes(axes)
    return figure


def _draw_steps(axes: Axes, line: list[Sized], threshold: float, dashes: str) -> None:
    medians = []
    for one in line:
        times = one.group.times(threshold)
        shown = np.minimum(times, one.group.budget)
        medians.append(float(np.median(shown)))
        faces = np.where(np.isinf(times), "white", STYLE.color)
        axes.scatter(np.full(len(times), one.size), shown, s=22, facecolors=list(faces),
                     edgecolors=STYLE.color, linewidths=0.9, zorder=3, gid=GID + "gqn-frozen")  # fmt: skip
    sizes = [one.size for one in line]
    axes.plot(sizes, medians, dashes, color=STYLE.color, linewidth=1.6, gid=GID + "gqn-frozen")


def _draw_areas(axes: Axes, line: list[Sized], rng: np.random.Generator, dashes: str) -> None:
    found = [estimate(one.group.areas, interquartile_mean, rng) for one in line]
    middle = np.array([one.value for one in found])
    ends = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
    axes.errorbar(
        [one.size for one in line], middle, np.nan_to_num(ends), fmt=f"o{dashes}", color=STYLE.color,
        markersize=4.5, linewidth=1.6, elinewidth=1, capsize=2, gid=GID + "gqn-frozen",
    )  # fmt: skip
