"""The simulator's state as one vector with named columns: the oracle's eyes and the probes' targets."""

from __future__ import annotations

import mujoco
import numpy as np

from .kinematics import ARM_JOINTS, FINGER_JOINTS, HAND_SITE
from .looks import visible_colour


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
VELOCITY_COLUMNS = tuple(f"{joint}_velocity" for joint in ARM_JOINTS + FINGER_JOINTS)
"""rad/s."""
COLOUR_COLUMNS = ("target_red", "target_green", "target_blue")
"""The target's colour, 0 to 1."""

STATE_COLUMNS = (*CONFIGURATION_COLUMNS, *VELOCITY_COLUMNS)
"""Columns of `obs="state"`."""
SCENE_COLUMNS = (*CONFIGURATION_COLUMNS, *COLOUR_COLUMNS)
"""Columns of a scene's state: what a probe may ask of the representation."""


def read_configuration(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """float32 (24,): `CONFIGURATION_COLUMNS` of `data`, whose kinematics must be up to date."""
    angles = data.qpos[:6]
    site = model.site(HAND_SITE).id
    pointing = data.site_xmat[site].reshape(3, 3)[:, 2]
    target = data.mocap_pos[0]
    parts = (np.sin(angles), np.cos(angles), data.qpos[6:9], data.site_xpos[site], pointing, target)
    return np.concatenate(parts).astype(np.float32)


def read_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """float32 (33,): `STATE_COLUMNS` of `data`."""
    return np.concatenate([read_configuration(model, data), data.qvel[:9].astype(np.float32)])


def read_scene(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """float32 (27,): `SCENE_COLUMNS` of `data`."""
    return np.concatenate([read_configuration(model, data), visible_colour(model, "target")])
