"""Every number of a report, computed once for page, tables and terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .across import Together, together
from .contrasts import decides
from .convergence import likeness_rows
from .encoder_records import read_encoders
from .groups import panels_of
from .headlines import suite_headline
from .records import CellRecord, read_suite
from .sizes import size_rows
from .sources import is_of_sources, read_sources, source_rows, turn_rows
from .summary import Analysis, analyse
from .texts import Row
from .transfer_summary import TransferSummary, summarise_transfer

SEED = 0
"""Of the bootstrap's generator: the same folder gives the same report."""


@dataclass(frozen=True)
class Findings:
    """All that a folder's cells and stages say, before it is drawn."""

    folder: Path
    records: list[CellRecord]
    analyses: list[Analysis]
    together: list[Together]
    transfers: dict[str, TransferSummary | None]
    """By the panel's slug."""
    sizes: dict[str, list[Row]]
    """By the panel's slug: codes of several sizes."""
    sources: list[Row]
    """Source tasks in their stages."""
    turns: list[Row]
    """Those learned one after another."""
    likeness: list[Row]
    """How alike the encoders that the suite made are."""

    @property
    def headline(self) -> str:
        """Of the whole suite."""
        if len(self.analyses) > 1:
            return suite_headline([one.main for one in self.analyses if not is_of_sources(one.panel)])
        return self.analyses[0].headline


def findings_of(folder: Path) -> Findings:
    """Read the folder of a suite, and compute every number of its report."""
    records, rng = read_suite(Path(folder)), np.random.default_rng(SEED)
    panels, runs, encoders = panels_of(records), read_sources(Path(folder)), read_encoders(Path(folder))
    return Findings(
        Path(folder),
        records,
        [analyse(panel, np.random.default_rng(SEED)) for panel in panels],
        together([panel for panel in panels if not decides(panel)], rng),
        {panel.slug: summarise_transfer(panel, encoders, rng) for panel in panels},
        {panel.slug: size_rows(panel, encoders, rng) for panel in panels},
        source_rows(runs, panels),
        turn_rows(runs),
        likeness_rows(Path(folder)),
    )
