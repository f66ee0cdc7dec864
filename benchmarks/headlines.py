"""Sentences computed from the numbers: what a panel shows, worded no stronger than it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .groups import Panel
from .protocol import HEADLINERS, RAW_PIXELS, Comparison, headliner, strongest_baseline
from .statistics import Estimate, Ratio, two_digits

LIKE = 0.05
"""Ratios within 5 % of one are "about as many"."""
CLEAR_PAIRS, LUCKY = 5, {2: 5, 3: 17, 4: 30}
"""Seeds from which on an interval above 1 is called clear. The bootstrap of fewer pairs is too narrow: in
comparisons simulated once (docs/decisions/0015) two equal methods have one in about 3 % with four, 6 % with
three, up to 22 % with two, 1 % with five."""


def panel_headline(panel: Panel, comparison: Comparison | None) -> str:
    """One sentence: the first GQN method against the strongest raw-pixel baseline."""
    if comparison is None:
        return f"{panel.title}: no comparison, for {_missing(panel)}."
    method, baseline = comparison.method.label, comparison.baseline.label
    where = f"{_percent(panel.threshold)} success on {panel.title}"
    sentence = _claim(comparison, method, baseline, where) + _notes(comparison)
    seeds = len(comparison.baseline.finished)
    waiting = [g.label for g in panel.groups if g.method in RAW_PIXELS and len(g.finished) < seeds]
    return f"{sentence}{'; without all seeds yet: ' if waiting else ''}{', '.join(waiting)}."


def suite_headline(comparisons: Sequence[Comparison | None]) -> str:
    """How many of several panels show a gain whose interval lies wholly above 1; one pair has no interval."""
    known = [one for one in comparisons if one is not None and one.ratio.pairs > 1]
    if not known:
        return f"No comparison yet: none of {len(comparisons)} settings has two seeds of all that it takes."
    clear: dict[str, list[bool]] = {}
    for one in known:
        clear.setdefault(one.method.method, []).append(one.ratio.low > 1)
    counts = [f"{method} in {sum(each)} of {len(each)}" for method, each in clear.items()]
    waiting = len(comparisons) - len(known)
    note = f" ({waiting} not measured yet)" if waiting else ""
    gains = [one for one in known if one.ratio.low > 1]
    few = min(one.ratio.pairs for one in gains or known)
    how = "Clearly fewer" if few >= CLEAR_PAIRS else "Fewer"
    doubt = _doubt(few) if gains else ""
    return f"{how} interactions than {_baselines(known)}: {', '.join(counts)} settings{note}{doubt}."


def _doubt(pairs: int) -> str:
    """What intervals from so few pairs of seeds are worth."""
    if pairs >= CLEAR_PAIRS:
        return ""
    return f" ({pairs} seeds: of two equal methods one in {LUCKY[pairs]} comparisons would say the same)"


def ratio_note(found: Ratio) -> str:
    """The interval and number of pairs, for brackets: "95 % interval 2.2–6.0, 5 seeds"."""
    seeds = f"{found.pairs} seed{'s' * (found.pairs != 1)}"
    interval = f"95 % interval {found.interval_text}" if found.interval_text else "no interval"
    return f"{interval}, {seeds}"


def area_text(area: Estimate) -> str:
    """ "+0.210 (0.120 to 0.300)"; "" for nan, no brackets for one seed."""
    if math.isnan(area.value):
        return ""
    interval = "" if math.isnan(area.low) else f" ({area.low:+.3f} to {area.high:+.3f})"
    return f"{area.value:+.3f}{interval}"


def _claim(comparison: Comparison, method: str, baseline: str, where: str) -> str:
    found = comparison.ratio
    budget = f"{comparison.baseline.budget:,.0f} steps"
    if found.kind == "no_pairs":
        return f"{method} and {baseline} have no finished seed in common for {where}"
    if found.kind == "not_reached":
        return f"Neither {method} nor {baseline} reaches {where} within {budget}, by their median seeds"
    if found.kind == "at_least":
        more = two_digits(found.value, "at_least")
        return (
            f"{method} reaches {where} and the median seed of {baseline} does not within {budget}: "
            f"more than {more}x fewer interactions"
        )
    if found.kind == "at_most":
        most = two_digits(1 / found.value, "at_least")
        return (
            f"the median seed of {method} does not reach {where} within {comparison.method.budget:,.0f} "
            f"steps and {baseline} does: more than {most}x as many interactions"
        )
    if abs(found.value - 1) <= LIKE:
        return f"{method} needs about as many interactions as {baseline} to reach {where}"
    if found.value > 1:
        factor = two_digits(found.value)
        return f"{method} needs {factor}x fewer interactions than {baseline} to reach {where}"
    factor = two_digits(1 / found.value)
    return f"{method} is slower: it needs {factor}x as many interactions as {baseline} for {where}"


def _notes(comparison: Comparison) -> str:
    found = comparison.ratio
    if found.kind == "no_pairs":
        return ""
    area = f"area under the curve {area_text(comparison.area)} against {comparison.baseline.label}"
    if found.kind == "not_reached":
        return f"; {area}, {found.pairs} seed{'s' * (found.pairs != 1)}"
    what = "as ratio, " if found.value < 1 + LIKE else ""
    text = f" ({what}{ratio_note(found)})"
    if found.kind != "estimate":
        text += f"; {area}"
    elif found.low <= 1 <= found.high:
        text += "; the interval includes 1, so the difference is not clear"
    sides = (comparison.method, comparison.baseline)
    failed = sum(len(group.with_status("failed")) for group in sides)
    return text + (f"; {failed} failed seed{'s' * (failed > 1)} left out" if failed else "")


def _missing(panel: Panel) -> str:
    lacks = []
    if panel.oracle is None:
        lacks.append("no seed of the state oracle is finished, so there is no threshold")
    elif panel.threshold is None:
        lacks.append("the state oracle never succeeds, so there is no threshold")
    if headliner(panel) is None:
        lacks.append(f"no seed of {', '.join(HEADLINERS)} is finished")
    if strongest_baseline(panel) is None:
        lacks.append(f"no seed of a raw-pixel baseline ({', '.join(RAW_PIXELS)}) is finished")
    return "; ".join(lacks)


def _baselines(known: Sequence[Comparison]) -> str:
    names = ", ".join(dict.fromkeys(one.baseline.label for one in known))
    if all(one.baseline.method in RAW_PIXELS for one in known):
        return f"the strongest raw-pixel baseline here ({names})"
    return f"their controls ({names})"


def _percent(threshold: float | None) -> str:
    return f"{100 * (threshold or 0):.0f} %"
