"""What running a suite costs beside its agents: python -m gqn_transfer.benchmarks.engine_speed

Three measurements, each a ratio or a time from one run: a cell in the engine against its bare loop, two
workers against one, and the report of a thousand cells.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from tyro.conf import Positional

from gqn_transfer.agents.build import make_agent, observe
from gqn_transfer.encoder import load_encoder
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.files import write_json

from .cell_files import CONFIG, CURVE, DONE, cell_folder
from .cells import Cell, Suite
from .curves import CurveRow, append_row
from .engine import RunOptions, run_suite
from .evaluation import evaluate
from .gqn_speed import peak_bytes
from .grids import grid
from .processes import worker_pool
from .report import write_report
from .run_cell import make_venv

IN_ENGINE = (False, True, True, False)
"""A cell's runs: there and back, so that a processor that slows down or speeds up favours neither."""
REPORTED = ("state", "pixels", "pixels-aug", "pixels-gqn-arch", "random-frozen", "ae-frozen", "gqn-frozen",
            "gqn-finetune")  # fmt: skip
"""Methods of the report's cells."""
POINTS = 100
"""Evaluations of each of them, beside the first."""


def main(parts: Positional[tuple[str, ...]] = (), steps: int = 50_000, seeds: int = 8) -> None:
    """Time the engine and the report.

    Args:
        parts: Of overhead, workers and report; all by default.
        steps: Environment steps of a cell in the engine.
        seeds: Of the report's cells: eight make 1,024 of them.
    """
    if unknown := sorted({*parts} - {*PARTS}):
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(PARTS)}")
    for part in parts or PARTS:
        Console().print(PARTS[part](steps, seeds), soft_wrap=True)


def frozen_cells(count: int, steps: int) -> tuple[Cell, ...]:
    """Cells with cached codes of the encoder that ships: the kind that is fast."""
    methods = {"gqn-frozen": steps}
    return grid("speed", ["Reach-v0"], ["fixed"], methods, range(count), "small", evaluate_every=steps // 5)


# A cell in the engine.


def overhead(steps: int, _: int) -> str:
    """Seconds of a cell from the command's start to its end, against those of learning and evaluating."""
    (cell,) = frozen_cells(1, steps)
    seconds = [suite_seconds((cell,), workers=1) if inside else alone(cell) for inside in IN_ENGINE]
    whole, bare = (np.mean(np.compress(which, seconds)) for which in (IN_ENGINE, np.invert(IN_ENGINE)))
    each = ", ".join(f"{one:.1f}" for one in seconds)
    return (
        f"overhead: a cell of {steps:,} steps takes {whole:.1f} s in the engine, its agent alone "
        f"{bare:.1f} s: {whole / bare - 1:+.1%} (alone, engine, engine, alone: {each} s)"
    )


def alone(cell: Cell) -> float:
    """`bare_seconds`, in a process of its own."""
    with worker_pool(1, 1, fresh=True) as pool:
        return pool.submit(bare_seconds, cell).result()


def bare_seconds(cell: Cell) -> float:
    """Learn and evaluate as the cell does, and keep nothing."""
    torch.set_num_threads(1)
    encoder, options = load_encoder(cell.encoder_name), cell.run_options
    started = time.perf_counter()
    agent = make_agent(cell.method, make_venv(cell, options["num_envs"]), encoder=encoder, seed=cell.seed)
    held_out = observe(cell.method, make_venv(cell, options["episodes"]), encoder, **cell.seen_as)
    evaluate(agent, held_out, cell.seed)
    while agent.num_timesteps < cell.steps:
        agent.learn(options["evaluate_every"], reset_num_timesteps=False)
        evaluate(agent, held_out, cell.seed)
    return time.perf_counter() - started


def suite_seconds(cells: tuple[Cell, ...], workers: int) -> float:
    """Of running them as a suite of their own, processes and all."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        progress = run_suite(Suite("", cells), Path(folder), RunOptions(workers=workers), Console(quiet=True))
        seconds = time.perf_counter() - started
    if progress.count("done") < len(cells):
        raise RuntimeError(f"{progress.count('failed')} of {len(cells)} cells failed: nothing was timed")
    return seconds


# Workers.


def workers(steps: int, _: int) -> str:
    """Four cells by one worker, then by two."""
    cells = frozen_cells(4, steps // 2)
    one, two = (suite_seconds(cells, count) for count in (1, 2))
    return f"workers: four cells take one worker {one:.0f} s and two {two:.0f} s: {one / two:.2f} times"


# The report.


class Reported(NamedTuple):
    """Of one report."""

    seconds: float
    peak_bytes: int


def report(_: int, seeds: int) -> str:
    """Write the report of every task, camera and method."""
    with tempfile.TemporaryDirectory() as folder:
        cells = write_cells(Path(folder), seeds)
        with worker_pool(1, 1, fresh=True) as pool:
            found = pool.submit(reported, Path(folder)).result()
    return (
        f"report: {cells:,} cells of {POINTS} evaluations in {found.seconds:.1f} s, at most "
        f"{found.peak_bytes / 1e9:.2f} GB"
    )


def write_cells(folder: Path, seeds: int) -> int:
    """Finished cells with made-up curves; how many."""
    rng, budgets = np.random.default_rng(0), dict.fromkeys(REPORTED, POINTS * 10_000)
    cells = grid("speed", TASKS, ("fixed", "moving"), budgets, range(seeds), "small")
    for cell in cells:
        place = cell_folder(folder, cell)
        write_json(place / CONFIG, {"cell": cell.as_json, "command": "", "versions": {}, "machine": {}})
        success = np.clip(np.linspace(0, rng.random(), POINTS + 1) + rng.normal(0, 0.05, POINTS + 1), 0, 1)
        for k, score in enumerate(success):
            append_row(place / CURVE, CurveRow(10_000 * k, float(score), 50 * float(score), 1.0, 50, k))
        write_json(place / DONE, {"wall_seconds": 1.0, "env_steps_per_second": 1.0})
    return len(cells)


def reported(folder: Path) -> Reported:
    """Time the report, in this process."""
    started = time.perf_counter()
    write_report(folder)
    return Reported(time.perf_counter() - started, peak_bytes(torch.device("cpu")))


PARTS: Mapping[str, Callable[[int, int], str]] = MappingProxyType(
    {"overhead": overhead, "workers": workers, "report": report}
)
"""Name -> measurement: (steps, seeds) -> what to print."""


if __name__ == "__main__":
    tyro.cli(main)
