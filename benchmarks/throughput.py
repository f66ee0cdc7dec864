"""Steps per second of the environments against a bare loop: python -m gqn_transfer.benchmarks.throughput

The floor is what MuJoCo's own calls take for the same physics and the same image in one thread
(`bare_loop.BareLoop`). Rows are measured in turn, round after round, and ratios are taken within a round:
a machine that slows down slows both sides. Rows are comparable within one run only.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import mujoco
import numpy as np
import tyro
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.rendering import renderer_line
from gqn_transfer.envs.vector import ArmVectorEnv

from .bare_loop import BareLoop
from .provenance import machine
from .render_levers import lever_table, paired_ratio

BARE, SINGLE, VECTOR = "bare loop", "ArmEnv", "ArmVectorEnv"
WORKERS = (1, 2)
PEER_ENVS = 16
"""Episodes in the vector environment that is compared with the peer."""
PEER_SCRIPT = Path(__file__).with_name("peer_dm_control.py")
OUR_GL = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "LP_NUM_THREADS")
"""What this process may have set for its own GL: the peer runs as its users run it."""
NO_PEER = (
    "No --peer: dm_control does not run with MuJoCo 4, so the comparison takes an interpreter of its own:\n"
    "    python3 -m venv peer && peer/bin/pip install dm-control==1.0.50 'mujoco==3.17.*'\n"
    "then --peer peer/bin/python"
)


class Row(NamedTuple):
    """What is measured in one row."""

    kind: str
    obs: str = "pixels"
    envs: int = 1
    workers: int = 1
    image_size: int = 64
    """Pixels, square."""

    @property
    def cores(self) -> int:
        """Threads that can be busy: never more than episodes."""
        return min(self.workers, self.envs)


Rates = Mapping[Row, Sequence[float]]
"""Steps per second of each row, one per round."""


def main(
    task: str = "Reach-v0",
    steps: int = 1000,
    rounds: int = 5,
    image_size: int = 64,
    envs: tuple[int, ...] = (1, 4, 16, 64),
    levers: bool = False,
    peer: Path | None = None,
) -> None:
    """Time the environments, and what they are made of.

    Args:
        task: A name of gqn_transfer.envs.TASKS.
        steps: Steps per row and round, rounded up to whole episodes, so that resets count for their share.
        rounds: Timed rounds over all rows, after one that warms up; figures are medians.
        image_size: Pixels, square.
        envs: Episodes side by side in the vector environment.
        levers: Measure what moves the floor itself, too.
        peer: Python of an environment with dm_control, to compare with its reach_site_vision.
    """
    console = Console()
    report = None if peer is None else run_peer(peer)
    ours = [] if report is None else [row for size in peer_sizes(report) for row in peer_rows(size)]
    rows = main_rows(image_size, envs)
    rates = measure([*rows, *ours], task, steps, rounds)
    console.print(main_table({row: rates[row] for row in rows}, task))
    console.print(NO_PEER if report is None else peer_table(report, rates, task))
    if levers:
        console.print(lever_table(task, steps, rounds))
    console.print(conditions(rounds))


def main_rows(image_size: int, envs: Sequence[int]) -> list[Row]:
    """The floor, then one and many episodes by state and by pixels."""
    rows = [Row(BARE, image_size=image_size)]
    for obs in ("state", "pixels"):
        rows.append(Row(SINGLE, obs, image_size=image_size))
        rows += [Row(VECTOR, obs, count, workers, image_size) for count in envs for workers in WORKERS]
    return rows


def conditions(rounds: int) -> str:
    """One line: where the figures come from."""
    facts = machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"medians of {rounds} rounds; {facts['processor']}, {facts['cores']} cores{load}; "
        f"MuJoCo {mujoco.__version__}, {renderer_line()}"
    )


# Measuring.


def measure(rows: Sequence[Row], task: str, steps: int, rounds: int) -> dict[Row, list[float]]:
    """Steps per second of every row in every round; the first, which warms up, is dropped."""
    with ExitStack() as stack:
        meters = {row: open_meter(row, task, steps, stack) for row in dict.fromkeys(rows)}
        taken = [{row: meter() for row, meter in meters.items()} for _ in range(rounds + 1)]
    return {row: [rates[row] for rates in taken[1:]] for row in meters}


def open_meter(row: Row, task: str, steps: int, stack: ExitStack) -> Callable[[], float]:
    """What measures `row` once, in steps per second; `stack` closes what it needs."""
    vector_steps = find_task(task).horizon * math.ceil(steps / row.envs / find_task(task).horizon)
    if row.kind == BARE:
        loop = BareLoop(task, image_size=row.image_size)
        stack.callback(loop.close)
        return lambda: loop.cost(vector_steps).steps_per_second()
    if row.kind == SINGLE:
        env = ArmEnv(task, obs=row.obs, image_size=row.image_size)
        env.reset(seed=0)
        return lambda: vector_steps / seconds_alone(env, vector_steps)
    envs = ArmVectorEnv(task, row.envs, row.workers, obs=row.obs, image_size=row.image_size)
    stack.callback(envs.close)
    envs.reset(seed=0)
    return lambda: row.envs * vector_steps / seconds_together(envs, vector_steps)


def seconds_alone(env: ArmEnv, steps: int) -> float:
    """Of `steps` uniform actions, with the resets that they lead to."""
    actions = uniform(steps, env.action_space)
    started = time.perf_counter()
    for action in actions:
        if env.step(action)[3]:
            env.reset()
    return time.perf_counter() - started


def seconds_together(envs: ArmVectorEnv, steps: int) -> float:
    """Of `steps` uniform actions of every episode; the environment resets by itself."""
    actions = uniform(steps, envs.action_space)
    started = time.perf_counter()
    for rows in actions:
        envs.step(rows)
    return time.perf_counter() - started


def uniform(steps: int, space: spaces.Space) -> np.ndarray:
    """float32 in [-1, 1], the same every time: `steps` actions of the shape that `space` has."""
    return np.random.default_rng(0).uniform(-1, 1, (steps, *(space.shape or ()))).astype(np.float32)


# Reporting.


def share_of_floor(rates: Rates, row: Row) -> float:
    """`row`'s rate over what as many bare loops as it has threads would do; 1 would be no overhead at all."""
    floor = rates[Row(BARE, image_size=row.image_size)]
    return paired_ratio(rates[row], [row.cores * rate for rate in floor])


