"""`gqn-bench doctor`: what this machine has and how fast it renders."""

from __future__ import annotations

import time

import gymnasium
from rich.console import Console
from rich.table import Table

import gqn_transfer.envs  # noqa: F401  registers the tasks
from gqn_transfer.envs.rendering import NoOpenGLError, renderer_line
from gqn_transfer.limits import usable_cores
from gqn_transfer.precision import choose_device, has_fast_bf16

from .provenance import library_versions, machine


def print_report(console: Console) -> None:
    """One table of facts; a missing GL backend is a row, not an exception."""
    table = Table("what", "found", show_header=False)
    try:
        table.add_row("rendering", renderer_line())
        for obs in ("state", "pixels"):
            table.add_row(f"{obs} steps/s, one core", f"{steps_per_second(obs):,.0f}")
    except NoOpenGLError as error:
        table.add_row("rendering", f"[red]{error}[/red]")
    device = choose_device()
    table.add_row("compute", f"{device.type}, fast bf16: {'yes' if has_fast_bf16(device) else 'no'}")
    table.add_row("cores", str(usable_cores()))
    for name, text in (machine() | library_versions()).items():
        table.add_row(name, text)
    console.print(table)


def steps_per_second(obs: str, steps: int = 500) -> float:
    """Environment steps per second of one Reach environment in this process."""
    env = gymnasium.make("gqn_transfer/Reach-v0", obs=obs, disable_env_checker=True)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    started = time.perf_counter()
    for action in actions:
        truncated = env.step(action)[3]
        if truncated:
            env.reset()
    return steps / (time.perf_counter() - started)
