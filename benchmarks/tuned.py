"""The settings that `gqn-bench tune` has found: read from its committed tables, one for each tuned method."""

from __future__ import annotations

import ast
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gqn_transfer.agents.knobs import KNOBS, knobs_of
from gqn_transfer.agents.methods import method_named

from .search_space import DEFAULTS, INHERITS

FOLDER = Path(__file__).parent / "assets" / "tuned"
"""METHOD.csv as `tune` writes it: every trial, the best marked."""


def tuned_settings(method: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What a method's cells change of the defaults; {} where nothing has been tuned yet.

    A method that was not tuned takes the settings of the nearest one, as far as it has them.
    """
    best = _best_row(folder / f"{INHERITS.get(method, method)}.csv")
    settings = {name: value_of(text) for name, text in best.items() if name in DEFAULTS}
    own = knobs_of(method_named(method))
    return {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS[name] and (name not in KNOBS or name in own)
    }


def _best_row(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["best"]]
    if len(rows) != 1:
        raise ValueError(f"{path}: {len(rows)} rows are marked as best, expected one; tune again")
    return rows[0]


def value_of(text: str) -> Any:
    """A setting from its text in a table."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text