def speedup(rates: Rates, row: Row) -> float:
    """`row`'s rate over that of the same row with one worker."""
    return paired_ratio(rates[row], rates[row._replace(workers=1)])


def main_table(rates: Rates, task: str) -> Table:
    """One line per row; shares of the floor are for pixels, speedups for more than one worker."""
    table = Table("environment", "obs", "envs", "workers", "steps/s", "of floor", "speedup")
    for row, found in rates.items():
        has_floor, has_speedup = row.kind != BARE and row.obs == "pixels", row.workers > 1
        table.add_row(
            *(row.kind, row.obs, str(row.envs), str(row.workers), f"{median(found):,.0f} {spread(found)}"),
            f"{share_of_floor(rates, row):.2f}" if has_floor else "",
            f"{speedup(rates, row):.2f}" if has_speedup else "",
        )
    table.title = f"{task}, {next(iter(rates)).image_size} pixels; floor of W workers: W bare loops"
    return table


def spread(rates: Sequence[float]) -> str:
    """Half the range over rounds, as a share of the median."""
    return f"±{(max(rates) - min(rates)) / 2 / median(rates):.0%}"


# The peer.


def peer_rows(image_size: int) -> tuple[Row, Row]:
    """What of ours is compared with the peer: one episode, and many in one thread."""
    return Row(SINGLE, image_size=image_size), Row(VECTOR, envs=PEER_ENVS, image_size=image_size)


def peer_sizes(report: Mapping[str, Any]) -> list[int]:
    """Image sizes in the peer's report, each once."""
    return sorted({setting["image_size"] for setting in report["settings"]})


def run_peer(python: Path) -> dict[str, Any]:
    """What `peer_dm_control` reports under another interpreter, on one core where that can be asked for."""
    command = [str(python), "-I", str(PEER_SCRIPT)]  # -I: the names beside the script are not its modules
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    environment = {name: text for name, text in os.environ.items() if name not in OUR_GL}
    environment["MUJOCO_GL"] = "egl"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"--peer {python} failed: {done.stderr.strip()[-500:]}\n{NO_PEER}")
    return json.loads(done.stdout.splitlines()[-1])


def peer_table(report: Mapping[str, Any], rates: Rates, task: str) -> Table:
    """Steps per second per core of the peer as it is set, and of ours at the same image size."""
    peer = f"dm_control {report['task']}"
    table = Table(peer, "pixels", "steps/s", SINGLE, "ratio", f"{PEER_ENVS} in {VECTOR}", "ratio")
    for setting in report["settings"]:
        theirs = setting["steps_per_second"]
        ours = [median(rates[row]) for row in peer_rows(setting["image_size"])]
        cells = [cell for rate in ours for cell in (f"{rate:,.0f}", f"{rate / theirs:.1f}")]
        table.add_row(setting["name"], str(setting["image_size"]), f"{theirs:,.1f}", *cells)
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    table.title = f"{task} and a peer ({versions}), per core"
    return table


if __name__ == "__main__":
    tyro.cli(main)
