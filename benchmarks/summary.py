"""Analyses of panels, and the rows of text that the page, the terminal and the CSV share."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass

import numpy as np

from .contrasts import contrasts_of
from .groups import Group, Panel
from .headlines import panel_headline
from .protocol import BASELINES, Comparison, compare, headliner, strongest_baseline
from .statistics import Estimate, Floats, estimate, interquartile_mean
from .texts import Row, number_text, ratio_text, steps_text
from .transfer import headline_pair, lines_of, starts_of


@dataclass(frozen=True)
class Summary:
    """The numbers of one group: mean final score, interquartile mean area, T of each seed (S,)."""

    final: Estimate
    area: Estimate
    times: Floats
    median_time: float


@dataclass(frozen=True)
class Analysis:
    """One panel with all its numbers."""

    panel: Panel
    headline: str
    main: Comparison | None
    """The comparison of the headline; None where something that it needs is missing."""
    comparisons: dict[tuple[str, str], Comparison]
    """By the labels of method and baseline."""
    contrasts: list[tuple[str, Comparison | None]]
    """In suites of transfer, what the pairs that decide a hypothesis ask and what they say, None if not
    finished. The first one makes the headline."""
    rows: list[Row]
    """One per group, in the panel's order."""


def summarise(panel: Panel, group: Group, rng: np.random.Generator) -> Summary:
    """The row of the results table; every number is nan where no seed is finished."""
    times = group.times(panel.threshold)
    return Summary(
        final=estimate(group.final_scores, np.mean, rng),
        area=estimate(group.areas, interquartile_mean, rng),
        times=times,
        median_time=float(np.median(times)) if len(times) else math.nan,
    )


def analyse(panel: Panel, rng: np.random.Generator) -> Analysis:
    """Summaries, comparisons with every baseline, and the headline of one panel.

    Each draws from a stream of its own: no interval depends on what else is in the folder.
    """
    root = int(rng.integers(2**32))

    def stream(*names: str) -> np.random.Generator:
        return np.random.default_rng([root, zlib.crc32("/".join((panel.slug, *names)).encode())])

    found: dict[tuple[str, str], Comparison] = {}
    lines = lines_of(panel)
    baselines = [*panel.groups_of(BASELINES), *starts_of(lines)]
    for method in [group for group in panel.groups if group.finished]:
        for baseline in baselines:
            labels = method.label, baseline.label
            if method is not baseline and (result := compare(panel, method, baseline, stream(*labels))):
                found[labels] = result
    contrasts = contrasts_of(panel, stream("contrasts"))
    first, against = headline_pair(lines) or (headliner(panel), strongest_baseline(panel))
    main = found.get((first.label, against.label)) if first and against else None
    if contrasts:
        main = contrasts[0][1]
    rows = [_row(panel, group, summarise(panel, group, stream(group.label)), found) for group in panel.groups]
    return Analysis(panel, panel_headline(panel, main), main, found, contrasts, rows)


def _row(panel: Panel, group: Group, summary: Summary, found: dict[tuple[str, str], Comparison]) -> Row:
    """All texts of one group; "" is a number that does not exist (yet)."""
    cell, frames = group.cell, group.extra_frames
    return {
        "label": group.label,
        "method": cell.method,
        "task": cell.task,
        "camera": cell.camera,
        "algo": cell.algo,
        "seeds": _seeds(group, "done"),
        "failed_seeds": _seeds(group, "failed"),
        "finished": f"{len(group.finished)} of {len(group.records)}",
        "budget": steps_text(group.budget),
        "threshold": number_text(panel.threshold),
        **_columns("final_score", summary.final),
        "steps_to_threshold": ";".join(steps_text(time) for time in summary.times),
        "steps_to_threshold_median": steps_text(summary.median_time),
        **_columns("area", summary.area),
        "extra_frames": str(frames),
        "median_with_frames": steps_text(summary.median_time + frames),
        "env_steps_per_second": number_text(group.mean_of("env_steps_per_second"), 0),
        "wall_seconds": number_text(group.mean_of("wall_seconds"), 0),
        **{f"ratio_vs_{name}": _ratios(group, name, found) for name in BASELINES},
        **_origin(group),
    }


def _origin(group: Group) -> Row:
    """What made the numbers."""
    done = [record.done or {} for record in group.finished]
    prints = {str(one["encoder_fingerprint"]) for one in done if one.get("encoder_fingerprint")}
    config = group.records[0].config
    return {
        "encoder": group.cell.encoder,
        "encoder_fingerprint": ";".join(sorted(prints)),
        "command": str(config.get("command", "")),
        "versions": json.dumps(config.get("versions", {}), sort_keys=True),
    }


def _ratios(group: Group, baseline: str, found: dict[tuple[str, str], Comparison]) -> str:
    pairs = [one for (label, _), one in found.items() if label == group.label]
    return "; ".join(ratio_text(one.ratio) for one in pairs if one.baseline.method == baseline)


def _seeds(group: Group, status: str) -> str:
    return ";".join(str(record.cell.seed) for record in group.with_status(status))


def _columns(name: str, found: Estimate) -> Row:
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: number_text(value) for key, value in ends.items()}
