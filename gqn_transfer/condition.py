"""What a decoder of pictures is asked: the scene's code and the query's viewpoint, as one spatial map."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .points import Points
from .rays import RAY_FEATURES, VIEWPOINT_SIZE, ray_features
from .upsampling import QUIET, Asked

if TYPE_CHECKING:
    from .generator import GeneratorConfig


class Rays(nn.Module):
    """What is asked, as a spatial map (B, c, s, s): the code r and the query's rays, mixed at each cell.

    One network serves all cells and all cameras: it says what the ray through a cell meets in the scene
    that r describes. r scales and shifts the features of the rays, normalised (which takes out its growth
    with the number of views) and silent at the start; a spatial r (the tower's) adds its own map.
    """

    finer = ()

    def __init__(self, code_shape: tuple[int, ...], config: GeneratorConfig, width: int = 256) -> None:
        super().__init__()
        channels, size = config.condition_channels, config.latent_map
        self.size, self.field_of_view = size, config.field_of_view
        self.rays = nn.Linear(RAY_FEATURES, width)
        if len(code_shape) == 1:
            self.code = nn.Sequential(nn.LayerNorm(code_shape), nn.Linear(code_shape[0], 2 * width))
        else:
            pool, project = nn.AdaptiveAvgPool2d(size), nn.Conv2d(code_shape[0], channels, 1)
            self.code = nn.Sequential(nn.GroupNorm(1, code_shape[0]), pool, project)
        self.first = nn.Sequential(nn.SiLU(), nn.Linear(width, width))
        self.second = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.to_map = nn.Linear(width, channels)

    def forward(self, r: Tensor, query_viewpoint: Tensor) -> Asked:
        """r (B, C[, h, w]), query_viewpoint (B, 7) -> a map, channels last in memory."""
        hidden = self.first(self.rays(ray_features(query_viewpoint, self.size, self.field_of_view)))
        code = self.code(r)
        if code.dim() == 2:
            scale, shift = code[:, None, None].chunk(2, dim=-1)
            hidden = hidden * (1 + scale) + shift
        spatial = self.to_map(hidden + self.second(hidden)).permute(0, 3, 1, 2)
        return Asked(spatial if code.dim() == 2 else spatial + code)

    def quieten_code(self) -> None:
        """Scale the weights through which the code enters: early codes are noise."""
        *_, last = (m for m in self.code.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
        last.weight.data.mul_(QUIET)


class Broadcast(nn.Module):
    """The paper's: query viewpoint and code beside each other at every cell, (B, 7 + C, s, s), then mixed.

    A code without space is spread by a learned linear map, the transposed convolution of a single cell that
    ports of the paper use: a constant map would tell the cores nothing about space. A 1x1 convolution gives
    the map its channels.
    """

    finer = ()

    def __init__(self, code_shape: tuple[int, ...], config: GeneratorConfig) -> None:
        super().__init__()
        features, size = code_shape[0], config.latent_map
        self.viewpoint = _spread(VIEWPOINT_SIZE, size)
        self.code = _spread(features, size) if len(code_shape) == 1 else nn.AdaptiveAvgPool2d(size)
        self.to_map = nn.Conv2d(VIEWPOINT_SIZE + features, config.condition_channels, 1)

    def forward(self, r: Tensor, query_viewpoint: Tensor) -> Asked:
        """r (B, C[, h, w]), query_viewpoint (B, 7)."""
        seen_from = self.viewpoint(query_viewpoint.float())
        return Asked(self.to_map(torch.cat([seen_from, self.code(r)], dim=1)))

    def quieten_code(self) -> None:
        """Nothing: the paper's code enters as it is."""


def _spread(features: int, size: int) -> nn.Module:
    """(B, features) -> (B, features, size, size)."""
    return nn.Sequential(
        nn.Linear(features, features * size**2, bias=False), nn.Unflatten(1, (features, size, size))
    )


Condition = Rays | Broadcast | Points
CONDITIONS: Mapping[str, type[Condition]] = MappingProxyType(
    {"points": Points, "rays": Rays, "broadcast": Broadcast}
)
"""Name in `GeneratorConfig.conditioning` -> class. `finer`: channels of the maps in `Asked.finer`."""
