"""From a small map to the picture's resolution, and the start of every convolution here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn


def upsampler(channels: int, scale: int, outputs: int) -> nn.Sequential:
    """(B, channels, s, s) -> (B, outputs, scale * s, scale * s), linear at the end.

    scale: a power of two; each stage doubles the resolution.
    """
    layers: list[nn.Module] = [_norm(channels), nn.SiLU()]
    entered, stages = channels, max(scale.bit_length() - 2, 0)  # the last doubling is a PixelShuffle
    for stage in range(stages):
        width = max(entered >> stage, 16)
        layers.append(nn.ConvTranspose2d(channels, width, 4, 2, 1))
        if stage < stages - 1:  # normalisation is slow at high resolution
            layers.append(_norm(width))
        layers.append(nn.SiLU())
        channels = width
    last = scale >> stages
    output = nn.Conv2d(channels, outputs * last**2, 3, padding=1)
    return nn.Sequential(*layers, output, nn.PixelShuffle(last))


def linear_upsampler(channels: int, scale: int, outputs: int) -> nn.Sequential:
    """The same shapes by one linear map of each cell to its pixels.

    The paper adds a transposed convolution of each state (kernel 4, stride 4) to a canvas at full resolution
    and reads the image by a 1x1 convolution. Cells do not overlap, so both act on cells one by one: adding
    states at low resolution and mapping cells to pixels once spans the same functions.
    """
    return nn.Sequential(nn.Conv2d(channels, outputs * scale**2, 1), nn.PixelShuffle(scale))


def initialise(network: nn.Module) -> None:
    """Weights that keep the signal's variance (PyTorch's default shrinks it to 0.58 a layer); no biases."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _norm(channels: int) -> nn.GroupNorm:
    """One group: with few channels a group, the normalisation would erase uniform colour."""
    return nn.GroupNorm(1, channels)


UPSAMPLERS: Mapping[str, Callable[[int, int, int], nn.Sequential]] = MappingProxyType(
    {"convolutional": upsampler, "linear": linear_upsampler}
)
"""Name in `GeneratorConfig.picture` -> builder: channels, scale, outputs."""
