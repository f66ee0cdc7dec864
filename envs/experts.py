"""Scripted experts: privileged controllers that prove a task can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .arm import ArmEnv
from .frames import Frame
from .geometry import UP, distance
from .grasp import GRIP_HEIGHT
from .kinematics import joint_speeds
from .models import kinematics_of
from .place import START_HEIGHT
from .press import ABOVE, CAP_AT_REST, TRAVEL
from .push import PUSH_HEIGHT
from .task import CONTROL_HZ
from .things import CAN_HALF_HEIGHT

Expert = Callable[[ArmEnv], np.ndarray]
"""float32 (7,) action under `control="joint_velocity"` for the environment's present state."""
OPEN, STAY, CLOSE = -1.0, 0.0, 1.0
"""The fingers' command."""
PUSH_STEP, CLEAR_HEIGHT = 0.012, 0.1
"""Metres: a step along the floor; of a hand that passes over the ring."""


def reach_expert(env: ArmEnv) -> np.ndarray:
    """Full speed towards the inverse-kinematics pose of the target."""
    return towards(env, _solve(env, position=env.frame.target))


def point_expert(env: ArmEnv) -> np.ndarray:
    """Full speed towards a pose that points at the target."""
    return towards(env, _solve(env, aim=env.frame.target))


def pose_expert(env: ArmEnv) -> np.ndarray:
    """Full speed towards the goal's joints."""
    return towards(env, env.plan)


def track_expert(env: ArmEnv) -> np.ndarray:
    """Full speed towards where the target is a step ahead."""
    ahead = env.task.target_at(env.plan, np.asarray(env.steps + 1))
    assert ahead is not None
    return towards(env, _solve(env, position=ahead))


def press_expert(env: ArmEnv) -> np.ndarray:
    """Above the cap first, then straight down until it is pressed, with closed fingers."""
    frame = env.frame
    if frame.object[2] < CAP_AT_REST - TRAVEL:
        return towards(env, None, CLOSE)
    over = np.linalg.norm((frame.hand - frame.object)[:2]) < 0.04
    height = -0.04 if over else ABOVE
    return towards(env, _solve(env, position=frame.object + height * UP), CLOSE)


def grasp_expert(env: ArmEnv) -> np.ndarray:
    """Over the can, down to it, close, and up while the fingers hold."""
    frame = env.frame
    lifting = frame.object[2] > CAN_HALF_HEIGHT + 0.01
    if distance(frame.hand, frame.object) < 0.05 and (lifting or _holds(frame)):
        return towards(env, _solve(env, position=frame.hand + 0.03 * UP, axis=-UP), CLOSE)
    if distance(frame.hand, np.append(frame.object[:2], GRIP_HEIGHT)) < 0.015:
        return towards(env, None, CLOSE)
    return towards(env, _solve(env, position=_come_down(frame, GRIP_HEIGHT, 0.15), axis=-UP), OPEN)


def place_expert(env: ArmEnv) -> np.ndarray:
    """Over the spot, then down, always holding."""
    frame = env.frame
    drift = frame.hand - frame.object
    near = distance(frame.object[:2], frame.target[:2]) < 0.015
    height = GRIP_HEIGHT + drift[2] - 0.01 if near else START_HEIGHT
    goal = np.append(frame.target[:2] + drift[:2], height)
    return towards(env, _solve(env, position=frame.hand + _at_most(goal - frame.hand, 0.02), axis=-UP), CLOSE)


def push_expert(env: ArmEnv) -> np.ndarray:
    """Over the ring, down into it, and along the line to the spot."""
    frame = env.frame
    ring, spot = frame.object[:2], frame.target[:2]
    inside = frame.hand[2] < PUSH_HEIGHT + 0.01 and distance(frame.hand[:2], ring) < 0.06
    if not inside:
        over = distance(frame.hand[:2], ring) < 0.015
        goal = np.append(ring, PUSH_HEIGHT if over else CLEAR_HEIGHT)
        return towards(env, _solve(env, position=goal, axis=-UP), CLOSE)
    step = _at_most(spot - ring, PUSH_STEP)
    goal = np.append(frame.hand[:2] + step, PUSH_HEIGHT)
    return towards(env, _solve(env, position=goal, axis=-UP), CLOSE)


def _holds(frame: Frame) -> bool:
    """True once the fingers have closed until something stopped them."""
    return bool(frame.fingers.mean() > 0.55 and np.abs(frame.velocities[6:]).max() < 0.3)


def _come_down(frame: Frame, low: float, high: float) -> np.ndarray:
    """(3,): over the object at `high`, or at `low` once the hand is over it."""
    over = distance(frame.hand[:2], frame.object[:2]) < 0.015
    return np.append(frame.object[:2], low if over else max(high, frame.hand[2]))


def _at_most(step: np.ndarray, length: float) -> np.ndarray:
    """`step` (3,), shortened to `length` metres."""
    return step * min(1.0, length / max(float(np.linalg.norm(step)), 1e-9))


def towards(env: ArmEnv, joints: np.ndarray | None, fingers: float = STAY) -> np.ndarray:
    """float32 (7,): to `joints` (6,) in one step or at full speed; stay where there are none."""
    action = np.zeros(7, np.float32)
    if joints is not None:
        action[:6] = (joints - env.frame.joints) * CONTROL_HZ / joint_speeds(env.model)
    action[6] = fingers
    return np.clip(action, -1.0, 1.0)


def _solve(env: ArmEnv, **goal: Any) -> np.ndarray | None:
    return kinematics_of(env.task.scene, env.setting.arm).solve(env.frame.joints.copy(), **goal)


EXPERTS: Mapping[str, Expert] = MappingProxyType(
    {
        "Reach-v0": reach_expert,
        "Pose-v0": pose_expert,
        "Point-v0": point_expert,
        "Track-v0": track_expert,
        "Press-v0": press_expert,
        "Grasp-v0": grasp_expert,
        "Push-v0": push_expert,
        "Place-v0": place_expert,
    }
)
"""Task name -> expert."""
