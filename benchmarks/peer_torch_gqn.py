"""Training steps against a public port: python -m gqn_transfer.benchmarks.peer_torch_gqn --clone FOLDER

The port is iShohei220/torch-gqn, the one that others confirmed to draw well; FOLDER is a clone of it (it has
no licence, so none of it is here). Both take the paper's pool network with shared cores on the same noise:
forward, bound, backward, Adam.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gqn_transfer.model import GQN
from gqn_transfer.precision import autocast, choose_device
from gqn_transfer.presets import PRESETS

SIGMA = 0.7
Step = Callable[[str], None]
"""One gradient step in a precision."""


def main(
    clone: Path, batch: int = 4, contexts: int = 3, layers: int = 4, rounds: int = 3, threads: int = 1,
    device: str = "auto",
) -> None:  # fmt: skip
    """Time the two in turns; a row is the fastest of its rounds.

    Args:
        clone: Folder with the port's model.py.
        batch: Scenes per step.
        contexts: Context views per scene.
        layers: Latent layers.
        rounds: Timed steps of each row, in turns with the others.
        threads: Of the CPU.
        device: auto, cpu or cuda.
    """
    torch.set_num_threads(threads)
    place = choose_device(device)
    views = random_views(batch, contexts, place)
    steps = {"the port": their_step(clone, layers, views, place), "ours": our_step(layers, views, place)}
    seconds = fastest(steps, rounds, place)
    table = Table("who", "precision", "seconds a step", "times as fast", title=f"batch {batch}, {place.type}")
    for (who, precision), taken in seconds.items():
        ratio = seconds["the port", "fp32"] / taken
        table.add_row(who, precision, f"{taken:.3f}", f"{ratio:.2f}")
    Console().print(table)


def fastest(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[tuple[str, str], float]:
    """Seconds by (who, precision), taken in turns after one step that warms up."""
    rows = [(who, precision) for precision in ("fp32", "bf16") for who in steps]
    seconds: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
    for _ in range(rounds + 1):
        for who, precision in rows:
            started = time.perf_counter()
            steps[who](precision)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[who, precision].append(time.perf_counter() - started)
    return {row: min(taken[1:]) for row, taken in seconds.items()}


def random_views(batch: int, contexts: int, device: torch.device) -> tuple[Tensor, ...]:
    """Context images and viewpoints, the query's image and viewpoint."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, contexts, 3, 64, 64), (batch, contexts, 7), (batch, 3, 64, 64), (batch, 7))
    return tuple(torch.rand(shape, generator=generator).to(device) for shape in shapes)


def their_step(clone: Path, layers: int, views: tuple[Tensor, ...], device: torch.device) -> Step:
    """The port as it is; bf16 is ours to try, it has none."""
    model = _peers_module(clone).GQN(representation="pool", L=layers, shared_core=True).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5)
    images, viewpoints, query_image, query_viewpoint = views

    def step(precision: str) -> None:
        with autocast(device, precision):
            loss = -model(images, viewpoints, query_viewpoint, query_image, SIGMA).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def our_step(layers: int, views: tuple[Tensor, ...], device: torch.device) -> Step:
    """The same sizes, images channels last in memory."""
    sizes = replace(PRESETS["paper"].model, representation="pool", shared_core=True, layers=layers)
    model, noise = GQN(sizes).to(device), torch.Generator(device).manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    images, viewpoints, query_image, query_viewpoint = views
    of_scene = (
        images.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, images.shape[:2])
    )
    query_image = query_image.contiguous(memory_format=torch.channels_last)

    def step(precision: str) -> None:
        with autocast(device, precision):
            r = model.encode(of_scene, viewpoints)
            loss = -model.elbo(r, query_viewpoint, query_image, SIGMA, noise).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def _peers_module(clone: Path) -> Any:
    """The port's model.py, whose siblings it imports by bare names."""
    if not (clone / "model.py").is_file():
        raise SystemExit(f"{clone} has no model.py: clone iShohei220/torch-gqn and name its folder")
    sys.path.insert(0, str(clone))
    try:
        import model  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(clone))
    return model


if __name__ == "__main__":
    tyro.cli(main)
