"""The pretraining loop: one for every objective, resumable at any step, bit for bit.

Everything random in step k comes from a generator seeded with (seed, k), so that a resumed run needs
weights, optimiser state and k, and repeats what an undisturbed run would have done.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoint import CAMERA_CONVENTION, CheckpointError, load_tensors, read_record, save_checkpoint
from .encoder import feature_statistics
from .model import GQN
from .objectives import Objective, Regression, Rendering, Report, Schedule
from .precision import autocast, choose_device
from .presets import PretrainConfig
from .reference import copy_reference
from .scenes import Batch, Scenes
from .training_log import TrainingLog

LOG_EVERY, CHECKPOINT_SECONDS, TEST_SCENES = 100, 120.0, 128
"""Steps between log rows; seconds between checkpoints; held-out scenes in each log row."""
TRAINING, ENCODER, LOG = "training", "encoder", "training.csv"
"""Inside a run's folder: the resumable state, the finished encoder, the learning curve."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a call of `pretrain` ended."""

    finished: bool
    """False when time or a signal stopped it first: the same call goes on from there."""
    step: int
    """Gradient steps taken in all."""
    encoder: Path
    """Folder of the encoder's checkpoint; it exists once finished."""


def pretrain(
    config: PretrainConfig,
    train: Scenes,
    test: Scenes,
    folder: Path,
    *,
    max_seconds: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    provenance: dict[str, Any] | None = None,
) -> Result:
    """Train, or go on training, until `config.steps` or `max_seconds`; write `folder`/encoder when done."""
    if (folder / ENCODER / "checkpoint.json").exists():
        _refuse_other_config(folder / ENCODER, config)
        return Result(True, config.steps, folder / ENCODER)
    for scenes in (train, test):
        _check_scenes(config, scenes)
    place = choose_device(device)
    run = _Run(config, build(config, train, place), folder, place, precision)
    run.resume()
    train = train.in_memory()
    held_out = test.gather(np.arange(min(TEST_SCENES, len(test))))
    run.log.print_plateaus(held_out)
    with _stop_on_signal() as stopped:
        finished = run.train(train, held_out, max_seconds, stopped)
        if finished:
            _save_encoder(run, train, provenance or {})
    if finished and stopped():
        raise KeyboardInterrupt  # it came too late to stop this run; what follows must not swallow it
    return Result(finished, run.step, folder / ENCODER)


def build(config: PretrainConfig, train: Scenes, device: torch.device) -> torch.nn.Module:
    """The module to train, from its seed alone."""
    model = GQN(config.model, seed=config.seed)
    objective: torch.nn.Module
    if config.objective in ("rendering", "random"):
        objective = Rendering(
            model, config.max_contexts, config.queries, config.label_weights, config.kl_balance
        )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            objective = Regression(model, train.all_state())
        model.generator.requires_grad_(False)
    return objective.to(device)


def schedule(config: PretrainConfig, step: int) -> Schedule:
    """Sigma and the share of self-contexts at `step`."""
    progress = step / config.steps
    sigma = _linear(*config.sigma, progress / 0.5)
    past_warm_up = (progress - config.warm_up) / max(config.transition, 1e-9)
    return Schedule(sigma, _linear(1.0, 0.0, past_warm_up), progress < config.prior_only)


def _linear(start: float, end: float, progress: float) -> float:
    return start + (end - start) * min(max(progress, 0.0), 1.0)


