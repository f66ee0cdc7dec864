"""What a person sees of a running suite: a live table in a terminal, a line for each job that has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .cells import Cell
from .progress import STATES, CellProgress, Progress, progress_of
from .work import Outcome

REFRESH, REPORT = 2.0, 300.0
"""Seconds between two looks at the cells' files: of a live table, and where lines are printed."""


class Shown:
    """Of one command; a context, which a terminal's live table needs."""

    def __init__(self, cells: Sequence[Cell], folder: Path, console: Console, slots: int = 1) -> None:
        """slots: cells that this command runs at once."""
        self.cells, self.folder, self.console, self.slots = cells, folder, console, slots
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.done: dict[Cell, CellProgress] = {}
        self.started = self.looked = time.monotonic()

    def __enter__(self) -> Shown:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def update(self) -> None:
        """Draw the live table anew, or say where no terminal is how far the suite is, from time to time."""
        if time.monotonic() - self.looked < (REFRESH if self.live else REPORT):
            return
        self.looked = time.monotonic()
        if self.live:
            self.live.update(progress_table(self._progress(), self.slots), refresh=True)
        else:
            self.line("", summary_of(self._progress(), self.slots))

    def cell(self, cell: Cell, outcome: Outcome) -> None:
        """A line for a cell that has ended."""
        progress = self._progress()
        (mine,) = (one for one in progress.cells if one.cell == cell)
        text = {
            Outcome.DONE: f"success {mine.score:.0%}",
            Outcome.FAILED: "[red]failed[/red], see its done.json",
            Outcome.STOPPED: f"stopped at {mine.steps:,} steps",
        }[outcome]
        self.line(cell.name, f"{text}  ({summary_of(progress, self.slots)})")

    def _progress(self) -> Progress:
        return progress_of(self.cells, self.folder, self.done)

    def line(self, name: str, text: str) -> None:
        """A line that stays."""
        minutes = (time.monotonic() - self.started) / 60
        self.console.print(f"{minutes:4.0f} min  {name:60s} {text}", soft_wrap=True, highlight=False)


def summary_of(progress: Progress, slots: int = 1) -> str:
    """ "3 of 12 done, 2 running, about 20 min to go", with as many cells at once as run, or `slots`."""
    parts = [f"{progress.count('done')} of {len(progress.cells)} done"]
    parts += [f"{progress.count(state)} {state}" for state in STATES[1:4] if progress.count(state)]
    if progress.steps_per_second:
        parts.append(f"{progress.steps_per_second:,.0f} steps/s")
    if left := progress.seconds_left(max(slots, len(progress.running))):
        parts.append(f"about {duration(left)} to go")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """ "40 s", "20 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def progress_table(progress: Progress, slots: int = 1) -> Table | str:
    """Running cells, if there are any, and the count of all below."""
    summary = summary_of(progress, slots)
    if not progress.running:
        return summary
    table = Table(title_justify="left", caption=summary, caption_justify="left")
    table.add_column("running")
    for name in ("steps", "of", "success", "steps/s"):
        table.add_column(name, justify="right")
    for one in progress.running:
        pace = f"{one.steps / one.seconds:,.0f}" if one.seconds else "–"
        score = f"{one.score:.0%}" if one.score == one.score else "–"
        table.add_row(one.cell.name, f"{one.steps:,}", f"{one.cell.steps:,}", score, pace)
    return table
