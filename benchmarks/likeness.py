"""How alike several checkpoints see: their codes of the same views, two by two."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from gqn_transfer.compact import Compact
from gqn_transfer.encoder import encode_scenes, load_encoder
from gqn_transfer.probes import Quantity, quantities
from gqn_transfer.similarity import linear_cka, probe_agreement

from .checkpoint_evaluation import Evaluated, Ground
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
    codes = {label: _codes(one, ground) for label, one in checkpoints.items()}
    state = ground.test.all_state()[: ground.count]
    views = np.repeat(state, ground.test.meta["views"], axis=0)
    known = {one.name: one for one in quantities(ground.test.meta["state_columns"])}
    return [
        Likeness(
            one, other, linear_cka(codes[one], codes[other]),
            *(_agreement(codes[one], codes[other], known.get(name), views) for name in AGREED),
        )
        for one, other in itertools.combinations(checkpoints, 2)
    ]  # fmt: skip


def _codes(one: Evaluated, ground: Ground) -> torch.Tensor:
    """(count * views, C), scene by scene, so that halves share no scene."""
    encoder = Compact(load_encoder(one.subject.folder)).to(ground.device)
    found = [
        encode_scenes(encoder, ground.test, ground.count, view, precision="fp32")
        for view in range(ground.test.meta["views"])
    ]
    return torch.stack(found, 1).flatten(0, 1).cpu()


def _agreement(one: torch.Tensor, other: torch.Tensor, quantity: Quantity | None, state: np.ndarray) -> float:
    if quantity is None or one.shape != other.shape:
        return float("nan")
    shown = torch.from_numpy(quantity.shown_in(state))  # else what is read is whether it is there at all
    values = torch.from_numpy(state[:, quantity.columns]).float()
    return probe_agreement(one[shown], other[shown], values[shown])
