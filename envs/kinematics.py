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
"""Of the least squares; metres at which inverse kinematics stops; radians per iteration."""
AXIS_LENGTH = 0.15
"""Metres that a radian of the hand's axis is worth: with `TOLERANCE`, axes are right within 2 degrees."""


def joint_limits(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """(6,), (6,) radians: lower and upper limits, infinite where a joint turns without end."""
    limited = model.jnt_limited[:6].astype(bool)
    low, high = model.jnt_range[:6].T
    return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)


def joint_speeds(model: mujoco.MjModel) -> np.ndarray:
    """(6,) rad/s: the velocity limits of the arm's servos."""
    return model.actuator_ctrlrange[:6, 1].copy()


class Kinematics:
    """Answers about poses of a model's arm, in simulator data of its own."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self._low, self._high = joint_limits(model)
        self._speeds = joint_speeds(model)
        self._site = model.site(HAND_SITE).id
        self._on_arm = model.body_rootid[model.geom_bodyid] == model.body("b_base").id

    def hand(self, joints: np.ndarray) -> np.ndarray:
        """(3,) metres: the pinch point at `joints` (6,)."""
        self._pose(joints)
        return self.data.site_xpos[self._site].copy()

    def hand_axis(self, joints: np.ndarray) -> np.ndarray:
        """(3,) unit direction that the hand points in at `joints` (6,)."""
        self._pose(joints)
        return self._axis().copy()

    def solve(
        self,
        start: np.ndarray,
        position: np.ndarray | None = None,
        axis: np.ndarray | None = None,
        aim: np.ndarray | None = None,
        iterations: int = 60,
    ) -> np.ndarray | None:
        """Joints (6,) near `start` (6,), or None: the hand at `position` (3,), pointing along `axis` (3,) or
        at the point `aim` (3,).

        Each may be left free, but not all. Tolerances: 5 mm and 2 degrees.
        """
        joints = start.copy()
        for _ in range(iterations):
            self._pose(joints)
            errors, jacobian = self._equations(position, axis, aim)
            if all(np.linalg.norm(error) < TOLERANCE for error in errors):
                return joints
            step = damped_least_squares(np.concatenate(jacobian), np.concatenate(errors))
            step *= min(1.0, LARGEST_STEP / max(np.abs(step).max(), 1e-9))
            joints = np.clip(joints + step, self._low, self._high)
        return None

    def arm_touches(self, data: mujoco.MjData, joints: np.ndarray) -> bool:
        """True if the arm at `joints` (6,), with everything else as in `data`, touches anything or itself."""
        self.data.qpos[:], self.data.mocap_pos[:] = data.qpos, data.mocap_pos
        self.data.mocap_quat[:] = data.mocap_quat
        self.data.qpos[:6] = joints
        mujoco.mj_fwdPosition(self.model, self.data)
        return self.in_contact(self.data)

    def in_contact(self, data: mujoco.MjData) -> bool:
        """True if among the contacts of `data`, whose positions are current, there is one of the arm."""
        return bool(self._on_arm[data.contact.geom].any())

    def seconds_needed(self, start: np.ndarray, goal: np.ndarray) -> float:
        """Least time from `start` (6,) to `goal` (6,) at the true velocity limits, seconds."""
        return float(np.max(np.abs(goal - start) / self._speeds))

    def _pose(self, joints: np.ndarray) -> None:
        self.data.qpos[:6] = joints
        self.data.qpos[6:] = self.model.qpos0[6:]  # else the last call's fingers change the rounding
        mujoco.mj_kinematics(self.model, self.data)

    def _axis(self) -> np.ndarray:
        return self.data.site_xmat[self._site].reshape(3, 3)[:, 2]

    def _equations(
        self, position: np.ndarray | None, axis: np.ndarray | None, aim: np.ndarray | None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Errors (3,) in metres, a turn counting by `AXIS_LENGTH`, and their Jacobians (3, 6)."""
        moves, turns = self._jacobians()
        hand, pointing = self.data.site_xpos[self._site], self._axis()
        errors, jacobians = [], []
        if position is not None:
            errors.append(position - hand)
            jacobians.append(moves)
        if aim is not None:
            line = aim - hand
            axis = line / max(np.linalg.norm(line), 1e-6)
            turns = turns + np.cross(axis, moves.T).T / max(np.linalg.norm(line), 1e-6)  # the line turns too
        if axis is not None:
            errors.append(AXIS_LENGTH * turn_between(pointing, axis))
            jacobians.append(AXIS_LENGTH * turns)
        return errors, jacobians

    def _jacobians(self) -> tuple[np.ndarray, np.ndarray]:
        """(3, 6), (3, 6): the hand's translation and rotation by the joints."""
        mujoco.mj_comPos(self.model, self.data)
        moves, turns = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, moves, turns, self._site)
        return moves[:, :6], turns[:, :6]


def damped_least_squares(jacobian: np.ndarray, error: np.ndarray) -> np.ndarray:
    """(…, 6): joint steps for `error` (…, E) under `jacobian` (…, E, 6), tame near singular poses.

    Written in sums and not in matrix products, whose rounding may depend on the number of rows.
    """
    square = (jacobian[..., :, None, :] * jacobian[..., None, :, :]).sum(-1)
    square += DAMPING**2 * np.eye(square.shape[-1])
    forces = np.linalg.solve(square, error[..., None])
    return (jacobian * forces).sum(-2)


def turn_between(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(3,) rotation vector, radians, that turns unit vector `here` (3,) into `there` (3,)."""
    cross = np.cross(here, there)
    sine = np.linalg.norm(cross)
    angle = np.arctan2(sine, here @ there)
    if sine < 1e-9:  # parallel, or opposite: then any axis across will do
        across = np.cross(here, np.eye(3)[np.argmin(np.abs(here))])
        return angle * across / np.linalg.norm(across)
    return angle * cross / sine
