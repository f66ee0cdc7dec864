"""Agents of several tasks: made, given one more task, and read from disk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from gqn_transfer.model import GQN
from gqn_transfer.tier import TierConfig

from .algorithms import ALGORITHMS
from .auxiliary import SCHEDULE_STEPS, AuxiliaryBound
from .build import Recipe, check_settings, environment_seed
from .eyes import EncoderEyes, EncoderSource, mark_of
from .inputs import FRAMES
from .knobs import Knobs
from .mixed_vec_env import MixedVecEnv
from .multitask import MultiTaskPPO
from .optimiser import EncoderAdam
from .saving import AgentError, check_encoder, read_recipe, restore_agent
from .scene_collector import SceneSource, Together, collectors_in
from .task_heads import MultiTaskPolicy, TaskExtractor, rows_by_task

METHOD = "multi-task"
"""In the recipe of such an agent."""
RENDERED = 64
"""Scenes of a step of rendering beside tasks: on `jaco-small`, gradients of 16 each had a cosine of 0.14 with
one another, so that most of what is brought to the norm of the tasks' would be noise."""
UNKNOWN = {"target_kl", "clip_range_vf", "normalize_advantage"}
"""Settings of PPO that its update of several tasks does not have."""
SEED_DISTANCE = 1_000_000
"""Between an agent's environments before and after it was given one more task."""


@dataclass(frozen=True)
class Sharing:
    """Settings of an agent of several tasks: which heads it has, and what trains the encoder they share."""

    heads: tuple[str, ...] = ()
    """Names of the tasks in the order of their numbers."""
    mode: str = "finetune"
    """Of the encoder, or "frozen"."""
    tier: TierConfig | None = None
    """A second representation on the codes of a frozen encoder, which the tasks train."""
    surgery: bool = False
    """Project away the part of a task's gradient that opposes another's (PCGrad)."""
    teach: bool = True
    """Whether the tasks' losses reach the encoder; if not, rendering alone trains it."""
    head_width: int = Knobs.head_width
    """Of the hidden layers of actors and critics."""
    encoder_rate: float = Knobs.encoder_rate
    """Learning rate of the encoder relative to the heads'."""
    warm_up: int = Knobs.warm_up
    """Environment steps of each task over which that rate rises from 0."""

    @classmethod
    def split(cls, settings: Mapping[str, Any]) -> tuple[Sharing, dict[str, Any]]:
        """What of `settings`, plain values for JSON also, is said here, and the rest, PPO's."""
        known = {field.name for field in dataclasses.fields(cls)}
        own = {name: value for name, value in settings.items() if name in known}
        if isinstance(own.get("tier"), Mapping):
            own["tier"] = TierConfig.from_dict(own["tier"])
        if "heads" in own:
            own["heads"] = tuple(own["heads"])
        return cls(**own), {name: value for name, value in settings.items() if name not in known}


def make_multitask_agent(
    venv: MixedVecEnv, *, encoder: EncoderSource | None, seed: int, device: str = "auto", **settings: Any
) -> MultiTaskPPO:
    """An untrained agent with a head for each task, on the encoder's weights.

    encoder: None where observations hold its codes already. settings: fields of `Sharing`, whose heads are
    the tasks of `venv` unless named, and of PPO, whose `batch_size` is that of each task's samples.
    """
    sharing, own = Sharing.split({"heads": venv.tasks} | settings)
    check_settings("ppo", ALGORITHMS["ppo"], own)
    _check(venv, sharing, own)
    agent = _blank(venv, encoder, seed, device, sharing, {**ALGORITHMS["ppo"].settings, **own})
    fit_heads(agent)
    venv.seed(environment_seed(own_seed(seed)))
    agent.recipe = Recipe(METHOD, "ppo", seed, asdict(sharing) | own, _mark(encoder))
    return agent


