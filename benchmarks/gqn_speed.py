"""Training steps per second of GQNs by precision: python -m gqn_transfer.benchmarks.gqn_speed

One process, all cores, random images; rows are comparable within one run only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from gqn_transfer.decoders import RenderingDecoder, Schedule
from gqn_transfer.model import GQN, GQNConfig
from gqn_transfer.objectives import Objective
from gqn_transfer.precision import autocast, choose_device
from gqn_transfer.scenes import Batch

MODELS: Mapping[str, GQNConfig] = MappingProxyType(
    {
        "conv-rays": GQNConfig(representation="conv-rays", pixel_components=3),
        "conv-small": GQNConfig(representation="conv-small"),
        "conv": GQNConfig(representation="conv"),
        "pyramid": GQNConfig(representation="pyramid"),
    }
)
VIEWS = 4
"""Three contexts and a query, so that every step costs the same."""


def main(batch: int = 32, steps: int = 10, device: str = "auto") -> None:
    """Time forward, backward and Adam.

    Args:
        batch: Scenes per step.
        steps: Timed steps per row, after two that warm up.
        device: auto, cpu or cuda.
    """
    place, table = choose_device(device), Table("representation", "parameters", "fp32", "bf16", "ratio")
    for name, config in MODELS.items():
        model = GQN(config).to(place)
        rates = [steps_per_second(model, batch, steps, precision) for precision in ("fp32", "bf16")]
        count = sum(parameter.numel() for parameter in model.parameters())
        ratio = f"{rates[1] / rates[0]:.2f}"
        table.add_row(name, f"{count:,}", *(f"{rate:.2f} steps/s" for rate in rates), ratio)
    table.title = f"batch {batch}, 3 contexts, {place.type}, {torch.get_num_threads()} threads"
    Console().print(table)


def steps_per_second(model: GQN, batch: int, steps: int, precision: str) -> float:
    """Of the plain bound on random scenes."""
    objective = Objective(model, {"rendering": RenderingDecoder(model)}, max_contexts=VIEWS - 1)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    scenes, schedule = random_scenes(batch, model.config.image_size), Schedule(0.2, 0.0, False)
    device = next(model.parameters()).device
    for step in range(-2, steps):
        if step == 0:
            started = time.perf_counter()
        with autocast(device, precision):
            loss, _ = objective(scenes, schedule, np.random.default_rng(0))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - started)


def random_scenes(batch: int, image_size: int) -> Batch:
    """Noise of the right shapes."""
    rng = np.random.default_rng(0)
    pixels = (batch, VIEWS, image_size, image_size)
    return Batch(
        rng.integers(0, 256, (*pixels, 3), dtype=np.uint8),
        rng.normal(size=(batch, VIEWS, 7)).astype(np.float32),
        rng.integers(0, 3, pixels, dtype=np.uint8),
        np.zeros((batch, 1), np.float32),
    )


if __name__ == "__main__":
    tyro.cli(main)
