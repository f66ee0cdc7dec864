"""Algorithms and their settings, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from gqn_transfer.choices import named

from .critic_eyes import CriticEyesSACPolicy, CriticEyesTD3Policy
from .refilling import RefillingSAC, RefillingTD3


@dataclass(frozen=True)
class Algorithm:
    """A Stable-Baselines3 algorithm as this study uses it."""

    kind: type[BaseAlgorithm]
    """Its class."""
    settings: Mapping[str, Any]
    """Keyword arguments of its class."""
    policy: Mapping[str, Any]
    """Keyword arguments of its policy."""
    optimiser: Mapping[str, Any]
    """Keyword arguments of `EncoderAdam`."""
    critic_eyes: type[BasePolicy] | None = None
    """Off-policy: the policy whose critic trains the eyes."""
    noise: float = 0.0
    """Deviation of the exploration's noise, where the policy has none of its own."""

    def settings_for(self, num_envs: int) -> dict[str, Any]:
        """Its settings with that many environments: as many gradient steps for each transition as ever."""
        if not self.is_off_policy:
            return dict(self.settings)
        each = max(1, round(UPDATES * num_envs * self.settings["train_freq"]))
        return {**self.settings, "gradient_steps": each}

    @property
    def is_off_policy(self) -> bool:
        """True if it learns from a replay buffer."""
        return self.critic_eyes is not None

    def updates_per_step(self, settings: Mapping[str, Any], num_envs: int) -> float:
        """Gradient steps that come with an environment step."""
        if self.is_off_policy:
            return settings["gradient_steps"] / (settings["train_freq"] * num_envs)
        if "batch_size" in settings:
            return settings["n_epochs"] / settings["batch_size"]
        return 1 / (settings["n_steps"] * num_envs)


DISCOUNT = 0.95
ACTOR_CRITIC = {"log_std_init": -1.5}
"""The initial noise, exp(-1.5) of an action's range, moves the hand by half a centimetre a step: more knocks
cans over, and Grasp is not learned."""
REPLAY = {
    "learning_rate": 1e-3,
    "buffer_size": 100_000,
    "learning_starts": 2_000,
    "batch_size": 256,
    "tau": 0.01,
    "gamma": DISCOUNT,
    "train_freq": 1,
}
UPDATES = 0.5
"""Gradient steps for each transition of off-policy algorithms. DrQ takes one, in twice the time."""

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        "ppo": Algorithm(
            PPO,
            {
                "n_steps": 125,  # with 16 environments a rollout is 2,000 steps
                "batch_size": 250,
                "n_epochs": 10,
                "learning_rate": 3e-4,
                "gamma": DISCOUNT,
                "gae_lambda": 0.95,
                "clip_range": 0.2,
                "ent_coef": 0.0,
                "max_grad_norm": 0.5,
            },
            ACTOR_CRITIC,
            {"eps": 1e-5},
        ),
        "a2c": Algorithm(
            A2C,
            {
                "n_steps": 16,
                "learning_rate": 7e-4,
                "gamma": DISCOUNT,
                "gae_lambda": 0.95,
                "normalize_advantage": True,
                "use_rms_prop": False,
            },
            ACTOR_CRITIC,
            {"eps": 1e-5},
        ),
        "sac": Algorithm(RefillingSAC, {**REPLAY, "ent_coef": "auto_0.1"}, {}, {}, CriticEyesSACPolicy),
        "td3": Algorithm(RefillingTD3, REPLAY, {}, {}, CriticEyesTD3Policy, noise=0.2),
    }
)
"""Name -> algorithm."""


def algorithm_named(name: str) -> Algorithm:
    """The row of `ALGORITHMS`; ValueError lists what exists."""
    return named(ALGORITHMS, name, "algorithm")
