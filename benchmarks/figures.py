"""Figures of results: records and statistics -> matplotlib axes. A method looks the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from .across import LEVELS, Together
from .axes import (
    AXES_HEIGHT,
    GID,
    INK,
    OTHER,
    STYLES,
    from_the_top,
    label_ends,
    label_sizes,
    name_beside,
    shortened,
    tidy_axes,
    title_axes,
)
from .groups import METHOD_ORDER, Group, Panel
from .protocol import curve_of
from .records import CellRecord
from .statistics import Floats

Quantity = Literal["success", "return"]
QUANTITIES: tuple[Quantity, ...] = ("success", "return")

WIDTH, HEIGHT = 4.9, 3.7
"""Inches; at the width of a phone 9 point text is still readable."""

LINES = ("-", "--", ":", "-.")
"""Of groups of one method that differ in other settings."""


def curve_figure(
    panel: Panel, quantity: Quantity, rng: np.random.Generator, with_frames: bool = False
) -> Figure:
    """Sample-efficiency curves of one panel, with 95 % bands and labels at the right edge.

    with_frames: frames rendered for the eyes count as steps, those of pretraining before the first.
    """
    names = [shortened(group.label) + _state(group) for group in panel.groups]
    height = AXES_HEIGHT * max(1.0, float(label_sizes(names).sum()))  # taller where names need the room
    total = height + HEIGHT - AXES_HEIGHT
    figure = Figure(figsize=(WIDTH, total), facecolor="white")
    axes = figure.add_axes((0.115, 0.145 * HEIGHT / total, 0.545, height / total))
    ends = [draw_group(axes, group, quantity, rng, with_frames) for group in panel.groups]
    if quantity == "success":
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if panel.threshold is not None:
            axes.axhline(panel.threshold, color=INK, linewidth=0.9, linestyle=(0, (5, 4)), zorder=1)
    finish_axes(axes, panel, quantity, with_frames)
    label_ends(
        axes,
        [
            (name, end, group.method)
            for name, group, end in zip(names, panel.groups, ends, strict=True)
            if end
        ],
    )
    return figure


def draw_group(
    axes: Axes, group: Group, quantity: Quantity, rng: np.random.Generator, with_frames: bool = False
) -> tuple[float, float] | None:
    """One group's curve and band; returns its last point, None where it has none."""
    steps, (middle, low, high) = curve_of(group, _quantity(quantity), rng)
    if not steps.size:
        return None
    steps = steps + group.extra_frames * with_frames
    style = STYLES.get(group.method, OTHER)
    line = LINES[group.variant % len(LINES)]
    axes.fill_between(
        steps, low, high, color=style.color, alpha=0.13, linewidth=0, gid=GID + group.method
    )  # fmt: skip
    axes.plot(
        steps, middle, line, color=style.color, linewidth=1.6, marker=style.marker,
        markersize=4.5, markeredgecolor="white", markeredgewidth=0.5,
        markevery=(0, max(1, len(steps) // 7)), gid=GID + group.method,
    )  # fmt: skip
    shown = np.flatnonzero(np.isfinite(middle))
    return (float(steps[shown[-1]]), float(middle[shown[-1]])) if shown.size else None


def settings_figure(panel: Panel, rng: np.random.Generator) -> Figure | None:
    """A box for each method that was run with several settings: every one a line, the best one thick.

    As in figure 5 of Eslami et al. 2018: a method is as good as its settings allow. None where no method has
    several.
    """
    settings = {method: _with_other_settings(panel, method) for method in METHOD_ORDER}
    several = {method: each for method, each in settings.items() if len(each) > 1}
    if not several:
        return None
    columns = min(3, len(several))
    rows = -(-len(several) // columns)
    figure = Figure(
        figsize=(WIDTH * columns * 0.6, 0.4 + 2.1 * rows), facecolor="white", layout="constrained"
    )
    boxes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (method, groups) in zip(boxes, several.items(), strict=False):
        _draw_settings(axes, panel, method, groups, rng)
    for axes in boxes[len(several) :]:
        axes.set_visible(False)
    figure.supxlabel("environment steps", fontsize=9, color=INK)
    return figure


def _with_other_settings(panel: Panel, method: str) -> list[Group]:
    """Its groups, but for those from source stages: these have figures of their own."""
    groups = [one for one in panel.groups if one.method == method]
    return [] if any("{seed}" in one.cell.encoder for one in groups) else groups


def _draw_settings(
    axes: Axes, panel: Panel, method: str, groups: Sequence[Group], rng: np.random.Generator
) -> None:
    color = STYLES.get(method, OTHER).color
    best = panel.best_of(group for group in groups if group.finished)
    for group in groups:
        steps, curve = curve_of(group, _quantity("success"), rng)
        if steps.size:
            thick: dict[str, Any] = {"linewidth": 2.0} if group is best else {"linewidth": 0.8, "alpha": 0.55}
            axes.plot(steps, curve[0], color=color, gid=GID + method, **thick)
    axes.set_title(f"{method}, {len(groups)} settings", loc="left", fontsize=9.3, color=color)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    tidy_axes(axes)


def profile_figure(found: Together) -> Figure:
    """Performance profiles: which share of runs reaches which share of the oracle's score."""
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    axes = figure.add_axes((0.115, 0.145, 0.545, 0.70))
    for one in found.standings:
        style, (middle, low, high), gid = STYLES.get(one.method, OTHER), one.profile, GID + one.method
        axes.fill_between(LEVELS, low, high, color=style.color, alpha=0.13, linewidth=0, step="post", gid=gid)
        axes.step(LEVELS, middle, where="post", color=style.color, linewidth=1.6, gid=gid)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    title_axes(
        axes,
        f"{_tasks(found)}, {found.place}, {found.algo.upper()}",
        "Share of runs above a score, 95 % band",
    )
    axes.set_xlabel("final score, of the state oracle's", fontsize=9, color=INK)
    tidy_axes(axes)
    best_first = sorted(found.standings, key=lambda one: -one.mean.value)
    names = [shortened(one.label) for one in best_first]
    for name, one, height in zip(names, best_first, from_the_top(names), strict=True):
        name_beside(axes, name, one.method, height)
    return figure


def _tasks(found: Together) -> str:
    return found.tasks[0] if len(found.tasks) == 1 else f"{len(found.tasks)} tasks"


def finish_axes(axes: Axes, panel: Panel, quantity: Quantity, with_frames: bool = False) -> None:
    """Title and the axis of environment steps."""
    name = {"success": "Success", "return": "Dense return"}[quantity]
    dashed = quantity == "success" and panel.threshold is not None
    note = f"; dashed: threshold {100 * (panel.threshold or 0):.0f} %" if dashed else ""
    title_axes(axes, f"{panel.title}, {panel.algo.upper()}", f"{name}, interquartile mean, 95 % band{note}")
    what = "environment steps and frames rendered for the eyes" if with_frames else "environment steps"
    axes.set_xlabel(what, fontsize=9, color=INK)
    axes.margins(x=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    tidy_axes(axes)


def _quantity(quantity: Quantity) -> Callable[[CellRecord], Floats]:
    name = {"success": "score", "return": "episode_return"}[quantity]
    return lambda record: getattr(record, name)


def _state(group: Group) -> str:
    """What to add to the name of a group that has no finished seed."""
    if group.finished:
        return ""
    return " (running)" if group.with_status("running") else " (failed)"
