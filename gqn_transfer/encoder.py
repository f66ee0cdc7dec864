"""The pretrained encoder as a module: images and viewpoints in, features out."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import CheckpointError, fingerprint, load_into, load_tensors, read_record
from .model import GQN, GQNConfig
from .modules import module_of
from .objectives import seen
from .precision import autocast
from .presets import PretrainConfig
from .scenes import Scenes
from .tier import BASE, Tier, Tiered, tier_of

SHIPPED = Path(__file__).parent / "encoders"
"""Encoders inside the package, one folder each."""
WEIGHTS = "model.representation."
"""Before the names of a checkpoint's weights that are its encoder's."""
SMALLEST_DEVIATION = 1e-4
"""Of a feature, for its standardisation."""


class Encoder(nn.Module):
    """A representation network with its weights, in eval mode: the same code for every caller.

    `features_dim` is the length of a code; `config` the GQN's sizes, None for a network of your own;
    `fingerprint` names the weights.
    """

    def __init__(
        self,
        representation: nn.Module,
        code_shape: Sequence[int],
        image_size: int,
        config: GQNConfig | None = None,
        fingerprint: str = "",
    ) -> None:
        """representation: (images (B, 3, H, W) in [0, 1], viewpoints (B, 7)) -> codes (B, *code_shape)."""
        super().__init__()
        self.representation, self.code_shape = representation, tuple(code_shape)
        self.image_size, self.config, self.fingerprint = image_size, config, fingerprint
        self.features_dim = math.prod(self.code_shape)
        self.is_trained = False  # an agent that trains it says so, and it is not cached then
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.register_buffer("feature_mean", torch.zeros(self.features_dim))
        self.register_buffer("feature_std", torch.ones(self.features_dim))
        self.eval()

    @classmethod
    def untrained(cls, config: GQNConfig, seed: int = 0) -> Encoder:
        """The encoder of a GQN of these sizes, with the initial weights of `seed`."""
        model = GQN(config, seed=seed)
        return cls(model.representation, model.code_shape, config.image_size, config)

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Code r, float32 (B, features_dim), the sum over views.

        images (B, 3, H, W) or (B, M, 3, H, W), uint8 or float in [0, 1]; viewpoints (B, 7) or (B, M, 7).
        """
        self._check(images, viewpoints)
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        if images.dim() == 4:
            return self.representation(pixels, viewpoints.float()).flatten(1).float()
        codes = self.representation(pixels.flatten(0, 1), viewpoints.flatten(0, 1).float())
        return codes.float().unflatten(0, images.shape[:2]).sum(1).flatten(1)

    @property
    def remembers(self) -> bool:
        """True of a tier that reads several steps of an episode, or stands on one that does.

        `forward` reads a view as an episode's first; `EncodedVecEnv` and `EncodedObservation` keep what came
        before it.
        """
        return isinstance(self.representation, Tiered) and self.representation.remembers

    @property
    def below(self) -> tuple[Encoder, int]:
        """Of a tier: the encoder that it stands on, and of how many last steps it reads the codes."""
        assert isinstance(self.representation, Tiered)
        base: Encoder = self.representation.base  # type: ignore[assignment]
        return base, self.representation.tier.config.history

    def recall(self, codes: Tensor) -> Tensor:
        """Standardised s (B, features_dim) of a tier, from the standardised codes of the encoder below it at
        the last steps, (B, history, C), oldest first."""
        assert isinstance(self.representation, Tiered)
        return self.standardise(self.representation.tier(codes))

    def standardise(self, features: Tensor, views: int = 1) -> Tensor:
        """Codes (B, features_dim) of `views` summed views, on the scale on which single views of the
        pretraining frames have mean 0 and deviation 1."""
        return (features / views - self.feature_mean) / self.feature_std

    def fit_statistics(self, features: Tensor) -> None:
        """Take mean and deviation for `standardise` from single-view codes (N, features_dim)."""
        for name, value in statistics_of(features).items():
            getattr(self, name).copy_(value)

    def _check(self, images: Tensor, viewpoints: Tensor) -> None:
        size, views = self.image_size, images.shape[1:-3]
        right = images.dim() in (4, 5) and images.shape[-3:] == (3, size, size)
        if not right or viewpoints.shape != (len(images), *views, 7):
            raise ValueError(
                f"images {tuple(images.shape)} and viewpoints {tuple(viewpoints.shape)}: this encoder takes "
                f"(B, 3, {size}, {size}) and (B, 7), or (B, M, 3, {size}, {size}) and (B, M, 7); "
                f"render at image_size={size}, channels first"
            )
        if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
            raise TypeError(f"images of {images.dtype}: expected uint8 (0 to 255) or float (0 to 1)")


def load_encoder(name_or_path: str | os.PathLike[str]) -> Encoder:
    """The encoder of a shipped name, of a checkpoint's folder, or of a function of your own that makes one:
    "package.module:function" or "path/to/file.py:function"."""
    if is_function(name_or_path):
        return _made_by(str(name_or_path))
    folder = find_checkpoint(name_or_path)
    record = read_record(folder)
    if "tier" in record:
        return _load_tiered(folder, record)
    config, tensors = _read(folder)
    encoder = Encoder.untrained(config.model, config.seed)
    encoder.fingerprint = record["fingerprint"]
    weights = {
        name.removeprefix("model."): value for name, value in tensors.items() if name.startswith(WEIGHTS)
    }
    if not weights and is_untrained(record):  # an untrained encoder may be kept as its seed
        weights = {
            f"representation.{name}": value for name, value in encoder.representation.state_dict().items()
        }
    load_into(encoder, weights | _statistics(tensors), folder)
    return encoder


