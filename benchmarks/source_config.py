"""A source stage as data: which tasks train what on which encoder, for how long, and its name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gqn_transfer.tier import TierConfig

SEED = "-seed{seed}"
"""At the end of a stage's name, filled or left open."""


@dataclass(frozen=True)
class SourceConfig:
    """One source stage. Equal configs give equal encoders."""

    encoder: str
    """The name of its start, whose generator goes along if rendering goes on."""
    tasks: tuple[str, ...]
    """In the order of their heads."""
    steps: int = 200_000
    """Environment steps of each task."""
    rendering: bool = True
    """The GQN's bound stays on as a loss beside the tasks'."""
    tier: TierConfig | None = None
    """What is trained instead of the encoder: a second representation on top of it."""
    teach: bool = True
    """The tasks train the encoder; else their heads alone, and rendering what they meet trains it."""
    in_turn: bool = False
    """The tasks are learned one after another, each alone."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Of `agents.build_multitask.Sharing` and of PPO, sorted: what differs from the defaults."""
    seed: int = 0
    """Of heads, environments and batches; not part of what the stage is."""
    num_envs: int = 16
    """Of each task."""
    evaluate_every: int = 20_000
    """Steps of each task."""
    episodes: int = 50
    """Of an evaluation of a task."""

    def __post_init__(self) -> None:
        if self.tier is not None and self.rendering:
            raise ValueError(
                "below a tier the encoder is frozen, and rendering has nothing to train: leave it out"
            )
        if not (self.teach or self.rendering):
            raise ValueError("neither tasks nor rendering train the encoder: leave teach or rendering on")
        if self.steps % self.evaluate_every:
            raise ValueError(
                f"steps={self.steps}, evaluate_every={self.evaluate_every}: a stage ends at an evaluation"
            )

    @property
    def name(self) -> str:
        """Of its folder: what is in it, 8 hex digits of all its fields but the seed, and the seed."""
        return self.pattern.replace("{seed}", str(self.seed))

    @property
    def pattern(self) -> str:
        """Its name with the seed left open, for cells that each have a stage of their own seed."""
        fields = {key: value for key, value in asdict(self).items() if key != "seed"}
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        tasks = "-".join(task.split("-")[0] for task in self.tasks)
        kind = "-tier" if self.tier else "-untaught" if not self.teach else "" if self.rendering else "-blind"
        kind += "-in-turn" * self.in_turn
        what = f"{Path(self.encoder).name}-{tasks}-{self.steps // 1000}k{kind}".lower()
        return f"{what}-{digest}" + SEED
