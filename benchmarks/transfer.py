"""What a panel says of transfer: groups by how many tasks trained what they stand on, and in which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .artefacts import ENCODERS, SourceRecipe, lineage
from .protocol import Group, Panel

WAYS = ("encoder, rendering on", "encoder, no rendering", "second representation")
"""How source tasks have made what a new task starts from."""


@dataclass(frozen=True)
class Line:
    """One way, with as many source tasks as there are."""

    way: str
    """One of `WAYS`."""
    counts: tuple[int, ...]
    """Source tasks, rising; 0 is the encoder before any."""
    groups: tuple[Group, ...]


def lines_of(panel: Panel) -> list[Line]:
    """The ways that the panel's groups show, each from the encoder that all of them start from."""
    found: dict[str, dict[int, Group]] = {}
    starts: dict[str, Group] = {}
    for group in (one for one in panel.groups if one.finished and _is_plain(one, panel.groups)):
        recipe = ENCODERS.get(group.records[0].cell.encoder_name)
        if isinstance(recipe, SourceRecipe):
            found.setdefault(_way(recipe), {})[len(recipe.stage.tasks)] = group
        elif group.method == "gqn-frozen":
            starts[group.cell.encoder] = group
    return [Line(way, *_in_order(found[way], starts)) for way in WAYS if way in found]


def _way(recipe: SourceRecipe) -> str:
    return WAYS[2] if recipe.stage.tier else WAYS[0] if recipe.stage.rendering else WAYS[1]


def _in_order(
    groups: dict[int, Group], starts: dict[str, Group]
) -> tuple[tuple[int, ...], tuple[Group, ...]]:
    """Counts and groups, the start's first where it ran."""
    first = lineage(next(iter(groups.values())).records[0].cell.encoder_name)[0]
    whole = ({0: starts[first]} if first in starts else {}) | groups
    counts = tuple(sorted(whole))
    return counts, tuple(whole[count] for count in counts)


def _is_plain(group: Group, groups: Sequence[Group]) -> bool:
    """True for the group of its encoder whose heads have the size that most others have."""
    sizes = [_heads(one) for one in groups if one.method.startswith("gqn")]
    return not sizes or _heads(group) == max(set(sizes), key=sizes.count)


def _heads(group: Group) -> tuple[object, object]:
    options = group.cell.agent_options
    return options.get("head_width"), options.get("head_depth")
