"""What keeps a suite from being whole: cells missing, failed, or short of the threshold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .cells import Cell
from .groups import Group, Panel, panels_of
from .records import CellRecord
from .summary import Analysis, Row

MIXTURES = (
    ("several precisions", "machine", "bf16"),
    ("code of several versions", "versions", "sources"),
)
"""What cells of one panel should have in common: its name here, and where their configs have it."""


def incidents(analyses: list[Analysis]) -> list[Row]:
    """Every seed that is censored, failed or not finished, with what is known of it; before them panels whose
    cells were not all computed alike."""
    panels = [one.panel for one in analyses]
    groups = [(panel, group) for panel in panels for group in panel.groups]
    mixed = [found for panel in panels for found in _mixtures(panel)]
    return mixed + [found for panel, group in groups for found in _incidents(panel, group)]


def missing(records: list[CellRecord], info: dict[str, Any]) -> list[str]:
    """Cells that were planned and have no folder.

    Planned are the cells that `suite.json` lists, as JSON or by name; without that list, every
    seed that any group of the same panel has.
    """
    if info.get("cells"):
        planned = [Cell.from_json(c).name if isinstance(c, dict) else c for c in info["cells"]]
        return sorted(set(planned) - {record.cell.name for record in records})
    absent = []
    for panel in panels_of(records):
        have = [{record.cell.seed for record in group.records} for group in panel.groups]
        for group, seeds in zip(panel.groups, have, strict=True):
            lost = sorted(set.union(*have) - seeds)
            absent += [f"{panel.title}: {group.label}, seed {seed}" for seed in lost]
    return absent


def unfinished(records: list[CellRecord], info: dict[str, Any]) -> list[str]:
    """What keeps the suite from being complete; [] when nothing does."""
    counts, lost = Counter(record.status for record in records), missing(records, info)
    if counts["done"] == len(records) and not lost:
        return []
    parts = [f"{counts['done']} of {len(records) + len(lost)} cells are finished"]
    parts += [f"{counts['running']} are running or were interrupted"] * (counts["running"] > 0)
    parts += [f"{counts['failed']} failed"] * (counts["failed"] > 0)
    parts += [f"{len(lost)} have not been started"] * (len(lost) > 0)
    return [f"This suite is incomplete: {', '.join(parts)}. Every number below may still change."]


def _mixtures(panel: Panel) -> Iterator[Row]:
    for what, part, key in MIXTURES:
        by_value: dict[str, list[str]] = {}
        for record in (record for group in panel.groups for record in group.finished):
            value = record.config.get(part, {}).get(key)
            if value is not None:
                by_value.setdefault(str(value), []).append(f"{record.cell.method} {record.cell.seed}")
        if len(by_value) > 1:
            fewest = min(by_value.values(), key=len)
            detail = f"{key} {', '.join(sorted(by_value))}; the fewest: {', '.join(fewest)}"
            yield {
                "panel": panel.title,
                "method": "",
                "seeds": "",
                "what": what,
                "detail": detail,
                "trace": "",
            }


def _incidents(panel: Panel, group: Group) -> Iterator[Row]:
    base = {"panel": panel.title, "method": group.label, "trace": ""}
    encoders = {(one.done or {}).get("encoder_fingerprint", "") for one in group.finished}
    if len(encoders) > 1 and "{seed}" not in group.cell.encoder:
        seeds = ", ".join(str(record.cell.seed) for record in group.finished)
        detail = f"weights {', '.join(sorted(encoders))}: put no two encoders of one name side by side"
        yield base | {"seeds": seeds, "what": "several encoders", "detail": detail}
    times = group.times(panel.threshold)
    censored = [one for one, t in zip(group.finished, times, strict=True) if math.isinf(t)]
    if censored:
        finals = ", ".join(f"{record.score[-1]:.2f}" for record in censored)
        seeds = ", ".join(str(record.cell.seed) for record in censored)
        detail = f"not reached in {censored[0].steps[-1]:,.0f} steps; final scores {finals}"
        yield base | {"seeds": seeds, "what": "censored", "detail": detail}
    for record in (*group.with_status("failed"), *group.with_status("running")):
        last = f"{record.steps[-1]:,.0f} steps" if record.steps.size else "no evaluation"
        row = base | {"seeds": str(record.cell.seed)}
        if record.status == "running":
            what = "running or interrupted"
            yield row | {"what": what, "detail": f"last evaluation: {last}"}
        else:
            trace = str((record.done or {}).get("failed") or "no evaluation was recorded").strip()
            detail = f"{trace.splitlines()[-1]} (last evaluation: {last})"
            yield row | {"what": "failed", "detail": detail, "trace": trace}