class _Run:
    """One run's moving parts: module, optimiser, step, log."""

    def __init__(
        self,
        config: PretrainConfig,
        module: torch.nn.Module,
        folder: Path,
        device: torch.device,
        precision: str,
    ) -> None:
        self.config, self.module, self.folder = config, module, folder
        self.device, self.precision = device, precision
        self.named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.Adam(
            self.named.values(), lr=config.learning_rate[0], eps=config.adam_epsilon, fused=True
        )
        self.step, self.seconds = 0, 0.0
        self.log = TrainingLog(folder / LOG)

    def train(
        self, train: Scenes, held_out: Batch, max_seconds: float | None, stopped: Callable[[], bool]
    ) -> bool:
        """Steps until the end (True), or until time or a signal stops them (False)."""
        started, saved, before = time.monotonic(), time.monotonic(), self.seconds
        with tqdm(
            total=self.config.steps, initial=self.step, unit="step", desc=self.config.objective, mininterval=2
        ) as bar:
            for batch in batches(train, self.config, self.step):
                report = self._update(batch)
                self.step += 1
                self.seconds = before + time.monotonic() - started
                bar.update()
                if self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                    self._log_row(report, held_out)
                out_of_time = max_seconds is not None and time.monotonic() - started > max_seconds
                if stopped() or out_of_time or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
                    if stopped() or out_of_time:
                        break
        return self.step >= self.config.steps

    def _update(self, batch: Batch) -> Report:
        """One gradient step; returns what computes its numbers for the log."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = _linear(*config.learning_rate, self.step / config.steps)
        self.optimiser.zero_grad(set_to_none=True)
        rng = step_rng(config.seed, self.step, "noise")
        objective: Objective = self.module  # type: ignore[assignment]
        with autocast(self.device, self.precision):
            loss, report = objective.loss(batch, schedule(config, self.step), rng)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), config.clip_gradient)
        if not torch.isfinite(loss + norm):
            raise FloatingPointError(
                f"the loss is {loss.item()}, its gradient's norm {float(norm)} at step {self.step}; the last "
                f"good checkpoint is in {self.folder / TRAINING}: lower learning_rate or clip_gradient and "
                "start another run"
            )
        self.optimiser.step()
        return lambda: {"loss": float(loss.detach()), "gradient_norm": float(norm)} | report()

    def _log_row(self, report: Report, held_out: Batch) -> None:
        objective: Objective = self.module  # type: ignore[assignment]
        with autocast(self.device, self.precision):
            figures = report() | objective.evaluate(held_out)
        self.log.write({"step": self.step, "seconds": round(self.seconds, 1)} | figures)

    def save(self) -> None:
        """Write the resumable state."""
        tensors = dict(self.module.state_dict())
        for name, parameter in self.named.items():
            for key, value in self.optimiser.state[parameter].items():  # empty without a gradient yet
                tensors[f"optimiser.{key}.{name}"] = value
        record = {"config": self.config.to_dict(), "step": self.step, "seconds": self.seconds}
        save_checkpoint(self.folder / TRAINING, tensors, record)

    def resume(self) -> None:
        """Take up the state of an earlier call, if there is one."""
        folder = self.folder / TRAINING
        if not (folder / "checkpoint.json").exists():
            self.log.drop_rows_after(0)
            return
        _refuse_other_config(folder, self.config)
        record, tensors = read_record(folder), load_tensors(folder)
        self.step, self.seconds = record["step"], record["seconds"]
        for name, parameter in self.named.items():
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"optimiser.{key}.{name}" in tensors]
            state = {key: tensors.pop(f"optimiser.{key}.{name}") for key in keys}
            moments = {k: v if k == "step" else _laid_out_like(parameter, v) for k, v in state.items()}
            self.optimiser.state[parameter].update(moments)
        self.module.load_state_dict(tensors)
        self.log.drop_rows_after(self.step)


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` on the device and in the memory format of `parameter`: fused Adam pairs them by address."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def batches(scenes: Scenes, config: PretrainConfig, first_step: int) -> Iterator[Batch]:
    """The batches of steps `first_step`.. in order, read one ahead in a thread."""

    def read(step: int) -> Batch:
        indices = step_rng(config.seed, step, "batch").integers(len(scenes), size=config.batch)
        return scenes.gather(indices)

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, first_step)
        for step in range(first_step, config.steps):
            batch, ahead = ahead.result(), reader.submit(read, min(step + 1, config.steps - 1))
            yield batch


def step_rng(seed: int, step: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose ("batch" or "noise") in one step."""
    return np.random.default_rng([seed, step, ("batch", "noise").index(purpose)])


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and Ctrl-C into a wish to stop at the next step, after a checkpoint."""
    received: list[int] = []

    def remember(number: int, frame: Any) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_scenes(config: PretrainConfig, scenes: Scenes) -> None:
    facts = scenes.meta
    wanted = {"image_size": config.model.image_size, "camera_convention": CAMERA_CONVENTION}
    for key, value in wanted.items():
        if facts[key] != value:
            raise CheckpointError(f"{scenes.folder}: {key} is {facts[key]!r}, the run needs {value!r}")
    if facts["views"] < config.views_needed:
        raise CheckpointError(
            f"{scenes.folder}: {facts['views']} views a scene, but {config.max_contexts} contexts and "
            f"{config.queries} queries need {config.views_needed}: render more views"
        )
    if config.objective == "regression" and not facts["state_columns"]:
        raise CheckpointError(
            f"{scenes.folder}: its scenes have no state for regression to learn: choose a preset of rendering"
        )


def _refuse_other_config(folder: Path, config: PretrainConfig) -> None:
    theirs = PretrainConfig.from_dict(read_record(folder)["config"])
    if theirs != config:
        raise CheckpointError(
            f"{folder} belongs to another configuration; choose another --out, or delete it"
        )


def _save_encoder(run: _Run, train: Scenes, provenance: dict[str, Any]) -> None:
    record = {
        "config": run.config.to_dict(),
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "frames": len(train) * train.meta["views"],
        "scenes": {key: train.meta[key] for key in ("recipe", "renderer", "versions", "state_columns")},
        "provenance": provenance,
    }
    copy_reference(train.folder, run.folder / ENCODER)
    statistics = feature_statistics(run.module.model.representation, train)  # type: ignore[union-attr, arg-type]
    save_checkpoint(run.folder / ENCODER, dict(run.module.state_dict()) | statistics, record)
