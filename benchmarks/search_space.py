"""What is tuned, as data: the choices of all methods, those of single ones, and who inherits from whom."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Choice = tuple[Any, ...]
SHARED: Mapping[str, Choice] = MappingProxyType(
    {
        "learning_rate": (1e-4, 2e-4, 3e-4, 5e-4, 1e-3),
        "batch_size": (125, 250, 500),
        "n_epochs": (5, 10, 20),
        "ent_coef": (0.0, 1e-3, 3e-3),
        "gae_lambda": (0.9, 0.95, 0.98),
        "head_width": (128, 256),
        "views": (1, 3),
    }
)
"""What every method may choose from."""
OWN: Mapping[str, Mapping[str, Choice]] = MappingProxyType(
    {"pixels-aug": {"shift": (0, 1, 2, 4), "network": ("nature", "drq")}}
)
"""What a method may choose from beside that: two things at most."""
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "learning_rate": 3e-4, "batch_size": 250, "n_epochs": 10, "ent_coef": 0.0, "gae_lambda": 0.95,
        "head_width": 256, "views": 1, "shift": 2, "network": "nature",
    }
)  # fmt: skip
"""The first trial: settings as they are without tuning."""
TUNED = ("pixels-aug", "gqn-frozen", "random-frozen", "ae-frozen")
INHERITS: Mapping[str, str] = MappingProxyType(
    {
        "random-frozen": "gqn-frozen", "state": "gqn-frozen", "supervised-frozen": "gqn-frozen",
        "gqn-tier2": "gqn-frozen",
    }
)  # fmt: skip
"""Method -> the nearest whose settings it takes, as far as it has them. The search's table of `random-frozen`
tells nothing apart: it differs from the GQN's in its weights alone."""


def space_of(method: str) -> dict[str, Choice]:
    """Name -> choices of everything that is tuned for a method."""
    return {**SHARED, **OWN.get(method, {})}
