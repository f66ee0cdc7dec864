"""What a command line changes of a suite: fewer tasks or methods, other seeds, another budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .cells import Cell, Suite


@dataclass(frozen=True)
class Overrides:
    """Each one left out changes nothing."""

    steps: int | None = None
    """Budget of every cell, in environment steps."""
    seeds: tuple[int, ...] = ()
    """Instead of the suite's own."""
    tasks: tuple[str, ...] = ()
    """These of the suite's tasks."""
    methods: tuple[str, ...] = ()
    """These of its methods."""
    cameras: tuple[str, ...] = ()
    """These of its cameras."""


def overridden(suite: Suite, changes: Overrides) -> Suite:
    """The suite with `changes`; ValueError for a task or method that it does not have."""
    cells = _only(suite.cells, "task", changes.tasks, lambda cell: cell.task)
    cells = _only(cells, "method", changes.methods, lambda cell: cell.method)
    cells = _only(cells, "camera", changes.cameras, lambda cell: cell.camera)
    if changes.steps is not None:
        if changes.steps < 1:
            raise ValueError(f"steps={changes.steps}: expected at least 1")
        cells = list(dict.fromkeys(cell._replace(steps=changes.steps) for cell in cells))
    if changes.seeds:
        alike = dict.fromkeys(cell._replace(seed=changes.seeds[0]) for cell in cells)
        cells = [cell._replace(seed=seed) for cell in alike for seed in dict.fromkeys(changes.seeds)]
    return dataclasses.replace(suite, cells=tuple(cells))


def _only(
    cells: Iterable[Cell], what: str, wanted: tuple[str, ...], field: Callable[[Cell], str]
) -> list[Cell]:
    cells = list(cells)
    known = list(dict.fromkeys(map(field, cells)))
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"the suite has no {what} {', '.join(unknown)}; it has {', '.join(known)}")
    return [cell for cell in cells if not wanted or field(cell) in wanted]
