"""Representation networks: one view (image and viewpoint) to one code.

The code of a scene is the element-wise sum of the codes of its views (Eslami et al. 2018), taken in
`model.py`. `Pyramid`, `Tower` and `Pool` have the layers of that paper's supplement; `Conv` is ours,
for short training on a CPU. None has BatchNorm or Dropout: a code depends on its own view alone.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .rays import (
    FIELD_OF_VIEW,
    RAY_FEATURES,
    VIEWPOINT_FEATURES,
    VIEWPOINT_SIZE,
    ray_features,
    viewpoint_features,
)


def _check_image_size(name: str, image_size: int, divisor: int) -> None:
    if image_size < divisor or image_size % divisor:
        raise ValueError(
            f"{name} needs an image size divisible by {divisor}, got {image_size}; "
            f"use {divisor}, {2 * divisor}, ... or resize the images."
        )


def _broadcast(viewpoints: Tensor, like: Tensor) -> Tensor:
    """(B, 7) -> (B, 7, h, w) with the height, width and type of `like`."""
    return viewpoints.to(like.dtype)[:, :, None, None].expand(-1, -1, *like.shape[-2:])


class Representation(nn.Module):
    """Base of the representation networks: image size (pixels) and code size in, code shape out.

    field_of_view: radians, for those that know the ray of each pixel.
    """

    code_shape: tuple[int, ...]
    """Shape of one code: (C,), or (C, h, w) for the tower."""

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__()
        self.image_size, self.code_shape = image_size, (representation_size,)
        self.field_of_view = field_of_view


class Pyramid(Representation):
    """The paper's pyramid: strided convolutions over [image, viewpoint]; code (B, C).

    2,139,872 parameters and 7.6 million multiplications per 64x64 view at C = 256.
    """

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__(image_size, representation_size, field_of_view)
        _check_image_size("Pyramid", image_size, 8)
        last = image_size // 8
        self.layers = nn.Sequential(
            nn.Conv2d(3 + VIEWPOINT_SIZE, 32, 2, 2), nn.ReLU(),
            nn.Conv2d(32, 64, 2, 2), nn.ReLU(),
            nn.Conv2d(64, 128, 2, 2), nn.ReLU(),
            nn.Conv2d(128, representation_size, last, last), nn.ReLU(),
        )  # fmt: skip

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C)."""
        return self.layers(torch.cat([images, _broadcast(viewpoints, images)], dim=1)).flatten(1)


class Tower(Representation):
    """The paper's tower: residual convolutions; code (B, C, H/4, W/4).

    1,962,368 parameters and 731 million multiplications per 64x64 view at C = 256. Skip paths are
    added after the ReLU.
    """

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__(image_size, representation_size, field_of_view)
        _check_image_size("Tower", image_size, 4)
        self.code_shape = (representation_size, image_size // 4, image_size // 4)
        merged = 256 + VIEWPOINT_SIZE
        self.enter = nn.Conv2d(3, 256, 2, 2)
        self.skip1 = nn.Conv2d(256, 256, 2, 2)
        self.narrow1 = nn.Conv2d(256, 128, 3, padding=1)
        self.widen1 = nn.Conv2d(128, 256, 2, 2)
        self.skip2 = nn.Conv2d(merged, 256, 3, padding=1)
        self.narrow2 = nn.Conv2d(merged, 128, 3, padding=1)
        self.widen2 = nn.Conv2d(128, 256, 3, padding=1)
        self.leave = nn.Conv2d(256, representation_size, 1)

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C, H/4, W/4)."""
        relu = functional.relu
        x = relu(self.enter(images))
        x = relu(self.widen1(relu(self.narrow1(x)))) + relu(self.skip1(x))
        x = torch.cat([x, _broadcast(viewpoints, x)], dim=1)
        x = relu(self.widen2(relu(self.narrow2(x)))) + relu(self.skip2(x))
        return relu(self.leave(x))


class Pool(Representation):
    """The paper's pool: the tower, averaged over space; code (B, C)."""

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__(image_size, representation_size, field_of_view)
        self.tower = Tower(image_size, representation_size, field_of_view)

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C)."""
        return self.tower(images, viewpoints).mean(dim=(2, 3))


class Norm(nn.GroupNorm):
    """GroupNorm in float32, also under autocast: with few channels, last in memory, PyTorch's in
    bfloat16 takes ten times as long."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


class Conv(Representation):
    """Our small network for CPU budgets; code (B, C).

    The viewpoint enters as 43 Fourier features at a quarter of the resolution. The last map is
    flattened, not pooled, so that the code knows where in the image things are.
    """

    channels: ClassVar[tuple[int, int, int]] = (48, 96, 192)
    """At a half, a quarter and an eighth of the resolution."""

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__(image_size, representation_size, field_of_view)
        _check_image_size("Conv", image_size, 8)
        a, b, c = self.channels
        odd = image_size // 8 % 2  # an odd map is padded to an even one
        self.enter = nn.Sequential(
            nn.Conv2d(3, a, 4, 2, padding=1), nn.SiLU(),
            nn.Conv2d(a, b, 4, 2, padding=1), Norm(8, b), nn.SiLU(),
        )  # fmt: skip
        self.viewpoint = nn.Linear(VIEWPOINT_FEATURES, b)
        self.leave = nn.Sequential(
            nn.Conv2d(b, b, 3, padding=1), Norm(8, b), nn.SiLU(),
            nn.Conv2d(b, c, 4, 2, padding=1), Norm(8, c), nn.SiLU(),
            nn.Conv2d(c, c, 3, padding=1), Norm(8, c), nn.SiLU(),
            nn.Conv2d(c, c, 2, 2, padding=odd), nn.SiLU(),
            nn.Flatten(), nn.Linear(c * (image_size // 16 + odd) ** 2, representation_size),
        )  # fmt: skip

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C)."""
        bias = self.viewpoint(viewpoint_features(viewpoints))
        return self.leave(self.enter(images) + bias[:, :, None, None])


class ConvSmall(Conv):
    """`Conv` at half the width: a quarter of the arithmetic, for minutes of training on two cores."""

    channels = (24, 48, 96)


class ConvRays(Conv):
    """`Conv` that is told the ray of each position instead of the camera as a whole; two thirds as wide."""

    channels = (32, 64, 128)

    def __init__(
        self, image_size: int = 64, representation_size: int = 256, field_of_view: float = FIELD_OF_VIEW
    ) -> None:
        super().__init__(image_size, representation_size, field_of_view)
        self.viewpoint = nn.Linear(RAY_FEATURES, self.channels[1])

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C)."""
        seen = self.enter(images)
        plain = not (torch.is_grad_enabled() or torch.compiler.is_compiling())  # may look at values
        if plain and bool((viewpoints == viewpoints[:1]).all()):
            viewpoints = viewpoints[:1]  # all of one camera, as agents with a fixed one have: its rays once
        rays = self.viewpoint(ray_features(viewpoints, seen.shape[-1], self.field_of_view))
        return self.leave(seen + rays.permute(0, 3, 1, 2))


REPRESENTATIONS: dict[str, type[Representation]] = {
    "conv": Conv,
    "conv-small": ConvSmall,
    "conv-rays": ConvRays,
    "pyramid": Pyramid,
    "tower": Tower,
    "pool": Pool,
}
"""Name in `GQNConfig.representation` -> class, built from image size, code size and field of view."""
