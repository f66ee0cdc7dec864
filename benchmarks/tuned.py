"""The settings that `gqn-bench tune` and the contests have found: from committed tables and rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gqn_transfer.agents.knobs import KNOBS, knobs_of
from gqn_transfer.agents.methods import method_named

from .candidates import CONTESTS
from .search_space import DEFAULTS, INHERITS
from .trials import best_of, read_trials

FOLDER = Path(__file__).parent / "assets" / "tuned"
"""METHOD.csv as `tune` writes it: every trial."""


def tuned_settings(method: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What a method's cells change of the defaults; {} where nothing has been tuned yet.

    Those of a contest, where there was one. A method that was not tuned takes the settings of the nearest
    one, as far as it has them.
    """
    row = method_named(method)
    source = INHERITS.get(method, method)
    if source in CONTESTS:
        settings = dict(CONTESTS[source].rows[0])
    else:
        trials = list(read_trials(folder / f"{source}.csv").values())
        found = best_of(trials).settings if trials else {}
        settings = {name: value for name, value in found.items() if value != DEFAULTS[name]}
    own = knobs_of(row)
    return {name: value for name, value in settings.items() if name not in KNOBS or name in own}
