"""Random places of a scene's things, stage by stage, and how often each stage is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from .geometry import UP
from .meeting import close_fingers, lower_cap
from .press import BUTTON_AREA, TRAVEL
from .push import RING_HALF_HEIGHT, SLACK
from .reach import TARGET_BOX
from .things import CAN_HALF_HEIGHT, CAN_RADIUS, FLOOR_AREA

if TYPE_CHECKING:
    from .placing import Placer

HELD_SHARE, HELD_SPREAD = 0.2, 0.05
"""Share of scenes whose target is at the hand, and the spread around it in metres."""
FLOOR_MARGIN, ROLLED_MARGIN = 0.12, 0.3
"""Metres beyond the area where things start: they are pushed and dropped there; lying cans roll farther."""
BELOW_SPREAD, GRIPPED_SPREAD = 0.03, 0.008
"""Deviations in metres: on the floor from below the hand, and between the fingers from the pinch point."""
TILT = 0.2
"""Radians: how far a gripped can is tilted against the hand, at most."""
MARKED_SHARE = 0.35
"""Of spots that are under the object: where it is to be."""
REST_SHARE = 0.85
"""Of buttons with nothing on them that are up; the others are on their way."""
OPEN_GRIP_SHARE = 0.4
"""Of cans on the floor between the fingers on which these are not closed."""
SQUEEZE = 0.002
"""Metres that a finger is inside what it grips, at most: it is pressed."""


@dataclass(frozen=True)
class Stages:
    """How often each stage of a scene file is drawn, and the arm that goes with it."""

    shares: Mapping[str, float]
    """Stage -> share of the scenes; they sum to 1."""
    at_work: Mapping[str, tuple[float, float]]
    """Stage in which the hand points down at what it works on -> its height over the floor, metres."""
    fist: bool = False
    """Whether such a hand is mostly a fist."""
    area: tuple[np.ndarray, np.ndarray] = FLOOR_AREA
    """Corners of the rectangle that it is over, metres."""


CAN_STAGES = Stages(
    {
        "standing": 0.2, "lying": 0.1, "below_hand": 0.15, "gripped": 0.25, "carried": 0.15, "held": 0.1,
        "in_the_air": 0.05,
    },
    {"gripped": (0.02, 0.06), "carried": (0.06, 0.5)},
)  # fmt: skip
"""A can is "gripped" on the floor, by fingers that are closed on it or open; "carried" by a hand that points
down; "held" by one that points anywhere."""
RING_STAGES = Stages(
    {"standing": 0.35, "below_hand": 0.2, "around_hand": 0.4, "in_the_air": 0.05},
    {"around_hand": (0.02, 0.06)}, fist=True,
)  # fmt: skip
"""A ring is never held, and lies as it stands."""
BUTTON_STAGES = Stages(
    {"anywhere": 0.35, "below_hand": 0.25, "pressed": 0.4},
    {"pressed": (0.065, 0.115)}, fist=True, area=BUTTON_AREA,
)  # fmt: skip
STAGES: Mapping[str, Stages] = MappingProxyType(
    {"grasp.xml": CAN_STAGES, "place.xml": CAN_STAGES, "push.xml": RING_STAGES, "press.xml": BUTTON_STAGES}
)
"""Scene file -> its stages; those left out have none."""


def on_floor(rng: np.random.Generator, margin: float = FLOOR_MARGIN) -> np.ndarray:
    """(2,) metres: where things may come to lie."""
    return rng.uniform(FLOOR_AREA[0] - margin, FLOOR_AREA[1] + margin)


# Each puts one thing in place.


def place_target(placer: Placer, rng: np.random.Generator) -> None:
    """A sphere in the workspace box, or about the hand but above the floor."""
    if rng.random() < HELD_SHARE:
        held = placer.hand + rng.normal(scale=HELD_SPREAD, size=3)
        placer.data.mocap_pos[0] = np.maximum(held, [-np.inf, -np.inf, TARGET_BOX[0][2]])
    else:
        placer.data.mocap_pos[0] = rng.uniform(*TARGET_BOX)


def place_can(placer: Placer, rng: np.random.Generator) -> None:
    """A can of the stage that the placer has drawn."""
    stage = placer.stage
    if stage in ("carried", "held"):
        position = placer.hand + rng.normal(scale=GRIPPED_SPREAD, size=3)
        _put(placer, position, _upright(placer.hand_rotation @ _turn(rng, TILT)))
    elif stage == "in_the_air":
        _put(placer, rng.uniform(*TARGET_BOX), _turn(rng, tilt=np.pi))
    elif stage == "lying":
        _put(placer, np.append(on_floor(rng, ROLLED_MARGIN), CAN_RADIUS), _turn(rng) @ _quarter())
    else:
        spread = GRIPPED_SPREAD if stage == "gripped" else BELOW_SPREAD
        place = on_floor(rng) if stage == "standing" else _below(placer, spread, rng)
        _put(placer, np.append(place, CAN_HALF_HEIGHT), _turn(rng))
    if stage in ("carried", "held") or (stage == "gripped" and rng.random() > OPEN_GRIP_SHARE):
        close_fingers(placer.model, placer.data, rng.uniform(0.0, SQUEEZE))


def place_ring(placer: Placer, rng: np.random.Generator) -> None:
    """A ring of the stage that the placer has drawn."""
    if placer.stage == "in_the_air":
        _put(placer, rng.uniform(*TARGET_BOX), _turn(rng, tilt=np.pi))
        return
    place = {
        "standing": lambda: on_floor(rng),
        "below_hand": lambda: _below(placer, BELOW_SPREAD, rng),
        "around_hand": lambda: placer.hand[:2] + rng.uniform(-SLACK, SLACK, 2),
    }[placer.stage]()
    _put(placer, np.append(place, RING_HALF_HEIGHT), _turn(rng))


def place_spot(placer: Placer, rng: np.random.Generator) -> None:
    """A spot anywhere on the floor, or under the object, which is placed before it."""
    place = on_floor(rng)
    if rng.random() < MARKED_SHARE:
        place = placer.data.qpos[9:11] + rng.normal(scale=BELOW_SPREAD, size=2)
    placer.data.mocap_pos[0, :2] = place


def place_button(placer: Placer, rng: np.random.Generator) -> None:
    """A button of the stage that the placer has drawn; a pressed cap is as high as the hand lets it be."""
    anywhere = placer.stage == "anywhere"
    place = rng.uniform(*BUTTON_AREA) if anywhere else _below(placer, BELOW_SPREAD, rng)
    placer.data.mocap_pos[0, :2] = place
    if placer.stage == "pressed":
        lower_cap(placer.model, placer.data, TRAVEL)
    else:
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


def _below(placer: Placer, spread: float, rng: np.random.Generator) -> np.ndarray:
    """(2,) metres: about below the hand."""
    return placer.hand[:2] + rng.normal(scale=spread, size=2)


def _put(placer: Placer, position: np.ndarray, rotation: np.ndarray) -> None:
    """Put the free object at `position` (3,), turned by `rotation` (3, 3)."""
    placer.data.qpos[9:12] = position
    mujoco.mju_mat2Quat(placer.data.qpos[12:16], rotation.ravel())


def _turn(rng: np.random.Generator, tilt: float = 0.0) -> np.ndarray:
    """(3, 3): any turn about the third axis, then a tilt by up to `tilt` radians about some level one."""
    yaw, level, angle = rng.uniform(-np.pi, np.pi), rng.uniform(-np.pi, np.pi), tilt * rng.random()
    return _about(np.array([np.cos(level), np.sin(level), 0.0]), angle) @ _about(UP, yaw)


def _upright(rotation: np.ndarray) -> np.ndarray:
    """(3, 3): the same can, which looks alike from both ends, with its third axis pointing up."""
    return rotation if rotation[2, 2] >= 0 else rotation @ np.diag([1.0, -1.0, -1.0])


def _quarter() -> np.ndarray:
    """(3, 3): from standing to lying."""
    return _about(np.array([1.0, 0.0, 0.0]), np.pi / 2)


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3): the rotation by `angle` radians about the unit `axis` (3,)."""
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
