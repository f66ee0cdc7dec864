"""Random configurations of a scene: the arm and the task's things, at every stage that an episode may show.

No expert and no policy takes part: joints are uniform, or scattered around home, or solved by inverse
kinematics for random hand positions; things lie, stand, hang in the air, or are where the hand works on them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np

from .cameras import WORKSPACE_CENTRE
from .frames import FrameReader
from .geometry import UP
from .kinematics import HOME, Kinematics, joint_limits
from .looks import read_look
from .models import load_model
from .placed_things import STAGES, THINGS, Stages, on_floor
from .reach import TARGET_BOX


@dataclass(frozen=True)
class Arms:
    """How arm configurations are drawn."""

    shares: Mapping[str, float]
    """Kind -> share of what is drawn; those that touch something or leave the image are drawn again."""
    spread: tuple[float, ...] = (1.2,) * 6
    """Radians around home, at most, joint by joint: of "near_home", and where inverse kinematics begins."""


ARMS = Arms(MappingProxyType({"uniform": 0.3, "near_home": 0.3, "hand_in_workspace": 0.4}))
"""Of scenes with nothing on the floor."""
POSE_ARMS = Arms(
    MappingProxyType({"uniform": 0.2, "near_home": 0.6, "hand_in_workspace": 0.2}),
    spread=(1.4, 1.2, 1.2, 1.9, 1.9, 1.9),
)
"""Of Pose, whose goals turn the arm's last joints far."""
FLOOR_ARMS = Arms(
    MappingProxyType({"uniform": 0.15, "near_home": 0.15, "hand_in_workspace": 0.3, "over_floor": 0.4})
)
"""Where something lies on the floor: the hand then often points down at it."""
OVER_FLOOR = (0.015, 0.25)
"""Metres over the floor of a hand "over_floor", which is low more often than high."""
LEAN = 0.2
"""Deviation, in parts of the unit axis, of a hand from pointing straight down at what it works on."""
CLEARANCE, FLOOR_CLEARANCE = 0.03, 0.012
"""Metres: the hand stays this far above the floor; where something lies on it, the second."""
HAND_RANGE, FAR_RANGE, FAR_SHARE = 0.6, 0.8, 0.1
"""Metres: the hand stays this near the workspace's centre, where the cameras look; where something lies on
the floor, a share of the hands may be farther."""
FINGER_SHARES = {"together": 0.6, "apart": 0.2, "fist": 0.2}
"""Of fingers where there are things: turned alike, as commands turn them; each for itself, as things stop
them; shut."""
SHUT = (1.05, 1.35)
"""Radians of a fist's fingers."""
FISTS = 0.8
"""Of hands that work on something with a fist, the share that are one."""
WIDEST_GRIP = 0.5
"""Radians of the fingers, at most, before they close on something."""
DEEPEST = 0.01
"""Metres that a thing may be inside the arm or the floor: held things are pressed."""
AWAY = np.array([-9.0, 0.0, 1.0])
"""Metres: where things are while the arm is placed."""
GRIPS = ("gripped", "carried", "held")
"""Stages in which the fingers may close on something, once it is there."""


