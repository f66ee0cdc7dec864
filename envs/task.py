"""`Task`: what one task adds to the arm: where things lie, what is rewarded, when it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import mujoco
import numpy as np

from .frames import Frame
from .kinematics import Kinematics

GOAL_SIZE = 12
CONTROL_HZ = 10


class Bench(NamedTuple):
    """An episode about to start: the arm at its start pose, the task's things where the XML put them."""

    data: mujoco.MjData
    kinematics: Kinematics

    @property
    def start(self) -> np.ndarray:
        """(6,) radians: the arm's joints."""
        return self.data.qpos[:6]

    @property
    def hand(self) -> np.ndarray:
        """(3,) metres."""
        return self.kinematics.hand(self.start)


class Task(ABC):
    """Goal sampling, named reward terms and a success test. Tasks hold no state: one object serves all.

    What an episode needs to remember of its goal is its plan, float64 (P,), drawn once by `place`; the
    other methods take frames and plans of any leading shape (…), so that one episode and a thousand are
    judged by the same lines.
    """

    scene: ClassVar[str]
    """XML file in `assets/`."""
    horizon: ClassVar[int]
    """Steps per episode."""
    term_weights: ClassVar[dict[str, float]]
    """Weight of each reward term; they sum to 1, so the dense reward lies in [0, 1]."""
    hold_steps: ClassVar[int] = 1
    """Consecutive steps for which the condition must hold to count as success."""
    controls: ClassVar[tuple[str, ...]] = ("joint_velocity", "cartesian")
    """Kinds of control that can do it."""

    @abstractmethod
    def place(self, bench: Bench, rng: np.random.Generator) -> np.ndarray:
        """Put the task's things in place in `bench.data`; return the plan (P,)."""

    @abstractmethod
    def reward_terms(self, frame: Frame, plan: np.ndarray) -> dict[str, np.ndarray]:
        """Named terms (…), each in [0, 1]: the keys of `term_weights`."""

    @abstractmethod
    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        """bool (…): what must hold at a step."""

    def goal(self, plan: np.ndarray) -> np.ndarray:
        """float32 (…, 12): what every agent is told beside its observation; zero for most tasks."""
        return np.zeros((*plan.shape[:-1], GOAL_SIZE), np.float32)

    def turns_to_goal(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        """(…, 6): radians that the joints have still to turn, for the state; zero for most tasks."""
        return np.zeros_like(frame.joints)

    def target_at(self, plan: np.ndarray, step: np.ndarray) -> np.ndarray | None:
        """(…, 3): where a moving target is after `step` (…) steps; None where it stays."""
        return None

    def in_time(self, bench: Bench, joints: np.ndarray, share: float) -> bool:
        """True if full speed brings the arm from its start to `joints` (6,) within a share of the horizon."""
        return bench.kinematics.seconds_needed(bench.start, joints) <= share * self.horizon / CONTROL_HZ


REACHABLE_SHARE = 0.6
"""A goal counts as reachable when full speed gets there within this share of the horizon."""
NO_PLAN = np.zeros(0)
"""The plan of a task with nothing to remember."""
