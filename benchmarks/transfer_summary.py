"""The table of transfer: what a new task takes after source tasks, against what it took before any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .gains import gains_sentence
from .groups import Group, Panel
from .headlines import area_text
from .protocol import compare, paired_times
from .statistics import estimate, interquartile_mean, ratio
from .texts import Row, estimate_text, ratio_text, steps_text
from .transfer import Line, growth_of, lines_of

TESTED = 3
"""Numbers of tasks from which on a line's growth is spoken of."""


@dataclass(frozen=True)
class TransferSummary:
    """What one panel says of transfer."""

    rows: list[Row]
    """One for each line and number of source tasks."""
    growth: list[str]
    """Sentences on how the gain grows with their number."""


def summarise_transfer(panel: Panel, rng: np.random.Generator) -> TransferSummary | None:
    """Table and sentences of a panel; None without source stages."""
    lines = lines_of(panel)
    if not lines:
        return None
    rows = [row for line in lines for row in _rows(panel, line, rng)]
    growth = [
        f"{line.name}, area against source tasks, which are more source steps too: "
        f"{gains_sentence(growth_of(line, rng))}"
        for line in lines
        if len(line.points) >= TESTED
    ]
    return TransferSummary(rows, growth)


def _rows(panel: Panel, line: Line, rng: np.random.Generator) -> Iterator[Row]:
    for stage, group in zip(line.stages, line.groups, strict=True):
        before = stage.steps * len(stage.tasks)
        times = group.times(panel.threshold)
        yield {
            "way": line.name,
            "sources": ", ".join(task.split("-")[0] for task in stage.tasks),
            "source_steps": str(before),
            "steps_to_threshold_median": steps_text(float(np.median(times))),
            "area": estimate_text(estimate(group.areas, interquartile_mean, rng)),
            **_against(panel, group, line.start, before, rng),
        }


def _against(panel: Panel, group: Group, start: Group | None, before: int, rng: np.random.Generator) -> Row:
    """How many times fewer steps than from the start; the same with the sources' steps counted."""
    found = compare(panel, group, start, rng) if start else None
    if start is None or found is None:
        return {"ratio_vs_start": "", "ratio_with_source_steps": "", "area_vs_start": ""}
    theirs, ours = paired_times(panel, start, group)
    counted = ratio(theirs, ours + before, (start.budget, group.budget + before), rng)
    return {
        "ratio_vs_start": ratio_text(found.ratio),
        "ratio_with_source_steps": ratio_text(counted),
        "area_vs_start": area_text(found.area),
    }
