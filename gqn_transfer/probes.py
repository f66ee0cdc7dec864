"""Probes: what a code says about the simulator's state, by ridge regression and by a small MLP.

Only the probe is trained; errors are medians over held-out scenes, positions in metres, angles in radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

POSITIONS = ("hand", "target")
"""Quantities with columns `<name>_x`, `_y`, `_z`."""
RIDGE = 1e-3
"""Penalty relative to the number of scenes; codes are standardised."""


class ProbeRow(NamedTuple):
    """One probe of one quantity."""

    probe: str
    """"ridge", "mlp", or "regressor" for an encoder that was trained to read the state itself."""
    quantity: str
    unit: str
    median_error: float
    r2: float


def probe(
    train: tuple[Tensor, np.ndarray], test: tuple[Tensor, np.ndarray], columns: Sequence[str], seed: int = 0
) -> list[ProbeRow]:
    """Rows for codes (N, C) and state (N, S) of training and held-out scenes."""
    (codes, state), (test_codes, test_state) = train, test
    mean, std = codes.mean(0), codes.std(0).clamp(min=1e-6)
    inputs, test_inputs = (codes - mean) / std, (test_codes - mean) / std
    targets = Standardised(state)
    fitted = {
        "ridge": fit_ridge(inputs, targets.values, test_inputs),
        "mlp": fit_mlp(inputs, targets.values, test_inputs, seed),
    }
    return [
        row
        for name, output in fitted.items()
        for row in errors(name, targets.undo(output), test_state, columns)
    ]


class Standardised:
    """Columns with mean 0 and deviation 1, and the way back."""

    def __init__(self, state: np.ndarray) -> None:
        self.mean, self.std = state.mean(0), np.maximum(state.std(0), 1e-6)
        self.values = torch.from_numpy(((state - self.mean) / self.std).astype(np.float32))

    def undo(self, values: Tensor) -> np.ndarray:
        """(N, S) in the state's own units."""
        return values.numpy() * self.std + self.mean


def fit_ridge(inputs: Tensor, targets: Tensor, test_inputs: Tensor) -> Tensor:
    """Predictions (N', S) of ridge regression."""
    penalty = RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)
    return test_inputs @ weights


def fit_mlp(inputs: Tensor, targets: Tensor, test_inputs: Tensor, seed: int, steps: int = 3000) -> Tensor:
    """Predictions (N', S) of a two-layer MLP trained for `steps` batches of 256."""
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
        loss = nn.functional.smooth_l1_loss(network(inputs[rows]), targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        annealing.step()
    with torch.no_grad():
        return network(test_inputs)


def errors(
    probe_name: str, predicted: np.ndarray, state: np.ndarray, columns: Sequence[str]
) -> list[ProbeRow]:
    """One row per position and per joint: predicted (N, S) against state (N, S)."""
    index = {name: k for k, name in enumerate(columns)}
    rows = []
    for name in POSITIONS:
        chosen = [index[f"{name}_{axis}"] for axis in "xyz"]
        distance = np.linalg.norm(predicted[:, chosen] - state[:, chosen], axis=1)
        rows.append(ProbeRow(probe_name, name, "m", float(np.median(distance)), r2(predicted, state, chosen)))
    for joint in sorted(name.removesuffix("_sin") for name in columns if name.endswith("_sin")):
        chosen = [index[f"{joint}_sin"], index[f"{joint}_cos"]]
        angle = [np.arctan2(*values[:, chosen].T) for values in (predicted, state)]
        wrapped = np.abs((angle[0] - angle[1] + np.pi) % (2 * np.pi) - np.pi)
        rows.append(
            ProbeRow(probe_name, joint, "rad", float(np.median(wrapped)), r2(predicted, state, chosen))
        )
    return rows


def r2(predicted: np.ndarray, state: np.ndarray, chosen: list[int]) -> float:
    """Share of the variance of the chosen columns that is explained, over all of them."""
    residual = ((predicted[:, chosen] - state[:, chosen]) ** 2).sum()
    total = ((state[:, chosen] - state[:, chosen].mean(0)) ** 2).sum()
    return float(1 - residual / total)
