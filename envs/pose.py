"""Pose: strike a given pose of the arm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .cameras import WORKSPACE_CENTRE
from .frames import Frame
from .geometry import distance, wrapped
from .kinematics import joint_limits
from .rewards import nearness, precision
from .task import GOAL_SIZE, REACHABLE_SHARE, Bench, Task

TOLERANCE = np.array([0.15, 0.15, 0.15, 0.15, 0.4, 0.4])
"""Radians within which each joint counts as struck."""
LARGEST_TURN = np.array([1.4, 0.8, 1.0, 1.8, 1.8, 1.8])
"""Radians: goals lie within this of the start, joint by joint."""
LOWEST_HAND, HAND_RANGE = 0.08, 0.42
"""Metres: the goal's hand stays above the floor and within this of the workspace's centre."""
LEAST_TURN = 0.5
"""Radians that one of the first four joints must turn at least."""


class Pose(Task):
    """Turn all six joints to the angles that the goal names.

    Horizon: 50 steps. Start: as in Reach. Goal observation: sines, then cosines, of the six target
    angles; nothing in the room marks it, so an agent that sees pixels must read the arm's own pose.
    Goals: uniform about the start (1.4, 0.8, 1.0, 1.8, 1.8 and 1.8 rad at most), free of contact, the hand
    8 cm above the floor and within 42 cm of the workspace's centre, within 60 % of the horizon at full speed;
    one of the first four joints turns by half a radian at least.
    Dense reward in [0, 1], of e = the joints' errors in units of their tolerance: 0.5 nearness, the mean
    of 1 - tanh(e / 5), + 0.5 precision, exp(-(root mean square of e / 2)²). Sparse: 1 while posed.
    Success: joints 1 to 4 within 0.15 rad and joints 5 and 6 within 0.4 rad of the goal.
    Control by the hand's velocity is refused: it cannot set six joints.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "pose.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.5, "precision": 0.5}
    controls: ClassVar[tuple[str, ...]] = ("joint_velocity",)

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        low, high = joint_limits(bench.kinematics.model)
        while True:
            joints = np.clip(bench.start + rng.uniform(-LARGEST_TURN, LARGEST_TURN), low, high)
            if self.is_posable(bench, joints):
                return joints

    def is_posable(self, bench: Bench, joints: np.ndarray) -> bool:
        """True if `joints` (6,) are far from the start, in view, free of contact and in time."""
        hand = bench.kinematics.hand(joints)
        return bool(
            np.abs(joints - bench.start)[:4].max() >= LEAST_TURN
            and hand[2] >= LOWEST_HAND
            and distance(hand, WORKSPACE_CENTRE) <= HAND_RANGE
            and self.in_time(bench, joints, REACHABLE_SHARE)
            and not bench.kinematics.arm_touches(bench.data, joints)
        )

    def goal(self, plan: np.ndarray) -> np.ndarray:
        assert 2 * plan.shape[-1] == GOAL_SIZE
        return np.concatenate([np.sin(plan), np.cos(plan)], -1).astype(np.float32)

    def turns_to_goal(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return wrapped(plan - frame.joints)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        errors = self._errors(frame, plan)
        spread = np.sqrt(np.square(errors).mean(-1))
        return {"nearness": nearness(errors, 5.0).mean(-1), "precision": precision(spread, 2.0)}

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return np.all(self._errors(frame, plan) <= 1.0, -1)

    def _errors(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        """(…, 6): how far each joint is from the goal, in units of its tolerance."""
        return np.abs(self.turns_to_goal(frame, plan)) / TOLERANCE
