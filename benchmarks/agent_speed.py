"""Where an agent's time goes: python -m gqn_transfer.benchmarks.agent_speed

Rows: method × algorithm on Reach, one thread, each in a process of its own (so that its peak memory is its
own). The render-bound rate is that of the same environments with random actions, in the same process.
Rows are comparable within one run only.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper
from tqdm import tqdm

from gqn_transfer.agents.algorithms import ALGORITHMS, algorithm_named
from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.agents.extractors import GQNExtractor
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import load_encoder
from gqn_transfer.envs.vector import ArmVectorEnv

from .gqn_speed import peak_bytes
from .processes import worker_pool
from .run_cell import gradient_steps

INSIDE = "gqn-frozen, in SB3's extractor"
"""The same encoder and the same frozen weights, run in every update instead of once a step."""
ENVS = 16
HEADINGS = (
    "method", "algorithm", "steps/s", "of render-bound", "environment", "encoding", "update", "acting",
    "updates/s", "peak memory",
)  # fmt: skip


class Speed(NamedTuple):
    """Of one row."""

    steps_per_second: float
    render_bound: float
    """Environment steps a second with random actions and nothing else."""
    shares: dict[str, float]
    """Part of the whole time -> share: environment, encoding, update; the rest is acting."""
    updates_per_second: float
    """Gradient steps per second of updating."""
    peak_bytes: int


def main(
    encoder: str = "jaco-small",
    methods: tuple[str, ...] = (),
    algos: tuple[str, ...] = ("ppo", "sac"),
    steps: int = 4000,
) -> None:
    """Time agents.

    Args:
        encoder: Shipped name or checkpoint of all that need one.
        methods: Rows, all by default.
        algos: Of each method, as far as it goes with them.
        steps: Environment steps of a row, after as many as its first rollout or replay takes.
    """
    chosen = methods or (*METHODS, INSIDE)
    if unknown := sorted({*chosen} - {*METHODS, INSIDE}) + sorted({*algos} - {*ALGORITHMS}):
        raise SystemExit(
            f"unknown: {', '.join(unknown)}; known: {', '.join((*METHODS, INSIDE, *ALGORITHMS))}"
        )
    rows = [(method, algo) for algo in algos for method in chosen if goes_with(method, algo)]
    print(line(HEADINGS))
    for method, algo in tqdm(rows, unit="row"):
        with worker_pool(1, 1, fresh=True) as pool:
            speed = pool.submit(measure, method, algo, encoder, steps).result()
        tqdm.write(line((method, algo, *cells_of(speed))))  # as it lands: the whole table takes half an hour


def line(cells: Sequence[str]) -> str:
    """Cells in columns as wide as their headings, the first one as the longest method."""
    widths = [max(len(name) for name in (*METHODS, INSIDE)), *(len(heading) for heading in HEADINGS[1:])]
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def goes_with(method: str, algo: str) -> bool:
    """True if the two can be combined."""
    return algo in METHODS["gqn-frozen" if method == INSIDE else method].algorithms


def cells_of(speed: Speed) -> Sequence[str]:
    """A row's text."""
    parts = [speed.shares[part] for part in ("environment", "encoding", "update")]
    return (
        f"{speed.steps_per_second:,.0f}",
        f"{speed.steps_per_second / speed.render_bound:.2f}",
        *(f"{share:.0%}" for share in (*parts, 1 - sum(parts))),
        f"{speed.updates_per_second:,.1f}",
        f"{speed.peak_bytes / 2**30:.2f} GiB",
    )


def measure(method: str, algo: str, encoder: str, steps: int) -> Speed:
    """One row, in this process."""
    torch.set_num_threads(1)
    observation = METHODS["gqn-frozen" if method == INSIDE else method].observation
    venv = as_sb3(ArmVectorEnv("Reach-v0", ENVS, obs=observation))
    venv.seed(0)
    bound = render_bound(venv, steps)
    spent: dict[str, float] = defaultdict(float)
    time_calls(venv, "step_wait", "environment", spent)
    agent = build(method, algo, encoder, venv)
    encoded = unwrap_vec_wrapper(agent.get_env(), EncodedVecEnv)  # type: ignore[arg-type]
    if encoded is not None:
        time_calls(encoded, "_encode", "encoding", spent)
    time_calls(agent, "train", "update", spent)
    agent.learn(warm_up_steps(agent))
    spent.clear()
    before, updates, started = agent.num_timesteps, gradient_steps(agent), time.perf_counter()
    agent.learn(steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - started
    return Speed(
        (agent.num_timesteps - before) / seconds,
        bound,
        {part: spent[part] / seconds for part in ("environment", "encoding", "update")},
        (gradient_steps(agent) - updates) / max(spent["update"], 1e-9),
        peak_bytes(torch.device("cpu")),
    )


def build(method: str, algo: str, encoder: str, venv: VecEnv) -> BaseAlgorithm:
    """The row's agent."""
    if method != INSIDE:
        needs = METHODS[method].needs_encoder
        return make_agent(
            method, venv, encoder=load_encoder(encoder) if needs else None, algo=algo, seed=0, device="cpu"
        )
    algorithm = algorithm_named(algo)
    policy = {"features_extractor_class": GQNExtractor, "features_extractor_kwargs": {"encoder": encoder}}
    return algorithm.kind(
        "MultiInputPolicy", venv, policy_kwargs=policy, seed=0, device="cpu", **algorithm.settings
    )


def warm_up_steps(agent: BaseAlgorithm) -> int:
    """Until the first update has happened, which is slower than the others."""
    starts = getattr(agent, "learning_starts", 0)
    return int(starts + ENVS if starts else agent.n_steps * ENVS)  # type: ignore[attr-defined]


def render_bound(venv: VecEnv, steps: int) -> float:
    """Environment steps per second with random actions."""
    rng, rounds = np.random.default_rng(0), steps // ENVS
    venv.reset()
    started = time.perf_counter()
    for _ in range(rounds):
        venv.step(rng.uniform(-1, 1, (ENVS, *venv.action_space.shape)).astype(np.float32))  # type: ignore[misc]
    return rounds * ENVS / (time.perf_counter() - started)


def time_calls(owner: Any, name: str, part: str, spent: dict[str, float]) -> None:
    """Let every call of a method of `owner` add its seconds to `spent[part]`."""
    setattr(owner, name, partial(_timed, getattr(owner, name), part, spent))


def _timed(
    call: Callable[..., Any], part: str, spent: dict[str, float], *arguments: Any, **keywords: Any
) -> Any:
    started = time.perf_counter()
    try:
        return call(*arguments, **keywords)
    finally:
        spent[part] += time.perf_counter() - started


if __name__ == "__main__":
    tyro.cli(main)
