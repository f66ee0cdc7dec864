"""The jobs of a suite: which begins when, and what becomes of one that is stopped, fails or is another's."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gqn_transfer.limits import usable_cores

from .artefacts import existing, lineage, pretraining_frames, recipe_of
from .cell_files import cell_folder, finished
from .cells import Cell
from .claims import free_if_left
from .hours import pace_of
from .run_cell import How, Source
from .shown import Shown
from .work import Outcome, failure, give_up, place_of, work_on_encoder

Job = Cell | str
"""A cell to run, or the name of an encoder to train."""
TICK = 1.0
"""Seconds between two looks at what is running."""
PATIENCE = 5.0
"""Seconds before asking again for what another command has."""


def time_is_up(until: float | None) -> bool:
    """True after `until`, by the clock that only rises; never where it is None."""
    return until is not None and time.monotonic() > until


@dataclass(frozen=True)
class Engine:
    """What jobs run on."""

    encoders: Executor
    cells: Executor
    work: Callable[..., Outcome]
    """Runs a cell, as `work_on_cell` does."""
    slots: int
    """Jobs at once."""


def in_order(cells: Sequence[Cell]) -> list[Job]:
    """The cells with their encoders, seed by seed: a suite that is stopped has whole seeds to compare.

    Of a seed its encoders come first, then cells that wait for none to be made, then the others; those that
    take long before those that do not, so that all cores have work to the end.
    """
    jobs: dict[Job, None] = {}  # each once, an encoder where it is needed first
    for seed in sorted({cell.seed for cell in cells}):
        own = [cell for cell in cells if cell.seed == seed]
        jobs |= dict.fromkeys(cell.encoder_name for cell in own if cell.encoder)
        own.sort(key=lambda cell: (_waits(cell), -cell.steps / pace_of(cell)))
        jobs |= dict.fromkeys(own)
    return list(jobs)


def _waits(cell: Cell) -> bool:
    """True for one whose encoder has to be made."""
    return bool(cell.encoder) and recipe_of(cell.encoder_name) is not None


def _claimed_by(job: Job) -> list[Job]:
    """What work on it claims: an encoder is made with what it starts from."""
    return [name for name in lineage(job) if existing(name) is None] if isinstance(job, str) else [job]


class JobQueue:
    """Jobs that wait, jobs that run, and the encoders that are there already."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        facts: dict[str, Any],
        until: float | None,
        shown: Shown,
        tensorboard: bool = False,
    ) -> None:
        self.engine, self.folder, self.facts = engine, folder, facts
        self.until, self.shown, self.tensorboard = until, shown, tensorboard
        self.cells: list[Cell] = []
        self.running: dict[Future[Any], Job] = {}
        self.ready: dict[str, Source] = {}
        self.not_before: dict[Job, float] = {}
        self.failures = {cell: failure(cell_folder(folder, cell)) for cell in shown.cells}

    def run(self, jobs: Sequence[Job]) -> None:
        """Until every job has ended or the time is up."""
        self.cells = [job for job in jobs if not isinstance(job, str)]
        waiting = [job for job in jobs if not self._is_there(job)]
        place = {job: number for number, job in enumerate(jobs)}
        while waiting or self.running:
            if time_is_up(self.until):
                waiting = []
            self._start(waiting)
            for future in self._ended():
                job = self.running.pop(future)
                outcome = self._outcome(job, future)
                if outcome is Outcome.BUSY:
                    self._come_back(job)
                    waiting.append(job)
                    waiting.sort(key=place.__getitem__)  # where it stood
                elif not isinstance(job, str):
                    self.shown.cell(job, outcome)
                elif isinstance(outcome, Outcome):  # stopped or failed: its cells cannot begin
                    waiting = [one for one in waiting if isinstance(one, str) or one.encoder_name != job]
                else:
                    self.ready[job] = outcome
                    self.shown.line(f"encoder {job}", "ready")
            self.shown.update()

    def _is_there(self, job: Job) -> bool:
        """True for an encoder that need not be made, which is ready from now on."""
        there = existing(job) if isinstance(job, str) else None
        if there is not None:
            self.ready[str(job)] = there
        return there is not None

    def _start(self, waiting: list[Job]) -> None:
        """Fill free slots with jobs that can begin now."""
        for job in list(waiting):
            if len(self.running) >= self.engine.slots:
                return
            if self._can_begin(job):
                waiting.remove(job)
                self.running[self._submit(job, waiting)] = job

    def _can_begin(self, job: Job) -> bool:
        """True if nothing is in its way. What others have is looked at from here, where looks are
        remembered: a worker is a new process, that has seen no claim stand still."""
        encoder_is_there = isinstance(job, str) or not job.encoder or job.encoder_name in self.ready
        if not encoder_is_there or time.monotonic() < self.not_before.get(job, 0.0):
            return False
        if all(free_if_left(place_of(each, self.folder)) for each in _claimed_by(job)):
            return True
        self._come_back(job)
        return False

    def _come_back(self, job: Job) -> None:
        """Another command has it: ask again later."""
        self.not_before[job] = time.monotonic() + PATIENCE

    def _submit(self, job: Job, waiting: Sequence[Job]) -> Future[Any]:
        seconds = None if self.until is None else max(0.0, self.until - time.monotonic())
        if isinstance(job, str):
            others = sum(self._can_begin(one) for one in waiting) + len(self.running)
            threads = max(1, usable_cores() // min(self.engine.slots, 1 + others))
            return self.engine.encoders.submit(work_on_encoder, job, self.folder, threads, seconds)
        encoder = self.ready.get(job.encoder_name)
        frames = pretraining_frames(encoder) if encoder else 0
        how = How(frames, self.facts, seconds, self.tensorboard, self.failures[job])
        return self.engine.cells.submit(self.engine.work, job, self.folder, encoder, how)

    def _ended(self) -> list[Future[Any]]:
        if not self.running:
            time.sleep(TICK / 10)
            return []
        return list(wait(self.running, timeout=TICK, return_when=FIRST_COMPLETED).done)

    def _outcome(self, job: Job, future: Future[Any]) -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            why = "its process was killed: out of memory? `--retry-failed` goes on from its last evaluation"
        except Exception as error:
            why = "".join(traceback.format_exception(error))
        if not isinstance(job, str):
            return give_up(job, self.folder, why)
        self.shown.line(f"encoder {job}", f"[red]failed[/red]: {why.strip().splitlines()[-1]}")
        for cell in self.cells:
            if cell.encoder_name == job and not finished(cell_folder(self.folder, cell)):
                give_up(cell, self.folder, f"its encoder {job} failed:\n{why}")
        return Outcome.FAILED
