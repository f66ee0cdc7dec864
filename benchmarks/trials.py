"""Tables of trials, as `gqn-bench tune` writes them: one a method, the best marked."""

from __future__ import annotations

import ast
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gqn_transfer.files import csv_text

FIGURES = ("trial", "value", "last_success", "best")
"""Columns of a table beside the settings."""


@dataclass(frozen=True)
class Trial:
    """One setting and what it was worth."""

    number: int
    settings: Mapping[str, Any]
    value: float
    """See `tuning.worth`."""
    success: float
    """At the last evaluation."""


def ranked(trials: Sequence[Trial]) -> list[Mapping[str, Any]]:
    """The settings of trials, each once, the best mean value first."""
    values: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    settings: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for trial in trials:
        key = tuple(trial.settings.items())
        values[key].append(trial.value)
        settings[key] = trial.settings
    return [settings[key] for key in sorted(values, key=lambda key: -sum(values[key]) / len(values[key]))]


def best_of(trials: Sequence[Trial]) -> Trial:
    """The last trial of the settings with the best mean value; if some ran more than once, of those."""
    often = [one for one in trials if sum(one.settings == other.settings for other in trials) > 1]
    best = ranked(often or trials)[0]
    return [trial for trial in trials if trial.settings == best][-1]


def as_csv(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """A line for each trial; one of the best settings' is marked."""
    best, rows = best_of(trials), []
    for trial in trials:
        values = [trial.settings[name] for name in names]
        figures = [f"{trial.value:.6f}", f"{trial.success:.3f}", "yes" if trial is best else ""]
        rows.append([trial.number, *values, *figures])
    return csv_text([FIGURES[0], *names, *FIGURES[1:]], rows)


def read_trials(path: Path) -> dict[int, Trial]:
    """The trials of a table that `as_csv` wrote, by number; none where there is no table."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        settings = {name: value_of(text) for name, text in row.items() if name not in FIGURES}
        number = int(row["trial"])
        found[number] = Trial(number, settings, float(row["value"]), float(row["last_success"]))
    return found


def value_of(text: str) -> Any:
    """A setting from its text in a table."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text
