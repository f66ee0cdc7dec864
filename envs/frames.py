"""`Frame`: what a task may look at, for one episode or for many in one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import mujoco
import numpy as np

from .kinematics import HAND_SITE


class Frame(NamedTuple):
    """The simulator's state as the tasks know it; every array may have any leading shape (…).

    Metres, radians and seconds in the world frame; zeros for what a task's scene does not hold.
    """

    joints: np.ndarray
    """(…, 6): the arm's angles."""
    fingers: np.ndarray
    """(…, 3): 0.15 is open, 1.35 closed."""
    velocities: np.ndarray
    """(…, 9): of joints and fingers."""
    finger_torques: np.ndarray
    """(…, 3): N m of the fingers' servos, at most 1; positive ones close."""
    hand: np.ndarray
    """(…, 3): the pinch point between the finger tips."""
    hand_rotation: np.ndarray
    """(…, 3, 3): columns are the hand's axes; the third points out of the hand."""
    target: np.ndarray
    """(…, 3): centre of what marks the goal."""
    object: np.ndarray
    """(…, 3): centre of what is to be moved."""
    object_rotation: np.ndarray
    """(…, 3, 3): columns are its axes."""
    object_velocity: np.ndarray
    """(…, 3): linear."""

    @property
    def hand_axis(self) -> np.ndarray:
        """(…, 3): unit direction that the hand points in."""
        return self.hand_rotation[..., 2]


@dataclass(frozen=True)
class FrameReader:
    """Where a model keeps what a frame holds."""

    hand: int
    """Site."""
    target: int | None
    """Mocap body."""
    object: int | None
    """Body."""
    object_speed: slice
    """The object's translation in qvel; empty where it has none."""

    @classmethod
    def of(cls, model: mujoco.MjModel) -> FrameReader:
        """Look up hand, target and object by their names in `model`."""
        target, thing = (_body(model, name) for name in ("target", "object"))
        mocap = None if target is None else int(model.body_mocapid[target])
        first = 0 if thing is None else int(model.body_dofadr[thing])
        moves_freely = thing is not None and model.body_dofnum[thing] == 6
        return cls(model.site(HAND_SITE).id, mocap, thing, slice(first, first + 3 * moves_freely))

    def read(self, data: Any) -> Frame:
        """The frame of an `MjData`, or of a `Batch` whose fields have one row per simulation."""
        qpos, qvel = data.qpos, data.qvel
        nowhere = np.zeros((*qpos.shape[:-1], 3))
        speed = qvel[..., self.object_speed]
        return Frame(
            joints=qpos[..., :6],
            fingers=qpos[..., 6:9],
            velocities=qvel[..., :9],
            finger_torques=data.actuator_force[..., 6:9],
            hand=data.site_xpos[..., self.hand, :],
            hand_rotation=_matrices(data.site_xmat[..., self.hand, :]),
            target=nowhere if self.target is None else data.mocap_pos[..., self.target, :],
            object=nowhere if self.object is None else data.xpos[..., self.object, :],
            object_rotation=_matrices(np.zeros((*qpos.shape[:-1], 9)))
            if self.object is None
            else _matrices(data.xmat[..., self.object, :]),
            object_velocity=speed if speed.shape[-1] else nowhere,
        )


def _body(model: mujoco.MjModel, name: str) -> int | None:
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    return None if found < 0 else found


def _matrices(flat: np.ndarray) -> np.ndarray:
    """(…, 9) -> (…, 3, 3)."""
    return flat.reshape(*flat.shape[:-1], 3, 3)
