"""Source stages of the transfer suites, as data: which tasks, in which order, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gqn_transfer.tier import TierConfig

from .source_stage import SourceConfig

CORE = "jaco-core"
"""What all stages start from: it has seen the things of Reach, Grasp and Pose."""
SOURCES = ("Reach-v0", "Pose-v0", "Grasp-v0")
"""In the order in which they are added: k of them are the first k."""
HELD_OUT = ("Point-v0", "Push-v0")
"""New tasks: one of the arm's movement alone, like the first two sources; one of a thing, like the third."""
SEEDS = (30, 31, 32)
STEPS = 100_000
"""Of each source."""
TIER = TierConfig(size=128)


def stage(count: int, seed: int, rendering: bool = True, tier: TierConfig | None = None) -> SourceConfig:
    """The first `count` sources, on `CORE`."""
    return SourceConfig(CORE, SOURCES[:count], STEPS, rendering, tier, seed=seed)


def pattern(count: int, rendering: bool = True, tier: TierConfig | None = None) -> str:
    """What names the encoder of such a stage in a cell, whatever its seed."""
    return stage(count, 0, rendering, tier).pattern if count else CORE


STAGES: Mapping[str, SourceConfig] = MappingProxyType(
    {
        each.name: each
        for seed in SEEDS
        for each in (
            stage(1, seed),
            stage(3, seed),
            stage(3, seed, rendering=False),
            stage(1, seed, rendering=False, tier=TIER),
            stage(3, seed, rendering=False, tier=TIER),
        )
    }
)
"""Name -> stage."""
