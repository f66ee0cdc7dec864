"""Grids of cells: every combination of tasks, cameras, methods and seeds, each method with its encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gqn_transfer.agents.methods import method_named
from gqn_transfer.choices import named, refuse_unknown

from .cells import OPTION_KEYS, Cell
from .tuned import tuned_settings

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
"""Family -> what trained an encoder (`Method.trained_by`) -> its recipe, see `artefacts.recipe_of`, or its
shipped name. Encoders of a family have the same architecture; those that were trained saw the same frames."""


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
    refuse_unknown(options, OPTION_KEYS, "options")
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
    trained_by = method_named(method).trained_by
    if not trained_by:
        return ""
    known = named(FAMILIES, family, "family")
    if trained_by not in known:
        raise ValueError(
            f"family {family!r} has no encoder trained by {trained_by!r}, which method {method!r} "
            f"needs; it has {', '.join(known)}"
        )
    return known[trained_by]
