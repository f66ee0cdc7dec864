"""Do encoders converge to one set of weights? How alike those that a suite has made are."""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from gqn_transfer.similarity import agreement_where_shown, linear_cka

from .encoder_report import AGREED, CODES
from .source_config import SEED
from .stages import seed_apart
from .texts import Row, number_text

TABLE = "likeness.csv"
MOST_PAIRS = 500
"""Of encoders of different kinds, with all their seeds: each takes 25 ms."""
Arrays = dict[str, torch.Tensor]


def likeness_rows(folder: Path) -> list[Row]:
    """One row for each two kinds of encoders in `folder`/encoders, a kind with itself too: means over pairs
    of their seeds. Where codes are left out, as in committed results, what `encoders/likeness.csv` says:
    a copy of a report's."""
    found = {path.parent.name: _read(path) for path in sorted((folder / "encoders").glob(f"*/{CODES}"))}
    table = folder / "encoders" / TABLE
    if not found and table.exists():
        with table.open(encoding="utf-8") as file:
            return list(csv.DictReader(file))
    pairs: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for one, other in _pairs(found):
        if _saw_the_same(found[one], found[other]):
            kinds = (seed_apart(one)[0], seed_apart(other)[0])
            pairs[kinds].append(_likeness(found[one], found[other]))
    return [
        {
            "one": one.removesuffix(SEED),
            "other": other.removesuffix(SEED),
            "pairs": str(len(each)),
            "cka": number_text(_mean(row[0] for row in each)),
            **{name: number_text(_mean(row[place] for row in each)) for place, name in enumerate(AGREED, 1)},
        }
        for (one, other), each in pairs.items()
    ]


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Encoders of one kind and several seeds, and of one seed and several kinds: all of these while they are
    few, else one pair of each two kinds."""
    kinds, seeds = [], []
    for one, other in itertools.combinations(names, 2):
        if seed_apart(one)[0] == seed_apart(other)[0]:
            kinds.append((one, other))
        elif _share_a_seed(one, other):
            seeds.append((one, other))
    if len(seeds) > MOST_PAIRS:
        seeds = list(
            {(seed_apart(one)[0], seed_apart(other)[0]): (one, other) for one, other in seeds}.values()
        )
    return kinds + seeds


def _share_a_seed(one: str, other: str) -> bool:
    """True also where one of them has no seed: what all began with."""
    (first, seed), (second, its_seed) = seed_apart(one), seed_apart(other)
    return seed == its_seed or not first.endswith(SEED) or not second.endswith(SEED)


def _saw_the_same(one: Arrays, other: Arrays) -> bool:
    """True if their codes are of the same views: the hand is in the same places."""
    first, second = one.get(AGREED[0]), other.get(AGREED[0])
    return first is not None and second is not None and torch.equal(first, second)


def _likeness(one: Arrays, other: Arrays) -> tuple[float, ...]:
    """Linear CKA, and how much of each quantity the first one's linear probe reads from the second's."""
    ours, theirs = one["codes"], other["codes"]
    read = (agreement_where_shown(ours, theirs, one[name]) if name in one else math.nan for name in AGREED)
    return linear_cka(ours, theirs), *read


def _read(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]).float() for name in file.files}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
