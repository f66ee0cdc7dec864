"""What a panel says of transfer: groups by the tasks that trained what they stand on, and in which way."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from .artefacts import SourceRecipe, lineage, recipe_of
from .gains import Fit, fit_gains
from .groups import Group, Panel
from .source_config import SourceConfig

WAYS: Mapping[str, str] = MappingProxyType(
    {
        "taught": "encoder, rendering on",
        "blind": "encoder, no rendering",
        "untaught": "rendering of what they meet alone",
        "in turn": "encoder, one task after another",
        "tier": "second representation",
    }
)
"""How source tasks have made what a new task starts from, and its name in figures; the first with the most
numbers of tasks makes the headline."""


FROZEN, TUNED, TIERED = "gqn-frozen", "gqn-finetune", "gqn-tier2"
"""Methods of a new task; what a tier is compared with is the frozen encoder below it."""


@dataclass(frozen=True)
class Line:
    """Stages that differ in their tasks alone, each with more of them than the one before."""

    way: str
    """A key of `WAYS`."""
    note: str
    """What else sets it apart from other lines of its way."""
    stages: tuple[SourceConfig, ...]
    groups: tuple[Group, ...]
    """New tasks learned from these stages."""
    start: Group | None
    """The same from the encoder that all of them start from."""

    @property
    def name(self) -> str:
        """Of figures and tables."""
        return WAYS[self.way] + (f", {self.note}" if self.note else "")

    @property
    def points(self) -> list[tuple[int, Group]]:
        """Number of source tasks and group, rising; 0 is the start, or a tier that nothing has trained."""
        trained = [len(stage.tasks) if stage.steps else 0 for stage in self.stages]
        own = list(zip(trained, self.groups, strict=True))
        return [(0, self.start), *own] if self.start and trained[0] else own

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of source tasks."""
        return tuple(count for count, _ in self.points)


def lines_of(panel: Panel) -> list[Line]:
    """The ways that the panel's groups show, in the order of `WAYS`; none without source stages."""
    alike: dict[tuple[SourceConfig, str], list[tuple[SourceConfig, Group]]] = {}
    starts: dict[tuple[str, str], Group] = {}
    for group in (one for one in panel.groups if one.finished and _is_plain(one, panel.groups)):
        recipe = recipe_of(group.records[0].cell.encoder_name)
        if isinstance(recipe, SourceRecipe):
            key = dataclasses.replace(recipe.stage, tasks=(), seed=0)
            alike.setdefault((key, group.method), []).append((recipe.stage, group))
        else:
            starts[group.cell.encoder, group.method] = group
    chains = [chain for found in alike.values() for chain in _chains(found)]
    lines = [_line(chain, starts) for chain in chains]
    ranked = sorted(lines, key=_rank)
    return [dataclasses.replace(line, note=_note(line, ranked)) for line in ranked]


def starts_of(lines: Sequence[Line]) -> list[Group]:
    """The groups that lines start from, each once."""
    return list({one.start.label: one.start for one in lines if one.start is not None}.values())


def headline_pair(lines: Sequence[Line]) -> tuple[Group, Group] | None:
    """All source tasks against none, in the line of the most points: chosen before any result is known."""
    fit = [line for line in lines if line.start is not None]
    if not fit:
        return None
    line = max(fit, key=lambda one: len(one.points))
    assert line.start is not None
    return line.groups[-1], line.start


def growth_of(line: Line, rng: np.random.Generator) -> list[Fit]:
    """Models of the area under success against the number of source tasks, on the seeds that all finished."""
    groups = [group for _, group in line.points]
    seeds = functools.reduce(
        set.intersection, ({one.cell.seed for one in group.finished} for group in groups)
    )
    steps = min(group.budget for group in groups)
    if not seeds:
        return []
    areas = [
        [
            area
            for record, area in zip(group.finished, group.areas_until(steps), strict=True)
            if record.cell.seed in seeds
        ]
        for group in groups
    ]
    return fit_gains(np.array(line.counts), np.array(areas), rng)


def _way(stage: SourceConfig) -> str:
    if stage.tier:
        return "tier"
    if stage.in_turn:
        return "in turn"
    if not stage.teach:
        return "untaught"
    return "taught" if stage.rendering else "blind"


def _chains(
    found: Sequence[tuple[SourceConfig, Group]],
) -> list[list[tuple[SourceConfig, Group]]]:
    """Stages in rows, each of whose tasks begin with those of the one before; rows may share a beginning."""
    chains: list[list[tuple[SourceConfig, Group]]] = []
    for one in sorted(found, key=lambda one: len(one[0].tasks)):
        beginnings = [[each for each in chain if _goes_on(each[0], one[0])] for chain in chains]
        before = max(beginnings, key=len, default=[])
        if before in chains:
            chains.remove(before)
        chains.append([*before, one])
    return chains


def _goes_on(before: SourceConfig, after: SourceConfig) -> bool:
    return len(before.tasks) < len(after.tasks) and after.tasks[: len(before.tasks)] == before.tasks


def _line(chain: Sequence[tuple[SourceConfig, Group]], starts: Mapping[tuple[str, str], Group]) -> Line:
    stages, groups = zip(*chain, strict=True)
    first, method = lineage(groups[0].records[0].cell.encoder_name)[0], groups[0].method
    start = starts.get((first, FROZEN if method == TIERED else method))
    return Line(_way(stages[0]), "", stages, groups, start)


def _rank(line: Line) -> tuple[bool, int, int]:
    """Frozen ones first, then by their way, the longest before others."""
    return line.groups[0].method == TUNED, list(WAYS).index(line.way), -len(line.stages)


def _note(line: Line, lines: Sequence[Line]) -> str:
    """What differs from the first line of the same way; of that line itself its tasks, if others have other
    ones."""
    alike = [one for one in lines if one.way == line.way]
    ours, theirs = line.stages[-1], alike[0].stages[-1]
    parts = ["trained on"] if line.groups[0].method == TUNED else []
    if ours.steps != theirs.steps:
        parts.append(f"{ours.steps:,} steps" if ours.steps else "untrained")
    if ours.tier and ours.tier != theirs.tier:
        known = dataclasses.asdict(theirs.tier or ours.tier)
        own = dataclasses.asdict(ours.tier)
        parts += [f"{key} {value:g}" for key, value in own.items() if value != known[key]]
    if ours.encoder != theirs.encoder:
        parts.append(f"from {ours.encoder}")
    compared = alike if line is alike[0] else alike[:1]
    if not all(_nested(ours.tasks, one.stages[-1].tasks) for one in compared):
        parts.append(" and ".join(task.split("-")[0] for task in ours.tasks))
    return ", ".join(parts) or ("" if line is alike[0] else ours.pattern)


def _nested(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """True if one of them begins with the other."""
    return one[: len(other)] == other[: len(one)]


def _is_plain(group: Group, groups: Sequence[Group]) -> bool:
    """True for the group of its encoder whose heads have the size that most others have."""
    sizes = [_heads(one) for one in groups if one.method.startswith("gqn")]
    return not sizes or _heads(group) == max(set(sizes), key=sizes.count)


def _heads(group: Group) -> tuple[object, object]:
    options = group.cell.agent_options
    return options.get("head_width"), options.get("head_depth")
