"""Names that exist and names that do not: messages that say what was given and what is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def named(table: Mapping[str, T], name: str, what: str, also: str = "") -> T:
    """The entry of `table` under `name`; ValueError lists those that exist, and what else would do."""
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(table)}{also}")
    return table[name]


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """ValueError if some of `given` are not among `known`."""
    known = tuple(known)
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown {what} {', '.join(unknown)}; known: {', '.join(known)}")