class Placer:
    """Draws configurations of one scene file, in a model and data of its own."""

    def __init__(self, scene: str) -> None:
        self.model = copy.copy(load_model(scene))
        self.data = mujoco.MjData(self.model)
        self.kinematics = Kinematics(self.model)
        self.plain = read_look(self.model)
        self.things, self.reader = THINGS[scene], FrameReader.of(self.model)
        self.stages: Stages | None = STAGES.get(scene)
        self.arms = FLOOR_ARMS if self.stages else POSE_ARMS if scene == "pose.xml" else ARMS
        names = [self.model.body(body).name for body in self.model.geom_bodyid]
        self._of_things = np.isin(names, ("object", "target"))
        self.stage = ""
        """Drawn for this configuration; "" where the scene file has none."""

    @property
    def has_object(self) -> bool:
        """True if the scene holds something that can be moved."""
        return self.reader.object is not None

    @property
    def hand(self) -> np.ndarray:
        """(3,) metres."""
        return self.data.site_xpos[self.reader.hand]

    @property
    def hand_rotation(self) -> np.ndarray:
        """(3, 3): its axes are columns."""
        return self.data.site_xmat[self.reader.hand].reshape(3, 3)

    def place(self, rng: np.random.Generator) -> None:
        """A random configuration: the arm touches nothing but what it may hold."""
        if self.stages:  # drawn once, so that hard stages are as frequent as they are to be
            self.stage = str(rng.choice(list(self.stages.shares), p=list(self.stages.shares.values())))
        while True:
            self._place_arm(rng)
            for thing in self.things:
                thing(self, rng)
            mujoco.mj_forward(self.model, self.data)
            if self._is_sound():
                return

    def _place_arm(self, rng: np.random.Generator) -> None:
        works = self.stages is not None and self.stage in self.stages.at_work
        reach = FAR_RANGE if self.stages and rng.random() < FAR_SHARE else HAND_RANGE
        clearance = FLOOR_CLEARANCE if self.stages else CLEARANCE
        while True:
            joints = self._at_work(rng) if works else sample_joints(self.kinematics, rng, self.arms)
            if joints is None:
                continue
            self._clear()
            self.data.qpos[:6], self.data.qpos[6:9] = joints, self._fingers(rng)
            mujoco.mj_forward(self.model, self.data)
            in_view = np.linalg.norm(self.hand - WORKSPACE_CENTRE) < reach
            if in_view and not self.kinematics.in_contact(self.data) and self.hand[2] > clearance:
                return

    def _at_work(self, rng: np.random.Generator) -> np.ndarray | None:
        """(6,) radians of a hand that points down, more or less, at what it works on; or None."""
        assert self.stages is not None
        hand = np.append(rng.uniform(*self.stages.area), rng.uniform(*self.stages.at_work[self.stage]))
        axis = rng.normal(scale=LEAN, size=3) - UP
        return self.kinematics.solve(
            _near_home(self.kinematics, rng, self.arms), hand, axis / np.linalg.norm(axis)
        )

    def _fingers(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) radians."""
        low, high = self.model.jnt_range[6]
        kind = self._fingers_kind(rng)
        if kind == "apart":
            return rng.uniform(low, high, 3)
        common = rng.uniform(*{"fist": SHUT, "open": (low, WIDEST_GRIP)}.get(kind, (low, high)))
        return np.clip(common + rng.uniform(-0.1, 0.1, 3), low, high)

    def _fingers_kind(self, rng: np.random.Generator) -> str:
        """A key of `FINGER_SHARES`, or "open", to be closed on something."""
        if self.stages is None:
            return "together"
        if self.stage in GRIPS:
            return "open"
        if self.stages.fist and self.stage in self.stages.at_work and rng.random() < FISTS:
            return "fist"
        return str(rng.choice(list(FINGER_SHARES), p=list(FINGER_SHARES.values())))

    def _clear(self) -> None:
        """Put everything but the arm out of its way."""
        self.data.qpos[9:] = self.model.qpos0[9:]
        if self.model.nq >= 16:
            self.data.qpos[9:12] = AWAY
        if self.model.nmocap:
            self.data.mocap_pos[0, :2] = AWAY[:2]

    def _is_sound(self) -> bool:
        """True if nothing is deep in anything, and the arm touches none but the scene's things."""
        contact, touched = self.data.contact, self._of_things[self.data.contact.geom].any(1)
        return bool(contact.dist.min(initial=0.0) > -DEEPEST and touched.all())


def sample_joints(kinematics: Kinematics, rng: np.random.Generator, arms: Arms = ARMS) -> np.ndarray | None:
    """(6,) radians, or None when inverse kinematics found no pose for a random hand position."""
    kind = rng.choice(list(arms.shares), p=list(arms.shares.values()))
    if kind == "uniform":
        least, most = joint_limits(kinematics.model)
        endless = np.isinf(least)
        return rng.uniform(np.where(endless, -np.pi, least), np.where(endless, np.pi, most))
    joints = _near_home(kinematics, rng, arms)
    if kind == "near_home":
        return joints
    if kind == "over_floor":
        low, high = OVER_FLOOR
        return kinematics.solve(joints, np.append(on_floor(rng), low + (high - low) * rng.random() ** 2), -UP)
    return kinematics.solve(joints, rng.uniform(*TARGET_BOX))


def _near_home(kinematics: Kinematics, rng: np.random.Generator, arms: Arms) -> np.ndarray:
    spread = np.array(arms.spread)
    return np.clip(HOME + rng.uniform(-spread, spread), *joint_limits(kinematics.model))
