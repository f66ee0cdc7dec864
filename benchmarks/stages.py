"""Source stages of the transfer suites, as data: which tasks, in which order, for how long, and controls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gqn_transfer.agents.algorithms import ALGORITHMS
from gqn_transfer.agents.knobs import Knobs
from gqn_transfer.presets import SIZES
from gqn_transfer.tier import TierConfig

from .source_config import SEED, SourceConfig
from .tuned import tuned_settings

CORE = "jaco-core"
"""What stages start from: it has seen the things of Reach, Grasp and Pose."""
SOURCES = ("Reach-v0", "Grasp-v0", "Pose-v0")
"""Of the small suites, in the order in which they are added: k of them are the first k."""
HELD_OUT = ("Point-v0", "Push-v0")
"""Their new tasks: one of the arm's movement alone, like Reach and Pose; one of a thing, like Grasp."""
SEEDS = (30, 31, 32)
"""Of the small suites' stages and cells: no run before has used them."""
STEPS = 160_000
"""Of each source."""
TIER = TierConfig(size=128)
"""What a tier is unless its kind says otherwise."""
KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "taught": {},  # tasks and rendering train the encoder
        "blind": {"rendering": False},  # tasks alone do
        "untaught": {"teach": False},  # rendering alone does, on what the tasks meet
        "in turn": {"in_turn": True},  # as "taught", one task after another
        "tier": {"rendering": False, "tier": TIER},  # tasks train a tier; the encoder stays as it is
        "narrow tier": {"rendering": False, "tier": TierConfig(size=32)},
        "deep tier": {"rendering": False, "tier": TierConfig(size=128, depth=4)},
        "noisy tier": {"rendering": False, "tier": TierConfig(size=128, bottleneck=1e-4)},
        "recurrent tier": {"rendering": False, "tier": TierConfig(size=128, history=8)},
    }
)
"""Kind -> what its stages change of `SourceConfig`: what trains that which a new task starts from."""


@dataclass(frozen=True)
class Sources:
    """The stages of all seeds that have these tasks."""

    tasks: tuple[str, ...]
    """None: the encoder before any."""
    kind: str = "taught"
    """A key of `KINDS`."""
    steps: int = STEPS
    """Of each task."""
    core: str = CORE
    """The encoder that they start from."""
    batches: int = 1
    """How many times as many samples an update takes: as many steps then make fewer updates."""

    def stage(self, seed: int) -> SourceConfig:
        """With the settings tuned for agents that train an encoder, or below a tier for frozen ones."""
        own = tuned_settings("gqn-frozen" if "tier" in self.kind else "gqn-finetune")
        if "tier" not in self.kind:  # written out, so that other defaults make other stages
            own = {"encoder_rate": Knobs.encoder_rate, "warm_up": Knobs.warm_up} | own
        own = {name: ALGORITHMS["ppo"].settings[name] for name in ("batch_size", "n_steps")} | own
        for name in {"batch_size", "n_steps", "warm_up"} & own.keys():  # as many updates as of as many tasks
            own[name] *= self.batches
        settings = tuple(sorted((name, value) for name, value in own.items() if name != "views"))
        kind = KINDS[self.kind]
        return SourceConfig(self.core, self.tasks, self.steps, settings=settings, seed=seed, **kind)

    @property
    def pattern(self) -> str:
        """What names the encoder in a cell, whatever its seed."""
        return self.stage(0).pattern if self.tasks else self.core


SMALL = (
    Sources(SOURCES[:1]), Sources(SOURCES), Sources(SOURCES[:1], steps=3 * STEPS, batches=3),
    Sources(SOURCES, "blind"), Sources(SOURCES, "untaught"), Sources(SOURCES[:1], "tier"),
    Sources(SOURCES, "tier"), Sources(SOURCES[:1], "tier", steps=3 * STEPS, batches=3),
    Sources(SOURCES[:1], "tier", steps=0),
)  # fmt: skip
"""What the small suites start new tasks from. One task for as many steps, in as many updates, as three is the
control for the number of steps; a tier that nothing has trained is the one for its form."""

ALL_SOURCES = ("Reach-v0", "Grasp-v0", "Pose-v0", "Press-v0", "Point-v0", "Push-v0")
"""Of the full suites: each is held out once, and the others are its sources, in this order."""
FULL_SEEDS = tuple(range(40, 45))
"""Of the full suites."""
COUNTS = (1, 2, 4, 5)
"""How many sources a task that is held out has, from one to all others."""
CONTROL_SOURCES = 4
"""How many the controls have."""
RELATED = {"Point-v0": ("Reach-v0", "Pose-v0", "Track-v0"), "Push-v0": ("Reach-v0", "Grasp-v0", "Press-v0")}
"""New task -> sources that ask for the like: the arm's movement, or things."""


def others(task: str) -> tuple[str, ...]:
    """The sources of a task that is held out."""
    return tuple(one for one in ALL_SOURCES if one != task)


def for_task(task: str) -> list[Sources]:
    """Of the first hypothesis: from one to all others, with rendering and without, and controls of four."""
    known = others(task)
    return [
        *(Sources(known[:count], kind) for kind in ("taught", "blind") for count in COUNTS),
        Sources(known[:1], steps=CONTROL_SOURCES * STEPS, batches=CONTROL_SOURCES),
        *(Sources(known[:CONTROL_SOURCES], kind) for kind in ("untaught", "in turn")),
    ]


FOR_SIZES = tuple(Sources(others("Push-v0")[:CONTROL_SOURCES], core=f"{CORE}-r{size}") for size in SIZES)
"""Of the second: four tasks on codes of every size."""
FOR_TIERS = tuple(
    dict.fromkeys(
        Sources(tasks[:count], kind)
        for tasks in RELATED.values()
        for count, kind in (
            (1, "tier"), (2, "tier"), (3, "tier"), (3, "narrow tier"), (3, "deep tier"),
            (3, "noisy tier"), (3, "recurrent tier"), (3, "taught"),
        )
    )
) + tuple(
    dict.fromkeys(
        control
        for first, *_ in RELATED.values()
        for control in (
            Sources((first,), "tier", steps=3 * STEPS, batches=3), Sources((first,), "tier", steps=0),
        )
    )
)  # fmt: skip
"""Of the third: tiers from one to three related tasks, the encoder that the same three have trained, and the
small suites' controls."""
FULL = tuple(
    dict.fromkeys([*(one for task in ALL_SOURCES for one in for_task(task)), *FOR_SIZES, *FOR_TIERS])
)
"""What the full suites start new tasks from."""
PATTERNS: Mapping[str, Sources] = MappingProxyType({row.pattern: row for row in (*SMALL, *FULL)})
"""Name of a stage with its seed left open -> what it is."""


def stage_named(name: str) -> SourceConfig | None:
    """The stage of that name, with whatever seed; None if it names none."""
    pattern, seed = seed_apart(name)
    return PATTERNS[pattern].stage(seed) if pattern in PATTERNS else None


def seed_apart(name: str) -> tuple[str, int]:
    """A name with its seed left open, and the seed; 0 where it has none."""
    found = re.fullmatch(r"(.+)-seed(\d+)", name)
    return (found[1] + SEED, int(found[2])) if found else (name, 0)
