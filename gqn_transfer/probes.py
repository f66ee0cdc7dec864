"""Probes: what a code says about the simulator's state, by ridge regression and by a small MLP.

Only the probe is trained; errors are medians over held-out scenes: positions in metres, angles in radians,
colours as distances between (red, green, blue) in [0, 1]. A scene does not count for what it does not hold,
neither where probes are fitted nor where they are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .state_columns import Standardised, held

POSITIONS = ("hand", "target", "object", "camera")
"""Quantities with columns `<name>_x`, `_y`, `_z`."""
CONSTANT = 1e-5
"""Columns that deviate less than this over the held-out scenes are constant: nothing to read, and no R²."""
RIDGE = 1e-3
"""Penalty relative to the number of scenes; codes are standardised."""


class Coded(NamedTuple):
    """Views of N scenes, encoded one by one."""

    codes: Tensor
    """(N, C)."""
    state: np.ndarray
    """float32 (N, S) of their scenes."""


class ProbeRow(NamedTuple):
    """One probe of one quantity."""

    probe: str
    """"ridge", "mlp", "guess" without looking, or "regressor" for an encoder that was trained to read it."""
    quantity: str
    unit: str
    median_error: float
    r2: float


def probe(
    train: Coded, tests: Sequence[Coded], columns: Sequence[str], seed: int = 0
) -> list[list[ProbeRow]]:
    """Rows for each of `tests`, of probes fitted on `train`."""
    (codes, state), sizes = train, [len(each.codes) for each in tests]
    mean, std = codes.mean(0), codes.std(0).clamp(min=1e-6)
    inputs = (codes - mean) / std
    test_inputs = (torch.cat([each.codes for each in tests]) - mean) / std
    known = torch.from_numpy(held(state, columns))
    targets = Standardised(state, known.numpy())
    fitted = {
        "ridge": fit_ridge(inputs, targets.values, test_inputs, known),
        "mlp": fit_mlp(inputs, targets.values, test_inputs, seed, known),
    }
    read = {name: torch.split(output, sizes) for name, output in fitted.items()}
    return [
        [
            row
            for name, outputs in read.items()
            for row in errors(name, targets.undo(outputs[k]), each.state, columns)
        ]
        for k, each in enumerate(tests)
    ]


def fit_ridge(inputs: Tensor, targets: Tensor, test_inputs: Tensor, known: Tensor | None = None) -> Tensor:
    """Predictions (N', S) of ridge regression, of each column on the rows where it is known, bool (N, S)."""
    if known is None or known.all():
        return _ridge(inputs, targets, test_inputs)
    kinds, kind_of = torch.unique(known, dim=1, return_inverse=True)
    predicted = torch.zeros(len(test_inputs), targets.shape[1])
    for kind, rows in enumerate(kinds.T):
        columns = kind_of == kind
        predicted[:, columns] = _ridge(inputs[rows], targets[rows][:, columns], test_inputs)
    return predicted


def _ridge(inputs: Tensor, targets: Tensor, test_inputs: Tensor) -> Tensor:
    """Predictions (N', S'), with an intercept; zero where there is nothing to fit."""
    if not len(inputs):
        return torch.zeros(len(test_inputs), targets.shape[1])
    centre, middle = inputs.mean(0), targets.mean(0)
    inputs, penalty = inputs - centre, RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ (targets - middle))
    return (test_inputs - centre) @ weights + middle


def fit_mlp(
    inputs: Tensor,
    targets: Tensor,
    test_inputs: Tensor,
    seed: int,
    known: Tensor | None = None,
    steps: int = 3000,
) -> Tensor:
    """Predictions (N', S) of a two-layer MLP trained for `steps` batches of 256, on what is known."""
    known = torch.ones_like(targets, dtype=torch.bool) if known is None else known
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(inputs.shape[1], 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(),
            nn.Linear(256, targets.shape[1]),
        )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (256,), generator=generator)
        off = nn.functional.smooth_l1_loss(network(inputs[rows]), targets[rows], reduction="none")
        loss = off[known[rows]].mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        annealing.step()
    with torch.no_grad():
        return network(test_inputs)


