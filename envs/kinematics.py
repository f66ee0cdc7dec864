"""Inverse kinematics of the arm by damped least squares, and what the joints can do in a given time."""

from __future__ import annotations

import mujoco
import numpy as np

ARM_JOINTS = tuple(f"joint_{k}" for k in range(1, 7))
FINGER_JOINTS = tuple(f"finger_{k}" for k in range(1, 4))
HAND_SITE = "pinchsite"
"""The tool centre point: between the finger tips, as in dm_control's tasks."""
HOME = np.array([0.0, 3.3, 1.6, 0.0, 0.5, 0.0])
"""Rest pose of the six joints, radians: the hand hangs over the workspace."""
DAMPING, TOLERANCE, LARGEST_STEP = 0.05, 0.005, 0.3
"""Of the least squares; metres at which IK stops; radians per iteration."""


def joint_limits(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """(6,), (6,) radians: lower and upper limits, infinite where a joint turns without end."""
    limited = model.jnt_limited[:6].astype(bool)
    low, high = model.jnt_range[:6].T
    return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)


def joint_speeds(model: mujoco.MjModel) -> np.ndarray:
    """(6,) rad/s: the velocity limits of the arm's servos."""
    return model.actuator_ctrlrange[:6, 1].copy()


def reach_position(
    model: mujoco.MjModel, data: mujoco.MjData, start: np.ndarray, position: np.ndarray, iterations: int = 60
) -> np.ndarray | None:
    """Joint angles (6,) near `start` (6,) that bring the hand to `position` (3,), or None.

    Overwrites the arm's part of `data.qpos` and the kinematics in `data`; the orientation is left free.
    """
    low, high = joint_limits(model)
    site = model.site(HAND_SITE).id
    jacobian = np.zeros((3, model.nv))
    joints = start.copy()
    for _ in range(iterations):
        data.qpos[:6] = joints
        mujoco.mj_kinematics(model, data)
        error = position - data.site_xpos[site]
        if np.linalg.norm(error) < TOLERANCE:
            return joints
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, jacobian, None, site)
        arm = jacobian[:, :6]
        step = arm.T @ np.linalg.solve(arm @ arm.T + DAMPING**2 * np.eye(3), error)
        step *= min(1.0, LARGEST_STEP / max(np.abs(step).max(), 1e-9))
        joints = np.clip(joints + step, low, high)
    return None


def seconds_needed(model: mujoco.MjModel, start: np.ndarray, goal: np.ndarray) -> float:
    """Least time from `start` (6,) to `goal` (6,) at the true velocity limits, seconds."""
    return float(np.max(np.abs(goal - start) / joint_speeds(model)))
