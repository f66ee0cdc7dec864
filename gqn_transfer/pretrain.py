"""Pretraining: from a configuration and scenes to an encoder's checkpoint, whatever interrupts it."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .checkpoint import CAMERA_CONVENTION, CheckpointError, load_tensors, read_record, save_checkpoint
from .decoders import DECODERS, Decoder, RenderingDecoder, StateDecoder
from .encoder import feature_statistics, find_checkpoint
from .loader import DrawnScenes, Source, drawn
from .model import GQN
from .objectives import Objective
from .precision import choose_device, without_subnormals
from .presets import RENDERING, PretrainConfig
from .ranks import ALONE, Ranks, join, local_device
from .reference import copy_reference
from .scenes import UNLABELLED, Scenes
from .training import Run, refuse_other_config

TEST_SCENES = 128
"""Held-out scenes in each log row."""
ENCODER = "encoder"
"""Inside a run's folder: the finished encoder."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a call of `pretrain` ended."""

    finished: bool
    """False when time or a signal stopped it first: the same call goes on from there."""
    step: int
    """Gradient steps taken in all."""
    encoder: Path
    """Folder of the encoder's checkpoint; it exists once finished."""


@without_subnormals()
def pretrain(
    config: PretrainConfig,
    train: Scenes,
    test: Scenes,
    folder: Path,
    *,
    start_from: str | Path | None = None,
    source: Source | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    tensorboard: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Result:
    """Train, or go on training, until `config.steps` or `max_seconds`; write `folder`/encoder when done.

    start_from: a checkpoint whose encoder, generator and decoders the run starts with; decoders that it
    lacks are new. source: where batches come from instead of `train`, which then only gives statistics.
    Under `torchrun` each process takes its part of every batch.
    """
    start = None if start_from is None else read_record(find_checkpoint(start_from))
    if start:
        config = dataclasses.replace(config, start=start["fingerprint"])
    if (folder / ENCODER / "checkpoint.json").exists():
        refuse_other_config(folder / ENCODER, config)
        _refuse_other_scenes(folder / ENCODER, train)
        return Result(True, config.steps, folder / ENCODER)
    for scenes in (train, test):
        _check_scenes(config, scenes)
    place = local_device(choose_device(device))
    ranks = join(place)
    _check_ranks(config, ranks)
    objective = build(config, train, place, start_from, ranks)
    run = Run(config, objective, folder, precision, ranks, tensorboard, _data(train, source))
    run.resume()
    if compiled:  # an average that copied compiled parts would run those of the original
        objective.model.compile_parts()
    held_out = test.gather(np.arange(min(TEST_SCENES, len(test))))
    if ranks.is_first:
        run.log.print_plateaus(held_out)
    source = source or drawn(train, config.batch, config.seed, place, ranks)
    with _stop_on_signal() as stopped:
        finished = run.train(source, held_out, max_seconds, stopped)
        if finished and ranks.is_first:
            with run.writing():
                _save_encoder(run, train, _frames(run, train, source, start), provenance or {})
        ranks.wait()
    if ranks.is_first:
        tqdm.write(f"{run.waited:.1%} of the time was spent waiting for scenes")
    if finished and stopped():
        raise KeyboardInterrupt  # it came too late to stop this run; what follows must not swallow it
    return Result(finished, run.step, folder / ENCODER)


def build(
    config: PretrainConfig,
    train: Scenes,
    device: torch.device,
    start_from: str | Path | None = None,
    ranks: Ranks = ALONE,
) -> Objective:
    """What is trained, from the seed and, where it starts from one, a checkpoint."""
    columns = len(train.meta["state_columns"])
    objective = assemble(config, columns, ranks)
    for decoder in objective.decoders.values():
        if isinstance(decoder, StateDecoder):
            decoder.standardise(train.all_state(), train.meta["state_columns"])
    if start_from is not None:
        _take_over(objective, find_checkpoint(start_from))
    objective.model.representation.requires_grad_(config.trains("encoder"))
    objective.model.generator.requires_grad_(RENDERING in config.decoders and config.trains(RENDERING))
    for name, head in objective.heads.items():
        head.requires_grad_(config.trains(name))
    return objective.to(device)


def assemble(config: PretrainConfig, columns: int, ranks: Ranks = ALONE) -> Objective:
    """A GQN and the configuration's decoders with fresh weights, for states of `columns` columns."""
    model = GQN(config.model, seed=config.seed)
    decoders: dict[str, Decoder] = {}
    for name in config.decoders:
        if name == RENDERING:
            decoders[name] = RenderingDecoder(
                model, config.label_weights, config.kl_balance, config.label_margin
            )
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            sizes = (config.model, model.code_shape, columns, config.label_weights)
            decoders[name] = DECODERS[name](*sizes)  # type: ignore[assignment]
    return Objective(model, decoders, config.decoders, config.max_contexts, config.queries, ranks)


def load_objective(name_or_path: str | Path) -> Objective:
    """The GQN of a checkpoint with its decoders, in eval mode."""
    folder = find_checkpoint(name_or_path)
    record = read_record(folder)
    config = PretrainConfig.from_dict(record["config"])
    objective = assemble(config, len(record["scenes"]["state_columns"]))
    _take_over(objective, folder)
    for decoder in objective.decoders.values():
        if isinstance(decoder, StateDecoder):
            decoder.tell_missing(record["scenes"]["state_columns"])
    return objective.eval()


def _take_over(objective: Objective, folder: Path) -> None:
    """Load what the checkpoint has; decoders that it lacks stay as they are."""
    tensors = load_tensors(folder)
    own = objective.state_dict()
    known = {name: tensors[name] for name in own if name in tensors}
    model = {name for name in own if name.startswith("model.")}
    missing = sorted(model - known.keys())
    if not any(name.startswith("model.generator.") for name in known):
        raise CheckpointError(f"{folder} is an encoder without its generator: start from a whole checkpoint")
    wrong = missing + sorted(name for name in known if known[name].shape != own[name].shape)
    if wrong:
        raise CheckpointError(
            f"{folder} has another model or other scenes: {wrong[0]} does not fit; give the run the sizes "
            "that its checkpoint.json names, and scenes with as many columns"
        )
    objective.load_state_dict(known, strict=False)


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
            raise CheckpointError(
                f"{scenes.folder}: {key} is {facts[key]!r}, the run needs {value!r}: make scenes with "
                "that, or choose another preset"
            )
    if facts["views"] < config.views_needed:
        raise CheckpointError(
            f"{scenes.folder}: {facts['views']} views a scene, but {config.max_contexts} contexts and "
            f"{config.queries} queries need {config.views_needed}: render more views"
        )
    if "state" in config.decoders and not facts["state_columns"]:
        raise CheckpointError(
            f"{scenes.folder}: its scenes have no state for a decoder to learn: choose a preset of rendering"
        )

    if "segmentation" in config.decoders and facts.get("labels") == UNLABELLED:
        raise CheckpointError(
            f"{scenes.folder}: its scenes have no labels for a decoder to learn: leave out segmentation"
        )


def _data(train: Scenes, source: Source | None) -> dict[str, Any]:
    """What a run is trained on, in words that JSON has."""
    kind = "folder" if source is None else type(source).__name__
    return train.identity | {"scenes": len(train), "views": train.meta["views"], "from": kind}


def _refuse_other_scenes(folder: Path, train: Scenes) -> None:
    """CheckpointError if the encoder in `folder` was trained on other scenes."""
    known = read_record(folder)["scenes"]
    if not _are_those(train, known):
        told = {key: known[key] for key in train.identity if key in known}
        raise CheckpointError(
            f"{folder} was trained on scenes of {told}, not of {train.identity}: choose another folder"
        )


def _are_those(train: Scenes, known: Mapping[str, Any]) -> bool:
    """True if a checkpoint's record, which in earlier versions had no digest, is of these scenes."""
    return all(known.get(key, value) == value for key, value in train.identity.items())


def _check_ranks(config: PretrainConfig, ranks: Ranks) -> None:
    if config.batch % ranks.size:
        raise ValueError(
            f"a batch of {config.batch} scenes cannot be shared evenly by {ranks.size} processes: "
            f"choose a multiple of {ranks.size}"
        )


def _frames(run: Run, train: Scenes, source: Source, start: dict[str, Any] | None) -> int:
    """Images that the encoder was trained on, those of the run it started from included."""
    frames = source.frames(run.step)
    if start is None:
        return frames
    alike = _are_those(train, start["scenes"]) and start["frames"] == frames
    if alike and isinstance(source, DrawnScenes):
        return frames  # both runs drew from the same folder
    return frames + int(start["frames"])


def _save_encoder(run: Run, train: Scenes, frames: int, provenance: Mapping[str, Any]) -> None:
    record = {
        "config": run.config.to_dict(),
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "frames": frames,
        "scenes": train.identity
        | {key: train.meta[key] for key in ("renderer", "versions", "state_columns")},
        "provenance": dict(provenance),
    }
    copy_reference(train.folder, run.folder / ENCODER)
    statistics = feature_statistics(run.result.model.representation, train, precision=run.precision)
    save_checkpoint(run.folder / ENCODER, dict(run.result.state_dict()) | statistics, record)
