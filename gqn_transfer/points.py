"""What a decoder of pictures is asked, in three dimensions: the code places points, rays pass them by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from .rays import RAY_FEATURES, camera_rays, ray_features
from .upsampling import QUIET, Asked, doublings

if TYPE_CHECKING:
    from .generator import GeneratorConfig

POINTS, FEATURES = 48, 32
"""Points of a scene, and numbers that each carries."""
RAYS_PER_CELL = 2
"""Along each edge of a cell of the map."""
WIDTH = 128
"""Of the network that all rays share."""
BLOB, PRECISION_BOUNDS = 0.3, (-3.0, 5.0)
"""First standard deviation of a point, in radii of the scene, and bounds of the logarithm of what the code
multiplies its inverse square with."""


class Placed(NamedTuple):
    """P points of each of B scenes."""

    places: Tensor
    """(B, P, 3), metres."""
    precisions: Tensor
    """(B, P), 1/m²: half the inverse square of each point's size."""
    features: Tensor
    """(B, P, FEATURES)."""


class Points(nn.Module):
    """The code r and the query's rays as maps, by way of points in the world.

    r, normalised (which takes out its growth with the number of views), sets the place, the size and the
    features of each point. A ray gathers the features of all points, each weighted by a Gaussian of the
    distance at which the ray passes it, once more with the depth at which it does; one network for all rays
    turns this and the ray itself into its part of the map. So a camera's place enters by geometry alone: an
    error of one pixel in any view is an error of a point's place, wherever the camera stood. What the rays
    between cells gather goes to the picture itself (`Asked.finer`).
    """

    def __init__(self, code_shape: tuple[int, ...], config: GeneratorConfig) -> None:
        super().__init__()
        self.size, self.field_of_view, self.radius = (
            config.latent_map,
            config.field_of_view,
            config.scene_radius,
        )
        count = doublings(config.scale)
        self.finer = (WIDTH, *[2 * FEATURES] * (count - 1))[:count]
        self.code, features = code_reader(code_shape)
        self.centre: Tensor
        self.register_buffer("centre", torch.tensor(config.scene_centre), persistent=False)
        self.start = nn.Parameter(2 * torch.rand(POINTS, 3) - 1)
        self.points = nn.Linear(features, POINTS * (4 + FEATURES))
        self.modulation = nn.Linear(features, 2 * WIDTH)
        self.ray = nn.Linear(RAY_FEATURES, WIDTH)
        self.passed = nn.Linear(2 * FEATURES, WIDTH)
        self.first = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        self.second = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.to_map = nn.Conv2d(WIDTH, config.condition_channels, RAYS_PER_CELL, RAYS_PER_CELL)

    def forward(self, r: Tensor, query_viewpoint: Tensor) -> Asked:
        """r (B, C[, h, w]), query_viewpoint (B, 7)."""
        grid, code = self.size * RAYS_PER_CELL, self.code(r)
        rays = ray_features(query_viewpoint, grid, self.field_of_view).flatten(1, 2)
        points = self.place(code)
        scale, shift = self.modulation(code)[:, None].chunk(2, dim=-1)
        seen = self.ray(rays) + self.passed(self.gather(points, query_viewpoint, grid))
        hidden = self.first(seen * (1 + scale) + shift)
        rays = _as_map(hidden + self.second(hidden))
        grids = [grid * 2**k for k in range(1, len(self.finer))]
        gathered = [_as_map(self.gather(points, query_viewpoint, finer)) for finer in grids]
        return Asked(self.to_map(rays), (rays, *gathered)[: len(self.finer)])

    def gather(self, points: Placed, viewpoint: Tensor, grid: int) -> Tensor:
        """Features of points, weighted by their distance from each ray: (B, grid * grid, 2 * FEATURES)."""
        places, precisions, features = points
        origin, direction = camera_rays(viewpoint.float(), grid, self.field_of_view)
        with torch.autocast(places.device.type, enabled=False):  # bfloat16 would move points by centimetres
            offsets = places - origin.flatten(1, 2)
            depth = direction.flatten(1, 2) @ offsets.mT
            distance_squared = (offsets.square().sum(-1)[:, None] - depth.square()).clamp(min=0)
            weights = torch.exp(-distance_squared * precisions[:, None])
            to_centre = (origin - self.centre).norm(dim=-1)
        depth = (depth - to_centre) / self.radius
        return torch.cat([weights @ features, (weights * depth) @ features], dim=-1)

    def place(self, code: Tensor) -> Placed:
        """The points of normalised codes (B, C)."""
        numbers = self.points(code).float().unflatten(1, (POINTS, 4 + FEATURES))
        move, log_precision, features = numbers.split([3, 1, FEATURES], dim=-1)
        places = self.centre + self.radius * (self.start + move)
        precisions = log_precision[..., 0].clamp(*PRECISION_BOUNDS).exp() / (2 * (BLOB * self.radius) ** 2)
        return Placed(places, precisions, features)

    def quieten_code(self) -> None:
        """Scale the weights through which the code enters: early codes are noise."""
        self.points.weight.data.mul_(QUIET)
        self.modulation.weight.data.mul_(QUIET)


def _as_map(values: Tensor) -> Tensor:
    """(B, n * n, c) -> (B, c, n, n), channels last in memory."""
    side = math.isqrt(values.shape[1])
    return values.unflatten(1, (side, side)).permute(0, 3, 1, 2)


def code_reader(code_shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """Codes, normalised and flat, and how many numbers that makes; a spatial one is pooled to 4x4 cells."""
    if len(code_shape) == 1:
        return nn.LayerNorm(code_shape), code_shape[0]
    channels, cells = code_shape[0], 4
    pool = nn.AdaptiveAvgPool2d(cells)
    project = nn.Conv2d(channels, 32, 1)
    return nn.Sequential(nn.GroupNorm(1, channels), pool, project, nn.Flatten()), 32 * cells**2
