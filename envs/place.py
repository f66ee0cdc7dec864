"""Place: carry a held can to a marked spot and set it down."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from .frames import Frame
from .geometry import distance
from .rewards import nearness, precision, progress
from .task import NO_PLAN, Bench, Task
from .things import CAN_HALF_HEIGHT, FLOOR_AREA, can_height, free_pose, grip, stand

WAY = (0.12, 0.30)
"""Metres on the floor from the can to the spot at the start."""
START_HEIGHT = 0.17
"""Metres of the hand over the floor at the start."""
ASIDE = np.array([-9.0, 0.0])
"""Metres: where the can is out of the way of the hand's pose."""
OPEN, CLOSING, HOLDING, LARGEST_SLIP = 0.3, 0.5, 0.3, 0.03
"""Radians of the fingers before they close; seconds that the can is kept still meanwhile and held after;
metres that it may slip."""
SUCCESS_DISTANCE, SET_DOWN = 0.05, 0.01
"""Metres on the floor from can to spot, and from the can's lowest point to the floor."""


class Place(Task):
    """Carry a can that the hand already holds to a marked spot and set it down there.

    Horizon: 150 steps. Start: the hand 17 cm over the floor, pointing down, its fingers closed on the can.
    Spot: a disc on the floor, 12 to 30 cm away; over both the hand can be, pointing down. The fingers hold
    only while they are told to close.
    Observation, action, randomisation: see `ArmEnv` and `Setting`; the goal is zero.
    Dense reward in [0, 1], of the distance d between hand and can, w on the floor from can to spot, and the
    height h of the can's lowest point: 0.2 grip (the mean torque that closes the fingers, up to 1 N m, times
    exp(-(d / 0.04 m)²)) + 0.25 nearness (1 - tanh(w / 0.2 m)) + 0.25 precision (p = exp(-(w / 0.06 m)²)) +
    0.3 lowered (p times the way down from 12 cm). Sparse reward: 1 while it succeeds.
    Success: w is at most 5 cm and h at most 1 cm.

    Version History
        v0: first version.
    """

    scene: ClassVar[str] = "place.xml"
    horizon: ClassVar[int] = 150
    term_weights: ClassVar[dict[str, float]] = {
        "grip": 0.2,
        "nearness": 0.25,
        "precision": 0.25,
        "lowered": 0.3,
    }

    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        while True:
            can, spot = rng.uniform(*FLOOR_AREA, size=(2, 2))
            if not WAY[0] <= distance(can, spot) <= WAY[1]:
                continue
            stand(bench, ASIDE, CAN_HALF_HEIGHT)
            start = free_pose(bench, np.append(can, START_HEIGHT))
            if start is None or free_pose(bench, np.append(spot, 2 * CAN_HALF_HEIGHT)) is None:
                continue
            bench.data.qpos[:6], bench.data.qpos[6:9] = start, OPEN
            stand(bench, can, START_HEIGHT)
            bench.data.mocap_pos[0, :2] = spot
            if self.grip(bench):
                return NO_PLAN

    def grip(self, bench: Bench) -> bool:
        """Close the fingers, with the can still at first and free then; True if they hold it."""
        model, data = bench.kinematics.model, bench.data
        can = data.qpos[9:16].copy()
        data.ctrl[6:9] = model.actuator_ctrlrange[6:9, 1]
        for _ in range(round(CLOSING / model.opt.timestep)):
            data.qpos[9:16], data.qvel[9:15] = can, 0.0
            mujoco.mj_step(model, data)
        mujoco.mj_step(model, data, round(HOLDING / model.opt.timestep))
        return bool(distance(data.qpos[9:12], can[:3]) < LARGEST_SLIP)

    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        way = distance(frame.object[..., :2], frame.target[..., :2])
        near = precision(way, 0.06)
        down = 1.0 - progress(can_height(frame), 0.0, 0.12)
        return {
            "grip": grip(frame),
            "nearness": nearness(way, 0.2),
            "precision": near,
            "lowered": near * down,
        }

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        way = distance(frame.object[..., :2], frame.target[..., :2])
        return (way <= SUCCESS_DISTANCE) & (can_height(frame) <= SET_DOWN)
