"""Cans and rings on the floor: where they stand, poses of a hand above them, how firmly a can is held."""

from __future__ import annotations

import numpy as np

from .frames import Frame
from .geometry import UP, distance
from .rewards import precision, progress
from .task import Bench

FLOOR_AREA = (np.array([-0.62, -0.22]), np.array([-0.34, 0.22]))
"""Corners of the rectangle of objects and spots, metres."""
CAN_RADIUS, CAN_HALF_HEIGHT = 0.03, 0.03
"""Metres: as in can.xml."""


def stand(bench: Bench, place: np.ndarray, height: float) -> None:
    """Stand the object at `place` (2,), its centre at `height`, at rest."""
    bench.data.qpos[9:16] = [*place, height, 1.0, 0.0, 0.0, 0.0]


def free_pose(bench: Bench, hand: np.ndarray) -> np.ndarray | None:
    """Joints (6,) with the hand at `hand` (3,), pointing down and touching nothing, or None."""
    joints = bench.kinematics.solve(bench.start, hand, -UP)
    if joints is None or bench.kinematics.arm_touches(bench.data, joints):
        return None
    return joints


def can_height(frame: Frame) -> np.ndarray:
    """(…) metres from the floor to the can's lowest point."""
    upright = frame.object_rotation[..., 2, 2]
    across = np.sqrt(np.clip(1.0 - np.square(upright), 0.0, 1.0))
    return frame.object[..., 2] - np.abs(upright) * CAN_HALF_HEIGHT - across * CAN_RADIUS


def grip(frame: Frame) -> np.ndarray:
    """(…) in [0, 1]: how hard the fingers close where the object is between them."""
    closing = progress(frame.finger_torques.mean(-1), 0.0, 1.0)
    return precision(distance(frame.hand, frame.object), 0.04) * closing
