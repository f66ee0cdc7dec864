"""Push: slide a ring to a marked spot."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import UP, distance
from .rewards import nearness, precision, progress
from .task import Bench, Task
from .things import FLOOR_AREA, free_pose, stand

RING_HALF_HEIGHT = 0.02
"""Metres: as in push.xml."""
WAY = (0.15, 0.30)
"""Metres from the ring to the spot at the start."""
FIST = 1.2
"""Radians of the fingers at the start: closed, for a fist pushes and an open hand is wider than the ring."""
START_ASIDE, START_HEIGHT = 0.06, (0.08, 0.14)
"""Metres of the hand at the start: at most aside of the ring's centre, along each axis; over the floor."""
PUSH_HEIGHT, SLACK = 0.03, 0.04
"""Metres of the hand that pushes: over the floor; and at most from the ring's centre."""
SUCCESS_DISTANCE = 0.06
"""Metres on the floor between the centres of ring and spot: the spot's radius."""


class Push(Task):
    """Slide a ring over the floor onto a marked spot, with a fist inside it.

    Horizon: 100 steps. Start: the hand is a fist that points down, 8 to 14 cm over the floor and up to 6 cm
    along each axis beside the ring's centre.
    Ring: eight sides, open 13 cm wide, 4 cm tall, 200 g; spot: a disc on the floor, 15 to 30 cm away. The
    hand can be inside the ring, pointing down, at its start and where it has pushed it onto the spot.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1], of the distance d from the hand to the place 3 cm over the floor inside the ring,
    and w on the floor from ring to spot, w0 at the start: 0.2 inside (1 - tanh(d / 0.1 m)) +
    0.5 done (1 - w / w0) + 0.3 precision (exp(-(w / 0.06 m)²)).
    Sparse reward: 1 while it succeeds. Success: the ring's centre is over the spot, w at most 6 cm.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "push.xml"
    horizon: ClassVar[int] = 100
    term_weights: ClassVar[dict[str, float]] = {"inside": 0.2, "done": 0.5, "precision": 0.3}

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            ring, spot = rng.uniform(*FLOOR_AREA, size=(2, 2))
            way = distance(ring, spot)
            if not WAY[0] <= way <= WAY[1]:
                continue
            stand(bench, ring, RING_HALF_HEIGHT)
            bench.data.qpos[6:9] = FIST
            aside = rng.uniform(-START_ASIDE, START_ASIDE, 2)
            start = free_pose(bench, np.append(ring + aside, rng.uniform(*START_HEIGHT)))
            if start is not None and self.is_pushable(bench, ring, spot):
                bench.data.qpos[:6] = start
                bench.data.mocap_pos[0, :2] = spot
                return np.array([way])

    def is_pushable(self, bench: Bench, ring: np.ndarray, spot: np.ndarray) -> bool:
        """True if the hand can be in a ring at `ring` (2,), and at the far side of one on `spot` (2,)."""
        ahead = spot + SLACK * (spot - ring) / distance(spot, ring)
        hands = [np.append(place, PUSH_HEIGHT) for place in (ring, ahead)]
        return all(bench.kinematics.solve(bench.start, hand, -UP) is not None for hand in hands)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        middle = frame.object + (PUSH_HEIGHT - RING_HALF_HEIGHT) * UP
        way = distance(frame.object[..., :2], frame.target[..., :2])
        return {
            "inside": nearness(distance(frame.hand, middle), 0.1),
            "done": progress(plan[..., 0] - way, 0.0, plan[..., 0]),
            "precision": precision(way, 0.06),
        }

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return distance(frame.object[..., :2], frame.target[..., :2]) <= SUCCESS_DISTANCE
