"""Methods as rows of one table: the only place where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gqn_transfer.choices import named

ALL = ("ppo", "a2c", "sac", "td3")
"""Algorithms."""
EYE_KINDS = ("vector", "convolutions", "cached", "finetuned", "fresh")
"""What turns an observation into features: nothing but the trunk; convolutions, trained end to end; a frozen
encoder, once a step (`EncodedVecEnv`); an encoder trained on by the agent's loss, from its pretrained weights
or from new ones."""


@dataclass(frozen=True)
class Method:
    """What an agent sees, what turns it into features, and what trains that."""

    description: str
    """One line for people."""
    eyes: str
    """One of `EYE_KINDS`."""
    trained_by: str = ""
    """What its encoder was pretrained by: "gqn", "ae", "supervised", "random" (by nothing) or "tier2"; for
    "fresh" eyes the one whose architecture they take; "" without an encoder."""
    observation: str = "pixels"
    """The environment's `obs`: "pixels" or "state"."""
    shift: int = 0
    """Random shift of training images, pixels."""
    auxiliary: bool = False
    """True if the GQN's bound trains the eyes beside the agent's loss."""
    algorithms: tuple[str, ...] = ALL
    """Those it can be combined with."""

    def __post_init__(self) -> None:
        if self.eyes not in EYE_KINDS:
            raise ValueError(f"eyes={self.eyes!r}: expected one of {', '.join(EYE_KINDS)}")
        if bool(self.trained_by) != (self.eyes in ("cached", "finetuned", "fresh")):
            raise ValueError(f"eyes={self.eyes!r}, trained_by={self.trained_by!r}: one calls for the other")

    @property
    def needs_encoder(self) -> bool:
        """True if an encoder has to be given: its weights, or for "fresh" eyes its architecture alone."""
        return bool(self.trained_by)

    @property
    def needs_weights(self) -> bool:
        """True if it starts from the encoder's trained weights."""
        return self.eyes in ("cached", "finetuned")

    @property
    def trains_eyes(self) -> bool:
        """True if the agent's loss reaches the image."""
        return self.eyes in ("convolutions", "finetuned", "fresh")


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "state": Method("the simulator's state: the oracle", "vector", observation="state"),
        "pixels": Method("raw pixels, end to end", "convolutions"),
        "pixels-aug": Method("raw pixels with random shift", "convolutions", shift=2),
        "pixels-gqn-arch": Method(
            "the encoder's architecture from new weights, end to end", "fresh", "gqn"
        ),
        "random-frozen": Method("an untrained encoder, frozen", "cached", "random"),
        "ae-frozen": Method("an encoder trained as an autoencoder, frozen", "cached", "ae"),
        "supervised-frozen": Method(
            "an encoder trained to regress the state, frozen", "cached", "supervised"
        ),
        "gqn-frozen": Method("the GQN's encoder, frozen", "cached", "gqn"),
        "gqn-finetune": Method("the GQN's encoder, trained on by the agent", "finetuned", "gqn"),
        "gqn-aux": Method(
            "the encoder's architecture from new weights, end to end, with the GQN's bound beside",
            "fresh", "gqn", auxiliary=True, algorithms=("ppo",),
        ),
        "gqn-tier2": Method(
            "a second representation on top of the GQN's, frozen", "cached", "tier2"
        ),
    }
)  # fmt: skip


def method_named(name: str) -> Method:
    """The row of `METHODS`; ValueError lists what exists."""
    return named(METHODS, name, "method")


def combination(name: str, algo: str) -> Method:
    """The row; ValueError if the method does not go with this algorithm."""
    row = method_named(name)
    if algo not in row.algorithms:
        raise ValueError(
            f"method {name!r} does not go with algorithm {algo!r}: choose one of {', '.join(row.algorithms)}"
        )
    return row
