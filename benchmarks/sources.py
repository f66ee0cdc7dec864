"""How source tasks fared in their stages, together, against what each learns by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gqn_transfer.files import read_json

from .cell_files import CONFIG, DONE
from .curves import read_curve
from .groups import Panel
from .source_config import SEED
from .source_stage import GRADIENTS
from .texts import Row, number_text

SOURCES_SUITE = "sources-small"
ALONE = "gqn-finetune"
"""The method of a source task by itself."""
SOUND = 0.8
"""Share of what a task learns alone from which on a stage is sound; below it transfer is not measured."""
LEARNED = 0.2
"""Success of a task by itself below which it is not learned in these steps, and a share of it is noise."""


@dataclass(frozen=True)
class SourceRun:
    """One stage of one seed, as its folder tells."""

    pattern: str
    """Its name with the seed left open."""
    encoder: str
    """The name of its start."""
    steps: int
    """Of each task."""
    finals: dict[str, float]
    """Task -> success at its last evaluation."""
    cosine: float
    """Between the gradients of two tasks, the mean of its run; nan of one task alone."""
    conflicts: float
    """Share of pairs of gradients that are against one another."""
    turns: dict[tuple[str, str], float]
    """(task whose turn has ended, task) -> success; empty where tasks are learned together."""
    ended: bool
    """It has run to its end."""
    taught: bool
    """Its tasks train the encoder, all at once, as `ALONE` does with one."""


def read_sources(folder: Path) -> list[SourceRun]:
    """The stages in `folder`/encoders that have been evaluated, in the order of their names."""
    return [
        run
        for path in sorted((folder / "encoders").glob(f"*/{CONFIG}"))
        if (run := _read(path.parent)) is not None
    ]


def is_of_sources(panel: Panel) -> bool:
    """True if it has a task learned by itself alone, which is there to be compared with its stage."""
    return {record.cell.suite for group in panel.groups for record in group.records} == {SOURCES_SUITE}


def source_rows(runs: Sequence[SourceRun], panels: Sequence[Panel]) -> list[Row]:
    """One row for each kind of stage and task: success, means over seeds, beside that of the task alone from
    the same start for as many steps, where that has run and the stage is learned in the same way. Stages that
    have not ended do not count."""
    rows = []
    for pattern in dict.fromkeys(run.pattern for run in runs if run.ended):
        alike = [run for run in runs if run.pattern == pattern and run.ended]
        for task in alike[0].finals:
            together = float(np.mean([run.finals[task] for run in alike]))
            alone = _alone(task, alike[0], panels) if alike[0].taught else float("nan")
            share = together / alone if alone >= LEARNED else float("nan")
            rows.append(
                {
                    "stage": pattern.removesuffix(SEED),
                    "task": task,
                    "seeds": str(len(alike)),
                    "success": number_text(together),
                    "alone": number_text(alone),
                    "share": number_text(share, 2),
                    "sound": _is_sound(share, alone),
                    "mean_cosine": number_text(float(np.mean([run.cosine for run in alike])), 2),
                    "conflicts": number_text(float(np.mean([run.conflicts for run in alike])), 2),
                }
            )
    return rows


def _is_sound(share: float, alone: float) -> str:
    if np.isnan(alone):
        return ""
    if np.isnan(share):
        return "not learned alone"
    return "yes" if share >= SOUND else "no"


def turn_rows(runs: Sequence[SourceRun]) -> list[Row]:
    """The transfer matrix of tasks learned one after another, one row an entry: success on `task` once the
    turn of `after` has ended, mean over seeds. Below the diagonal it tells what is forgotten."""
    rows = []
    for pattern in dict.fromkeys(run.pattern for run in runs if run.turns):
        alike = [run for run in runs if run.pattern == pattern]
        for after, task in alike[0].turns:
            scores = [run.turns[after, task] for run in alike if (after, task) in run.turns]
            rows.append(
                {
                    "stage": pattern.removesuffix(SEED),
                    "after": after,
                    "task": task,
                    "seeds": str(len(scores)),
                    "success": number_text(float(np.mean(scores))),
                }
            )
    return rows


def _read(folder: Path) -> SourceRun | None:
    stage = read_json(folder / CONFIG).get("source")
    curves = {} if stage is None else {task: folder / f"{task}.csv" for task in stage["tasks"]}
    if stage is None or not all(path.exists() for path in curves.values()):
        return None
    finals = {task: float(read_curve(path, allow_torn=True).score[-1]) for task, path in curves.items()}
    cosine, conflicts = _agreement(folder / GRADIENTS)
    pattern = folder.name.removesuffix(SEED.format(seed=stage["seed"])) + SEED
    turns = _turns(stage, curves) if stage["in_turn"] else {}
    taught, ended = stage["teach"] and not (stage["tier"] or stage["in_turn"]), (folder / DONE).exists()
    return SourceRun(
        pattern, stage["encoder"], stage["steps"], finals, cosine, conflicts, turns, ended, taught
    )


def _turns(stage: Mapping[str, Any], curves: Mapping[str, Path]) -> dict[tuple[str, str], float]:
    found = {}
    for task, path in curves.items():
        curve = read_curve(path, allow_torn=True)
        for number, after in enumerate(stage["tasks"], 1):
            at = np.flatnonzero(curve.steps == number * stage["steps"])
            if at.size:
                found[after, task] = float(curve.score[at[0]])
    return found


def _agreement(path: Path) -> tuple[float, float]:
    if not path.exists():
        return float("nan"), float("nan")
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return float(table[:, 1].mean()), float(table[:, 2].mean())


def _alone(task: str, run: SourceRun, panels: Sequence[Panel]) -> float:
    found = list(_finals(task, run, panels))
    return float(np.mean(found)) if found else float("nan")


def _finals(task: str, run: SourceRun, panels: Sequence[Panel]) -> Iterator[float]:
    """Final success of every seed that learned the task by itself, from the same start for as long."""
    for panel in panels:
        for group in panel.groups_of([ALONE]):
            cell = group.cell
            if (cell.task, cell.encoder, cell.steps) == (task, run.encoder, run.steps):
                yield from group.final_scores
