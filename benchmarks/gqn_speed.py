"""Training steps per second of GQNs: python -m gqn_transfer.benchmarks.gqn_speed

Rows: architecture × precision × memory format, each in a process of its own (so that its peak memory is its
own), all cores, random images. Rows are comparable within one run only.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from gqn_transfer.decoders import RenderingDecoder, Schedule
from gqn_transfer.model import GQN, GQNConfig
from gqn_transfer.objectives import Objective
from gqn_transfer.precision import autocast, choose_device
from gqn_transfer.presets import PRESETS
from gqn_transfer.scenes import Batch

from .processes import worker_pool

PAPER = replace(PRESETS["paper"].model, shared_core=True)
MODELS: Mapping[str, GQNConfig] = MappingProxyType(
    {
        "paper, pool, L=4": replace(PAPER, representation="pool", layers=4),
        "paper, tower": PAPER,
        "paper, pyramid": replace(PAPER, representation="pyramid"),
        "cpu-30min": PRESETS["cpu-30min"].model,
    }
)
"""Name -> sizes; "paper" has shared cores and twelve layers unless it says otherwise."""
FORMATS = (
    ("fp32", "contiguous"),
    ("fp32", "channels_last"),
    ("bf16", "contiguous"),
    ("bf16", "channels_last"),
)
PLAIN = FORMATS[0]
"""What a row is compared with."""


class Speed(NamedTuple):
    """Of one row."""

    steps_per_second: float
    peak_bytes: int


def main(
    batch: int = 36,
    contexts: int = 3,
    steps: int = 5,
    models: tuple[str, ...] = (),
    threads: int = 0,
    device: str = "auto",
    compiled: bool = False,
) -> None:
    """Time forward, backward and Adam.

    Args:
        batch: Scenes per step.
        contexts: Context views per scene.
        steps: Timed steps per row, after two that warm up.
        models: Names of rows, all by default.
        threads: Of the CPU; all by default.
        device: auto, cpu or cuda.
        compiled: Use torch.compile.
    """
    chosen = models or tuple(MODELS)
    if unknown := set(chosen) - set(MODELS):
        raise SystemExit(f"unknown models {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    table = Table(
        "architecture", "parameters", "precision", "memory format", "steps/s", "ratio", "peak memory"
    )
    for name in tqdm(chosen, unit="model"):
        found = {}
        for precision, layout in FORMATS:
            job = (MODELS[name], batch, contexts, steps, precision, layout, threads, device, compiled)
            with worker_pool(1, 1, fresh=True) as pool:
                found[precision, layout] = pool.submit(measure, *job).result()
            row = found[precision, layout]
            ratio = row.steps_per_second / found[PLAIN].steps_per_second
            count = sum(parameter.numel() for parameter in GQN(MODELS[name]).parameters())
            table.add_row(
                name, f"{count:,}", precision, layout, f"{row.steps_per_second:.3f}", f"{ratio:.2f}",
                f"{row.peak_bytes / 2**30:.2f} GiB",
            )  # fmt: skip
    table.title = f"batch {batch}, {contexts} contexts, {choose_device(device).type}"
    Console().print(table)


def measure(
    config: GQNConfig, batch: int, contexts: int, steps: int, precision: str, layout: str, threads: int,
    device: str, compiled: bool = False,
) -> Speed:  # fmt: skip
    """Of the plain bound on random scenes, in this process."""
    torch.set_num_threads(threads or torch.get_num_threads())
    place, model = choose_device(device), GQN(config)
    if layout == "contiguous":
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    objective = Objective(model, {"rendering": RenderingDecoder(model)}, max_contexts=contexts).to(place)
    if compiled:
        model.compile_parts()
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    scenes, schedule = random_scenes(batch, contexts + 1, config.image_size), Schedule(0.7, 0.0, False)
    for step in range(-2, steps):
        if step == 0:
            started = time.perf_counter()
        with autocast(place, precision):
            # `_AllContexts` asks for the most contexts, so that every step costs the same.
            loss, _ = objective(scenes, schedule, _AllContexts())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    if place.type == "cuda":
        torch.cuda.synchronize()
    return Speed(steps / (time.perf_counter() - started), peak_bytes(place))


class _AllContexts:
    """A source of randomness that always asks for the most contexts."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)

    def random(self) -> float:
        return 1.0

    def integers(self, low: int, high: int | None = None) -> int:
        return int(self._rng.integers(low)) if high is None else high - 1


def peak_bytes(device: torch.device) -> int:
    """Most memory this process has held: of the GPU if it computes there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def random_scenes(batch: int, views: int, image_size: int) -> Batch:
    """Noise of the right shapes."""
    rng = np.random.default_rng(0)
    pixels = (batch, views, image_size, image_size)
    return Batch(
        rng.integers(0, 256, (*pixels, 3), dtype=np.uint8),
        rng.normal(size=(batch, views, 7)).astype(np.float32),
        rng.integers(0, 3, pixels, dtype=np.uint8),
        np.zeros((batch, 1), np.float32),
    )


if __name__ == "__main__":
    tyro.cli(main)
