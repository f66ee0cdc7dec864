"""What can be set of an agent beside its algorithm's own settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .methods import Method, method_named

NETWORKS = {
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
    "drq": ((32, 3, 2), (32, 3, 1), (32, 3, 1), (32, 3, 1)),
}
"""Name -> channels, kernel and stride of each convolution: NatureCNN (Mnih et al. 2015), DrQ (Kostrikov et
al. 2021)."""


@dataclass(frozen=True)
class Knobs:
    """Settings of an agent by name; some belong to some methods only."""

    views: int = 1
    """The last so many views are seen together."""
    half: bool = False
    """Features are kept as float16, in half the memory of a rollout or replay buffer: frozen encoders."""
    head_width: int = 256
    """Of the hidden layers of actor and critic."""
    head_depth: int = 2
    """Hidden layers of each."""
    shift: int = 2
    """Random shift, pixels: methods with augmentation."""
    network: str = "nature"
    """Convolutions: methods that learn them from pixels; a key of `NETWORKS`."""
    encoder_rate: float = 0.3
    """Learning rate of a pretrained encoder relative to the rest: fine-tuning."""
    warm_up: int = 20_000
    """Environment steps over which that rate rises from 0: fine-tuning."""
    auxiliary_weight: float = 1.0
    """Of the GQN's bound beside the agent's loss."""

    def __post_init__(self) -> None:
        for name, least in (
            ("views", 1),
            ("head_width", 1),
            ("head_depth", 0),
            ("shift", 0),
            ("encoder_rate", 0.0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {least}")
        if self.network not in NETWORKS:
            raise ValueError(f"network={self.network!r}: expected one of {', '.join(NETWORKS)}")


KNOBS = tuple(field.name for field in dataclasses.fields(Knobs))


def split(method: str, overrides: Mapping[str, Any]) -> tuple[Knobs, dict[str, Any]]:
    """`overrides` as the method's knobs and what is left for the algorithm; ValueError for others' knobs."""
    row = method_named(method)
    given = {name: value for name, value in overrides.items() if name in KNOBS}
    if foreign := sorted(set(given) - set(knobs_of(row))):
        raise ValueError(
            f"method {method!r} has no {', '.join(foreign)}; it has {', '.join(knobs_of(row))} and the "
            "settings of its algorithm"
        )
    rest = {name: value for name, value in overrides.items() if name not in KNOBS}
    return Knobs(**({"shift": row.shift} | given)), rest


def knobs_of(row: Method) -> tuple[str, ...]:
    """Names of the knobs that a method has."""
    own = {
        "shift": row.shift > 0,
        "network": row.eyes == "convolutions",
        "encoder_rate": row.eyes == "finetuned",
        "warm_up": row.eyes == "finetuned",
        "auxiliary_weight": row.auxiliary,
        "views": row.observation == "pixels",
        "half": row.eyes == "cached",
    }
    return tuple(name for name in KNOBS if own.get(name, True))
