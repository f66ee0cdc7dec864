"""Sheets of pictures with words beside them, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .axes import FAINT, INK, SOFT

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
