"""Viewpoints as numbers a network can use: Fourier features of the camera, and of the ray of each pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

VIEWPOINT_SIZE = 7
"""x, y, z (metres), cos yaw, sin yaw, cos pitch, sin pitch."""

FIELD_OF_VIEW = math.pi / 4
"""Radians: opening angle of the arm's square images, the default of networks that know a pixel's ray."""

SCENE_CENTRE, SCENE_RADIUS = (-0.45, 0.0, 0.3), 0.5
"""Metres: where things are in the arm's scenes, the default of networks that place them in the world."""

VIEWPOINT_FREQUENCIES = (1, 2, 4, 8, 16, 32)
"""Multiples of pi/2 (radians per metre) at which the camera position is encoded."""

VIEWPOINT_FEATURES = VIEWPOINT_SIZE + 2 * 3 * len(VIEWPOINT_FREQUENCIES)
"""43 numbers: the viewpoint itself, and sine and cosine of its position at each frequency."""

RAY_FREQUENCIES = (1, 2, 4, 8, 16)
"""Multiples of pi/2 at which a ray's direction and moment are encoded."""

RAY_FEATURES = 9 + 2 * 6 * len(RAY_FREQUENCIES)
"""69 numbers: origin, direction, moment; sine and cosine of direction and moment at each frequency."""


def viewpoint_features(viewpoints: Tensor) -> Tensor:
    """Fourier features of viewpoints: (B, 7) -> (B, 43), float32.

    Computed in float32 even under autocast: at the highest frequency bfloat16 loses the phase.
    """
    viewpoints = viewpoints.float()
    waves = fourier(viewpoints[:, :3], VIEWPOINT_FREQUENCIES)
    return torch.cat([viewpoints, waves], dim=1)


def ray_features(viewpoints: Tensor, size: int, field_of_view: float) -> Tensor:
    """Features of the rays through the centres of a grid of cells: (B, 7) -> (B, size, size, 69), float32.

    A ray is a line: its unit direction d and its moment o x d (Pluecker coordinates), the same wherever
    on the line the camera o stands. What a ray meets depends on the scene alone, so one network of ray
    and code serves all cameras (Sitzmann et al. 2021, light field networks).
    field_of_view: radians, of a square image. Row 0 is the top one.
    """
    origin, direction = camera_rays(viewpoints.float(), size, field_of_view)
    origin = origin.expand_as(direction)
    line = torch.cat([direction, torch.linalg.cross(origin, direction)], dim=-1)
    return torch.cat([origin, line, fourier(line, RAY_FREQUENCIES)], dim=-1)


def camera_rays(viewpoints: Tensor, size: int, field_of_view: float) -> tuple[Tensor, Tensor]:
    """Origins (B, 1, 1, 3), metres, and unit directions (B, size, size, 3) in the world's frame."""
    x, y, z, cos_yaw, sin_yaw, cos_pitch, sin_pitch = viewpoints[:, :, None, None].unbind(1)
    zero = torch.zeros_like(x)
    forward = torch.stack([cos_pitch * cos_yaw, cos_pitch * sin_yaw, sin_pitch], dim=-1)
    right = torch.stack([sin_yaw, -cos_yaw, zero], dim=-1)
    up = torch.linalg.cross(right, forward)
    centres = (torch.arange(size, device=viewpoints.device) + 0.5) / size * 2 - 1
    offsets = math.tan(field_of_view / 2) * centres
    across, down = offsets[None, None, :, None], offsets[None, :, None, None]
    direction = torch.nn.functional.normalize(forward + across * right - down * up, dim=-1)
    return torch.stack([x, y, z], dim=-1), direction


def fourier(values: Tensor, frequencies: tuple[int, ...]) -> Tensor:
    """Sines, then cosines of values (..., n) times each frequency times pi/2: (..., 2 n f)."""
    scale = torch.tensor(frequencies, device=values.device) * (math.pi / 2)
    phases = (values[..., None] * scale).flatten(-2)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
