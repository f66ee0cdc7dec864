"""Point: aim the hand at a target from afar."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import angle, distance
from .reach import TARGET_BOX
from .rewards import nearness, precision
from .task import NO_PLAN, REACHABLE_SHARE, Bench, Task

SUCCESS_ANGLE, NEAREST_ANGLE = np.deg2rad(10.0), np.deg2rad(30.0)
"""Radians between the hand's axis and the line from the hand to the target: at the end, at the start."""
NEAREST_START = 0.25
"""Metres from the hand to the target at the start."""


class Point(Task):
    """Point the hand at a coloured sphere, wherever the hand is.

    Horizon: 50 steps. Start: as in Reach. Target: uniform in the workspace box, at least 25 cm and 30
    degrees away from where the hand is and points; inverse kinematics finds a pose that points at it
    within 60 % of the horizon at the joints' true speed limits and without contact.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1], of the angle a between the hand's axis and the line to the target's centre:
    0.5 nearness (1 - tanh(a / 1 rad)) + 0.5 precision (exp(-(a / 0.2 rad)²)). Sparse: 1 while it points.
    Success: the angle is at most 10 degrees.
    Control by the hand's velocity is refused: it keeps the hand's orientation.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "reach.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.5, "precision": 0.5}
    controls: ClassVar[tuple[str, ...]] = ("joint_velocity",)

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        hand, axis = bench.hand, bench.kinematics.hand_axis(bench.start)
        while True:
            target = rng.uniform(*TARGET_BOX)
            far = distance(target, hand) >= NEAREST_START and angle(axis, target - hand) >= NEAREST_ANGLE
            if far and self.is_reachable(bench, target):
                break
        bench.data.mocap_pos[0] = target
        return NO_PLAN

    def is_reachable(self, bench: Bench, target: np.ndarray) -> bool:
        """True if inverse kinematics finds a free pose that points at `target` (3,) in time."""
        joints = bench.kinematics.solve(bench.start, aim=target)
        if joints is None or not self.in_time(bench, joints, REACHABLE_SHARE):
            return False
        return not bench.kinematics.arm_touches(bench.data, joints)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        off = angle(frame.hand_axis, frame.target - frame.hand)
        return {"nearness": nearness(off, 1.0), "precision": precision(off, 0.2)}

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return angle(frame.hand_axis, frame.target - frame.hand) <= SUCCESS_ANGLE
