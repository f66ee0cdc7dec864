"""Figures: records and statistics -> matplotlib axes. The only module that imports matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from .protocol import Group, Panel, curve_of
from .records import CellRecord, Floats

Quantity = Literal["success", "return"]
QUANTITIES: tuple[Quantity, ...] = ("success", "return")

INK = "#24292f"
SOFT = "#57606a"
FAINT = "#8b949e"
WIDTH, HEIGHT = 4.9, 3.7
"""Inches; at the width of a phone 9 point text is still readable."""


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


def curve_figure(panel: Panel, quantity: Quantity, rng: np.random.Generator) -> Figure:
    """Sample-efficiency curves of one panel, with 95 % bands and labels at the right edge."""
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    axes = figure.add_axes((0.115, 0.145, 0.545, 0.70))
    ends = [draw_group(axes, group, quantity, rng) for group in panel.groups]
    if quantity == "success":
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if panel.threshold is not None:
            axes.axhline(panel.threshold, color=INK, linewidth=0.9, linestyle=(0, (5, 4)), zorder=1)
    finish_axes(axes, panel, quantity)
    label_ends(axes, [(group, end) for group, end in zip(panel.groups, ends, strict=True) if end])
    return figure


def draw_group(
    axes: Axes, group: Group, quantity: Quantity, rng: np.random.Generator
) -> tuple[float, float] | None:
    """One group's curve and band; returns its last point, None where it has none."""
    steps, (middle, low, high) = curve_of(group, _quantity(quantity), rng)
    if not steps.size:
        return None
    style = STYLES.get(group.method, OTHER)
    line = LINES[group.variant % len(LINES)]
    axes.fill_between(steps, low, high, color=style.color, alpha=0.13, linewidth=0)
    axes.plot(
        steps, middle, line, color=style.color, linewidth=1.6, marker=style.marker,
        markersize=4.5, markeredgecolor="white", markeredgewidth=0.5,
        markevery=(0, max(1, len(steps) // 7)),
    )  # fmt: skip
    shown = np.flatnonzero(np.isfinite(middle))
    return (float(steps[shown[-1]]), float(middle[shown[-1]])) if shown.size else None


def finish_axes(axes: Axes, panel: Panel, quantity: Quantity) -> None:
    """Title, axis names, thin spines, faint horizontal grid."""
    name = {"success": "Success", "return": "Dense return"}[quantity]
    dashed = quantity == "success" and panel.threshold is not None
    note = f"; dashed: threshold {100 * (panel.threshold or 0):.0f} %" if dashed else ""
    axes.set_title(f"{panel.title}, {panel.algo.upper()}", loc="left", fontsize=11, color=INK, pad=25)
    axes.text(
        0, 1.06, f"{name}, interquartile mean, 95 % band{note}",
        transform=axes.transAxes, fontsize=8.8, color=SOFT,
    )  # fmt: skip
    axes.set_xlabel("environment steps", fontsize=9, color=INK)
    axes.margins(x=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, color=FAINT, labelcolor=INK, width=0.6, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=FAINT, linewidth=0.6)


def label_ends(axes: Axes, ends: list[tuple[Group, tuple[float, float]]]) -> None:
    """Names right of the axes at the height of the last points, pushed apart where they touch."""
    if not ends:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center", color=FAINT)
        return
    bottom, top = axes.get_ylim()
    heights = np.array([(end[1] - bottom) / (top - bottom) for _, end in ends])
    for (group, (x, y)), place in zip(ends, spread(heights, 0.08), strict=True):
        style = STYLES.get(group.method, OTHER)
        note = "" if group.finished else " (running)"
        axes.annotate(
            _short(group.label) + note, (x, y), xytext=(1.09, place), textcoords="axes fraction",
            fontsize=9.3, color=style.color, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": style.color, "linewidth": 0.6, "alpha": 0.55,
                "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5),
            },
        )  # fmt: skip
        axes.plot(
            1.05, place, style.marker, color=style.color, markersize=4.5,
            transform=axes.transAxes, clip_on=False,
        )  # fmt: skip


def spread(heights: Floats, gap: float) -> Floats:
    """Heights (n,) moved as little as needed to lie `gap` apart, inside [0, 1] where they fit."""
    order = np.argsort(heights, kind="stable")
    ladder = np.arange(len(heights)) * gap
    # Isotonic regression of heights minus ladder: the nearest arrangement that keeps the order.
    blocks: list[list[float]] = []
    for value in heights[order] - ladder:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    placed = np.clip(level, 0.0, max(0.0, 1.0 - ladder[-1])) + ladder
    result = np.empty_like(placed)
    result[order] = placed
    return result


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _quantity(quantity: Quantity) -> Callable[[CellRecord], Floats]:
    name = {"success": "score", "return": "episode_return"}[quantity]
    return lambda record: getattr(record, name)


def _short(label: str) -> str:
    """Long labels of variants break before their bracket, to stay inside the figure."""
    return label.replace(" (", "\n(", 1) if len(label) > 20 else label


GAP, TILE = 8, 256
"""Of sheets of pictures, whose unit is 1/100 inch: the space between pictures, and their size."""
HEAT = "magma"
"""Colours of maps of errors and deviations."""


def task_figure(
    title: str, note: str, columns: Sequence[str], rows: Mapping[str, Sequence[np.ndarray]]
) -> Figure:
    """Pictures in named rows and columns; a row's name stands at its left, read upwards."""
    left, top, pitch = 52, 84, TILE + GAP
    sheet = Sheet(left + len(columns) * pitch, top + len(rows) * pitch)
    sheet.text(left, 30, title, fontsize=14)
    sheet.text(left, 50, note, fontsize=9.5, color=SOFT)
    for column, name in enumerate(columns):
        sheet.text(left + column * pitch, top - 9, name, fontsize=8.5)
    for row, (name, pictures) in enumerate(rows.items()):
        middle = top + row * pitch + TILE / 2
        sheet.text(left - 9, middle, name, fontsize=8.5, rotation=90, ha="right", va="center", ma="center")
        for column, picture in enumerate(pictures):
            sheet.picture(left + column * pitch, top + row * pitch, picture)
    return sheet.figure


def overview_figure(entries: Sequence[tuple[str, str, np.ndarray, np.ndarray]]) -> Figure:
    """Two tasks a row: name, what is to be done, a picture for people and an agent's view."""
    width, height, top, between = 2 * TILE + GAP, TILE + 60, 28, 30
    columns, rows = min(2, len(entries)), -(-len(entries) // 2)
    sheet = Sheet(2 * GAP + columns * width + (columns - 1) * between, top + rows * height + GAP)
    sheet.text(
        GAP, 20, "Left: for people. Right: as an agent sees it, 64×64 pixels.", fontsize=8.5, color=SOFT
    )
    for index, (title, note, *pictures) in enumerate(entries):
        left, upper = GAP + (width + between) * (index % 2), top + height * (index // 2)
        sheet.text(left, upper + 26, title, fontsize=11.5)
        sheet.text(left, upper + 44, note, fontsize=8.5, color=SOFT)
        for place, picture in enumerate(pictures):
            sheet.picture(left + place * (TILE + GAP), upper + 53, picture)
    return sheet.figure


class Sheet:
    """A white page of pictures and text, measured in 1/100 inch from its top left corner."""

    def __init__(self, width: float, height: float, tile: float = TILE) -> None:
        self.width, self.height, self.tile = width, height, tile
        self.figure = Figure(figsize=(width / 100, height / 100), facecolor="white")

    def text(self, left: float, baseline: float, words: str, color: str = INK, **how: Any) -> None:
        """Words that begin at `left` and stand on `baseline`."""
        self.figure.text(left / self.width, 1 - baseline / self.height, words, color=color, **how)

    def picture(self, left: float, top: float, picture: np.ndarray, **how: Any) -> None:
        """A square picture of `tile`; a small one keeps its pixels."""
        axes = self._axes(left, top, self.tile, self.tile)
        axes.imshow(picture, interpolation="nearest" if len(picture) < TILE else "lanczos", **how)
        axes.set_axis_off()

    def heat(self, left: float, top: float, values: np.ndarray, most: float) -> None:
        """A square map (H, W) of values from 0, dark, to `most`, light."""
        self.picture(left, top, values, cmap=HEAT, vmin=0, vmax=most)

    def rule(self, left: float, top: float, width: float) -> None:
        """A thin horizontal line."""
        self._axes(left, top, width, 0.8).set_facecolor(FAINT)

    def heat_scale(self, left: float, top: float, most: float) -> None:
        """The bar, as wide as a picture, that says what the colours of `heat` mean."""
        axes = self._axes(left, top, self.tile, 7)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, aspect="auto")
        for end, words in (("left", "0"), ("right", f"≥ {most:.2f}")):
            self.text(left + self.tile * (end == "right"), top + 17, words, SOFT, fontsize=7, ha=end)

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        place = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(place, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes
