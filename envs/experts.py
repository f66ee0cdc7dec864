"""Scripted experts: privileged controllers that prove a task can be done."""

from __future__ import annotations

import mujoco
import numpy as np

from .arm import CONTROL_HZ, ArmEnv
from .kinematics import joint_speeds, reach_position


def reach_expert(env: ArmEnv) -> np.ndarray:
    """float32 (7,) action for Reach: full speed towards the inverse-kinematics pose of the target."""
    scratch = mujoco.MjData(env.model)
    scratch.mocap_pos[:] = env.data.mocap_pos
    joints = env.data.qpos[:6].copy()
    goal = reach_position(env.model, scratch, joints, env.target_position)
    action = np.zeros(7, np.float32)
    if goal is not None:
        action[:6] = (goal - joints) * CONTROL_HZ / joint_speeds(env.model)
    return np.clip(action, -1.0, 1.0)


EXPERTS = {"Reach-v0": reach_expert}
