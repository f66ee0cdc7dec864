"""Random configurations of a scene: the arm and the task's things, at every stage that an episode may show.

No expert and no policy takes part: joints are uniform, or scattered around home, or solved by inverse
kinematics for random hand positions; things lie, stand, hang in the air, or are in the hand.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from .cameras import WORKSPACE_CENTRE
from .frames import FrameReader
from .geometry import UP
from .kinematics import HOME, Kinematics, joint_limits
from .models import load_model
from .press import BUTTON_AREA, TRAVEL
from .push import RING_HALF_HEIGHT
from .reach import TARGET_BOX
from .things import CAN_HALF_HEIGHT, CAN_RADIUS, FLOOR_AREA

POSE_SHARES = {"uniform": 0.3, "near_home": 0.3, "hand_in_workspace": 0.4}
"""How arm configurations are drawn; the shares sum to 1."""
FLOOR_POSE_SHARES = {"uniform": 0.15, "near_home": 0.15, "hand_in_workspace": 0.3, "over_floor": 0.4}
"""The same where something lies on the floor: the hand then often points down at it."""
HOME_SPREAD = 1.2
"""Radians around home for "near_home"."""
OVER_FLOOR = (0.015, 0.25)
"""Metres over the floor of a hand "over_floor", which is low more often than high."""
CLEARANCE, FLOOR_CLEARANCE = 0.03, 0.012
"""Metres: the hand stays this far above the floor; where something lies on it, the second."""
HAND_RANGE = 0.6
"""Metres: the hand stays this near the workspace's centre, where the cameras look."""
HELD_SHARE, HELD_SPREAD = 0.2, 0.05
"""Share of scenes whose target is at the hand, and the spread around it in metres."""
THING_SHARES = {"standing": 0.35, "lying": 0.1, "below_hand": 0.2, "held": 0.25, "in_the_air": 0.1}
"""How a can is placed. A ring is never held, and lies as it stands."""
FLOOR_MARGIN = 0.12
"""Metres beyond the area where things start: they are pushed and dropped there."""
BELOW_SPREAD, HELD_OFFSET = 0.03, 0.008
"""Deviations in metres: on the floor from below the hand, and in the hand from the pinch point."""
MARKED_SHARE = 0.25
"""Of spots that are under the object: where it is to be."""
REST_SHARE = 0.6
"""Of buttons that nothing presses."""
DEEPEST = 0.01
"""Metres that a thing may be inside the arm or the floor: held things are pressed."""
AWAY = np.array([-9.0, 0.0, 1.0])
"""Metres: where things are while the arm is placed."""


class Placer:
    """Draws configurations of one scene file, in a model and data of its own."""

    def __init__(self, scene: str) -> None:
        self.model = copy.copy(load_model(scene))
        self.data = mujoco.MjData(self.model)
        self.kinematics = Kinematics(self.model)
        self.things, self.reader = THINGS[scene], FrameReader.of(self.model)

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
        while True:
            self._place_arm(rng)
            for thing in self.things:
                thing(self, rng)
            mujoco.mj_forward(self.model, self.data)
            if self.data.contact.dist.min(initial=0.0) > -DEEPEST:
                return

    def _place_arm(self, rng: np.random.Generator) -> None:
        model, data = self.model, self.data
        clearance = FLOOR_CLEARANCE if self.has_object else CLEARANCE
        while True:
            joints = sample_joints(
                self.kinematics, rng, FLOOR_POSE_SHARES if self.has_object else POSE_SHARES
            )
            if joints is None:
                continue
            self._clear()
            data.qpos[:6] = joints
            data.qpos[6:9] = rng.uniform(*model.jnt_range[6]) + rng.uniform(-0.1, 0.1, 3)
            data.qpos[6:9] = np.clip(data.qpos[6:9], *model.jnt_range[6])
            mujoco.mj_forward(model, data)
            in_view = np.linalg.norm(self.hand - WORKSPACE_CENTRE) < HAND_RANGE
            if in_view and not self.kinematics.in_contact(data) and self.hand[2] > clearance:
                return

    def _clear(self) -> None:
        """Put everything but the arm out of its way."""
        self.data.qpos[9:] = self.model.qpos0[9:]
        if self.model.nq >= 16:
            self.data.qpos[9:12] = AWAY
        if self.model.nmocap:
            self.data.mocap_pos[0, :2] = AWAY[:2]


def sample_joints(
    kinematics: Kinematics, rng: np.random.Generator, shares: Mapping[str, float] = POSE_SHARES
) -> np.ndarray | None:
    """(6,) radians, or None when inverse kinematics found no pose for a random hand position."""
    kind = rng.choice(list(shares), p=list(shares.values()))
    least, most = joint_limits(kinematics.model)
    if kind == "uniform":
        endless = np.isinf(least)
        return rng.uniform(np.where(endless, -np.pi, least), np.where(endless, np.pi, most))
    joints = np.clip(HOME + rng.uniform(-HOME_SPREAD, HOME_SPREAD, 6), least, most)
    if kind == "near_home":
        return joints
    if kind == "over_floor":
        low, high = OVER_FLOOR
        return kinematics.solve(joints, np.append(on_floor(rng), low + (high - low) * rng.random() ** 2), -UP)
    return kinematics.solve(joints, rng.uniform(*TARGET_BOX))


