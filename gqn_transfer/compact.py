"""Codes small enough to probe: the tower's 65,536 numbers a view would need a matrix of 17 GB."""

from __future__ import annotations

from torch import Tensor, nn

from .encoder import Encoder

MAP = 2
"""Height and width that a spatial code is averaged to."""


class Compact(nn.Module):
    """The representation network of an encoder; a spatial code (C, h, w) is averaged to (C, 2, 2)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.representation = encoder.representation
        self.spatial = len(encoder.code_shape) == 3

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], viewpoints (B, 7) -> codes (B, C) or (B, C, 2, 2)."""
        codes = self.representation(images, viewpoints)
        return nn.functional.adaptive_avg_pool2d(codes, min(MAP, codes.shape[-1])) if self.spatial else codes
