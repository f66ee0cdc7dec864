"""Cameras on a dome around the workspace, and the viewpoint vector: the convention is stated here once.

World frame: metres, z up, the arm's base at the origin, its front towards -x. A camera is upright and
looks at `WORKSPACE_CENTRE`. Yaw turns about z from +x, pitch is positive upwards, both in radians:
the viewing direction is (cos pitch cos yaw, cos pitch sin yaw, sin pitch).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

WORKSPACE_CENTRE = np.array([-0.45, 0.0, 0.3])
"""Where every camera looks, metres."""
WORKSPACE_SIZE = np.array([0.6, 0.6, 0.5])
"""Edges of the box that holds targets, metres; its floor is 5 cm above the room's, on which objects stand."""
FIELD_OF_VIEW = np.deg2rad(45.0)
"""Vertical (and, images being square, horizontal) opening angle, radians."""
VIEWPOINT_COLUMNS = ("x", "y", "z", "cos_yaw", "sin_yaw", "cos_pitch", "sin_pitch")
STEEPEST = 1e-3
"""A camera of a model may look down no steeper, by the level part of its unit direction; and it must stand
upright: its right may rise by no more."""
CONVENTION = "xyz-cosyaw-sinyaw-cospitch-sinpitch/z-up/metres"
"""Stored with every dataset and checkpoint: two conventions never meet silently."""


@dataclass(frozen=True)
class CameraPose:
    """A camera on a sphere about the workspace's centre."""

    yaw: float
    """Direction it looks in, radians; 0 stands in front of the arm and looks at its base."""
    elevation: float
    """Height of the camera as an angle above the horizon, radians; its pitch is the negative."""
    radius: float
    """Distance from the workspace's centre, metres."""

    @property
    def position(self) -> np.ndarray:
        """(3,) metres."""
        return WORKSPACE_CENTRE - self.radius * self.direction

    @property
    def direction(self) -> np.ndarray:
        """(3,) unit viewing direction."""
        level = np.cos(self.elevation)
        return np.array([level * np.cos(self.yaw), level * np.sin(self.yaw), -np.sin(self.elevation)])

    @functools.cached_property
    def viewpoint(self) -> np.ndarray:
        """float32 (7,): `VIEWPOINT_COLUMNS`."""
        angles = [f(a) for a in (self.yaw, -self.elevation) for f in (np.cos, np.sin)]
        return np.concatenate([self.position, angles]).astype(np.float32)


def viewpoint_of(position: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """float32 (7,), `VIEWPOINT_COLUMNS`, of any upright camera: where it stands (3,), metres, and where it
    looks (3,), of any length but not straight up or down."""
    x, y, z = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    level = np.hypot(x, y)
    if level < STEEPEST:
        raise ValueError(f"direction {direction}: a camera that looks straight up or down has no yaw")
    return np.concatenate([position, [x / level, y / level, level, z]]).astype(np.float32)


def camera_viewpoint(data: Any, camera: int | str) -> np.ndarray:
    """float32 (7,): the viewpoint of a camera of any MuJoCo model, by name or number, as `data` has it now.

    ValueError for a camera that is tilted sideways: a viewpoint cannot say that.
    """
    placed = data.camera(camera)
    right, _, backward = placed.xmat.reshape(3, 3).T
    if abs(right[2]) > STEEPEST:
        raise ValueError(
            f"camera {camera!r} is tilted sideways by {np.rad2deg(np.arcsin(right[2])):.1f}°: the viewpoint "
            "of a GQN has yaw and pitch alone; set it upright"
        )
    return viewpoint_of(placed.xpos, -backward)


@dataclass(frozen=True)
class Dome:
    """Where cameras may stand: a patch of sphere shell with a wedge of yaws held out."""

    radius: tuple[float, float] = (1.3, 1.5)
    """Metres."""
    elevation: tuple[float, float] = (np.deg2rad(10.0), np.deg2rad(50.0))
    """Radians."""
    yaw: tuple[float, float] = (-np.pi / 2, np.pi / 2)
    """Radians: the half circle in front of the arm."""
    held_out_yaw: tuple[float, float] = (np.deg2rad(20.0), np.deg2rad(45.0))
    """Radians: no training camera stands here, so that tests of generalisation have somewhere to go."""

    def sample(self, rng: np.random.Generator, held_out: bool = False) -> CameraPose:
        """A camera uniform in yaw, elevation and radius, in the held-out wedge or outside it."""
        low, high = self.held_out_yaw if held_out else self.training_interval(rng)
        return CameraPose(rng.uniform(low, high), rng.uniform(*self.elevation), rng.uniform(*self.radius))

    def training_interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """Yaws below or above the wedge, each as often as it is wide."""
        below = (self.yaw[0], self.held_out_yaw[0])
        above = (self.held_out_yaw[1], self.yaw[1])
        share_below = (below[1] - below[0]) / (below[1] - below[0] + above[1] - above[0])
        return below if rng.random() < share_below else above


DOME = Dome()
FIXED_CAMERA = CameraPose(yaw=np.deg2rad(-40.0), elevation=np.deg2rad(35.0), radius=1.3)
"""The one camera of `camera="fixed"`, inside the training part of the dome."""
SECOND_CAMERA = CameraPose(yaw=np.deg2rad(60.0), elevation=np.deg2rad(35.0), radius=1.3)
"""The one of `second_camera=True`: about at a right angle to the fixed one, in the training part too."""
WALK_SPEED = np.array([0.25, 0.08, 0.05])
"""Scale of the moving camera's steps: yaw and elevation in radians, radius in metres."""


def camera_path(kind: str, rng: np.random.Generator) -> Iterator[CameraPose]:
    """The cameras of one episode, one per step: `kind` is a key of `CAMERA_PATHS`."""
    return CAMERA_PATHS[kind](rng)


class CameraPath(Iterator[CameraPose]):
    """The cameras of one episode, without end. No generator function, so that it pickles."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng


class Fixed(CameraPath):
    """The one camera that stays."""

    def __next__(self) -> CameraPose:
        return FIXED_CAMERA


class Walk(CameraPath):
    """A smooth random walk that turns back at the dome's and the wedge's edges."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        edges = (DOME.training_interval(rng), DOME.elevation, DOME.radius)
        self._low, self._high = np.array(edges).T
        self._place, self._velocity = rng.uniform(self._low, self._high), np.zeros(3)
        self._started = False

    def __next__(self) -> CameraPose:
        if self._started:
            self._advance()
        self._started = True
        return CameraPose(*self._place)

    def _advance(self) -> None:
        velocity = 0.9 * self._velocity + 0.1 * self.rng.normal(scale=WALK_SPEED)
        ahead = self._place + velocity
        outside = (ahead < self._low) | (ahead > self._high)
        self._velocity = np.where(outside, -velocity, velocity)
        self._place = np.clip(self._place + self._velocity, self._low, self._high)


class Jumps(CameraPath):
    """A new training camera at every step."""

    def __next__(self) -> CameraPose:
        return DOME.sample(self.rng)


CAMERA_PATHS: dict[str, type[CameraPath]] = {"fixed": Fixed, "moving": Walk, "jump": Jumps}