def on_floor(rng: np.random.Generator) -> np.ndarray:
    """(2,) metres: where things may come to lie."""
    return rng.uniform(FLOOR_AREA[0] - FLOOR_MARGIN, FLOOR_AREA[1] + FLOOR_MARGIN)


# Things: each puts one in place.


def place_target(placer: Placer, rng: np.random.Generator) -> None:
    """A sphere in the workspace box, or about the hand but above the floor."""
    if rng.random() < HELD_SHARE:
        held = placer.hand + rng.normal(scale=HELD_SPREAD, size=3)
        placer.data.mocap_pos[0] = np.maximum(held, [-np.inf, -np.inf, TARGET_BOX[0][2]])
    else:
        placer.data.mocap_pos[0] = rng.uniform(*TARGET_BOX)


def place_can(placer: Placer, rng: np.random.Generator) -> None:
    """A can: standing, lying, below the hand, held along the hand's axis, or in the air."""
    kind = rng.choice(list(THING_SHARES), p=list(THING_SHARES.values()))
    if kind == "held":
        position = placer.hand + rng.normal(scale=HELD_OFFSET, size=3)
        _put(placer, position, placer.hand_rotation @ _turn(rng, tilt=0.2))
    elif kind == "in_the_air":
        _put(placer, rng.uniform(*TARGET_BOX), _turn(rng, tilt=np.pi))
    elif kind == "lying":
        _put(placer, np.append(on_floor(rng), CAN_RADIUS), _turn(rng) @ _quarter())
    else:
        _put(placer, np.append(_floor_place(placer, kind, rng), CAN_HALF_HEIGHT), _turn(rng))


def place_ring(placer: Placer, rng: np.random.Generator) -> None:
    """A ring: on the floor, around the hand or not, or in the air."""
    kind = rng.choice(["standing", "below_hand", "in_the_air"], p=[0.5, 0.4, 0.1])
    if kind == "in_the_air":
        _put(placer, rng.uniform(*TARGET_BOX), _turn(rng, tilt=np.pi))
    else:
        _put(placer, np.append(_floor_place(placer, kind, rng), RING_HALF_HEIGHT), _turn(rng))


def place_spot(placer: Placer, rng: np.random.Generator) -> None:
    """A spot anywhere on the floor, or under the object, which is placed before it."""
    place = on_floor(rng)
    if rng.random() < MARKED_SHARE:
        place = placer.data.qpos[9:11] + rng.normal(scale=BELOW_SPREAD, size=2)
    placer.data.mocap_pos[0, :2] = place


def place_button(placer: Placer, rng: np.random.Generator) -> None:
    """A button anywhere, or below the hand, whose cap is up, on its way or down."""
    place = rng.uniform(*BUTTON_AREA)
    if rng.random() < THING_SHARES["below_hand"] + THING_SHARES["held"]:
        place = placer.hand[:2] + rng.normal(scale=BELOW_SPREAD, size=2)
    placer.data.mocap_pos[0, :2] = place
    placer.data.qpos[9] = 0.0 if rng.random() < REST_SHARE else rng.uniform(-TRAVEL, 0.0)


THINGS: Mapping[str, tuple[Callable[[Placer, np.random.Generator], None], ...]] = MappingProxyType(
    {
        "reach.xml": (place_target,),
        "pose.xml": (),
        "grasp.xml": (place_can,),
        "place.xml": (place_can, place_spot),
        "push.xml": (place_ring, place_spot),
        "press.xml": (place_button,),
    }
)
"""Scene file -> what puts its things in place, in this order."""


def _floor_place(placer: Placer, kind: str, rng: np.random.Generator) -> np.ndarray:
    """(2,) metres."""
    if kind == "below_hand":
        return placer.hand[:2] + rng.normal(scale=BELOW_SPREAD, size=2)
    return on_floor(rng)


def _put(placer: Placer, position: np.ndarray, rotation: np.ndarray) -> None:
    """Put the free object at `position` (3,), turned by `rotation` (3, 3)."""
    placer.data.qpos[9:12] = position
    mujoco.mju_mat2Quat(placer.data.qpos[12:16], rotation.ravel())


def _turn(rng: np.random.Generator, tilt: float = 0.0) -> np.ndarray:
    """(3, 3): any turn about the third axis, then a tilt by up to `tilt` radians about some level one."""
    yaw, level, angle = rng.uniform(-np.pi, np.pi), rng.uniform(-np.pi, np.pi), tilt * rng.random()
    return _about(np.array([np.cos(level), np.sin(level), 0.0]), angle) @ _about(UP, yaw)


def _quarter() -> np.ndarray:
    """(3, 3): from standing to lying."""
    return _about(np.array([1.0, 0.0, 0.0]), np.pi / 2)


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3): the rotation by `angle` radians about the unit `axis` (3,)."""
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
