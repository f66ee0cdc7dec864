"""Track: stay with a moving target."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .frames import Frame
from .geometry import distance
from .reach import SUCCESS_DISTANCE, TARGET_BOX
from .rewards import nearness, precision
from .task import CONTROL_HZ, REACHABLE_SHARE, Bench, Task

RADII, PERIODS = (0.08, 0.14), (7.0, 10.0)
"""Metres and seconds: of the ellipse that the target runs along."""
CHECKED_PLACES = 8
"""Places around the ellipse that must be reachable."""


class Track(Task):
    """Follow a coloured sphere that runs along an ellipse, one turn in 7 to 10 seconds.

    Horizon: 50 steps. Start: as in Reach. Target: an ellipse of random plane, with half axes of 8 to 14 cm,
    inside the workspace box; eight places around it are reachable without contact, one from the next, and
    the first within 60 % of the horizon at full speed.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward: as in Reach; sparse: 1 while it succeeds. Success: the hand has been within 5 cm of the
    target's centre for the last 10 steps.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "reach.xml"
    horizon: ClassVar[int] = 50
    term_weights: ClassVar[dict[str, float]] = {"nearness": 0.5, "precision": 0.5}
    hold_steps: ClassVar[int] = 10

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            plan = self._draw(rng)
            turn = np.linspace(0, 2 * np.pi, CHECKED_PLACES, endpoint=False)
            places = _on_ellipse(plan, plan[10] + turn)
            if _lies_in_the_box(plan) and self._is_followable(bench, places):
                return plan

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """(11,): centre, two half axes, radians a second, phase."""
        along, across = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
        half_axes = rng.uniform(*RADII, size=(2, 1)) * [along, across]
        speed = rng.choice([-1.0, 1.0]) * 2 * np.pi / rng.uniform(*PERIODS)
        phase = rng.uniform(0, 2 * np.pi)
        return np.concatenate([rng.uniform(*TARGET_BOX), half_axes.ravel(), [speed, phase]])

    def _is_followable(self, bench: Bench, places: np.ndarray) -> bool:
        joints = bench.start
        for index, place in enumerate(places):
            solved = bench.kinematics.solve(joints, place)
            if solved is None or bench.kinematics.arm_touches(bench.data, solved):
                return False
            if index == 0 and not self.in_time(bench, solved, REACHABLE_SHARE):
                return False
            joints = solved
        return True

    def target_at(self, plan: np.ndarray, step: np.ndarray) -> np.ndarray:
        return _on_ellipse(plan, plan[..., 10] + plan[..., 9] * step / CONTROL_HZ)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        away = distance(frame.hand, frame.target)
        return {"nearness": nearness(away, 0.5), "precision": precision(away, 0.1)}

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return distance(frame.hand, frame.target) <= SUCCESS_DISTANCE


def _lies_in_the_box(plan: np.ndarray) -> bool:
    """True if the whole ellipse of a plan (11,) does, also between the checked places."""
    centre, extent = plan[0:3], np.hypot(plan[3:6], plan[6:9])
    low, high = TARGET_BOX
    return bool((centre - extent >= low).all() and (centre + extent <= high).all())


def _on_ellipse(plan: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """(…, 3): the place at `phase` (…) radians of plans (…, 11)."""
    cosine, sine = np.cos(phase)[..., None], np.sin(phase)[..., None]
    return plan[..., 0:3] + cosine * plan[..., 3:6] + sine * plan[..., 6:9]
