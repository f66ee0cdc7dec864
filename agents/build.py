"""`make_agent`: a method, an algorithm and a vector environment become a Stable-Baselines3 agent."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.choices import refuse_unknown
from gqn_transfer.encoder import Encoder
from gqn_transfer.model import GQN

from .algorithms import Algorithm, algorithm_named
from .augmentation import RandomShiftReplayBuffer, RandomShiftVecEnv
from .auxiliary import AuxiliaryBound
from .bare_images import BareImagesPolicy
from .encoded_vec_env import EncodedVecEnv
from .extractors import GQNExtractor, PixelExtractor, VectorExtractor
from .eyes import EncoderSource, mark_of, shared
from .inputs import fit_inputs
from .knobs import Knobs, split
from .methods import Method, combination, method_named
from .optimiser import EncoderAdam
from .scene_collector import EVERY, VIEWS, SceneCollector, collectors_in
from .views import RecentViews


@dataclass(frozen=True)
class Recipe:
    """What an agent was made of: kept as `agent.recipe`, for its record."""

    method: str
    """A key of `METHODS`."""
    algo: str
    """A key of `ALGORITHMS`."""
    seed: int
    """Of its weights, its actions and its environments."""
    settings: dict[str, Any]
    """What differs from the defaults: knobs and settings of the algorithm by name."""
    encoder: str
    """Fingerprint of the encoder whose weights it started from, "" where there was none."""


def observe(
    method: str,
    venv: VecEnv,
    encoder: EncoderSource | None = None,
    device: str = "auto",
    views: int = 1,
    half: bool = False,
) -> VecEnv:
    """`venv` as `method` sees it, the last `views` views together: for evaluation, without augmentation.

    half: features of a frozen encoder are float16.
    """
    row = method_named(method)
    if row.needs_encoder and encoder is None:
        raise ValueError(f"method {method!r} needs an encoder: pass encoder=<name, path or Encoder>")
    if not row.needs_encoder and encoder is not None:
        raise ValueError(f"method {method!r} uses no encoder, but one was given")
    if row.eyes == "cached":
        assert encoder is not None
        venv = EncodedVecEnv(venv, encoder, device, np.float16 if half else np.float32)
    return RecentViews(venv, views) if views > 1 else venv


def make_agent(
    method: str,
    venv: VecEnv,
    *,
    encoder: EncoderSource | None = None,
    algo: str = "ppo",
    seed: int,
    device: str = "auto",
    **overrides: Any,
) -> BaseAlgorithm:
    """An untrained agent. `overrides` replace settings of the algorithm and `Knobs` of the method by name.

    venv yields observations of the method's kind (`METHODS[method].observation`). encoder: a name, path or
    `Encoder`; its weights stay as they are, also where the agent trains eyes that start from them.
    """
    algorithm, row = algorithm_named(algo), combination(method, algo)
    knobs, changed = split(method, overrides)
    check_settings(algo, algorithm, changed)
    settings = {**algorithm.settings_for(venv.num_envs), **changed}
    training = _training_env(method, venv, encoder, algorithm, knobs, seed, device)
    updates = algorithm.updates_per_step(settings, venv.num_envs)
    agent = algorithm.kind(
        _policy_class(row, algorithm),
        training,
        policy_kwargs=_policy(row, algorithm, knobs, encoder, updates, seed),
        seed=seed,
        device=device,
        **_replay(row, algorithm, knobs, seed),
        **_exploration(algorithm, venv),
        **settings,
    )
    fit_inputs(agent)
    training.seed(environment_seed(seed))
    if row.auxiliary:
        _add_bound(agent, knobs.auxiliary_weight, seed)
    mark = mark_of(encoder) if encoder is not None and row.needs_weights else ""
    agent.recipe = Recipe(method, algo, seed, overrides, mark)  # type: ignore[attr-defined]
    return agent


def environment_seed(seed: int) -> int:
    """Of an agent's first environment; the others count on from it.

    SB3 takes the agent's own seed, with which neighbours would share all environments but one. Those of
    evaluations are below.
    """
    return 2**31 + int(np.random.SeedSequence([seed, 3]).generate_state(1)[0] % 2**30)


def _training_env(
    method: str, venv: VecEnv, encoder: EncoderSource | None, algorithm: Algorithm, knobs: Knobs, seed: int,
    device: str,
) -> VecEnv:  # fmt: skip
    """`venv` as the method learns from it: as it sees it, and augmented."""
    row = method_named(method)
    if row.auxiliary:
        venv = SceneCollector(venv, np.random.default_rng([seed, 2]))
    seen = observe(method, venv, encoder, device, knobs.views, knobs.half)
    shifted_here = knobs.shift and not algorithm.is_off_policy
    return RandomShiftVecEnv(seen, knobs.shift, _shift_rng(seed)) if shifted_here else seen


def _add_bound(agent: BaseAlgorithm, weight: float, seed: int) -> None:
    """Let the GQN's bound, with a generator of new weights, train the eyes of `agent` too."""
    (collector,) = collectors_in(agent.get_env())
    config = agent.policy.features_extractor.eyes.encoder.config  # type: ignore[union-attr]
    bound = AuxiliaryBound(
        agent.policy,  # type: ignore[arg-type]
        GQN(config, seed=seed),  # type: ignore[arg-type]
        [collector],
        weight,
        seed,
        progress=lambda: collector.frames * EVERY // VIEWS,
    )
    agent.auxiliary = bound  # type: ignore[attr-defined]