def _load_tiered(folder: Path, record: Mapping[str, Any]) -> Encoder:
    """A tier with the encoder that it stands on, which may be a tier itself."""
    base, tensors = load_encoder(folder / BASE), load_tensors(folder)
    encoder = tiered(base, tier_of(record, base.features_dim, tensors, folder), record["fingerprint"])
    for name, value in _statistics(tensors).items():
        getattr(encoder, name).copy_(value)
    return encoder


def tiered(base: Encoder, tier: Tier, fingerprint: str = "") -> Encoder:
    """`tier` on `base` as an encoder: s of images and viewpoints."""
    network = Tiered(base, tier)
    return Encoder(network, (tier.config.size,), base.image_size, fingerprint=fingerprint)


def _statistics(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensors[key] for key in ("feature_mean", "feature_std") if key in tensors}


def load_gqn(name_or_path: str | os.PathLike[str]) -> GQN:
    """The whole GQN, generator included, of a shipped name or of a checkpoint's folder."""
    folder = find_checkpoint(name_or_path)
    if "tier" in read_record(folder):
        raise CheckpointError(f"{folder} is a tier, which draws nothing: load the GQN in its {BASE}")
    config, tensors = _read(folder)
    model = GQN(config.model)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if not any(name.startswith("generator.") for name in weights):
        raise CheckpointError(f"{folder} is an encoder without its generator: load it with load_encoder")
    load_into(model, weights, folder)
    return model.eval()


def available_encoders() -> tuple[str, ...]:
    """Names of the encoders that ship with the package."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob("*/checkpoint.json")))


def find_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """The checkpoint's folder: a shipped name, such a folder itself, or a run that holds `encoder/`."""
    path = Path(name_or_path)
    for folder in (SHIPPED / str(name_or_path), path, path / "encoder"):
        if (folder / "checkpoint.json").is_file():
            return folder
    shipped = ", ".join(available_encoders()) or "none yet"
    raise CheckpointError(
        f"{str(name_or_path)!r} is neither a shipped encoder ({shipped}) nor a folder with a "
        "checkpoint.json; train one with `gqn-bench pretrain`"
    )


def is_untrained(record: Mapping[str, Any]) -> bool:
    """True of a checkpoint's record if its weights are those of its seed."""
    return record.get("steps") == 0 and not record.get("source_steps")


def is_function(name_or_path: str | os.PathLike[str]) -> bool:
    """True if it names a function that makes an encoder, and no checkpoint."""
    module, colon, function = str(name_or_path).rpartition(":")
    return bool(module and colon) and function.isidentifier() and not Path(name_or_path).exists()


def _made_by(name: str) -> Encoder:
    """What the function called `name` returns, with a fingerprint."""
    place, _, function = name.rpartition(":")
    try:
        make = getattr(_module_at(place), function)
    except (ImportError, OSError, AttributeError) as error:
        raise CheckpointError(f"{name!r} names no function that makes an encoder: {error}") from error
    encoder = make()
    if not isinstance(encoder, Encoder):
        raise CheckpointError(
            f"{name} returned {type(encoder).__name__}: expected a gqn_transfer.encoder.Encoder around your "
            "network"
        )
    encoder.fingerprint = encoder.fingerprint or fingerprint(encoder.state_dict())
    return encoder


def _module_at(place: str) -> ModuleType:
    return module_of(Path(place)) if place.endswith(".py") else importlib.import_module(place)


@torch.no_grad()
def encode_scenes(
    encoder: nn.Module, scenes: Scenes, count: int, view: int = 0, batch: int = 128, precision: str = "auto",
    label: str = "",
) -> Tensor:  # fmt: skip
    """Codes (N, features_dim) of view `view` alone of the first `count` scenes; a `label` shows progress."""
    device = next(encoder.parameters()).device
    codes = []
    starts = range(0, min(count, len(scenes)), batch)
    for start in tqdm(starts, label, unit="batch", mininterval=1, disable=not label):
        rows = scenes.gather(np.arange(start, min(start + batch, count, len(scenes))))
        images, viewpoints = seen(rows, slice(view, view + 1), device)
        with autocast(device, precision):
            codes.append(encoder(images.float() / 255, viewpoints).flatten(1).float())
    return torch.cat(codes)


def feature_statistics(
    representation: nn.Module, scenes: Scenes, count: int = 2000, precision: str = "auto"
) -> dict[str, Tensor]:
    """`feature_mean` and `feature_std` (features_dim,) of single-view codes over `count` scenes."""
    return statistics_of(encode_scenes(representation, scenes, count, precision=precision))


def statistics_of(codes: Tensor) -> dict[str, Tensor]:
    """`feature_mean` and `feature_std` (features_dim,) of single-view codes (N, features_dim)."""
    return {"feature_mean": codes.mean(0), "feature_std": codes.std(0).clamp(min=SMALLEST_DEVIATION)}


def _read(folder: Path) -> tuple[PretrainConfig, dict[str, Any]]:
    record = read_record(folder)
    return PretrainConfig.from_dict(record["config"]), load_tensors(folder)
