"""What an action means: commands for the nine velocity servos, by joint or by the hand's velocity."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

import mujoco
import numpy as np

from .kinematics import AXIS_LENGTH, damped_least_squares

HAND_SPEED = 0.25
"""m/s: the hand's largest velocity along each axis under cartesian control."""
FINGER_SPEED = 1.5
"""rad/s at full command: all that the fingers' torque brings about. Their servos would take 5, but then a
small command is as strong as a large one, and an agent's exploration lets go of what it holds."""


class Control(Protocol):
    """Turns actions into servo commands; arrays may have any leading shape (…)."""

    action_size: ClassVar[int]
    needs_jacobian: ClassVar[bool]

    def commands(self, actions: np.ndarray, jacobian: np.ndarray | None) -> np.ndarray:
        """rad/s (…, 9) for actions (…, A) in [-1, 1]; jacobian (…, 6, 6) as `Cartesian` wants it."""
        ...


class JointVelocity:
    """Six joints' velocities, as shares of their limits (the paper's), and one for the three fingers."""

    action_size: ClassVar[int] = 7
    needs_jacobian: ClassVar[bool] = False

    def __init__(self, model: mujoco.MjModel) -> None:
        self._limits = command_limits(model)

    def commands(self, actions: np.ndarray, jacobian: np.ndarray | None = None) -> np.ndarray:
        return actions[..., [0, 1, 2, 3, 4, 5, 6, 6, 6]] * self._limits


class Cartesian:
    """The hand's velocity in the world frame and one command for the fingers; the hand keeps its orientation.

    Damped least squares; where a joint would be too fast, the whole motion slows down.
    """

    action_size: ClassVar[int] = 4
    needs_jacobian: ClassVar[bool] = True

    def __init__(self, model: mujoco.MjModel) -> None:
        self._limits = command_limits(model)

    def commands(self, actions: np.ndarray, jacobian: np.ndarray | None) -> np.ndarray:
        """jacobian (…, 6, 6): of the hand's translation and rotation (rows) by the arm's joints."""
        assert jacobian is not None
        weights = np.array([1.0, 1.0, 1.0, AXIS_LENGTH, AXIS_LENGTH, AXIS_LENGTH])
        velocity = np.zeros((*actions.shape[:-1], 6))
        velocity[..., :3] = HAND_SPEED * actions[..., :3]
        joints = damped_least_squares(jacobian * weights[:, None], velocity)
        excess = (np.abs(joints) / self._limits[:6]).max(-1, keepdims=True)
        fingers = actions[..., [3, 3, 3]] * self._limits[6:]
        return np.concatenate([joints / np.maximum(excess, 1.0), fingers], -1)


def command_limits(model: mujoco.MjModel) -> np.ndarray:
    """(9,) rad/s: the servos' velocities at full command."""
    return np.append(model.actuator_ctrlrange[:6, 1], [FINGER_SPEED] * 3)


CONTROLS: Mapping[str, type[JointVelocity] | type[Cartesian]] = MappingProxyType(
    {"joint_velocity": JointVelocity, "cartesian": Cartesian}
)
"""Name -> class; both take the model."""


def checked_actions(actions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`actions` clipped to [-1, 1]; ValueError for another shape or for NaN and infinity."""
    if actions.shape != shape:
        raise ValueError(f"action of shape {actions.shape}: expected {shape}")
    if not np.isfinite(actions).all():
        raise ValueError(f"action {actions} holds NaN or infinity: check the agent's update")
    return np.clip(actions, -1.0, 1.0).astype(np.float64)
