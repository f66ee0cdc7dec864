"""The pretrained encoder as a module: images and viewpoints in, features out."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoint import CheckpointError, load_into, load_tensors, read_record
from .model import GQN, GQNConfig
from .objectives import seen
from .precision import autocast
from .presets import PretrainConfig
from .scenes import Scenes

SHIPPED = Path(__file__).parent / "encoders"
"""Encoders inside the package, one folder each."""


class Encoder(nn.Module):
    """A representation network with its weights, in eval mode: the same code for every caller.

    `features_dim` is the length of a code; `config` the GQN's sizes; `fingerprint` names the weights.
    """

    def __init__(self, config: GQNConfig, fingerprint: str = "") -> None:
        super().__init__()
        self.config, self.fingerprint = config, fingerprint
        model = GQN(config)
        self.representation = model.representation
        self.code_shape = model.code_shape
        self.features_dim = math.prod(self.code_shape)
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.register_buffer("feature_mean", torch.zeros(self.features_dim))
        self.register_buffer("feature_std", torch.ones(self.features_dim))
        self.eval()

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Code r, float32 (B, features_dim), the sum over views.

        images (B, 3, H, W) or (B, M, 3, H, W), uint8 or float in [0, 1]; viewpoints (B, 7) or (B, M, 7).
        """
        self._check(images, viewpoints)
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        if images.dim() == 4:
            return self.representation(pixels, viewpoints.float()).flatten(1).float()
        codes = self.representation(pixels.flatten(0, 1), viewpoints.flatten(0, 1).float())
        return codes.float().unflatten(0, images.shape[:2]).sum(1).flatten(1)

    def standardise(self, features: Tensor) -> Tensor:
        """Single-view codes (B, features_dim) with mean 0 and deviation 1 over the pretraining frames."""
        return (features - self.feature_mean) / self.feature_std

    def _check(self, images: Tensor, viewpoints: Tensor) -> None:
        size, views = self.config.image_size, images.shape[1:-3]
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
    """The encoder of a shipped name or of a checkpoint's folder."""
    folder = find_checkpoint(name_or_path)
    config, tensors = _read(folder)
    encoder = Encoder(config, read_record(folder)["fingerprint"])
    prefix = "model.representation."
    weights = {
        f"representation.{k.removeprefix(prefix)}": v for k, v in tensors.items() if k.startswith(prefix)
    }
    statistics = {key: tensors[key] for key in ("feature_mean", "feature_std") if key in tensors}
    load_into(encoder, weights | statistics, folder)
    return encoder


def load_gqn(name_or_path: str | os.PathLike[str]) -> GQN:
    """The whole GQN, generator included, of a shipped name or of a checkpoint's folder."""
    folder = find_checkpoint(name_or_path)
    config, tensors = _read(folder)
    model = GQN(config)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
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


@torch.no_grad()
def encode_scenes(
    encoder: nn.Module, scenes: Scenes, count: int, view: int = 0, batch: int = 128, precision: str = "auto"
) -> Tensor:
    """Codes (N, features_dim) of view `view` alone of the first `count` scenes."""
    device = next(encoder.parameters()).device
    codes = []
    for start in range(0, min(count, len(scenes)), batch):
        rows = scenes.gather(np.arange(start, min(start + batch, count, len(scenes))))
        images, viewpoints = seen(rows, slice(view, view + 1), device)
        with autocast(device, precision):
            codes.append(encoder(images.float() / 255, viewpoints).flatten(1).float())
    return torch.cat(codes)


def feature_statistics(representation: nn.Module, scenes: Scenes, count: int = 2000) -> dict[str, Tensor]:
    """`feature_mean` and `feature_std` (features_dim,) of single-view codes over `count` scenes."""
    codes = encode_scenes(representation, scenes, count)
    return {"feature_mean": codes.mean(0), "feature_std": codes.std(0).clamp(min=1e-4)}


def _read(folder: Path) -> tuple[GQNConfig, dict[str, Any]]:
    record = read_record(folder)
    return PretrainConfig.from_dict(record["config"]).model, load_tensors(folder)
