"""How alike several checkpoints see: their codes of the same views, two by two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from gqn_transfer.probes import quantities
from gqn_transfer.similarity import agreement_where_shown, linear_cka

from .checkpoint_evaluation import Evaluated, Ground
from .encoder_probes import codes_of_views
from .encoder_report import AGREED


class Likeness(NamedTuple):
    """Two checkpoints on the same held-out views."""

    one: str
    other: str
    cka: float
    """Linear CKA: 1 if the codes differ by rotation and scale alone."""
    hand: float
    """Share of the hand's place that the first one's linear probe reads from the second one's codes; nan if
    their lengths differ."""
    target: float
    """The same of the target's."""


def likenesses(ground: Ground, checkpoints: Mapping[str, Evaluated]) -> list[Likeness]:
    """Every pair, in the order given; empty for a single one. All views of the held-out scenes count, each by
    itself: many more than a code has numbers, or unrelated codes would look alike."""
    if len(checkpoints) < 2:
        return []
    codes = {
        label: codes_of_views(one.subject.folder, ground.test, ground.count, ground.device)
        for label, one in checkpoints.items()
    }
    state = ground.test.all_state()[: ground.count]
    views = np.repeat(state, ground.test.meta["views"], axis=0)
    known = {
        one.name: torch.from_numpy(views[:, one.columns]).float()
        for one in quantities(ground.test.meta["state_columns"])
    }
    return [
        Likeness(
            one, other, linear_cka(codes[one], codes[other]),
            *(
                agreement_where_shown(codes[one], codes[other], known[name]) if name in known else math.nan
                for name in AGREED
            ),
        )
        for one, other in itertools.combinations(checkpoints, 2)
    ]  # fmt: skip
