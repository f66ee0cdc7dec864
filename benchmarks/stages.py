"""Source stages of the transfer suites, as data: which tasks, in which order, for how long, and controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gqn_transfer.tier import TierConfig

from .source_config import SourceConfig
from .tuned import tuned_settings

CORE = "jaco-core"
"""What all stages start from: it has seen the things of Reach, Grasp and Pose."""
SOURCES = ("Reach-v0", "Grasp-v0", "Pose-v0")
"""In the order in which they are added: k of them are the first k."""
HELD_OUT = ("Point-v0", "Push-v0")
"""New tasks: one of the arm's movement alone, like Reach and Pose; one of a thing, like Grasp."""
SEEDS = (30, 31, 32)
STEPS = 160_000
"""Of each source."""
TIER = TierConfig(size=128)
KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "taught": {},
        "blind": {"rendering": False},
        "untaught": {"teach": False},
        "in turn": {"in_turn": True},
        "tier": {"rendering": False, "tier": TIER},
    }
)
"""How sources make what a new task starts from: they train the encoder, and rendering goes on; it does not;
rendering alone trains it, on what they meet; they train it one after another; they train a tier on it."""


def stage(tasks: Iterable[str], seed: int, kind: str = "taught", steps: int = STEPS) -> SourceConfig:
    """A stage on `CORE`, with the settings tuned for agents that train an encoder, or for frozen ones."""
    own = tuned_settings("gqn-frozen" if kind == "tier" else "gqn-finetune")
    settings = tuple(sorted((name, value) for name, value in own.items() if name != "views"))
    return SourceConfig(CORE, tuple(tasks), steps, settings=settings, seed=seed, **KINDS[kind])


def pattern(count: int, kind: str = "taught", steps: int = STEPS) -> str:
    """What names, in a cell, the encoder of a stage of the first `count` sources, whatever its seed."""
    return stage(SOURCES[:count], 0, kind, steps).pattern if count else CORE


TRANSFER = (
    (1, "taught", STEPS), (3, "taught", STEPS), (1, "taught", 3 * STEPS), (3, "blind", STEPS),
    (3, "untaught", STEPS), (1, "tier", STEPS), (3, "tier", STEPS),
)  # fmt: skip
"""Number of sources, kind and steps of every stage that the suites start new tasks from."""
STAGES: Mapping[str, SourceConfig] = MappingProxyType(
    {
        (one := stage(SOURCES[:count], seed, kind, steps)).name: one
        for seed in SEEDS
        for count, kind, steps in TRANSFER
    }
)
"""Name -> stage."""
