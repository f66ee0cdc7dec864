"""The study's variable: what turns an observation into features. One class per kind of eyes.

All end in the same `Trunk`, so that methods differ in their eyes only.
"""

from __future__ import annotations

from pathlib import Path

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from gqn_transfer.encoder import Encoder, load_encoder

SMALLEST_IMAGE = 36
"""Pixels a side below which NatureCNN's strides leave nothing."""
FEATURES = 256
"""Width of the features every method hands to actor and critic."""


class Trunk(nn.Sequential):
    """Eyes' output and the other observations -> LayerNormed features (B, 256)."""

    def __init__(self, inputs: int) -> None:
        super().__init__(nn.Linear(inputs, FEATURES), nn.LayerNorm(FEATURES), nn.Tanh())


class VectorExtractor(BaseFeaturesExtractor):
    """Observations that are vectors already: the oracle's state, or the representation of `EncodedVecEnv`."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, FEATURES)
        self.trunk = Trunk(sum(vector_size(space) for space in observation_space.spaces.values()))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.trunk(torch.cat([observations[key].flatten(1) for key in sorted(observations)], 1))


class PixelExtractor(BaseFeaturesExtractor):
    """Raw pixels, learned end to end: the convolutions of NatureCNN (Mnih et al. 2015)."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, FEATURES)
        image = observation_space["image"]
        if image.shape is None or min(image.shape[1:]) < SMALLEST_IMAGE:
            raise ValueError(
                f"images of shape {image.shape}, channels first: NatureCNN's strides need at least "
                f"{SMALLEST_IMAGE} pixels a side; make the environment with a larger image_size"
            )
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 32, 8, 4), nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            flat = self.convolutions(torch.zeros(1, *image.shape)).shape[1]
        self.trunk = Trunk(flat + others_size(observation_space))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        seen = self.convolutions(observations["image"])
        return self.trunk(torch.cat([seen, others(observations)], 1))


class GQNExtractor(BaseFeaturesExtractor):
    """A pretrained encoder inside the policy: `mode="frozen"`, its weights never change.

    For a frozen encoder `EncodedVecEnv` gives the same features at a fraction of the cost. The encoder is
    shared, not copied, between all networks it is given to; its weights are buffers, so that no optimiser
    and no target network's average sees them.
    """

    def __init__(
        self, observation_space: spaces.Dict, encoder: Encoder | str | Path, mode: str = "frozen"
    ) -> None:
        super().__init__(observation_space, FEATURES)
        if mode != "frozen":
            raise ValueError(f'mode={mode!r}: expected "frozen"')
        loaded = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        self.eyes = _Frozen(loaded)
        self.trunk = Trunk(loaded.features_dim + others_size(observation_space))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        # SB3 has divided uint8 images by 255 already
        seen = self.eyes(observations["image"], observations["viewpoint"])
        return self.trunk(torch.cat([others(observations), seen], 1))


class _Frozen(nn.Module):
    """Keeps an encoder as it is: no gradients, no training mode, no re-initialisation."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = freeze(encoder)

    @torch.no_grad()
    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        return self.encoder.standardise(self.encoder(images, viewpoints))

    def train(self, mode: bool = True) -> _Frozen:
        return self  # SB3 switches whole policies to training mode

    def apply(self, fn: object) -> _Frozen:
        return self  # SB3's ortho_init would overwrite the pretrained weights


def freeze(encoder: Encoder) -> Encoder:
    """Turn the encoder's parameters into buffers, in place: saved with it, invisible to optimisers."""
    for module in encoder.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            del module._parameters[name]
            module.register_buffer(name, parameter.detach())
    return encoder.eval()


def others(observations: dict[str, Tensor]) -> Tensor:
    """Everything but the image, (B, n), in the order of the keys."""
    return torch.cat([observations[key].flatten(1) for key in sorted(observations) if key != "image"], 1)


def others_size(space: spaces.Dict) -> int:
    """Length of `others`."""
    return sum(vector_size(part) for key, part in space.spaces.items() if key != "image")


def vector_size(space: spaces.Space) -> int:
    """Number of entries of a box."""
    return int(torch.Size(space.shape or ()).numel())
