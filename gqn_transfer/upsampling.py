"""From a small map to the picture's resolution, and the start of every convolution here."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

QUIET = 0.3
"""Scale of the first weights through which codes and finer maps enter: quiet, not silent."""


class Asked(NamedTuple):
    """The scene's code and the query's viewpoint as maps: what a decoder of pictures draws from."""

    cells: Tensor
    """(B, c, s, s)."""
    finer: tuple[Tensor, ...] = ()
    """Of conditions that know more between cells: (B, w1, 2s, 2s), (B, w2, 4s, 4s), ..., up to half the
    picture's resolution."""


def doublings(scale: int) -> int:
    """How often a map's resolution doubles on its way to `scale` times as much, the last time aside."""
    return max(scale.bit_length() - 2, 0)


class Upsampler(nn.Module):
    """(B, channels, s, s) -> (B, outputs, scale * s, scale * s), linear at the end.

    scale: a power of two; each stage doubles the resolution, and the last doubling is a PixelShuffle.
    finer: channels of the maps in `Asked.finer`, which enter after each stage.
    """

    def __init__(self, channels: int, scale: int, outputs: int, finer: tuple[int, ...] = ()) -> None:
        super().__init__()
        stages = doublings(scale)
        widths = [channels, *(max(channels >> stage, 16) for stage in range(stages))]
        self.enter = nn.Sequential(_norm(channels), nn.SiLU())
        self.widen = nn.ModuleList(nn.ConvTranspose2d(*pair, 4, 2, 1) for pair in pairwise(widths))
        self.add = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in zip(finer, widths[1:], strict=False))
        # Normalisation is slow at high resolution.
        norms = [_norm(width) for width in widths[1:-1]] + [nn.Identity()] * (stages > 0)
        self.leave = nn.ModuleList(nn.Sequential(norm, nn.SiLU()) for norm in norms)
        last = scale >> stages
        output = nn.Conv2d(widths[-1], outputs * last**2, 3, padding=1)
        self.output = nn.Sequential(output, nn.PixelShuffle(last))

    def forward(self, x: Tensor, finer: tuple[Tensor, ...] = ()) -> Tensor:
        x = self.enter(x)
        for widen, add, leave, more in zip_longest(self.widen, self.add, self.leave, finer):
            x = widen(x)
            x = leave(x if more is None else x + add(more))
        return self.output(x)


class LinearUpsampler(nn.Module):
    """The same shapes by one linear map of each cell to its pixels; finer maps are not looked at.

    The paper adds a transposed convolution of each state (kernel 4, stride 4) to a canvas at full resolution
    and reads the image by a 1x1 convolution. Cells do not overlap, so both act on cells one by one: adding
    states at low resolution and mapping cells to pixels once spans the same functions.
    """

    def __init__(self, channels: int, scale: int, outputs: int, finer: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.output = nn.Sequential(nn.Conv2d(channels, outputs * scale**2, 1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor, finer: tuple[Tensor, ...] = ()) -> Tensor:
        return self.output(x)


def initialise(network: nn.Module) -> None:
    """Weights that keep the signal's variance (PyTorch's default shrinks it to 0.58 a layer), quiet ones for
    finer maps; no biases."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Upsampler):
            for add in module.add:
                add.weight.data.mul_(QUIET)  # type: ignore[operator]


def _norm(channels: int) -> nn.GroupNorm:
    """One group: with few channels a group, the normalisation would erase uniform colour."""
    return nn.GroupNorm(1, channels)


UPSAMPLERS: Mapping[str, type[Upsampler] | type[LinearUpsampler]] = MappingProxyType(
    {"convolutional": Upsampler, "linear": LinearUpsampler}
)
"""Name in `GeneratorConfig.picture` -> class: channels, scale, outputs, channels of finer maps."""
