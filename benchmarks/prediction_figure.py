"""The picture of a GQN's predictions: what it was shown, should draw and draws, and how sure it is."""

from __future__ import annotations

import numpy as np

from gqn_transfer.prediction_samples import PredictionSamples

from .axes import SOFT
from .figures import Figure
from .sheets import Sheet

SIZE, GAP, BETWEEN, EDGE = 104, 5, 18, 14
"""1/100 inch: a picture's side, the space between pictures and between groups of them, the margin."""
TITLES, HEADS, SCALE = 52, 38, 26
"""Heights of the title, of the columns' heads and of the colour scale."""
SHOWN_SAMPLES = 2


def prediction_figure(found: PredictionSamples, name: str) -> Figure:
    """One row a scene: contexts, truth, mean prediction and two samples, deviation of all samples, error."""
    samples = min(SHOWN_SAMPLES, len(found.samples))
    given = found.contexts.shape[1]
    groups = {
        "contexts": [f"view {k + 1}" for k in range(given)],
        "query": ["truth"],
        "prediction": [f"mean of {len(found.samples)}", *(f"sample {k + 1}" for k in range(samples))],
        "how sure, how wrong": ["spread", "error"],
    }
    lefts = _lefts([len(columns) for columns in groups.values()])
    rows, right = len(found.truth), lefts[-1][-1] + SIZE
    top = TITLES + HEADS
    sheet = Sheet(right + EDGE, top + rows * (SIZE + GAP) + SCALE, tile=SIZE)
    _write_heads(sheet, groups, lefts, name, given, len(found.samples))
    pictures = [*found.contexts.swapaxes(0, 1), found.truth, found.mean, *found.samples[:samples]]
    flat = [left for group in lefts for left in group]
    maps = [(values, heat_top(values)) for values in (found.deviation, found.error)]
    for row in range(rows):
        height = top + row * (SIZE + GAP)
        for left, column in zip(flat, pictures, strict=False):
            sheet.picture(left, height, column[row])
        for left, (values, most) in zip(lefts[-1], maps, strict=True):
            sheet.heat(left, height, values[row], most)
    for left, (_, most) in zip(lefts[-1], maps, strict=True):
        sheet.heat_scale(left, top + rows * (SIZE + GAP), most)
    return sheet.figure


def heat_top(values: np.ndarray) -> float:
    """The value at the light end of the scale: all but the largest half per cent of the pixels fit."""
    return max(float(np.quantile(values, 0.995)), 0.01)


def _lefts(counts: list[int]) -> list[list[float]]:
    """Left edge of every column, group by group."""
    lefts: list[list[float]] = []
    left = float(EDGE)
    for count in counts:
        lefts.append([left + k * (SIZE + GAP) for k in range(count)])
        left = lefts[-1][-1] + SIZE + BETWEEN
    return lefts


def _write_heads(
    sheet: Sheet, groups: dict[str, list[str]], lefts: list[list[float]], name: str, given: int, samples: int
) -> None:
    """Title, a line over each group, the columns' names."""
    views = "view" if given == 1 else "views"
    notes = (
        f"Held-out scenes; the query seen from {given} other {views}; {samples} samples of the prior.",
        "Spread: standard deviation of the samples. Error: of their mean. Images range from 0 to 1.",
    )
    sheet.text(EDGE, 20, name, fontsize=11)
    for line, note in enumerate(notes):
        sheet.text(EDGE, 35 + 12 * line, note, fontsize=7.5, color=SOFT)
    for (group, columns), places in zip(groups.items(), lefts, strict=True):
        sheet.text(places[0], TITLES + 18, group, fontsize=8.5)
        sheet.rule(places[0], TITLES + 22, places[-1] + SIZE - places[0])
        for column, left in zip(columns, places, strict=True):
            sheet.text(left, TITLES + 33, column, fontsize=7.5, color=SOFT)
