"""Press: push a button down."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import UP, distance
from .rewards import nearness, progress
from .task import NO_PLAN, REACHABLE_SHARE, Bench, Task

BUTTON_AREA = (np.array([-0.68, -0.28]), np.array([-0.3, 0.28]))
"""Corners of the rectangle of button centres on the floor, metres."""
TRAVEL, PRESSED = 0.03, 0.8
"""Metres that the cap can go down; share of them at which it counts as pressed."""
CAP_AT_REST = 0.085
"""Metres: height of the cap's centre when nothing presses."""
ABOVE = 0.05
"""Metres over the cap from where the hand must be able to come down."""


class Press(Task):
    """Push the cap of a button on the floor down, and keep it down.

    Horizon: 50 steps. Start: as in Reach. Button: uniform on the floor in front of the arm, within 60 % of
    the horizon at full speed by inverse kinematics without contact, ending just above the cap.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero; `object` in the state is
    the cap. A spring of 200 N/m lifts the cap; the whole travel is 3 cm.
    Dense reward in [0, 1], of the distance d from hand to cap: 0.4 nearness (1 - tanh(d / 0.3 m)) + 0.6
    pressed (the cap's share of its travel). Sparse: 1 while pressed. Success: at least 80 % of the travel.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "press.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.4, "pressed": 0.6}

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            bench.data.mocap_pos[0, :2] = rng.uniform(*BUTTON_AREA)
            if self.is_reachable(bench, bench.data.mocap_pos[0]):
                return NO_PLAN

    def is_reachable(self, bench: Bench, button: np.ndarray) -> bool:
        """True if the hand can be just above the cap of a button at `button` (3,) in time and untouched."""
        joints = bench.kinematics.solve(bench.start, button + (CAP_AT_REST + ABOVE) * UP)
        if joints is None or not self.in_time(bench, joints, REACHABLE_SHARE):
            return False
        return not bench.kinematics.arm_touches(bench.data, joints)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        away = distance(frame.hand, frame.object)
        return {"nearness": nearness(away, 0.3), "pressed": self._pressed(frame)}

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return self._pressed(frame) >= PRESSED

    def _pressed(self, frame: Frame) -> np.ndarray:
        """(…) in [0, 1]: the cap's share of its travel."""
        return progress(CAP_AT_REST - frame.object[..., 2], 0.0, TRAVEL)
