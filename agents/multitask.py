"""PPO on several tasks at once: one shared encoder, one head a task, and the same say for every task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import Tensor, nn
from torch.nn import functional

from gqn_transfer.model import GQN
from gqn_transfer.tier import TierConfig

from .algorithms import ALGORITHMS
from .auxiliary import SCHEDULE_STEPS, AuxiliaryBound
from .build import Recipe, environment_seed
from .eyes import EncoderSource, shared
from .gradients import cosines, without_conflicts
from .inputs import FRAMES
from .mixed_vec_env import MixedVecEnv
from .optimiser import EncoderAdam
from .scene_collector import SceneSource, Together, collectors_in
from .task_heads import MultiTaskPolicy, TaskExtractor, rows_by_task

SMALLEST_DEVIATION = 1e-8
"""Of advantages."""


class MultiTaskPPO(PPO):
    """PPO whose minibatches hold as many samples of every task.

    A task's advantages are normalised over its own rollout, and its gradient is clipped by itself, as if it
    were alone; the encoder then follows the mean of these gradients. surgery: of what is left of them
    without what is against another task's (PCGrad).
    """

    policy: MultiTaskPolicy
    recipe: Recipe
    auxiliary: AuxiliaryBound

    def __init__(self, policy: Any, env: MixedVecEnv, surgery: bool = False, **settings: Any) -> None:
        super().__init__(policy, env, **settings)
        self.surgery = surgery
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
                found = [self._gradients(task, samples) for task, samples in enumerate(batch)]
                agreement.append(self._take_step(found))
            self._n_updates += 1
        every = torch.cat(agreement)
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

    def _gradients(self, task: int, rows: np.ndarray) -> tuple[Tensor, list[Tensor]]:
        """Of the task's loss: on the shared weights (P,), and on those of its head; clipped together."""
        shared = self.policy.shared_parameters()
        own = list(self.policy.heads[task].parameters())
        found = torch.autograd.grad(self._loss(rows), [*shared, *own], allow_unused=True)
        filled = [
            torch.zeros_like(weight) if one is None else one
            for weight, one in zip((*shared, *own), found, strict=True)
        ]
        scale = (self.max_grad_norm / (torch.nn.utils.get_total_norm(filled) + 1e-6)).clamp(max=1)
        flat = [one.flatten() * scale for one in filled[: len(shared)]]
        return torch.cat(flat) if flat else torch.zeros(0), [one * scale for one in filled[len(shared) :]]

    def _loss(self, rows: np.ndarray) -> Tensor:
        """PPO's (Schulman et al. 2017), of these samples."""
        samples = self.rollout_buffer._get_samples(rows)
        values, log_prob, entropy = self.policy.evaluate_actions(samples.observations, samples.actions)
        ratio = torch.exp(log_prob - samples.old_log_prob)
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        gain = torch.min(samples.advantages * ratio, samples.advantages * ratio.clamp(1 - clip, 1 + clip))
        assert entropy is not None
        value_loss = functional.mse_loss(values.flatten(), samples.returns)
        return -gain.mean() - self.ent_coef * entropy.mean() + self.vf_coef * value_loss

    def _take_step(self, found: list[tuple[Tensor, list[Tensor]]]) -> Tensor:
        """One step of the optimiser; cosines between the tasks' gradients on the shared weights."""
        shared = torch.stack([flat for flat, _ in found])
        mended = without_conflicts(shared, self.surgery_rng) if self.surgery else shared
        self.policy.optimizer.zero_grad()
        set_gradients(self.policy.shared_parameters(), mended.mean(0))
        for head, (_, own) in zip(self.policy.heads, found, strict=False):
            for weight, gradient in zip(head.parameters(), own, strict=True):
                weight.grad = gradient
        self.policy.optimizer.step()
        return cosines(shared) if shared.shape[1] else shared.new_zeros(0)


def set_gradients(parameters: list[nn.Parameter], flat: Tensor) -> None:
    """Give each parameter its part of the gradient (P,)."""
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, flat.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)


def make_multitask_agent(
    venv: MixedVecEnv,
    *,
    encoder: EncoderSource | None,
    seed: int,
    mode: str = "finetune",
    tier: TierConfig | None = None,
    surgery: bool = False,
    head_width: int = 256,
    device: str = "auto",
    **overrides: Any,
) -> MultiTaskPPO:
    """An untrained agent with a head for each task of `venv`, on the encoder's weights.

    encoder: None where observations hold its codes already. mode: "finetune" or "frozen". tier: a second
    representation on those codes, which the tasks share and train. overrides: of PPO's settings, whose batch
    and rollout are those of all tasks together.
    """
    algorithm = ALGORITHMS["ppo"]
    policy = {
        **algorithm.policy,
        "tasks": len(venv.tasks),
        "head_width": head_width,
        "features_extractor_class": TaskExtractor,
        "features_extractor_kwargs": {"encoder": encoder, "mode": mode, "tier": tier},
        "optimizer_class": EncoderAdam,
        "optimizer_kwargs": algorithm.optimiser,
    }
    settings = {**algorithm.settings, **overrides}
    agent = MultiTaskPPO(
        MultiTaskPolicy, venv, surgery, policy_kwargs=policy, seed=seed, device=device, **settings
    )
    fit_heads(agent)
    venv.seed(environment_seed(seed))
    how = {"mode": mode, "surgery": surgery, "head_width": head_width}
    how |= {} if tier is None else {"tier": asdict(tier)}
    start = "" if encoder is None else shared(encoder).fingerprint
    agent.recipe = Recipe("multi-task", "ppo", seed, how | overrides, start)
    return agent


def add_rendering(agent: MultiTaskPPO, model: GQN, scenes: SceneSource, weight: float = 1.0) -> None:
    """Let the GQN's bound train the encoder too: half on `scenes`, half on the states that the tasks' agents
    meet, as `SceneCollector`s around the tasks' environments keep them.

    model: the GQN that the encoder is of; its generator is trained on, at the end of its schedule.
    """
    met = Together(collectors_in(agent.get_env()))
    agent.auxiliary = AuxiliaryBound(
        agent.policy, model, [scenes, met], weight, agent.recipe.seed, progress=lambda: SCHEDULE_STEPS
    )


@torch.no_grad()
def fit_heads(agent: MultiTaskPPO) -> None:
    """Centre and scale every head's inputs on first observations of its own task."""
    venv: MixedVecEnv = agent.env  # type: ignore[assignment]
    seen = []
    for _ in range(math.ceil(FRAMES / np.bincount(venv.task_of).min())):
        observations, _ = agent.policy.obs_to_tensor(venv.reset())  # type: ignore[arg-type]
        seen.append(agent.policy.extract_features(observations))
    features = torch.cat(seen)  # type: ignore[arg-type]
    for task, rows in rows_by_task(features[:, 0]):
        agent.policy.heads[task].scale.fit(features[rows, 1:])  # type: ignore[union-attr, operator]
