"""Adam with a learning rate and a start of its own for an encoder inside a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor


class EncoderAdam(torch.optim.Adam):
    """Adam whose step for an encoder's weights is `encoder_rate` times that of the others.

    SB3 gives all groups of an optimiser the same learning rate before every update, so that a rate set at
    construction would be lost; here it is a factor, applied in `step`. Over the first `warm_up` steps the
    factor rises from 0: heads that know nothing yet would otherwise spoil what pretraining has learned.
    """

    before_step: Callable[[], None] | None = None
    """Called once before each step, with the gradients in place. PyTorch's own hooks would run twice, in this
    `step` and in that of `Adam`, once the process has made a plain `Adam`."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        encoder_rate: float = 1.0,
        warm_up: int = 0,
        **keywords: Any,
    ) -> None:
        if encoder_rate < 0 or warm_up < 0:
            raise ValueError(f"encoder_rate={encoder_rate}, warm_up={warm_up}: expected at least 0")
        encoder: list[Tensor] = []
        rest: list[Tensor] = []
        for parameter in parameters:
            (encoder if getattr(parameter, "of_encoder", False) else rest).append(parameter)
        groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
        if encoder:
            groups.append({"params": encoder, "factor": encoder_rate, "warm_up": warm_up, "steps": 0})
        super().__init__(groups, lr=lr, **keywords)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        if self.before_step is not None:
            self.before_step()
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= _factor(group)
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


def optimisers_of(agent: BaseAlgorithm) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """Every optimiser of the agent, by a name."""
    owners = {
        "policy": agent.policy,
        "actor": getattr(agent, "actor", None),
        "critic": getattr(agent, "critic", None),
    }
    for name, owner in owners.items():
        if (optimiser := getattr(owner, "optimizer", None)) is not None:
            yield name, optimiser
    if (optimiser := getattr(agent, "ent_coef_optimizer", None)) is not None:
        yield "entropy", optimiser


def _factor(group: dict[str, Any]) -> float:
    """What this step of the group is multiplied by; counts the step."""
    if "factor" not in group:
        return 1.0
    share = min(group["steps"] / group["warm_up"], 1.0) if group["warm_up"] else 1.0
    group["steps"] += 1
    return group["factor"] * share
