"""Where things meet: fingers closed on an object, a button's cap below the hand that presses it."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

HALVINGS = 8
"""Of the way on which two things meet: an angle of 1.35 rad is then known to 0.005."""


def close_fingers(model: mujoco.MjModel, data: mujoco.MjData, depth: float) -> None:
    """Turn each finger, from where it is, until it is `depth` metres inside the body "object", or shut."""
    thing = model.geom_bodyid == model.body("object").id
    for number in (1, 2, 3):
        joint = model.joint(f"finger_{number}")
        finger = np.zeros(model.ngeom, bool)
        finger[[model.geom(f"finger_{number}").id, model.geom(f"finger_tip_{number}").id]] = True
        address, shut = joint.qposadr[0], joint.range[1]
        open_at = data.qpos[address]

        def grips(finger: np.ndarray = finger) -> bool:
            return bool(_depths(data, finger, thing).max(initial=-1.0) >= depth)

        _first(model, data, int(address), (open_at, shut), grips)


def lower_cap(model: mujoco.MjModel, data: mujoco.MjData, travel: float) -> None:
    """Let the cap of a button down, by at most `travel` metres, until nothing is inside it."""
    joint, cap = model.joint("button"), model.geom_bodyid == model.body("object").id

    def is_free() -> bool:
        return _depths(data, cap, ~cap).size == 0

    _first(model, data, int(joint.qposadr[0]), (0.0, -travel), is_free)


def _first(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    address: int,
    way: tuple[float, float],
    holds: Callable[[], bool],
) -> None:
    """Move one position along `way` to where `holds` begins to be true, or to the end."""

    def at(value: float) -> bool:
        data.qpos[address] = value
        mujoco.mj_fwdPosition(model, data)
        return holds()

    before, after = way
    if at(before):
        return
    for _ in range(HALVINGS):
        middle = (before + after) / 2
        before, after = (before, middle) if at(middle) else (middle, after)
    data.qpos[address] = after
    mujoco.mj_fwdPosition(model, data)


def _depths(data: mujoco.MjData, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(C,) metres by which geoms of `one` are inside those of `other`, both bool (ngeom,): every contact."""
    first, second = data.contact.geom.T
    between = (one[first] & other[second]) | (one[second] & other[first])
    return -data.contact.dist[between]
