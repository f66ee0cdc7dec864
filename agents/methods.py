"""Methods as rows of one table: the only place where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from .extractors import PixelExtractor, StateExtractor


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


_FROZEN = {"observation": "pixels", "extractor": StateExtractor, "needs_encoder": True}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "state": Method("state", StateExtractor, description="the simulator's state: the oracle"),
        "pixels": Method("pixels", PixelExtractor, description="raw pixels, end to end"),
        "pixels-aug": Method("pixels", PixelExtractor, shift=2, description="raw pixels with random shift"),
        "random-frozen": Method(**_FROZEN, description="an untrained encoder, frozen"),
        "supervised-frozen": Method(**_FROZEN, description="an encoder trained to regress the state, frozen"),
        "gqn-frozen": Method(**_FROZEN, description="the GQN's encoder, frozen"),
    }
)


def method_named(name: str) -> Method:
    """The row of `METHODS`; ValueError lists what exists."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
