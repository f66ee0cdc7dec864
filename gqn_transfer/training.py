"""One training run's moving parts: optimiser, step, log, and the state it resumes from, bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from .decoders import Report, Schedule
from .loader import Loader, Source, step_rng
from .objectives import Objective, SceneTensors
from .precision import autocast
from .presets import PretrainConfig
from .ranks import Ranks
from .scenes import Batch
from .training_log import TrainingLog

LOG_EVERY, CHECKPOINT_SECONDS = 100, 120.0
"""Steps between log rows; seconds between checkpoints."""
TRAINING, LOG = "training", "training.csv"
"""Inside a run's folder: the resumable state, the learning curve."""


class Run:
    """Everything random in step k comes from generators seeded with (seed, k), so that a resumed run needs
    weights, optimiser state and k, and repeats what an undisturbed run would have done."""

    def __init__(
        self,
        config: PretrainConfig,
        objective: Objective,
        folder: Path,
        precision: str,
        ranks: Ranks,
        tensorboard: bool = False,
        data: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """data: what it is trained on; a run goes on on nothing else."""
        self.data = dict(data)
        self.config, self.objective, self.folder = config, objective, folder
        self.precision, self.ranks, self.device = precision, ranks, objective.device
        self.named = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.Adam(
            self.named.values(), lr=config.learning_rate[0], eps=config.adam_epsilon, fused=True
        )
        self.average = _moving_average(objective, config.average)
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.log = TrainingLog(folder / LOG, folder / "tensorboard" if tensorboard else None)

    @property
    def result(self) -> Objective:
        """What is judged and saved: the averaged weights where there is an average."""
        return self.average.module if self.average else self.objective  # type: ignore[return-value]

    def train(
        self, source: Source, held_out: Batch, max_seconds: float | None, stopped: Callable[[], bool]
    ) -> bool:
        """Steps until the end (True), or until time or a signal stops them (False)."""
        started, saved, before = time.monotonic(), time.monotonic(), self.seconds
        loader, losses = Loader(source, self.step, self.config.steps), self._losses()
        with tqdm(
            total=self.config.steps, initial=self.step, unit="step", desc="+".join(self.config.decoders),
            mininterval=2, disable=not self.ranks.is_first,
        ) as bar:  # fmt: skip
            for batch in loader:
                report = self._update(losses, batch)
                self.step += 1
                self.seconds = before + time.monotonic() - started
                bar.update()
                if self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                    self._log_row(report, held_out)
                late = max_seconds is not None and time.monotonic() - started > max_seconds
                stop = self.ranks.any(late or stopped(), self.device)
                if stop or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
                if stop:
                    break
        self.waited = loader.waited / max(time.monotonic() - started, 1e-9)
        return self.step >= self.config.steps

    def _losses(self) -> torch.nn.Module:
        """The objective, whose gradients several ranks average."""
        if self.ranks.size == 1:
            return self.objective
        # Without a posterior, the inference network takes no part in the loss.
        return DistributedDataParallel(self.objective, find_unused_parameters=True)

    def _update(self, losses: torch.nn.Module, batch: Batch | SceneTensors) -> Report:
        """One gradient step; returns what computes its numbers for the log."""
        config = self.config
        for group in self.optimiser.param_groups:
            progress = self.step / config.steps / config.learning_rate_share
            group["lr"] = linear(*config.learning_rate, progress)
        self.optimiser.zero_grad(set_to_none=True)
        rng = step_rng(config.seed, self.step, "noise")
        with autocast(self.device, self.precision):
            loss, report = losses(batch, schedule(config, self.step), rng)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), config.clip_gradient or math.inf)
        if not torch.isfinite(loss + norm):
            raise FloatingPointError(
                f"the loss is {loss.item()}, its gradient's norm {float(norm)} at step {self.step}; the last "
                f"good checkpoint is in {self.folder / TRAINING}: the same command goes on from there; if it "
                "ends here again, lower learning_rate, or clip_gradient (0: none is clipped), in a new folder"
            )
        self.optimiser.step()
        if self.average:
            self.average.update_parameters(self.objective)
        return lambda: {"loss": float(loss.detach()), "gradient_norm": float(norm)} | report()

    def _log_row(self, report: Report, held_out: Batch) -> None:
        if self.ranks.is_first:
            with autocast(self.device, self.precision):
                figures = report() | self.result.evaluate(held_out)
            with self.writing():
                self.log.write({"step": self.step, "seconds": round(self.seconds, 1)} | figures)

    def save(self) -> None:
        """Write the resumable state."""
        if not self.ranks.is_first:
            return
        tensors = dict(self.objective.state_dict())
        for name, parameter in self.named.items():
            for key, value in self.optimiser.state[parameter].items():  # empty without a gradient yet
                tensors[f"optimiser.{key}.{name}"] = value
        if self.average:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        record = {
            "config": self.config.to_dict(), "data": self.data, "step": self.step, "seconds": self.seconds
        }  # fmt: skip
        with self.writing():
            save_checkpoint(self.folder / TRAINING, tensors, record)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What cannot be written, for want of space or otherwise, ends the run with a message."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{self.folder} cannot be written ({error}). What was saved there before is whole: make "
                "room, and the same command goes on from the last good checkpoint"
            ) from error

    def resume(self) -> None:
        """Take up the state of an earlier call, if there is one."""
        folder = self.folder / TRAINING
        if self.ranks.is_first:
            for leftover in self.folder.glob("*/.*.tmp"):  # of a save that was killed
                leftover.unlink(missing_ok=True)
        if not (folder / "checkpoint.json").exists():
            if self.ranks.is_first:
                self.log.drop_rows_after(0)
            return
        refuse_other_config(folder, self.config)
        record, tensors = read_record(folder), load_tensors(folder)
        known = record.get("data", {})  # of an earlier version it may say less
        if any(self.data.get(key) != value for key, value in known.items()):
            raise CheckpointError(
                f"{self.folder} has been trained on {known}, not on {self.data}: give it the same "
                "scenes, or choose another folder"
            )
        self.step, self.seconds = record["step"], record["seconds"]
        for name, parameter in self.named.items():
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"optimiser.{key}.{name}" in tensors]
            state = {key: tensors.pop(f"optimiser.{key}.{name}") for key in keys}
            known = {
                key: value.to(parameter.device) if key == "step" else _laid_out_like(parameter, value)
                for key, value in state.items()
            }
            self.optimiser.state[parameter].update(known)
        if self.average:
            names = [name for name in tensors if name.startswith("average.")]
            self.average.load_state_dict({name.removeprefix("average."): tensors.pop(name) for name in names})
        self.objective.load_state_dict(tensors)
        if self.ranks.is_first:
            self.log.drop_rows_after(self.step)


