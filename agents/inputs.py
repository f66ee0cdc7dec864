"""What a trunk is given: centred, and what was seen at unit variance, in the same way for every method.

What new eyes say of all images alike is five to seven times what differs. The trunk's LayerNorm sees one
image at a time and cannot take the common part out: raw pixels would start with a fifth of the signal that
standardised codes have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn

FRAMES = 256
"""First observations of episodes on which the inputs are centred and scaled."""
SMALLEST_DEVIATION = 1e-4
"""Below which what was seen says nothing and is left as it is."""


class InputScale(nn.Module):
    """Inputs (B, n) minus their mean, those `seen` divided by one number; identity until fitted.

    One number and not one for each: many features do not vary at an episode's start, and would be blown up
    once they do.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, seen: slice) -> None:
        super().__init__()
        self.seen = seen
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) * self.scale

    def fit(self, inputs: Tensor) -> None:
        """Take mean and scale from inputs (N, n)."""
        self.mean.copy_(inputs.mean(0))
        deviation = (inputs - self.mean)[:, self.seen].square().mean().sqrt()
        if deviation > SMALLEST_DEVIATION:
            self.scale[self.seen] = 1 / deviation


@torch.no_grad()
def fit_inputs(agent: BaseAlgorithm) -> None:
    """Fit every extractor of `agent` on first observations of its environments, which are reset for that."""
    venv = agent.get_env()
    assert venv is not None
    observations = [
        agent.policy.obs_to_tensor(venv.reset())[0]  # type: ignore[arg-type]
        for _ in range(math.ceil(FRAMES / venv.num_envs))
    ]
    rows = {key: torch.cat([one[key] for one in observations]) for key in observations[0]}  # type: ignore
    scaled = preprocess_obs(rows, agent.observation_space, agent.policy.normalize_images)
    for extractor in _extractors(agent.policy):
        extractor.scale.fit(extractor.inputs(scaled))


def _extractors(policy: nn.Module) -> Iterator[Any]:
    return (module for module in policy.modules() if isinstance(getattr(module, "scale", None), InputScale))