class Quantity(NamedTuple):
    """What a probe is asked for: some columns of the state, read together."""

    name: str
    unit: str
    """"m" for positions, "rad" for angles, "rgb" for colours, whose channels lie in [0, 1]."""
    columns: list[int]

    def shown_in(self, state: np.ndarray) -> np.ndarray:
        """bool (N,): the scenes that hold it."""
        return np.any(state[:, self.columns] != 0, axis=1)

    def distances(self, predicted: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Errors (N,) in `unit`: Euclidean, or the angle between the two directions."""
        ours, theirs = predicted[:, self.columns], state[:, self.columns]
        if self.unit != "rad":
            return np.linalg.norm(ours - theirs, axis=1)
        angle = np.arctan2(*ours.T) - np.arctan2(*theirs.T)
        return np.abs((angle + np.pi) % (2 * np.pi) - np.pi)


def quantities(columns: Sequence[str]) -> list[Quantity]:
    """Positions, joints and colours that these columns of the state hold, found by name."""
    index = {name: k for k, name in enumerate(columns)}

    def named(name: str, unit: str, parts: Sequence[str]) -> list[Quantity]:
        wanted = [f"{name}_{part}" for part in parts]
        return [Quantity(name, unit, [index[key] for key in wanted])] if index.keys() >= set(wanted) else []

    joints = sorted(name.removesuffix("_sin") for name in columns if name.endswith("_sin"))
    things = [name.removesuffix("_red") for name in columns if name.endswith("_red")]
    found = [quantity for name in POSITIONS for quantity in named(name, "m", "xyz")]
    found += [quantity for name in joints for quantity in named(name, "rad", ("sin", "cos"))]
    colours = [quantity for name in things for quantity in named(name, "rgb", ("red", "green", "blue"))]
    return found + [quantity._replace(name=f"{quantity.name}_colour") for quantity in colours]


def constants(state: np.ndarray, columns: Sequence[str]) -> list[str]:
    """Names of the quantities that are the same in all rows of state (N, S): no probe is judged by them."""
    return [one.name for one in quantities(columns) if is_constant(one, state)]


def is_constant(quantity: Quantity, state: np.ndarray) -> bool:
    """True if none of its columns changes over the scenes (N, S) that hold it."""
    shown = state[quantity.shown_in(state)][:, quantity.columns]
    return len(shown) == 0 or bool((np.ptp(shown, axis=0) < CONSTANT).all())


def errors(
    probe_name: str, predicted: np.ndarray, state: np.ndarray, columns: Sequence[str]
) -> list[ProbeRow]:
    """One row for each quantity that is not constant: predicted (N, S) against state (N, S)."""
    rows = []
    for one in quantities(columns):
        if is_constant(one, state):
            continue
        shown = one.shown_in(state)
        ours, theirs = predicted[shown], state[shown]
        median = float(np.median(one.distances(ours, theirs)))
        rows.append(ProbeRow(probe_name, one.name, one.unit, median, r2(ours, theirs, one.columns)))
    return rows


def guess(train_state: np.ndarray, test_state: np.ndarray, columns: Sequence[str]) -> list[ProbeRow]:
    """What one gets without looking: the mean of the training scenes that hold it as the answer for every
    held-out scene."""
    mean = np.broadcast_to(Standardised(train_state, held(train_state, columns)).mean, test_state.shape)
    return errors("guess", mean, test_state, columns)


def r2(predicted: np.ndarray, state: np.ndarray, chosen: list[int]) -> float:
    """Share of the variance of the chosen columns that is explained, over all of them."""
    residual = ((predicted[:, chosen] - state[:, chosen]) ** 2).sum()
    total = ((state[:, chosen] - state[:, chosen].mean(0)) ** 2).sum()
    return float(1 - residual / total)
