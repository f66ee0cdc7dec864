"""Argument checks whose messages say what was given and what exists."""

from __future__ import annotations

from typing import Any


def check_choice(name: str, given: Any, known: tuple[Any, ...]) -> None:
    """Raise ValueError unless `given` is one of `known`."""
    if given not in known:
        raise ValueError(f"{name}={given!r}: expected one of {', '.join(map(repr, known))}")
