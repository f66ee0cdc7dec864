"""The table of transfer: what a new task takes after source tasks, against what it took before any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .artefacts import START, lineage
from .encoder_records import EncoderRecord, mean_of
from .gains import gains_sentence, growth_sentence
from .groups import Group, Panel
from .headlines import area_text
from .protocol import compare, paired_times
from .statistics import estimate, interquartile_mean, ratio
from .texts import Row, estimate_text, number_text, ratio_text, steps_text
from .transfer import Line, growth_of, lines_of, starts_of

Known = Mapping[str, EncoderRecord]
CONTEXTS = 3
"""Views that pictures are drawn from, in the table of an encoder's pictures."""
TESTED = 3
"""Numbers of tasks from which on a line's growth is spoken of."""


@dataclass(frozen=True)
class TransferSummary:
    """What one panel says of transfer."""

    rows: list[Row]
    """One for each line and number of source tasks."""
    growth: list[str]
    """Sentences on how the gain grows with their number."""


def summarise_transfer(
    panel: Panel, encoders: Sequence[EncoderRecord], rng: np.random.Generator
) -> TransferSummary | None:
    """Table and sentences of a panel; None without source stages. encoders: those that the suite made."""
    lines, known = lines_of(panel), {encoder.name: encoder for encoder in encoders}
    if not lines:
        return None
    rows = [_start_row(panel, start, known, rng) for start in starts_of(lines)]
    rows += [row for line in lines for row in _rows(panel, line, known, rng)]
    growth = [_growth(line, rng) for line in lines if len(line.points) >= TESTED]
    return TransferSummary(rows, growth)


def _growth(line: Line, rng: np.random.Generator) -> str:
    fits = growth_of(line, rng)
    said = gains_sentence(fits) + (f" {growth_sentence(fits)}" if fits else "")
    what = "area against the number of source tasks (more tasks also mean more source steps)"
    return f"{line.name}, {what}: {said}"


def _start_row(panel: Panel, start: Group, known: Known, rng: np.random.Generator) -> Row:
    """Before any source task."""
    name = lineage(start.records[0].cell.encoder_name)[0]
    return {
        "way": start.label,
        "sources": "none",
        "source_steps": "0",
        **_worth(panel, start, rng),
        **_against(panel, start, None, 0, rng),
        **_drawn([known[START + name]] if START + name in known else []),
    }


def _rows(panel: Panel, line: Line, known: Known, rng: np.random.Generator) -> Iterator[Row]:
    for stage, group in zip(line.stages, line.groups, strict=True):
        before = stage.steps * len(stage.tasks)
        names = (record.cell.encoder_name for record in group.finished)
        yield {
            "way": line.name,
            "sources": ", ".join(task.split("-")[0] for task in stage.tasks) if stage.steps else "none",
            "source_steps": str(before),
            **_worth(panel, group, rng),
            **_against(panel, group, line.start, before, rng),
            **_drawn([known[name] for name in names if name in known]),
        }


def _worth(panel: Panel, group: Group, rng: np.random.Generator) -> Row:
    return {
        "steps_to_threshold_median": steps_text(float(np.median(group.times(panel.threshold)))),
        "area": estimate_text(estimate(group.areas, interquartile_mean, rng)),
    }


def _drawn(encoders: Sequence[EncoderRecord]) -> Row:
    """How well they draw held-out scenes from three views, means over seeds: what tasks cost the picture."""
    psnr, nats = (
        [encoder.drawn(figure, CONTEXTS) for encoder in encoders]
        for figure in ("prior_sample_psnr", "elbo_above_floor")
    )
    return {"psnr": number_text(mean_of(psnr), 2), "nats_above_floor": number_text(mean_of(nats), 1)}


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
