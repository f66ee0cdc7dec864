"""Methods as rows of one table: the only place where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from .extractors import PixelExtractor, VectorExtractor


@dataclass(frozen=True)
class Method:
    """What an agent sees and what turns it into features."""

    observation: str
    """The environment's `obs`: "pixels" or "state"."""
    extractor: type[BaseFeaturesExtractor]
    """Features extractor of the policy, trained by the agent's loss."""
    needs_encoder: bool = False
    """True if a frozen encoder replaces the image by its representation (`EncodedVecEnv`)."""
    shift: int = 0
    """Random shift of training images, pixels."""
    description: str = ""
    """One line for people."""


def _frozen(description: str) -> Method:
    """A method that reads the cached representation of an encoder."""
    return Method("pixels", VectorExtractor, needs_encoder=True, description=description)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "state": Method("state", VectorExtractor, description="the simulator's state: the oracle"),
        "pixels": Method("pixels", PixelExtractor, description="raw pixels, end to end"),
        "pixels-aug": Method("pixels", PixelExtractor, shift=2, description="raw pixels with random shift"),
        "random-frozen": _frozen("an untrained encoder, frozen"),
        "supervised-frozen": _frozen("an encoder trained to regress the state, frozen"),
        "gqn-frozen": _frozen("the GQN's encoder, frozen"),
    }
)


def method_named(name: str) -> Method:
    """The row of `METHODS`; ValueError lists what exists."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
