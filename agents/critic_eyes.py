"""Policies for off-policy algorithms whose eyes are trained by the critic's loss alone.

SB3 offers two ways, and both spoil a comparison of eyes: by default actor and critic train eyes of their own,
at twice the cost; with `share_features_extractor=True` the actor's loss alone trains the shared ones, though
it says little about what is seen. Here, as in SAC-AE and DrQ (Yarats et al. 2021, Kostrikov et al. 2021),
the critic trains them, and the actor looks through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import MultiInputPolicy as _SACPolicy
from stable_baselines3.td3.policies import MultiInputPolicy as _TD3Policy
from torch import Tensor

from .eyes import BorrowedEyes


class LookingCritic(ContinuousCritic):
    """A critic whose eyes are left out of the actor's loss: SB3 throws away what that says of them, after
    a pass back through all of their layers."""

    def forward(self, obs: Any, actions: Tensor) -> tuple[Tensor, ...]:
        """Q-values (B, 1) of each network. Actions that need a gradient are the actor's."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not actions.requires_grad):
            features = self.extract_features(obs, self.features_extractor)
        inputs = torch.cat([features, actions], 1)
        return tuple(network(inputs) for network in self.q_networks)


class CriticEyesSACPolicy(_SACPolicy):
    """SAC: the actor has a trunk of its own on the critic's eyes."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        keywords = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return LookingCritic(**keywords).to(self.device)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        borrow(self, self.actor, self.critic, lr_schedule)


class CriticEyesTD3Policy(_TD3Policy):
    """TD3: as for SAC, and the target of the actor looks through the eyes of the critic's target."""

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        borrow(self, self.actor, self.critic, lr_schedule)
        look_through(self.actor_target, self.critic_target)


def borrow(policy: BasePolicy, actor: Any, critic: Any, lr_schedule: Callable[[float], float]) -> None:
    """Give `actor` the eyes of `critic`, and an optimiser of what is left of its own."""
    look_through(actor, critic)
    actor.optimizer = policy.optimizer_class(
        actor.parameters(),
        lr=lr_schedule(1),  # type: ignore[call-arg]
        **policy.optimizer_kwargs,
    )


def look_through(one: Any, other: Any) -> None:
    """Replace the eyes of one network by those of another."""
    extractor, lender = one.features_extractor, other.features_extractor
    if extractor is lender:
        raise ValueError("share_features_extractor=True: leave it out, the critic's eyes are shared anyway")
    extractor.eyes = BorrowedEyes(lender.eyes)
