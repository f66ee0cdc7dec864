"""Reach: bring the hand to a target sphere and keep it there."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from .arm import CONTROL_HZ, ArmEnv
from .cameras import WORKSPACE_SIZE
from .kinematics import reach_position, seconds_needed
from .rewards import nearness, precision

TARGET_BOX = (np.array([-0.75, -0.3, 0.05]), np.array([-0.75, -0.3, 0.05]) + WORKSPACE_SIZE)
"""Corners of the box of target centres, metres."""
SUCCESS_DISTANCE = 0.05
"""Metres between the hand's pinch point and the target's centre: the target's radius."""
NEAREST_START = 0.15
"""Metres: a target this near the hand at the start would be no task."""
REACHABLE_SHARE = 0.6
"""A target counts as reachable when full speed gets there within this share of the horizon."""


class Reach(ArmEnv):
    """Bring the hand to a coloured sphere of radius 5 cm, 50 steps at 10 Hz.

    Start: the six joints within 0.15 rad of the home pose, the fingers half open. Target: uniform in the
    workspace box, at least 15 cm from the hand, reachable by inverse kinematics within 60 % of the
    horizon at the joints' true speed limits and without contact.
    Dense reward in [0, 1]: 0.5 nearness (1 - tanh(d / 0.5 m)) + 0.5 precision (exp(-(d / 0.1 m)²)).
    Sparse reward: 1 while the hand is on the target. Success: hand within 5 cm of the target's centre.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "reach.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.5, "precision": 0.5}

    def place_task(self, rng: np.random.Generator) -> None:
        start = self.data.qpos[:9].copy()
        mujoco.mj_kinematics(self.model, self.data)
        hand = self.hand_position.copy()
        while True:
            target = rng.uniform(*TARGET_BOX)
            if np.linalg.norm(target - hand) >= NEAREST_START and self._is_reachable(start, target):
                break
        self.data.qpos[:9] = start
        self.data.mocap_pos[0] = target

    def _is_reachable(self, start: np.ndarray, target: np.ndarray) -> bool:
        """True if IK from `start` (9,) finds a free pose that full speed reaches in time."""
        joints = reach_position(self.model, self.data, start[:6], target)
        if joints is None:
            return False
        seconds = REACHABLE_SHARE * self.horizon / CONTROL_HZ
        if seconds_needed(self.model, start[:6], joints) > seconds:
            return False
        mujoco.mj_fwdPosition(self.model, self.data)
        return self.data.ncon == 0

    def reward_terms(self) -> dict[str, float]:
        distance = self._distance()
        return {"nearness": nearness(distance, 0.5), "precision": precision(distance, 0.1)}

    def succeeds(self) -> bool:
        return self._distance() <= SUCCESS_DISTANCE

    def _distance(self) -> float:
        return float(np.linalg.norm(self.hand_position - self.target_position))
