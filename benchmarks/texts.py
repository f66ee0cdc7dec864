"""Numbers as the texts that the page, the terminal and the tables share."""

from __future__ import annotations

import math

from .statistics import Estimate, Ratio

Row = dict[str, str]
"""Column -> text; "" is a number that does not exist (yet)."""


def number_text(value: float | None, decimals: int = 3) -> str:
    """Fixed decimals; "" for None and nan."""
    return "" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def steps_text(steps: float) -> str:
    """Whole steps; "censored" for inf, "" for nan."""
    return "censored" if math.isinf(steps) else number_text(steps, 0)


def interval(row: Row, name: str) -> str:
    """ "0.480 (0.410–0.550)", without brackets for one seed, "" without a seed."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]} ({low}–{high})" if low else row[name]


def estimate_text(found: Estimate) -> str:
    """ "0.48 (0.41–0.55)", without brackets for one run, "–" for nan."""
    value, low, high = (number_text(number, 2) for number in found)
    return (f"{value} ({low}–{high})" if low else value) or "–"


def ratio_text(ratio: Ratio) -> str:
    """ "4.1x [2.2–6.0]", ">4.0x [1.9–∞]", "not reached", "2.0x" for one pair of seeds."""
    if ratio.kind == "not_reached" or not ratio.interval_text:
        return ratio.text
    return f"{ratio.text} [{ratio.interval_text}]"
