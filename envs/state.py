"""The simulator's state as one vector with named columns: the oracle's eyes and the probes' targets."""

from __future__ import annotations

import mujoco
import numpy as np

from .frames import Frame
from .kinematics import ARM_JOINTS, FINGER_JOINTS
from .looks import visible_colour

BOUND = 10.0
"""Of every number in a float observation: only what rolls or flies away is clipped."""


def _axes(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{axis}" for axis in "xyz")


CONFIGURATION_COLUMNS = (
    *(f"{joint}_sin" for joint in ARM_JOINTS),
    *(f"{joint}_cos" for joint in ARM_JOINTS),
    *FINGER_JOINTS,
    *_axes("hand"),
    *_axes("hand_axis"),
    *_axes("target"),
)
"""What one image can show: angles (radians), positions (metres), direction the hand points in."""
OBJECT_COLUMNS = (*_axes("object"), *_axes("object_x"), *_axes("object_z"))
"""The object's place and its first and third axis; zero where a task has none."""
RELATIVE_COLUMNS = (*_axes("hand_to_target"), *_axes("hand_to_object"), *_axes("object_to_target"))
"""Decimetres, zero where one of the two is missing. In coordinates of half a metre a network loses the last
centimetres: PPO learned to grasp in 100,000 steps with these columns and not in 500,000 without."""
TURN_COLUMNS = tuple(f"{joint}_to_goal" for joint in ARM_JOINTS)
"""Radians that each joint has still to turn, zero where a task names no pose."""
VELOCITY_COLUMNS = (
    *(f"{joint}_velocity" for joint in ARM_JOINTS + FINGER_JOINTS),
    *_axes("object_velocity"),
)
"""rad/s and m/s."""
COLOUR_COLUMNS = ("target_red", "target_green", "target_blue")
"""The target's colour, 0 to 1."""

STATE_COLUMNS = (
    *CONFIGURATION_COLUMNS,
    *OBJECT_COLUMNS,
    *RELATIVE_COLUMNS,
    *TURN_COLUMNS,
    *VELOCITY_COLUMNS,
)
"""Columns of `obs="state"`."""
SCENE_COLUMNS = (*CONFIGURATION_COLUMNS, *COLOUR_COLUMNS)
"""Columns of a scene's state: what a probe may ask of the representation."""
THING_COLUMNS = (*OBJECT_COLUMNS, "object_red", "object_green", "object_blue")
"""Further ones where some scenes hold an object. Columns are zero in scenes without what they tell of."""


def configuration_of(frame: Frame) -> np.ndarray:
    """float64 (…, 24): `CONFIGURATION_COLUMNS`."""
    angles = frame.joints
    parts = (np.sin(angles), np.cos(angles), frame.fingers, frame.hand, frame.hand_axis, frame.target)
    return np.concatenate(parts, -1)


def state_of(frame: Frame, turns: np.ndarray) -> np.ndarray:
    """float32 (…, 60): `STATE_COLUMNS`; turns (…, 6): what `Task.turns_to_goal` says."""
    hand, thing, target, turn = frame.hand, frame.object, frame.target, frame.object_rotation
    parts = (
        configuration_of(frame),
        *(thing, turn[..., 0], turn[..., 2]),
        *(_decimetres(hand, target), _decimetres(hand, thing), _decimetres(thing, target)),
        turns,
        *(frame.velocities, frame.object_velocity),
    )
    return np.clip(np.concatenate(parts, -1), -BOUND, BOUND).astype(np.float32)


def _decimetres(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(…, 3): the way from one position to another, zero where a frame says that one is missing."""
    exist = here.any(-1, keepdims=True) & there.any(-1, keepdims=True)
    return 10.0 * (there - here) * exist


def scene_state(frame: Frame, model: mujoco.MjModel, columns: int = len(SCENE_COLUMNS)) -> np.ndarray:
    """float32 (columns,): `SCENE_COLUMNS`, then `THING_COLUMNS`, of a frame and of the look of its model."""
    thing, turn = frame.object, frame.object_rotation
    parts = (
        *(configuration_of(frame), visible_colour(model, "target")),
        *(thing, turn[..., 0], turn[..., 2], visible_colour(model, "object")),
    )
    return np.concatenate(parts)[:columns].astype(np.float32)
