"""The settings that `gqn-bench tune` has found: read from its committed tables, one for each tuned method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gqn_transfer.agents.knobs import KNOBS, knobs_of
from gqn_transfer.agents.methods import Method, method_named

from .search_space import DEFAULTS, INHERITS
from .trials import best_of, read_trials

FOLDER = Path(__file__).parent / "assets" / "tuned"
"""METHOD.csv as `tune` writes it: every trial."""


def tuned_settings(method: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What a method's cells change of the defaults; {} where nothing has been tuned yet.

    A method that was not tuned takes the settings of the nearest one, as far as it has them; one that trains
    an encoder takes the best of those with a single view.
    """
    row = method_named(method)
    trials = list(read_trials(folder / f"{INHERITS.get(method, method)}.csv").values())
    if _pays_by_view(row):
        trials = [trial for trial in trials if trial.settings["views"] == 1]
    settings = best_of(trials).settings if trials else {}
    own = knobs_of(row)
    return {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS[name] and (name not in KNOBS or name in own)
    }


def _pays_by_view(row: Method) -> bool:
    """True if every view more costs as much again as nearly all the rest: an hour becomes three."""
    return row.needs_encoder and row.trains_eyes
