"""The layer-2 representation: a small network s = f(r) on a frozen encoder, taught by tasks.

The hypothesis: similar tasks learn the same abilities again on a scene's code r, and a second representation
on top of it, learned once from some of them, spares the others that. It is an encoder like any other
(`load_encoder`), so that a tier can stand on a tier.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .checkpoint import CheckpointError, read_record, save_checkpoint
from .choices import refuse_unknown

BASE, PREFIX = "base", "tier."
"""Folder in a tier's checkpoint: the checkpoint of what it stands on; before the names of its own weights."""


@dataclass(frozen=True)
class TierConfig:
    """A tier's sizes."""

    size: int = 128
    """Length of s, at least 2, since s is centred: where it is smaller than r, a bottleneck."""
    width: int = 256
    """Of the hidden layers."""
    depth: int = 2
    """Hidden layers; 0 makes it linear."""

    def __post_init__(self) -> None:
        for name, least in (("size", 2), ("width", 1), ("depth", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {least}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TierConfig:
        """The inverse of `dataclasses.asdict`; unknown keys are refused with the list of known ones."""
        refuse_unknown(values, (field.name for field in dataclasses.fields(cls)), "keys")
        return cls(**values)


class Tier(nn.Module):
    """Standardised codes r (B, inputs) -> s (B, size), each of mean 0 and deviation 1."""

    def __init__(self, inputs: int, config: TierConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.LayerNorm(config.width), nn.Tanh()]
            inputs = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, config.size))
        self.scale = nn.LayerNorm(config.size, elementwise_affine=False)

    def forward(self, codes: Tensor) -> Tensor:
        return self.scale(self.layers(codes))


class Tiered(nn.Module):
    """A frozen encoder and the tier on it as one network: images and viewpoints of single views -> s."""

    def __init__(self, base: nn.Module, tier: Tier) -> None:
        """base: an `Encoder`."""
        super().__init__()
        self.base, self.tier = base, tier

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> (B, size)."""
        return self.tier(self.base.standardise(self.base(images, viewpoints)))  # type: ignore[operator]


def save_tier(
    folder: Path, base: Path, tier: Tier, statistics: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write a tier's checkpoint, with that of the encoder it stands on, in `base`, beside it.

    statistics: mean and deviation of s, as `feature_statistics` gives them.
    """
    if (folder / BASE).exists():
        shutil.rmtree(folder / BASE)
    shutil.copytree(base, folder / BASE)
    weights = {PREFIX + name: value for name, value in tier.state_dict().items()}
    below = read_record(folder / BASE)["fingerprint"]
    own = {"tier": dataclasses.asdict(tier.config), BASE: below}
    save_checkpoint(folder, weights | dict(statistics), {**record, **own})


def tier_of(record: Mapping[str, Any], inputs: int, tensors: Mapping[str, Tensor], folder: Path) -> Tier:
    """The tier that a checkpoint describes, on codes of length `inputs`."""
    if (found := read_record(folder / BASE)["fingerprint"]) != record[BASE]:
        raise CheckpointError(
            f"{folder} was trained on the encoder {record[BASE]}, its {BASE} is {found}: restore the pair"
        )
    tier = Tier(inputs, TierConfig.from_dict(record["tier"]))
    own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    try:
        tier.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"{folder} does not fit the encoder in its {BASE}: {error}") from error
    return tier
