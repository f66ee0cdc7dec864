"""PPO on several tasks at once: one shared encoder, one head a task, and the same say for every task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import Tensor, nn
from torch.nn import functional

from .auxiliary import AuxiliaryBound
from .build import Recipe
from .gradients import cosines, without_conflicts
from .mixed_vec_env import MixedVecEnv
from .task_heads import MultiTaskPolicy

SMALLEST_DEVIATION = 1e-8
"""Of advantages."""


class MultiTaskPPO(PPO):
    """PPO whose minibatches hold as many samples of every task.

    A task's advantages are normalised over its own rollout, and its gradient is clipped by itself, as if it
    were alone; the encoder then follows the mean of these gradients, and where rendering goes on the bound's
    at the same norm, whatever the number of tasks. surgery: the mean is of what is left of them without what
    is against another task's (PCGrad). teach: False lets heads alone learn from the tasks, so that rendering
    alone trains the encoder. `agreement` has, of every rollout, the cosines between the tasks' gradients.
    """

    policy: MultiTaskPolicy
    recipe: Recipe
    auxiliary: AuxiliaryBound

    def __init__(
        self, policy: Any, env: MixedVecEnv, surgery: bool = False, teach: bool = True, **settings: Any
    ) -> None:
        super().__init__(policy, env, **settings)
        self.surgery, self.teach = surgery, teach
        self.agreement: list[Tensor] = []
        self.surgery_rng = np.random.default_rng([self.seed or 0, 4])

    def train(self) -> None:
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rows = self._rows()
        for each in rows:
            self._normalise(each)
        agreement: list[Tensor] = []
        for _ in range(self.n_epochs):
            for batch in self._batches(rows):
                found = [
                    self._gradients(head, samples) for head, samples in zip(self._heads(), batch, strict=True)
                ]
                agreement.append(self._take_step(found))
            self._n_updates += 1
        every = torch.cat(agreement)
        self.agreement.append(every)
        if len(every):
            self.logger.record("train/gradient_cosine", float(every.mean()))
            self.logger.record("train/gradient_conflicts", float((every < 0).float().mean()))

    def _rows(self) -> list[np.ndarray]:
        """Where each task's samples stand in the flattened rollout: environment by environment."""
        next(self.rollout_buffer.get(1))  # flattens it
        venv: MixedVecEnv = self.env  # type: ignore[assignment]
        return [
            np.arange(*(bound * self.n_steps for bound in venv.bounds[task : task + 2]))
            for task in range(len(venv.tasks))
        ]

    def _normalise(self, rows: np.ndarray) -> None:
        advantages = self.rollout_buffer.advantages
        chosen = advantages[rows]
        advantages[rows] = (chosen - chosen.mean()) / (chosen.std() + SMALLEST_DEVIATION)

    def _batches(self, rows: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """One pass over the rollout: the same number of samples of each task, drawn without replacement."""
        size = self.batch_size // len(rows)
        shuffled = [np.random.permutation(each) for each in rows]  # noqa: NPY002  as SB3 does, whose seed it has
        for start in range(0, len(rows[0]), size):
            yield [each[start : start + size] for each in shuffled]

    def _heads(self) -> list[nn.Module]:
        """Of the tasks that are practised, in their order."""
        first = self.env.first  # type: ignore[union-attr]
        return [*self.policy.heads][first : first + len(self.env.tasks)]  # type: ignore[union-attr]

    def _gradients(self, head: nn.Module, rows: np.ndarray) -> tuple[Tensor, list[Tensor]]:
        """Of a task's loss: on the shared weights (P,), and on those of its head; clipped together."""
        shared, own = self.policy.shared_parameters(), list(head.parameters())
        found = torch.autograd.grad(self._loss(rows), [*shared, *own], allow_unused=True)
        filled = [
            torch.zeros_like(weight) if one is None else one
            for weight, one in zip((*shared, *own), found, strict=True)
        ]
        scale = (self.max_grad_norm / (torch.nn.utils.get_total_norm(filled) + 1e-6)).clamp(max=1)
        flat = [one.flatten() * scale for one in filled[: len(shared)]]
        return torch.cat(flat) if flat else torch.zeros(0), [one * scale for one in filled[len(shared) :]]

    def _loss(self, rows: np.ndarray) -> Tensor:
        """PPO's (Schulman et al. 2017), of these samples, and what a tier's bottleneck adds."""
        samples = self.rollout_buffer._get_samples(rows)
        values, log_prob, entropy = self.policy.evaluate_actions(samples.observations, samples.actions)
        ratio = torch.exp(log_prob - samples.old_log_prob)
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        gain = torch.min(samples.advantages * ratio, samples.advantages * ratio.clamp(1 - clip, 1 + clip))
        assert entropy is not None
        value_loss = functional.mse_loss(values.flatten(), samples.returns)
        loss = -gain.mean() - self.ent_coef * entropy.mean() + self.vf_coef * value_loss
        return loss + self.policy.bottleneck(samples.observations)  # type: ignore[arg-type]

    def _take_step(self, found: list[tuple[Tensor, list[Tensor]]]) -> Tensor:
        """One step of the optimiser; cosines between the tasks' gradients on the shared weights."""
        shared = torch.stack([flat for flat, _ in found])
        mended = without_conflicts(shared, self.surgery_rng) if self.surgery else shared
        together = mended.mean(0)
        if hasattr(self, "auxiliary"):
            self.auxiliary.match = together.norm()
        self.policy.optimizer.zero_grad()
        if self.teach:
            set_gradients(self.policy.shared_parameters(), together)
        for head, (_, own) in zip(self._heads(), found, strict=True):
            for weight, gradient in zip(head.parameters(), own, strict=True):
                weight.grad = gradient
        self.policy.optimizer.step()
        return cosines(shared) if shared.shape[1] else shared.new_zeros(0)


def set_gradients(parameters: list[nn.Parameter], flat: Tensor) -> None:
    """Give each parameter its part of the gradient (P,)."""
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, flat.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
