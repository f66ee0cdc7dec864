"""A report's numbers for other programs: `summary.csv`, `summary.json`, and a table for LaTeX."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gqn_transfer.files import csv_text, write_json, write_text

from .across import Together
from .contrasts import contrast_rows
from .findings import Findings
from .protocol import Comparison
from .statistics import Estimate
from .summary import Analysis
from .texts import Row, interval

ESCAPES = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$"}
"""Characters that LaTeX would take for its own."""


def write_tables(
    folder: Path, headline: str, analyses: Sequence[Analysis], groups: Sequence[Together]
) -> None:
    """Write summary.csv, summary.json and table.tex."""
    rows = [row for one in analyses for row in one.rows]
    write_text(folder / "summary.csv", as_csv(rows))
    write_json(
        folder / "summary.json",
        {
            "headline": headline,
            "rows": rows,
            "comparisons": [_comparison(one, two) for one in analyses for two in one.comparisons.values()],
            "together": [_plain(one) for one in groups],
        },
    )
    write_text(folder / "table.tex", as_latex(analyses))


def write_transfer_tables(folder: Path, found: Findings) -> None:
    """Write what there is to tell of transfer, contrasts, sizes, sources and turns."""
    tables = {
        "transfer.csv": [
            {"panel": slug, **row} for slug, one in found.transfers.items() if one for row in one.rows
        ],
        "contrasts.csv": [
            {"panel": one.panel.slug, **row} for one in found.analyses for row in contrast_rows(one.contrasts)
        ],
        "sizes.csv": [{"panel": slug, **row} for slug, rows in found.sizes.items() for row in rows],
        "sources.csv": found.sources,
        "turns.csv": found.turns,
        "likeness.csv": found.likeness,
    }
    for name, table in tables.items():
        if table:
            write_text(folder / name, as_csv(table))
        else:
            (folder / name).unlink(missing_ok=True)  # of a report before


def _comparison(analysis: Analysis, one: Comparison) -> dict[str, Any]:
    """One method against one baseline, in numbers; null is what a censored seed leaves open."""
    panel = analysis.panel
    ratios = {name: getattr(one, name)._asdict() for name in ("ratio", "ratio_with_frames")}
    return {
        **{name: getattr(panel, name) for name in ("task", "camera", "algo", "threshold")},
        **{"method": one.method.label, "baseline": one.baseline.label},
        **{name: _plain(values) for name, values in ratios.items()},
        "area_difference": _plain(one.area),
    }


def as_csv(rows: Sequence[Row]) -> str:
    """The rows under their names: of summary.csv one per method, task and camera."""
    return csv_text(rows[0], ([row[name] for name in rows[0]] for row in rows))


def as_latex(analyses: Sequence[Analysis]) -> str:
    """A table with the package booktabs: a block for each task and camera."""
    lines = [
        r"\begin{tabular}{lrrrr}", r"\toprule",
        r"method & final score & steps to threshold & area & seeds \\",
    ]  # fmt: skip
    for one in analyses:
        title = latex(f"{one.panel.title}, {one.panel.algo.upper()}")
        lines += [r"\midrule", rf"\multicolumn{{5}}{{l}}{{\textit{{{title}}}}} \\"]
        lines += [_latex_row(row) for row in one.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex(text: str) -> str:
    """Text whose characters LaTeX takes as they are; a range's dash is one."""
    return "".join(ESCAPES.get(character, character) for character in text).replace("–", "--")


def _latex_row(row: Row) -> str:
    median = row["steps_to_threshold_median"]
    steps = f"{int(median):,}".replace(",", r"\,") if median.isdigit() else median or "--"
    score, area = (latex(interval(row, name) or "–") for name in ("final_score", "area"))
    return " & ".join([latex(row["label"]), score, steps, area, row["finished"]]) + r" \\"


def _plain(value: Any) -> Any:
    """JSON's types: dataclasses as tables, estimates by name, what is not known as null."""
    if isinstance(value, Estimate):
        return {name: _plain(number) for name, number in value._asdict().items()}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {_name(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(key: Any) -> str:
    return " vs ".join(key) if isinstance(key, tuple) else str(key)