def _policy_class(row: Method, algorithm: Algorithm) -> type[BasePolicy] | str:
    """SB3's own where the agent sees no images."""
    if not row.trains_eyes:
        return "MultiInputPolicy"
    return algorithm.critic_eyes or BareImagesPolicy


def _policy(
    row: Method, algorithm: Algorithm, knobs: Knobs, encoder: EncoderSource | None, updates: float, seed: int
) -> dict[str, Any]:
    """Keyword arguments of the policy; `updates` come with an environment step."""
    extractor, arguments = _extractor(row, knobs, encoder, seed)
    layers, rates = [knobs.head_width] * knobs.head_depth, {}
    if row.eyes == "finetuned":
        rates = {"encoder_rate": knobs.encoder_rate, "warm_up": round(knobs.warm_up * updates)}
    return {
        **algorithm.policy,
        "net_arch": layers if algorithm.is_off_policy else {"pi": layers, "vf": layers},
        "features_extractor_class": extractor,
        "features_extractor_kwargs": arguments,
        "optimizer_class": EncoderAdam,
        "optimizer_kwargs": {**algorithm.optimiser, **rates},
    }


def _extractor(
    row: Method, knobs: Knobs, encoder: EncoderSource | None, seed: int
) -> tuple[type, dict[str, Any]]:
    """The extractor's class and keyword arguments."""
    match row.eyes:
        case "convolutions":
            return PixelExtractor, {"network": knobs.network}
        case "finetuned":
            return GQNExtractor, {"encoder": encoder, "mode": "finetune"}
        case "fresh":
            assert encoder is not None
            return GQNExtractor, {"encoder": _fresh(shared(encoder), seed), "mode": "finetune"}
    return VectorExtractor, {}


def _fresh(encoder: Encoder, seed: int) -> Encoder:
    """The same architecture with new weights."""
    if encoder.config is None:
        raise ValueError(
            "only the architecture of a GQN can be built anew, not that of a network of your own"
        )
    return Encoder.untrained(encoder.config, seed)


def _replay(row: Method, algorithm: Algorithm, knobs: Knobs, seed: int) -> dict[str, Any]:
    """Arguments of off-policy algorithms for the replay buffer."""
    if not (row.shift and algorithm.is_off_policy):
        return {}
    arguments = {"pixels": knobs.shift, "rng": _shift_rng(seed)}
    return {"replay_buffer_class": RandomShiftReplayBuffer, "replay_buffer_kwargs": arguments}


def _exploration(algorithm: Algorithm, venv: VecEnv) -> dict[str, Any]:
    """The noise of algorithms whose policy has none of its own."""
    if not algorithm.noise:
        return {}
    size = venv.action_space.shape or ()
    return {"action_noise": NormalActionNoise(np.zeros(size), np.full(size, algorithm.noise))}


def _shift_rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 1])


def check_settings(algo: str, algorithm: Algorithm, settings: dict[str, Any]) -> None:
    """ValueError for what the algorithm does not know."""
    known = set(inspect.signature(algorithm.kind).parameters) - {"policy", "env", "policy_kwargs"}
    refuse_unknown(settings, sorted(known), f"settings of {algo}:")
