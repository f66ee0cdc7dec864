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

import torch
from torch import Tensor, nn

from .checkpoint import CheckpointError, read_record, save_checkpoint
from .choices import refuse_unknown

BASE, PREFIX = "base", "tier."
"""Folder in a tier's checkpoint: the checkpoint of what it stands on; before the names of its own weights."""
LEAST_LOG_DEVIATION, FIRST_LOG_DEVIATION = -7.0, -2.0
"""Of the noise on s below a bottleneck: bound, so that no divergence overflows; and before training."""


@dataclass(frozen=True)
class TierConfig:
    """What a tier is: its sizes, and what it may forget and remember."""

    size: int = 128
    """Length of s, at least 2, since s is centred: where it is smaller than r, a bottleneck."""
    width: int = 256
    """Of the hidden layers."""
    depth: int = 2
    """Hidden layers; 0 makes it linear."""
    bottleneck: float = 0.0
    """Weight, in the tasks' loss, of the nats by which s differs from noise: above 0, s is noisy while tasks
    train it, and loses what they do not need."""
    history: int = 1
    """How many last steps it reads, through a recurrent cell if several."""

    def __post_init__(self) -> None:
        for name, least in (("size", 2), ("width", 1), ("depth", 0), ("bottleneck", 0), ("history", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {least}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TierConfig:
        """The inverse of `dataclasses.asdict`; unknown keys are refused with the list of known ones."""
        refuse_unknown(values, (field.name for field in dataclasses.fields(cls)), "keys")
        return cls(**values)


class Tier(nn.Module):
    """Standardised codes r (B, inputs), or those of the last steps (B, history, inputs) -> s (B, size).

    Without a bottleneck each s has mean 0 and deviation 1. With one it is the mean of a normal distribution,
    and in training mode, for a random half of the rows, a sample of it: the variational bottleneck with
    selective noise of Igl et al. 2019 ("Generalization in Reinforcement Learning with Selective Noise
    Injection and Information Bottleneck", section 4), whose agents act without noise too.
    """

    def __init__(self, inputs: int, config: TierConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.LayerNorm(config.width), nn.Tanh()]
            inputs = config.width
        self.hidden = nn.Sequential(*layers)
        self.memory = nn.GRUCell(inputs, config.width) if config.history > 1 else None
        inputs = inputs if self.memory is None else config.width
        self.last = nn.Linear(inputs, config.size)
        self.noise = nn.Linear(inputs, config.size) if config.bottleneck else None
        self.scale = nn.LayerNorm(config.size, elementwise_affine=False)

    def forward(self, codes: Tensor) -> Tensor:
        read = self._read(codes)
        if self.noise is None:
            return self.scale(self.last(read))
        mean, log_deviation = self._distribution(read)
        if not self.training:
            return mean
        chosen = torch.rand(len(mean), 1, device=mean.device) < 0.5  # of the generator that SB3 seeds
        return mean + chosen * log_deviation.exp() * torch.randn_like(mean)

    def divergence(self, codes: Tensor) -> Tensor:
        """Nats (B,) by which the distribution of s differs from a standard normal one; 0 without a
        bottleneck."""
        if self.noise is None:
            return codes.new_zeros(len(codes))
        mean, log_deviation = self._distribution(self._read(codes))
        return ((mean.square() + (2 * log_deviation).exp() - 1) / 2 - log_deviation).sum(1)

    def _read(self, codes: Tensor) -> Tensor:
        """What the hidden layers, and the memory, make of the codes. Codes of one step are read as at an
        episode's start, which is preceded by copies of itself."""
        if self.memory is None:
            return self.hidden(codes)
        steps = codes if codes.dim() == 3 else codes[:, None].expand(-1, self.config.history, -1)
        hidden, known = self.hidden(steps), None
        for step in hidden.unbind(1):
            known = self.memory(step, known)
        assert known is not None
        return known

    def _distribution(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation of s, (B, size) each."""
        assert self.noise is not None
        return self.last(read), (self.noise(read) + FIRST_LOG_DEVIATION).clamp(min=LEAST_LOG_DEVIATION)


class Tiered(nn.Module):
    """A frozen encoder and the tier on it as one network: images and viewpoints of single views -> s."""

    def __init__(self, base: nn.Module, tier: Tier) -> None:
        """base: an `Encoder`."""
        super().__init__()
        self.base, self.tier = base, tier

    @property
    def remembers(self) -> bool:
        """True if s depends on more than the latest view."""
        return self.tier.config.history > 1 or self.base.remembers  # type: ignore[return-value]

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> (B, size)."""
        codes = self.base.standardise(self.base(images, viewpoints))  # type: ignore[operator]
        with torch.autocast(codes.device.type, enabled=False):  # a tier is trained, and recalls, in float32
            return self.tier(codes)


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