def own_seed(seed: int) -> int:
    """Of an agent of several tasks: it has other weights and episodes than an agent of one task with `seed`.

    Else a new task would begin with the very head that its encoder was trained with, and meet its episodes.
    """
    return int(np.random.SeedSequence([seed, 5]).generate_state(1)[0] % 2**31)


def add_rendering(agent: MultiTaskPPO, model: GQN, scenes: SceneSource, weight: float = 1.0) -> None:
    """Let the GQN's bound train the encoder too: half on `scenes`, half on the states that the tasks' agents
    meet, as `SceneCollector`s around the tasks' environments keep them.

    model: the GQN that the encoder is of; its generator is trained on, at the end of its schedule.
    """
    met = Together(collectors_in(agent.get_env()))
    agent.auxiliary = AuxiliaryBound(
        agent.policy,
        model,
        [scenes, met],
        weight,
        agent.recipe.seed,
        progress=lambda: SCHEDULE_STEPS,
        batch=RENDERED,
    )


def add_task(agent: MultiTaskPPO, task: str, venv: VecEnv, beside: bool = True) -> MultiTaskPPO:
    """The agent with one more head, for `task` on `venv`; all that it has learned is there bit for bit.

    beside: the tasks before go on being practised; else the new one alone is. The encoder's rate rises from 0
    once more, since the new head knows nothing. Rendering goes on where it did. The agent that was given is
    not to be trained any further: both share its environments.
    """
    before: MixedVecEnv = agent.env  # type: ignore[assignment]
    sharing, own = Sharing.split(agent.recipe.settings)
    if task in sharing.heads:
        raise ValueError(f"this agent has a head for {task!r} already; it has {', '.join(sharing.heads)}")
    kept = {name: numbered.venv for name, numbered in before.venvs.items()} if beside else {}
    number = before.first if beside else len(sharing.heads)
    sharing = dataclasses.replace(sharing, heads=(*sharing.heads, task))
    mixed = MixedVecEnv(kept | {task: venv}, number)
    eyes: EncoderEyes | None = agent.policy.features_extractor.eyes  # type: ignore[assignment]
    encoder = None if eyes is None else eyes.encoder
    settings = {**ALGORITHMS["ppo"].settings, **own}
    grown = _blank(mixed, encoder, agent.recipe.seed, str(agent.device), sharing, settings)
    grown.recipe = dataclasses.replace(agent.recipe, settings=asdict(sharing) | own)
    _hand_on(agent, grown)
    fit_heads(grown, task)
    mixed.seed(environment_seed(own_seed(agent.recipe.seed)) + SEED_DISTANCE * (len(sharing.heads) - 1))
    grown.num_timesteps, grown._n_updates = agent.num_timesteps, agent._n_updates
    return grown


def load_multitask(
    folder: Path | str,
    venv: MixedVecEnv,
    encoder: EncoderSource | None,
    rendering: tuple[GQN, SceneSource] | None = None,
    device: str = "auto",
) -> MultiTaskPPO:
    """The agent of several tasks that `save_agent` wrote; training goes on from there.

    encoder: the one it started from. rendering: what `add_rendering` was given, where it was.
    """
    recipe = read_recipe(Path(folder))
    if recipe.method != METHOD:
        raise AgentError(f"{folder} holds an agent of method {recipe.method!r}: read it with load_agent")
    check_encoder(Path(folder), recipe, encoder)
    agent = make_multitask_agent(venv, encoder=encoder, seed=recipe.seed, device=device, **recipe.settings)
    if rendering is not None:
        add_rendering(agent, *rendering)
    restore_agent(agent, Path(folder))
    return agent


