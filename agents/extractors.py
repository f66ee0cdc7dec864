"""The study's variable: what turns an observation into features. One class per kind of eyes.

All scale their inputs alike and end in the same `Trunk`, so that methods differ in their eyes only.
"""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from gqn_transfer.precision import autocast

from .eyes import EYES, EncoderSource, check_range
from .inputs import InputScale
from .knobs import NETWORKS

SMALLEST_IMAGE = 36
"""Pixels a side below which NatureCNN's strides leave nothing."""
SEEN = ("image", "representation")
"""Keys of what is seen."""
FEATURES = 256
"""Width of the features every method hands to actor and critic."""


class Trunk(nn.Sequential):
    """Eyes' output and the other observations -> LayerNormed features (B, 256)."""

    def __init__(self, inputs: int) -> None:
        super().__init__(nn.Linear(inputs, FEATURES), nn.LayerNorm(FEATURES), nn.Tanh())


class Extractor(BaseFeaturesExtractor):
    """Base of all: inputs of its own, scaled, through the trunk."""

    def __init__(self, observation_space: spaces.Dict, seen: int) -> None:
        """seen: how many of the inputs, the last ones, come from what is seen."""
        super().__init__(observation_space, FEATURES)
        rest = others_size(observation_space)
        self.scale = InputScale(rest + seen, slice(rest, None))
        self.trunk = Trunk(rest + seen)

    def inputs(self, observations: dict[str, Tensor]) -> Tensor:
        """What there is to know, (B, n): others first, then what is seen."""
        raise NotImplementedError

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.trunk(self.scale(self.inputs(observations)))


class VectorExtractor(Extractor):
    """Observations that are vectors already: the oracle's state, or the representation of `EncodedVecEnv`."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        codes = observation_space.spaces.get("representation")
        super().__init__(observation_space, vector_size(codes) if codes is not None else 0)

    def inputs(self, observations: dict[str, Tensor]) -> Tensor:
        seen = [observations["representation"]] if "representation" in observations else []
        return torch.cat([others(observations), *seen], 1)


class ImageExtractor(Extractor):
    """Base of those that look at `image`: eyes, and the trunk on what they see and on the rest.

    Eyes see in bf16 where the hardware has it; the trunk and what follows compute in fp32.
    """

    def __init__(self, observation_space: spaces.Dict, eyes: nn.Module, seen: int) -> None:
        super().__init__(observation_space, seen)
        self.eyes = eyes

    def inputs(self, observations: dict[str, Tensor]) -> Tensor:
        return torch.cat([others(observations), seen_by(self.eyes, observations)], 1)


class PixelExtractor(ImageExtractor):
    """Raw pixels, learned end to end by one of `NETWORKS`."""

    def __init__(self, observation_space: spaces.Dict, network: str = "nature") -> None:
        image = observation_space["image"]
        if image.shape is None or min(image.shape[1:]) < SMALLEST_IMAGE:
            raise ValueError(
                f"images of shape {image.shape}, channels first: the convolutions' strides need at least "
                f"{SMALLEST_IMAGE} pixels a side; make the environment with a larger image_size"
            )
        eyes = Convolutions(network, image.shape[0])
        with torch.no_grad():
            seen = eyes(torch.zeros(1, *image.shape)).shape[1]
        super().__init__(observation_space, eyes, seen)


class Convolutions(nn.Module):
    """Convolutions on images alone: the viewpoint joins what they see in the trunk."""

    def __init__(self, network: str, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, kernel, stride in NETWORKS[network]:
            layers += [nn.Conv2d(channels, width, kernel, stride), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self._images_checked = False

    def forward(self, images: Tensor, viewpoints: Tensor | None = None) -> Tensor:
        """Images (B, channels, H, W), uint8 or in [0, 1] -> (B, features)."""
        if not self._images_checked and images.any():  # the first ones that are no blank of the right shape
            check_range(images)
            self._images_checked = True
        pixels = scaled(images) if images.dtype == torch.uint8 else images
        return self.layers(pixels.to(memory_format=torch.channels_last))


def seen_by(eyes: nn.Module, observations: dict[str, Tensor]) -> Tensor:
    """float32 (B, n): what `eyes` make of the image, channels first, uint8 or in [0, 1]."""
    images = observations["image"]
    with autocast(images.device):
        return eyes(images, observations["viewpoint"]).float()


def scaled(images: Tensor) -> Tensor:
    """uint8 images in [0, 1], channels last in memory, in the precision that is computed in: bf16 holds all
    of 0 to 255."""
    device = images.device.type
    computed_in = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    return images.to(computed_in, memory_format=torch.channels_last).div_(255)


class GQNExtractor(ImageExtractor):
    """A pretrained encoder inside the policy.

    `mode="frozen"`: its weights never change; `EncodedVecEnv` gives the same features at a fraction of the
    cost. `mode="finetune"`: the agent's loss trains it on. `encoder` is a name, a checkpoint's folder or an
    `Encoder`. Images of several views, one after the other in the channels, and their viewpoints are summed.

    For SAC and TD3 use the policies of `critic_eyes` with mode="finetune": with SB3's own either every
    network trains eyes of its own, or (`share_features_extractor=True`) the actor's loss alone trains them.
    """

    def __init__(self, observation_space: spaces.Dict, encoder: EncoderSource, mode: str = "frozen") -> None:
        if mode not in EYES:
            raise ValueError(f"mode={mode!r}: expected one of {', '.join(EYES)}")
        eyes = EYES[mode](encoder)
        super().__init__(observation_space, eyes, eyes.features_dim)


def others(observations: dict[str, Tensor]) -> Tensor:
    """Everything that is not seen, (B, n), in the order of the keys."""
    return torch.cat([observations[key].flatten(1) for key in sorted(observations) if key not in SEEN], 1)


def others_size(space: spaces.Dict) -> int:
    """Length of `others`."""
    return sum(vector_size(part) for key, part in space.spaces.items() if key not in SEEN)


def vector_size(space: spaces.Space) -> int:
    """Number of entries of a box."""
    return int(torch.Size(space.shape or ()).numel())