def _moving_average(objective: Objective, decay: float) -> AveragedModel | None:
    return AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` on the device and in the memory format of `parameter`: fused Adam pairs them by address."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def refuse_other_config(folder: Path, config: PretrainConfig) -> None:
    """CheckpointError unless the checkpoint in `folder` was made with `config`; what is newer than its record
    has its default there."""
    known, ours = (PretrainConfig.from_dict(one) for one in (read_record(folder)["config"], config.to_dict()))
    if known != ours:
        raise CheckpointError(
            f"{folder} belongs to another configuration; choose another --out, or delete it"
        )


def schedule(config: PretrainConfig, step: int) -> Schedule:
    """What the decoders are told at `step`."""
    progress = step / config.steps
    ended = config.warm_up + config.transition
    past_warm_up = (progress - config.warm_up) / max(config.transition, 1e-9) if progress < ended else 1.0
    return Schedule(
        sigma=linear(*config.sigma, progress / config.sigma_share),
        self_context=linear(1.0, config.self_contexts, past_warm_up),
        prior_only=progress < config.prior_only,
        emphasis=linear(0.0, 1.0, (1 - progress) / config.label_fade) if config.label_fade else 1.0,
    )


def linear(start: float, end: float, progress: float) -> float:
    """From `start` at progress 0 to `end` at 1, and constant outside."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)
