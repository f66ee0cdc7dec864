"""Grids of cells: every combination of tasks, cameras, methods and seeds, each method with its encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .cells import OPTION_KEYS, Cell
from .tuned import tuned_settings

TRAINED_BY: Mapping[str, str] = MappingProxyType(
    {
        "random-frozen": "random", "ae-frozen": "ae", "supervised-frozen": "supervised", "gqn-frozen": "gqn",
        "pixels-gqn-arch": "gqn", "gqn-finetune": "gqn", "gqn-aux": "gqn", "gqn-tier2": "tier2",
    }
)  # fmt: skip
"""Method -> what its encoder was trained by; where the agent trains new weights, that encoder's architecture
is taken."""
FAMILIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "smoke": {"gqn": "smoke-gqn"},
        "reach": {
            "gqn": "reach-gqn", "random": "reach-random", "ae": "reach-ae", "supervised": "reach-supervised",
        },
        "small": {
            "gqn": "jaco-small", "ae": "jaco-small-ae", "supervised": "jaco-small-supervised",
            "random": "reach-random",
        },
        "core": {"gqn": "jaco-core", "ae": "jaco-core-ae"},
        "256": {"gqn": "jaco-256", "ae": "jaco-256-ae", "random": "jaco-256-random"},
    }
)  # fmt: skip
"""Family -> what trained an encoder -> its recipe in `artefacts.ENCODERS`, or its shipped name. Encoders of a
family have the same architecture, and those that were trained saw the same frames."""


def grid(
    suite: str,
    tasks: Iterable[str],
    cameras: Iterable[str],
    methods: Mapping[str, int],
    seeds: Iterable[int],
    family: str = "reach",
    tuned: bool = False,
    algo: str = "ppo",
    **options: Any,
) -> tuple[Cell, ...]:
    """Every combination.

    methods: each method's budget in steps; family: of the encoders, a key of `FAMILIES`; tuned: with the
    settings that `gqn-bench tune` has found, where `options` do not say otherwise.
    """
    if unknown := [key for key in options if key not in OPTION_KEYS]:
        raise ValueError(f"unknown options {', '.join(unknown)}; known: {', '.join(OPTION_KEYS)}")
    if tuned and algo != "ppo":
        raise ValueError(f"tuned settings are those of ppo, not of {algo}: leave tuned out")
    changed = {method: (tuned_settings(method) if tuned else {}) | options for method in methods}
    return tuple(
        Cell(
            suite, task, method, algo, camera, encoder_for(method, family), seed, steps,
            tuple(sorted(changed[method].items())),
        )
        for task in tasks
        for camera in cameras
        for method, steps in methods.items()
        for seed in seeds
    )  # fmt: skip


def encoder_for(method: str, family: str) -> str:
    """The method's encoder in a family, "" if it needs none; ValueError if the family lacks it."""
    if method not in TRAINED_BY:
        return ""
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    known = FAMILIES[family]
    if TRAINED_BY[method] not in known:
        raise ValueError(
            f"family {family!r} has no encoder trained by {TRAINED_BY[method]!r}, which method {method!r} "
            f"needs; it has {', '.join(known)}"
        )
    return known[TRAINED_BY[method]]
