"""DeepMind's seven GQN data sets: what they hold, and one record of them as images and viewpoints.

A record is a scene: `frames`, JPEG strings, and `cameras`, 5 floats a view: x, y, z, yaw, pitch, the angles
in radians. The field of view is not published, nor the unit of length and the axis that yaw 0 looks along.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image

from .choices import named
from .scenes import ScenesError
from .tf_example import Feature, parse_example
from .tfrecords import DOWNLOAD_AGAIN, Record

SOURCE = "deepmind/gqn-datasets"
CAMERA_NUMBERS = 5
"""x, y, z, yaw, pitch."""
CAMERA_NOTE = (
    "positions as DeepMind stored them, cosine and sine of its yaw and pitch; not published: the unit of "
    "length, the axis that yaw 0 looks along, the field of view"
)
RESAMPLING = Image.Resampling.BILINEAR
"""Pillow widens the triangle when it shrinks an image, so that every pixel counts and nothing aliases."""


@dataclass(frozen=True)
class Dataset:
    """What every record and folder of one data set has."""

    image_size: int
    """Pixels, square."""
    views: int
    """Frames and cameras of a scene."""
    files: Mapping[str, int]
    """Files of each split, by its folder's name."""

    def file_name(self, split: str, number: int) -> str:
        """Name of file `number`, the first being 1."""
        total = self.files[split]
        return f"{number:0{len(str(total))}d}-of-{total}.tfrecord"


def _dataset(image_size: int, views: int, train: int, test: int) -> Dataset:
    return Dataset(image_size, views, MappingProxyType({"train": train, "test": test}))


DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {
        "jaco": _dataset(64, 11, 3600, 400),
        "mazes": _dataset(84, 300, 1080, 120),
        "rooms_free_camera_no_object_rotations": _dataset(64, 10, 2160, 240),
        "rooms_free_camera_with_object_rotations": _dataset(128, 10, 2034, 226),
        "rooms_ring_camera": _dataset(64, 10, 2160, 240),
        "shepard_metzler_5_parts": _dataset(64, 15, 900, 100),
        "shepard_metzler_7_parts": _dataset(64, 15, 900, 100),
    }
)
"""Name, which is that of its folder -> what it holds."""


def dataset_named(name: str) -> Dataset:
    """The data set of that name; ValueError lists what exists."""
    return named(DATASETS, name, "dataset")


def read_scene(record: Record, name: str, views: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `views` views of a record of data set `name`: uint8 (M, H, W, 3), float32 (M, 7).

    Images are resized to `image_size` where that is not the set's own.
    """
    dataset, features = dataset_named(name), parse_example(record)
    frames = _feature(features, "frames", record, name).strings
    cameras = _feature(features, "cameras", record, name).floats
    _check_count(len(frames), dataset.views, "frames", record, name)
    _check_count(len(cameras), CAMERA_NUMBERS * dataset.views, "camera numbers", record, name)
    if not np.isfinite(cameras).all():
        raise ScenesError(f"{record.place}: its cameras are not all finite: {DOWNLOAD_AGAIN}")
    images = [
        decode_frame(frame, dataset.image_size, image_size, f"{record.place}: frame {number}")
        for number, frame in enumerate(frames[:views], 1)
    ]
    return np.stack(images), viewpoints(cameras.reshape(-1, CAMERA_NUMBERS)[:views])


def _feature(features: dict[str, Feature], key: str, record: Record, name: str) -> Feature:
    if key not in features:
        there = ", ".join(sorted(features)) or "nothing"
        raise ScenesError(f"{record.place}: no {key}, there is {there}: this is no file of {name}")
    return features[key]


def _check_count(found: int, expected: int, what: str, record: Record, name: str) -> None:
    if found != expected:
        raise ScenesError(
            f"{record.place}: {found} {what}, expected {expected}: this is no file of {name}; "
            "name the dataset that it is of"
        )


def decode_frame(frame: bytes, expected_size: int, image_size: int, place: str) -> np.ndarray:
    """uint8 (image_size, image_size, 3) of a JPEG that must have `expected_size` pixels each way."""
    try:
        with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
            width, height = image.size
            if width == height == expected_size:
                resized = image.convert("RGB").resize((image_size, image_size), RESAMPLING)
                return np.asarray(resized)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise ScenesError(f"{place}: expected a JPEG image, got {error}: {DOWNLOAD_AGAIN}") from error
    raise ScenesError(
        f"{place}: {width}x{height} pixels, expected {expected_size}x{expected_size}: "
        "name the dataset that this file is of"
    )


def viewpoints(cameras: np.ndarray) -> np.ndarray:
    """x, y, z, yaw, pitch (M, 5) -> x, y, z, cos yaw, sin yaw, cos pitch, sin pitch, float32 (M, 7)."""
    position, yaw, pitch = np.split(cameras.astype(np.float64), [3, 4], axis=1)
    columns = [position, np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)]
    return np.concatenate(columns, axis=1).astype(np.float32)
