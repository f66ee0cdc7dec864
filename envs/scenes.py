"""Random scenes for pretraining: task-agnostic configurations seen by several cameras at once.

No expert and no policy takes part: joints are uniform, or scattered around home, or solved by inverse
kinematics for random hand positions; targets lie anywhere in the workspace and sometimes in the hand.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import mujoco
import numpy as np

from .cameras import DOME, FIXED_CAMERA, WORKSPACE_CENTRE, CameraPose
from .errors import check_choice
from .frames import FrameReader
from .kinematics import HAND_SITE, HOME, Kinematics, joint_limits
from .looks import RANDOMIZE, randomize_look
from .models import load_model
from .reach import TARGET_BOX
from .rendering import renderer_for
from .state import SCENE_COLUMNS, scene_state

SCENE_CAMERAS = ("dome", "held_out", "fixed")
"""Training part of the dome; its held-out wedge; the tasks' one fixed camera."""
POSE_SHARES = {"uniform": 0.3, "near_home": 0.3, "hand_in_workspace": 0.4}
"""How arm configurations are drawn; the shares sum to 1."""
HOME_SPREAD = 1.2
"""Radians around home for "near_home"."""
HELD_SHARE, HELD_SPREAD = 0.2, 0.05
"""Share of scenes whose target is at the hand, and the spread around it in metres."""
CLEARANCE = 0.03
"""Metres: the hand stays this far above the floor."""
HAND_RANGE = 0.6
"""Metres: the hand stays this near the workspace's centre, where the cameras look."""


class SceneArrays(NamedTuple):
    """N scenes of M views each."""

    images: np.ndarray
    """uint8 (N, M, H, W, 3)."""
    viewpoints: np.ndarray
    """float32 (N, M, 7), see `cameras`."""
    labels: np.ndarray
    """uint8 (N, M, H, W): see `rendering.LABELS`."""
    state: np.ndarray
    """float32 (N, S): `state.SCENE_COLUMNS`."""


def sample_scenes(
    scenes: int,
    views: int,
    rng: np.random.Generator,
    image_size: int = 64,
    randomize: str = "none",
    camera: str = "dome",
) -> SceneArrays:
    """Draw and render `scenes` scenes from `views` cameras each. Same generator state, same scenes."""
    check_choice("camera", camera, SCENE_CAMERAS)
    check_choice("randomize", randomize, RANDOMIZE)
    model = copy.copy(load_model("reach.xml"))
    data, kinematics = mujoco.MjData(model), Kinematics(model)
    reader = FrameReader.of(model)
    renderer = renderer_for(model, image_size)
    arrays = empty_scenes(scenes, views, image_size)
    for images, viewpoints, labels, state in zip(*arrays, strict=True):
        place_scene(kinematics, data, rng)
        randomize_look(model, rng, randomize)
        mujoco.mj_camlight(model, data)  # the lights of this look, not of the last one
        state[:] = scene_state(reader.read(data), model)
        for view in range(views):
            pose = sample_camera(camera, rng)
            renderer.image(model, data, pose, out=images[view])
            labels[view] = renderer.labels(model, data, pose)
            viewpoints[view] = pose.viewpoint
    return arrays


def empty_scenes(scenes: int, views: int, image_size: int) -> SceneArrays:
    """Uninitialised arrays of the right shapes."""
    pixels = (scenes, views, image_size, image_size)
    return SceneArrays(
        np.empty((*pixels, 3), np.uint8),
        np.empty((scenes, views, 7), np.float32),
        np.empty(pixels, np.uint8),
        np.empty((scenes, len(SCENE_COLUMNS)), np.float32),
    )


def sample_camera(camera: str, rng: np.random.Generator) -> CameraPose:
    """One camera of a kind in `SCENE_CAMERAS`."""
    return FIXED_CAMERA if camera == "fixed" else DOME.sample(rng, held_out=camera == "held_out")


def place_scene(kinematics: Kinematics, data: mujoco.MjData, rng: np.random.Generator) -> None:
    """Put arm and target into a random configuration without collisions, hand above the floor."""
    model = kinematics.model
    hand = model.site(HAND_SITE).id
    while True:
        joints = sample_joints(kinematics, rng)
        if joints is None:
            continue
        data.qpos[:6] = joints
        data.qpos[6:9] = rng.uniform(*model.jnt_range[6]) + rng.uniform(-0.1, 0.1, 3)
        data.qpos[6:9] = np.clip(data.qpos[6:9], *model.jnt_range[6])
        mujoco.mj_forward(model, data)
        position = data.site_xpos[hand]
        in_view = np.linalg.norm(position - WORKSPACE_CENTRE) < HAND_RANGE
        if in_view and data.ncon == 0 and position[2] > CLEARANCE:
            break
    data.mocap_pos[0] = sample_target(position, rng)
    mujoco.mj_forward(model, data)


def sample_joints(kinematics: Kinematics, rng: np.random.Generator) -> np.ndarray | None:
    """(6,) radians, or None when inverse kinematics found no pose for a random hand position."""
    kind = rng.choice(list(POSE_SHARES), p=list(POSE_SHARES.values()))
    low, high = joint_limits(kinematics.model)
    if kind == "uniform":
        endless = np.isinf(low)
        return rng.uniform(np.where(endless, -np.pi, low), np.where(endless, np.pi, high))
    joints = np.clip(HOME + rng.uniform(-HOME_SPREAD, HOME_SPREAD, 6), low, high)
    return joints if kind == "near_home" else kinematics.solve(joints, rng.uniform(*TARGET_BOX))


def sample_target(hand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(3,) metres: in the workspace box, or about the hand (3,) but above the floor."""
    if rng.random() < HELD_SHARE:
        held = hand + rng.normal(scale=HELD_SPREAD, size=3)
        return np.maximum(held, [-np.inf, -np.inf, TARGET_BOX[0][2]])
    return rng.uniform(*TARGET_BOX)
