"""Grasp: close the fingers on a can and lift it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import UP, distance
from .rewards import nearness, progress
from .task import NO_PLAN, Bench, Task
from .things import CAN_HALF_HEIGHT, FLOOR_AREA, can_height, free_pose, grip, stand

GRIP_HEIGHT, HIGHEST_START = 0.035, 0.18
"""Metres over the floor: where the hand grips a standing can, and where it starts at most."""
START_SPREAD = 0.1
"""Metres from the can on each horizontal axis at the highest start; at the lowest the hand is around it."""
LIFTED = 0.05
"""Metres between the can's lowest point and the floor."""


class Grasp(Task):
    """Close the three fingers on a can and hold it up.

    Horizon: 100 steps. Start: the hand points down with half open fingers, anywhere between around the can
    and 18 cm over the floor, the higher the farther aside, up to 10 cm on each axis.
    Can: 6 cm wide, 6 cm tall, 150 g, standing in front of the arm where the hand can grip it, pointing down.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1], of the distance d between hand and can: 0.15 nearness (1 - tanh(d / 0.15 m)) +
    0.2 grip (the mean torque that closes the fingers, up to 1 N m, times exp(-(d / 0.04 m)²)) + 0.25 raised
    (the first centimetre of the height of the can's lowest point, from 1 mm on) + 0.4 lifted (the same
    height, up to 5 cm).
    Sparse reward: 1 while it succeeds.
    Success: the whole can has been at least 5 cm above the floor for the last 5 steps.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "grasp.xml"
    horizon: ClassVar[int] = 100
    term_weights: ClassVar[dict[str, float]] = {
        "nearness": 0.15,
        "grip": 0.2,
        "raised": 0.25,
        "lifted": 0.4,
    }
    hold_steps: ClassVar[int] = 5

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            place = rng.uniform(*FLOOR_AREA)
            share = rng.random()
            aside = share * rng.uniform(-START_SPREAD, START_SPREAD, 2)
            hand = np.append(place + aside, GRIP_HEIGHT + share * (HIGHEST_START - GRIP_HEIGHT))
            stand(bench, place, CAN_HALF_HEIGHT)
            start = free_pose(bench, hand)
            if start is not None and self.is_reachable(bench, place):
                bench.data.qpos[:6] = start
                return NO_PLAN

    def is_reachable(self, bench: Bench, place: np.ndarray) -> bool:
        """True if the hand, pointing down, can be where it grips a can at `place` (2,)."""
        return bench.kinematics.solve(bench.start, np.append(place, GRIP_HEIGHT), -UP) is not None

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        away, height = distance(frame.hand, frame.object), can_height(frame)
        return {
            "nearness": nearness(away, 0.15),
            "grip": grip(frame),
            "raised": progress(height, 0.001, 0.01),
            "lifted": progress(height, 0.0, LIFTED),
        }

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return can_height(frame) >= LIFTED
