"""Reach: bring the hand to a target sphere and keep it there."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .cameras import WORKSPACE_SIZE
from .frames import Frame
from .geometry import distance
from .rewards import nearness, precision
from .task import NO_PLAN, REACHABLE_SHARE, Bench, Task

TARGET_BOX = (np.array([-0.75, -0.3, 0.05]), np.array([-0.75, -0.3, 0.05]) + WORKSPACE_SIZE)
"""Corners of the box of target centres, metres."""
SUCCESS_DISTANCE = 0.05
"""Metres between the hand's pinch point and the target's centre: the target's radius."""
NEAREST_START = 0.15
"""Metres: a target this near the hand at the start would be no task."""


class Reach(Task):
    """Bring the hand to a coloured sphere of radius 5 cm.

    Horizon: 50 steps. Start: the six joints within 0.15 rad of the home pose, the fingers half open.
    Target: uniform in the workspace box, at least 15 cm from the hand, reachable by inverse kinematics
    within 60 % of the horizon at the joints' true speed limits and without contact.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1]: 0.5 nearness (1 - tanh(d / 0.5 m)) + 0.5 precision (exp(-(d / 0.1 m)²)).
    Sparse reward: 1 while the hand is on the target. Success: hand within 5 cm of the target's centre.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "reach.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.5, "precision": 0.5}

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        hand = bench.hand
        while True:
            target = rng.uniform(*TARGET_BOX)
            if distance(target, hand) >= NEAREST_START and self.is_reachable(bench, target):
                break
        bench.data.mocap_pos[0] = target
        return NO_PLAN

    def is_reachable(self, bench: Bench, target: np.ndarray) -> bool:
        """True if inverse kinematics finds a free pose at `target` (3,) that full speed reaches in time."""
        joints = bench.kinematics.solve(bench.start, target)
        if joints is None or not self.in_time(bench, joints, REACHABLE_SHARE):
            return False
        return not bench.kinematics.arm_touches(bench.data, joints)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        away = distance(frame.hand, frame.target)
        return {"nearness": nearness(away, 0.5), "precision": precision(away, 0.1)}

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return distance(frame.hand, frame.target) <= SUCCESS_DISTANCE
