"""Figures of results: records and statistics -> matplotlib axes. A method looks the same in all of them."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from .across import LEVELS, Together
from .protocol import METHOD_ORDER, Group, Panel, curve_of
from .records import CellRecord, Floats

Quantity = Literal["success", "return"]
QUANTITIES: tuple[Quantity, ...] = ("success", "return")

INK = "#24292f"
SOFT = "#57606a"
FAINT = "#8b949e"
WIDTH, HEIGHT = 4.9, 3.7
"""Inches; at the width of a phone 9 point text is still readable."""
CHARACTERS = 21
"""Of a name, in the room beside the axes."""


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure; colour and marker both tell it apart."""

    color: str
    marker: str


STYLES = {
    "state": Style("#000000", "o"),
    "pixels": Style("#D55E00", "s"),
    "pixels-aug": Style("#E69F00", "D"),
    "pixels-gqn-arch": Style("#8C510A", "^"),
    "random-frozen": Style("#8A8A8A", "X"),
    "ae-frozen": Style("#CC79A7", "v"),
    "supervised-frozen": Style("#6A3D9A", "<"),
    "gqn-frozen": Style("#0072B2", "o"),
    "gqn-finetune": Style("#56B4E9", "s"),
    "gqn-aux": Style("#009E73", "D"),
    "gqn-tier2": Style("#1B4D5C", "^"),
}
"""Okabe and Ito's colour-blind-safe hues, extended: warm is pixels, cool is GQN."""
OTHER = Style("#555555", "P")
LINES = ("-", "--", ":", "-.")
GID = "method "
"""Before a method's name: what marks its parts in an SVG."""


def curve_figure(
    panel: Panel, quantity: Quantity, rng: np.random.Generator, with_frames: bool = False
) -> Figure:
    """Sample-efficiency curves of one panel, with 95 % bands and labels at the right edge.

    with_frames: frames rendered for the eyes count as steps, those of pretraining before the first.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    axes = figure.add_axes((0.115, 0.145, 0.545, 0.70))
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
            (_short(group.label) + _state(group), end, group.method)
            for group, end in zip(panel.groups, ends, strict=True)
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
    names = [_short(one.label) for one in best_first]
    for name, one, height in zip(names, best_first, from_the_top(names), strict=True):
        _name_beside(axes, name, one.method, height)
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


def title_axes(axes: Axes, title: str, note: str) -> None:
    """A title, and in small below it what is drawn."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=25)
    axes.text(0, 1.06, note, transform=axes.transAxes, fontsize=8.8, color=SOFT)


def tidy_axes(axes: Axes) -> None:
    """Thin spines, a faint horizontal grid."""
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, color=FAINT, labelcolor=INK, width=0.6, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=FAINT, linewidth=0.6)


def label_ends(axes: Axes, ends: Sequence[tuple[str, tuple[float, float], str]]) -> None:
    """Labels (text, last point, method) right of the axes at the height of the points, pushed apart."""
    if not ends:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center", color=FAINT)
        return
    bottom, top = axes.get_ylim()
    heights = np.array([(end[1] - bottom) / (top - bottom) for _, end, _ in ends])
    places = spread(heights, label_sizes([text for text, _, _ in ends]))
    for (text, (x, y), method), place in zip(ends, places, strict=True):
        style = STYLES.get(method, OTHER)
        axes.annotate(
            "", (x, y), xytext=(1.09, place), textcoords="axes fraction", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": style.color, "linewidth": 0.6, "alpha": 0.55,
                "shrinkA": 1, "shrinkB": 2,
            },
            gid=GID + method,
        )  # fmt: skip
        _name_beside(axes, text, method, place)


def _name_beside(axes: Axes, text: str, method: str, place: float) -> None:
    """A name with its method's marker, right of the axes at a height of 0 to 1."""
    style, how = STYLES.get(method, OTHER), dict[str, Any](transform=axes.transAxes, gid=GID + method)
    axes.plot(1.05, place, style.marker, color=style.color, markersize=4.5, clip_on=False, **how)
    axes.text(1.09, place, text, fontsize=9.3, color=style.color, va="center", **how)


def label_sizes(names: Sequence[str]) -> Floats:
    """Heights (n,) that names of one or more lines take beside the axes."""
    return np.array([0.018 + 0.062 * (1 + name.count("\n")) for name in names])


def from_the_top(names: Sequence[str]) -> Floats:
    """Heights (n,) of names one below the other beside the axes."""
    sizes = label_sizes(names)
    return 1.0 - np.cumsum(sizes) + sizes / 2


def spread(heights: Floats, sizes: Floats) -> Floats:
    """Heights (n,) of things of `sizes` (n,), moved as little as needed to lie apart, inside [0, 1] where
    they fit."""
    order = np.argsort(heights, kind="stable")
    own = sizes[order]
    ladder = np.concatenate([[0.0], np.cumsum((own[1:] + own[:-1]) / 2)])
    # Isotonic regression of heights minus ladder: the nearest arrangement that keeps the order.
    blocks: list[list[float]] = []
    for value in heights[order] - ladder:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    top = 1.0 - max(0.0, own[-1] - own.min()) / 2  # a taller one stays below the title too
    room = top - ladder[-1]  # below 0 they do not fit, and the lowest stand below the axes
    placed = np.clip(level, min(0.0, room), room) + ladder
    result = np.empty_like(placed)
    result[order] = placed
    return result


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def figure_svg(figure: Figure) -> bytes:
    """The figure as SVG, whose words stay words; the same bytes for the same figure."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "gqn-bench", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def figure_inline(figure: Figure) -> str:
    """The figure as SVG inside a page: parts of a method are `.series` with its name as data-method."""
    text = figure_svg(figure).decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    return re.sub(rf'id="{GID}([^"]+)"', r'class="series" data-method="\1"', text)


def _quantity(quantity: Quantity) -> Callable[[CellRecord], Floats]:
    name = {"success": "score", "return": "episode_return"}[quantity]
    return lambda record: getattr(record, name)


def _state(group: Group) -> str:
    """What to add to the name of a group that has no finished seed."""
    if group.finished:
        return ""
    return " (running)" if group.with_status("running") else " (failed)"


def _short(label: str) -> str:
    """Long labels of variants break before and in their bracket, to stay inside the figure."""
    name, bracket, rest = label.partition(" (")
    if not bracket or len(label) <= 20:
        return label
    return "\n".join([name, *textwrap.wrap(f"({rest}", CHARACTERS)])
