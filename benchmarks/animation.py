"""Animations: pictures side by side, a GIF in real time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gqn_transfer.envs.task import CONTROL_HZ

TILE = 256
"""Pixels of each picture."""
GAP = TILE // 32
COARSE = 4
"""Steps of a colour's components that the palette tells apart; with all 256 it takes minutes to choose."""


def save_animation(frames: Sequence[Sequence[np.ndarray]], path: Path, comment: str = "") -> None:
    """A GIF of frames, each of pictures uint8 (H, W, 3) side by side.

    The palette is of the small pictures' colours, each counted once: small things count as much as the floor.
    """
    white = np.full((1, 3), 255, np.uint8)
    small = [picture for pictures in frames for picture in pictures if len(picture) < TILE]
    seen = np.concatenate([white, *(picture.reshape(-1, 3) for picture in small)])
    colours = Image.fromarray(np.unique(seen // COARSE * COARSE + COARSE // 2, axis=0)[None])
    palette = colours.quantize(256, Image.Quantize.MAXCOVERAGE)
    images = [beside(pictures).quantize(palette=palette, dither=Image.Dither.NONE) for pictures in frames]
    pace = 1000 // CONTROL_HZ
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=pace, loop=0, comment=comment
    )


def beside(pictures: Sequence[np.ndarray]) -> Image.Image:
    """One frame: small pictures keep their pixels, large ones are made smaller, with white gaps between."""
    frame = Image.new("RGB", (len(pictures) * (TILE + GAP) - GAP, TILE), "white")
    for place, picture in enumerate(pictures):
        how = Image.Resampling.NEAREST if len(picture) < TILE else Image.Resampling.LANCZOS
        frame.paste(Image.fromarray(picture).resize((TILE, TILE), how), (place * (TILE + GAP), 0))
    return frame
