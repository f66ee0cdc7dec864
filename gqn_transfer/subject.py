"""What an evaluation has to know of a checkpoint: which of its networks were trained, and for what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checkpoint import CAMERA_CONVENTION, CheckpointError, read_record, tensor_names
from .presets import RENDERING, PretrainConfig
from .scenes import Scenes

UNTRAINED = "untrained"


@dataclass(frozen=True)
class Subject:
    """A checkpoint under evaluation."""

    folder: Path
    objective: str
    """What it was trained for, as its record says."""
    steps: int
    """Gradient steps; 0 for an untrained network."""
    fingerprint: str
    image_size: int
    max_contexts: int
    """Most context views that its training summed: codes of more are outside what its generator knows."""
    final_sigma: float
    """Pixel standard deviation at the end of its training."""
    draws: bool
    """Its generator was trained, so that predictions mean something."""
    infers: bool
    """So was its posterior: the bound means something."""
    regresses: bool
    """It has a trained head that reads the simulator's state."""

    @property
    def why_no_pictures(self) -> str | None:
        """Why there are no figures of its predictions; None where there are."""
        if self.draws:
            return None
        return UNTRAINED if self.steps == 0 else f"no trained generator ({self.objective})"

    @property
    def why_no_bound(self) -> str | None:
        """Why its bound is not computed; None where it is."""
        if self.draws and not self.infers:
            return "posterior untrained (prior_only for the whole run)"
        return self.why_no_pictures


def read_subject(folder: Path) -> Subject:
    """The facts of the checkpoint in `folder`: the one place that knows how records name them."""
    record = read_record(folder)
    config, taught = PretrainConfig.from_dict(record["config"]), record.get("source")
    objective = "autoencoding" if config.autoencodes else "+".join(config.decoders)
    names = tensor_names(folder)
    has_generator = any(".generator." in name for name in names)  # encoders ship without it
    kept = taught is None or taught["rendering"]  # else the tasks have left the generator behind
    draws = RENDERING in config.decoders and not config.autoencodes and has_generator and kept
    has_head = has_generator and any(name.startswith("heads.state.") for name in names)
    return Subject(
        folder=folder,
        objective=objective if taught is None else f"{objective}, then {', '.join(taught['tasks'])}",
        steps=int(record.get("steps", config.steps)),
        fingerprint=record["fingerprint"],
        image_size=config.model.image_size,
        max_contexts=config.max_contexts,
        final_sigma=config.sigma[1],
        draws=draws,
        infers=draws and config.prior_only < 1,
        regresses=has_head and taught is None,
    )


def check_scenes(subject: Subject, scenes: Scenes) -> None:
    """Refuse scenes that the checkpoint's networks cannot take, or whose cameras mean something else."""
    facts = {"image_size": subject.image_size, "camera_convention": CAMERA_CONVENTION}
    for key, wanted in facts.items():
        if scenes.meta[key] != wanted:
            raise CheckpointError(
                f"{scenes.folder}: {key} is {scenes.meta[key]!r}, but {subject.folder} was trained with "
                f"{wanted!r}: render scenes for it with `gqn-bench scenes`"
            )
