"""Push: slide a puck to a marked spot."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import UP, distance
from .rewards import nearness, precision, progress
from .task import Bench, Task
from .things import FLOOR_AREA, free_pose, stand

PUCK_RADIUS, PUCK_HALF_HEIGHT = 0.05, 0.025
"""Metres: as in push.xml."""
WAY = (0.12, 0.25)
"""Metres from the puck to the spot at the start."""
FIST = 1.1
"""Radians of the fingers at the start: closed, for an open hand stands around the puck."""
START_BEHIND, START_ASIDE, START_HEIGHT = (0.09, 0.13), 0.04, (0.03, 0.08)
"""Metres of the hand at the start: behind the puck's centre, seen from the spot; aside; over the floor."""
PUSH_HEIGHT, CLEAR_HEIGHT, BEHIND = 0.03, 0.13, 0.04
"""Metres: of the hand over the floor when it pushes and when it passes over the puck; and of the place behind
the puck's centre that it must press for."""
SUCCESS_DISTANCE = 0.05
"""Metres on the floor between the centres of puck and spot."""


class Push(Task):
    """Slide a puck over the floor onto a marked spot.

    Horizon: 100 steps. Start: the hand is a fist that points down, 3 to 8 cm over the floor, 9 to 13 cm
    behind the puck as seen from the spot and up to 4 cm aside.
    Puck: 10 cm wide, 5 cm tall, 200 g; spot: a disc on the floor, 12 to 25 cm away. Both lie where the hand
    can be, pointing down, also behind the puck and over it.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1], of the distance w on the floor from puck to spot, w0 at the start, and b from the
    hand to the place 4 cm behind the puck's centre, where the hand cannot be unless it pushes: 0.2 behind
    (1 - tanh(b / 0.2 m)) + 0.5 done (1 - w / w0) + 0.3 precision (exp(-(w / 0.06 m)²)).
    Sparse reward: 1 while it succeeds. Success: w is at most 5 cm.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "push.xml"
    horizon: ClassVar[int] = 100
    term_weights: ClassVar[dict[str, float]] = {"behind": 0.2, "done": 0.5, "precision": 0.3}

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            puck, spot = rng.uniform(*FLOOR_AREA, size=(2, 2))
            way = distance(puck, spot)
            if not WAY[0] <= way <= WAY[1]:
                continue
            stand(bench, puck, PUCK_HALF_HEIGHT)
            bench.data.qpos[6:9] = FIST
            hand = self.draw_hand(puck, (puck - spot) / way, rng)
            start = free_pose(bench, hand)
            if start is not None and self.is_pushable(bench, puck, spot):
                bench.data.qpos[:6] = start
                bench.data.mocap_pos[0, :2] = spot
                return np.array([way])

    def draw_hand(self, puck: np.ndarray, away: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(3,): where the hand starts, for a puck at `puck` (2,); `away` (2,) points from the spot to it."""
        aside = rng.uniform(-START_ASIDE, START_ASIDE) * np.array([-away[1], away[0]])
        return np.append(puck + rng.uniform(*START_BEHIND) * away + aside, rng.uniform(*START_HEIGHT))

    def is_pushable(self, bench: Bench, puck: np.ndarray, spot: np.ndarray) -> bool:
        """True if the hand can be behind a puck at `puck` (2,) and where it ends the push to `spot` (2,)."""
        places = behind(puck, spot), behind(spot, spot + (spot - puck))
        hands = [np.append(place, height) for place in places for height in (PUSH_HEIGHT, CLEAR_HEIGHT)]
        solve = bench.kinematics.solve
        return all(solve(bench.start, hand, -UP) is not None for hand in hands)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        puck, spot = frame.object[..., :2], frame.target[..., :2]
        height = np.full((*puck.shape[:-1], 1), PUSH_HEIGHT)
        hand_goal = np.concatenate([behind(puck, spot), height], -1)
        way = distance(puck, spot)
        return {
            "behind": nearness(distance(frame.hand, hand_goal), 0.2),
            "done": progress(plan[..., 0] - way, 0.0, plan[..., 0]),
            "precision": precision(way, 0.06),
        }

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return distance(frame.object[..., :2], frame.target[..., :2]) <= SUCCESS_DISTANCE


def behind(puck: np.ndarray, spot: np.ndarray) -> np.ndarray:
    """(…, 2): where a hand must be to push a puck at `puck` (…, 2) towards `spot` (…, 2)."""
    way = puck - spot
    return puck + BEHIND * way / np.maximum(distance(puck, spot), 0.01)[..., None]