@torch.no_grad()
def fit_heads(agent: MultiTaskPPO, only: str | None = None) -> None:
    """Centre and scale the inputs of every head that is practised, or of one, on first observations of its
    own task."""
    venv: MixedVecEnv = agent.env  # type: ignore[assignment]
    agent.policy.set_training_mode(False)
    seen = []
    for _ in range(math.ceil(FRAMES / min(part.num_envs for part in venv.venvs.values()))):
        observations, _ = agent.policy.obs_to_tensor(venv.reset())  # type: ignore[arg-type]
        seen.append(agent.policy.extract_features(observations))
    features = torch.cat(seen)  # type: ignore[arg-type]
    for number, rows in rows_by_task(features[:, 0]):
        if only in (None, venv.tasks[number - venv.first]):
            agent.policy.heads[number].scale.fit(features[rows, 1:])  # type: ignore[union-attr, operator]


def _check(venv: MixedVecEnv, sharing: Sharing, settings: Mapping[str, Any]) -> None:
    """ValueError for heads that are not those of the tasks, and for settings that would be ignored."""
    practised = sharing.heads[venv.first : venv.first + len(venv.tasks)]
    if practised != venv.tasks:
        raise ValueError(
            f"environments of {', '.join(venv.tasks)}, the first with head number {venv.first}, but heads of "
            f"{', '.join(sharing.heads)}: give MixedVecEnv the tasks in the order of their heads, and the "
            "number of the first"
        )
    if found := sorted(UNKNOWN & settings.keys()):
        raise ValueError(f"agents of several tasks do not know PPO's {', '.join(found)}: leave them out")


def _blank(
    venv: MixedVecEnv, encoder: EncoderSource | None, seed: int, device: str, sharing: Sharing,
    settings: Mapping[str, Any],
) -> MultiTaskPPO:  # fmt: skip
    """An agent whose heads are not fitted to their inputs yet."""
    algorithm = ALGORITHMS["ppo"]
    batch = settings["batch_size"] * len(venv.tasks)
    warm_up = round(sharing.warm_up * settings["n_epochs"] / settings["batch_size"])
    policy = {
        **algorithm.policy,
        "tasks": len(sharing.heads),
        "head_width": sharing.head_width,
        "features_extractor_class": TaskExtractor,
        "features_extractor_kwargs": {"encoder": encoder, "mode": sharing.mode, "tier": sharing.tier},
        "optimizer_class": EncoderAdam,
        "optimizer_kwargs": {
            **algorithm.optimiser, "encoder_rate": sharing.encoder_rate, "warm_up": warm_up
        },
    }  # fmt: skip
    return MultiTaskPPO(
        MultiTaskPolicy, venv, sharing.surgery, sharing.teach, policy_kwargs=policy, device=device,
        seed=own_seed(seed), **{**settings, "batch_size": batch},
    )  # fmt: skip


def _hand_on(agent: MultiTaskPPO, grown: MultiTaskPPO) -> None:
    """Weights, what the optimiser knows of them, and rendering, to an agent with a head more."""
    grown.policy.load_state_dict({**grown.policy.state_dict(), **agent.policy.state_dict()})
    before, after = agent.policy.optimizer, grown.policy.optimizer
    pairs = zip(agent.policy.parameters(), _namesakes(agent, grown), strict=True)
    known = [(ours, theirs) for ours, theirs in pairs if ours in before.state]
    if hasattr(agent, "auxiliary"):
        bound = agent.auxiliary
        add_rendering(grown, bound.model, bound.sources[0], bound.weight)
        grown.auxiliary.rng = bound.rng
        known += [(weight, weight) for weight in bound.model.generator.parameters() if weight in before.state]
    for ours, theirs in known:
        after.state[theirs] = {key: value.clone() for key, value in before.state[ours].items()}
    grown.surgery_rng = agent.surgery_rng


def _namesakes(agent: MultiTaskPPO, grown: MultiTaskPPO) -> Iterator[nn.Parameter]:
    theirs = dict(grown.policy.named_parameters())
    return (theirs[name] for name, _ in agent.policy.named_parameters())


def _mark(encoder: EncoderSource | None) -> str:
    return "" if encoder is None else mark_of(encoder)
