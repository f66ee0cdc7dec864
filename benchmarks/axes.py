"""How every figure looks: colours and lines of methods, axes, and names beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .statistics import Floats

INK = "#24292f"
SOFT = "#57606a"
FAINT = "#8b949e"
CHARACTERS = 21
"""Of a name, in the room beside the axes."""
AXES_HEIGHT = 2.59
"""Inches."""


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
GID = "method "
"""Before a method's name: what marks its parts in an SVG."""


def title_axes(axes: Axes, title: str, note: str) -> None:
    """A title, and in small below it what is drawn."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=25)
    axes.annotate(
        note, (0, 1), (0, 11), xycoords="axes fraction", textcoords="offset points", fontsize=8.8, color=SOFT
    )


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
    inches = axes.get_position().height * axes.get_figure().get_figheight()  # type: ignore[union-attr]
    places = spread(heights, label_sizes([text for text, _, _ in ends]) * AXES_HEIGHT / inches)
    for (text, (x, y), method), place in zip(ends, places, strict=True):
        style = STYLES.get(method, OTHER)
        axes.annotate(
            "", (x, y), xytext=(1.05, place), textcoords="axes fraction", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": style.color, "linewidth": 0.6, "alpha": 0.55,
                "linestyle": (0, (1, 3)),  # a plain line looks like more of the curve
                "shrinkA": 4, "shrinkB": 2,
            },
            gid=GID + method,
        )  # fmt: skip
        name_beside(axes, text, method, place)


def name_beside(axes: Axes, text: str, method: str, place: float) -> None:
    """A name with its method's marker, right of the axes at a height of 0 to 1."""
    style, how = STYLES.get(method, OTHER), dict[str, Any](transform=axes.transAxes, gid=GID + method)
    axes.plot(1.05, place, style.marker, color=style.color, markersize=4.5, clip_on=False, **how)
    axes.text(1.09, place, text, fontsize=9.3, color=style.color, va="center", **how)


def label_sizes(names: Sequence[str]) -> Floats:
    """Heights (n,) that names of one or more lines take beside axes of `AXES_HEIGHT`."""
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


def shortened(label: str) -> str:
    """Long labels of variants break before and in their bracket, to stay inside the figure."""
    name, bracket, rest = label.partition(" (")
    if not bracket or len(label) <= 20:
        return label
    return "\n".join([name, *textwrap.wrap(f"({rest}", CHARACTERS)])
