"""Settings that ran for longer than the search's trials, where those told nothing apart: one row each.

Within the 100,000 steps of a trial raw pixels succeed in next to no episode, so that noise might have chosen
for them; and what is best for a frozen encoder need not be for one that is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Contest:
    """Settings of one method against each other."""

    steps: int
    """Of each run."""
    seeds: tuple[int, ...]
    """From 1,000 on: no result uses them."""
    rows: tuple[Mapping[str, Any], ...]
    """What they change of `DEFAULTS`; the first has won, by the value of a trial."""


LARGE_BATCHES: Mapping[str, Any] = MappingProxyType(
    {
        "learning_rate": 2e-4, "batch_size": 500, "n_epochs": 5, "ent_coef": 0.003, "head_width": 128,
        "views": 3,
    }
)  # fmt: skip
"""What the search chose for raw pixels, but for the shift."""
SMALL_STEPS: Mapping[str, Any] = MappingProxyType(
    {
        "learning_rate": 1e-4, "batch_size": 500, "n_epochs": 20, "ent_coef": 0.001, "gae_lambda": 0.9,
        "head_width": 128, "views": 3,
    }
)  # fmt: skip
"""What it chose for the frozen GQN."""
ONE_VIEW = {name: value for name, value in LARGE_BATCHES.items() if name != "views"}
"""The same where an encoder is trained: every view more would cost as much again as nearly all the rest."""
CONTESTS: Mapping[str, Contest] = MappingProxyType(
    {
        "pixels": Contest(
            400_000,
            (1100,),
            (
                LARGE_BATCHES,
                {},
                {**LARGE_BATCHES, "vf_coef": 0.1},
                {**LARGE_BATCHES, "n_epochs": 10},
                {**LARGE_BATCHES, "n_epochs": 3},
                {**LARGE_BATCHES, "learning_rate": 1e-4},
                SMALL_STEPS,
            ),
        ),
        "pixels-aug": Contest(400_000, (1100,), ({**LARGE_BATCHES, "shift": 1},)),
        "pixels-gqn-arch": Contest(100_000, (1100,), (ONE_VIEW, {})),
        "gqn-finetune": Contest(
            100_000,
            (1100,),
            (
                ONE_VIEW,
                {},
                {"learning_rate": 1e-3, "batch_size": 125, "ent_coef": 0.001, "gae_lambda": 0.9},
            ),
        ),
        "gqn-aux": Contest(100_000, (1100,), ({}, ONE_VIEW)),
    }
)
"""Method -> its contest: suite `settings`."""
