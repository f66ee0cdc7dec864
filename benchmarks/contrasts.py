"""Pairs that decide a hypothesis: which arm of a transfer suite is compared with which control.

Chosen before any of them ran; the first one of a suite makes its headline.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from gqn_transfer.presets import SIZES

from .groups import Group, Panel
from .headlines import area_text
from .protocol import Comparison, compare
from .source_config import SEED
from .stages import CONTROL_SOURCES, CORE, RELATED, SOURCES, STEPS, Sources, others
from .texts import Row, ratio_text
from .transfer_suites import HEADS, SMALL_SIZES, Arm, frozen
from .tuned import tuned_settings


class Contrast(NamedTuple):
    """An arm and its control."""

    question: str
    """What the pair answers, for people."""
    arm: Arm
    control: Arm


PLAIN, EQUAL, DEEP = HEADS


def of_tasks(sources: tuple[str, ...]) -> tuple[Contrast, ...]:
    """Of the first hypothesis, with these source tasks."""
    every, count = frozen(Sources(sources)), len(sources)
    longer = frozen(Sources(sources[:1], steps=count * STEPS, batches=count))
    return (
        Contrast("all source tasks or none", every, PLAIN),
        Contrast("all source tasks or one for as many steps", every, longer),
        Contrast("with rendering or without", every, frozen(Sources(sources, "blind"))),
        Contrast("tasks and rendering or rendering alone", every, frozen(Sources(sources, "untaught"))),
        Contrast("one source task or none", frozen(Sources(sources[:1])), PLAIN),
    )


def of_tiers(sources: tuple[str, ...]) -> tuple[Contrast, ...]:
    """Of the third, with these source tasks."""
    tier, count = frozen(Sources(sources, "tier")), len(sources)
    longer = frozen(Sources(sources[:1], "tier", steps=count * STEPS, batches=count))
    return (
        Contrast("a tier or heads with as many weights", tier, EQUAL),
        Contrast("a tier or deeper heads", tier, DEEP),
        Contrast("a tier or the encoder that the same tasks trained", tier, frozen(Sources(sources))),
        Contrast("a tier of all tasks or of one for as many steps", tier, longer),
        Contrast("a tier or one that nothing trained", tier, frozen(Sources(sources[:1], "tier", steps=0))),
    )


def of_sizes(*encoders: str) -> tuple[Contrast, ...]:
    """Of the second: each size against the one before."""
    return tuple(
        Contrast("a larger code or a smaller one", ("gqn-frozen", large, {}), ("gqn-frozen", small, {}))
        for small, large in itertools.pairwise(encoders)
    )


CONTRASTS: Mapping[str, Callable[[str], tuple[Contrast, ...]]] = MappingProxyType(
    {
        "tasks-small": lambda _: of_tasks(SOURCES),
        "sizes-small": lambda _: of_sizes(*(f"reach-point-r{size}{SEED}" for size in SMALL_SIZES)),
        "tiers-small": lambda _: of_tiers(SOURCES),
        "tasks": lambda task: of_tasks(others(task)[:CONTROL_SOURCES]),
        "sizes": lambda _: of_sizes(*(f"{CORE}-r{size}" for size in SIZES)),
        "tiers": lambda task: of_tiers(RELATED[task]) if task in RELATED else (),
    }
)
"""Suite -> task -> its contrasts."""


def decides(panel: Panel) -> bool:
    """True if the panel is one of transfer: its methods run with many encoders each, none of which speaks for
    the method."""
    return bool(_chosen(panel))


def contrasts_of(panel: Panel, rng: np.random.Generator) -> list[tuple[str, Comparison | None]]:
    """Question and comparison of every contrast, None while one of its sides is not finished."""
    return [(contrast.question, _compared(contrast, panel, rng)) for contrast in _chosen(panel)]


def _chosen(panel: Panel) -> list[Contrast]:
    suites = dict.fromkeys(record.cell.suite for group in panel.groups for record in group.records)
    return [one for suite in suites for one in CONTRASTS.get(suite, lambda _: ())(panel.task)]


def _compared(contrast: Contrast, panel: Panel, rng: np.random.Generator) -> Comparison | None:
    arm, control = _group_of(contrast.arm, panel), _group_of(contrast.control, panel)
    return compare(panel, arm, control, rng) if arm and control else None


def contrast_rows(found: Sequence[tuple[str, Comparison | None]]) -> list[Row]:
    """One row for each that is there, in the order of the suite."""
    return [
        {
            "question": question,
            "arm": one.method.label,
            "control": one.baseline.label,
            "seeds": str(one.ratio.pairs),
            "ratio": ratio_text(one.ratio),
            "area_difference": area_text(one.area),
        }
        for question, one in found
        if one is not None
    ]


def _group_of(arm: Arm, panel: Panel) -> Group | None:
    method, encoder, changed = arm
    options = tuned_settings(method) | dict(changed)
    for group in panel.groups_of([method]):
        if group.cell.encoder == encoder and group.cell.agent_options == options:
            return group
    return None
