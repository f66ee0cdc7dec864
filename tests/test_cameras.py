"""Where cameras stand and walk, and the viewpoint vector against the renderer's own pixels."""

import itertools

import mujoco
import numpy as np
import pytest

from gqn_transfer import checkpoint
from gqn_transfer.envs import cameras
from gqn_transfer.envs.cameras import CAMERA_PATHS, DOME, FIELD_OF_VIEW, FIXED_CAMERA, CameraPose, camera_path
from gqn_transfer.envs.kinematics import HOME
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.reach import TARGET_BOX
from gqn_transfer.envs.rendering import LABEL_TARGET, renderer_for

MARGIN = 0.5
"""Metres that every camera stays away from the walls."""
STEPS = 2000


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model("reach.xml")


@pytest.fixture(scope="module")
def dome() -> list[CameraPose]:
    rng = np.random.default_rng(0)
    return [DOME.sample(rng) for _ in range(2000)]


@pytest.fixture(scope="module")
def held_out() -> list[CameraPose]:
    rng = np.random.default_rng(1)
    return [DOME.sample(rng, held_out=True) for _ in range(500)]


@pytest.fixture(params=range(3), scope="module")
def walk(request) -> list[CameraPose]:
    return list(itertools.islice(camera_path("moving", np.random.default_rng(request.param)), STEPS))


def project(viewpoint: np.ndarray, point: np.ndarray, image_size: int) -> np.ndarray:
    """Column and row, in pixels from the image's top left corner, by a pinhole of 45 degrees."""
    x, y, z, cos_yaw, sin_yaw, cos_pitch, sin_pitch = viewpoint.astype(np.float64)
    forward = np.array([cos_pitch * cos_yaw, cos_pitch * sin_yaw, sin_pitch])
    right = np.array([sin_yaw, -cos_yaw, 0.0])
    up = np.cross(right, forward)
    ray = point - np.array([x, y, z])
    focal_length = image_size / 2 / np.tan(np.deg2rad(22.5))
    offset = np.array([ray @ right, -ray @ up]) * focal_length / (ray @ forward)
    return image_size / 2 + offset


def yaws(poses: list[CameraPose]) -> np.ndarray:
    """Radians, recovered from the viewpoints."""
    viewpoints = np.stack([pose.viewpoint for pose in poses])
    return np.arctan2(viewpoints[:, 4], viewpoints[:, 3])


def in_wedge(poses: list[CameraPose]) -> np.ndarray:
    low, high = np.deg2rad([20.0, 45.0])
    return (yaws(poses) > low + 1e-6) & (yaws(poses) < high - 1e-6)


def assert_on_dome(poses: list[CameraPose]) -> None:
    """Elevation, radius and yaw recomputed from the viewpoint's position alone."""
    offset = np.stack([pose.viewpoint[:3] for pose in poses]).astype(float) - [-0.45, 0.0, 0.3]
    radius = np.linalg.norm(offset, axis=1)
    elevation = np.rad2deg(np.arcsin(offset[:, 2] / radius))
    yaw = np.rad2deg(np.arctan2(-offset[:, 1], -offset[:, 0]))
    for values, low, high in ((radius, 1.3, 1.5), (elevation, 10, 50), (yaw, -90, 90)):
        assert values.min() >= low - 1e-4
        assert values.max() <= high + 1e-4


def test_dome_cameras_stand_in_range(dome, held_out):
    assert_on_dome([*dome, *held_out, FIXED_CAMERA])


def test_dome_cameras_fill_their_range(dome):
    elevations = np.rad2deg([pose.elevation for pose in dome])
    radii = [pose.radius for pose in dome]
    assert np.ptp(np.rad2deg(yaws(dome))) > 175
    assert np.ptp(elevations) > 38
    assert np.ptp(radii) > 0.19
    share_below_wedge = np.mean(yaws(dome) < np.deg2rad(20))
    assert share_below_wedge == pytest.approx(110 / 155, abs=0.04)


def test_cameras_stand_inside_the_room(model, dome, held_out):
    positions = np.stack([pose.position for pose in [*dome, *held_out, FIXED_CAMERA]])
    sides = [("wall_front", 0, -1), ("wall_back", 0, 1), ("wall_left", 1, 1), ("wall_right", 1, -1)]
    for wall, axis, sign in sides:
        geom = model.geom(wall)
        face = geom.pos[axis] - sign * geom.size[axis]
        assert (sign * (face - positions[:, axis]) > MARGIN).all(), wall
    top = model.geom("wall_front").pos[2] + model.geom("wall_front").size[2]
    assert (positions[:, 2] < top - MARGIN).all()
    assert (positions[:, 2] > model.geom("floor").pos[2] + 0.4).all()


def test_the_whole_workspace_is_in_every_view(dome, held_out):
    corners = np.array(list(itertools.product(*zip(*TARGET_BOX, strict=True))))
    for pose in [*dome, *held_out, FIXED_CAMERA]:
        pixels = np.array([project(pose.viewpoint, corner, 1) for corner in corners])
        assert (pixels > 0).all()
        assert (pixels < 1).all()


def test_no_training_camera_stands_in_the_wedge(dome):
    assert not in_wedge([*dome, FIXED_CAMERA]).any()


def test_held_out_cameras_stand_in_the_wedge(held_out):
    assert in_wedge(held_out).all()


def test_walks_stay_on_the_dome_and_out_of_the_wedge(walk):
    assert_on_dome(walk)
    assert not in_wedge(walk).any()


def test_walks_are_smooth(walk):
    places = np.array([(pose.yaw, pose.elevation, pose.radius) for pose in walk])
    steps = np.diff(places, axis=0)
    assert (np.abs(steps) < [0.35, 0.12, 0.075]).all()
    following = np.corrcoef(steps[:-1, 0], steps[1:, 0])[0, 1]
    assert following > 0.5


def test_walks_go_somewhere(walk):
    viewpoints = np.stack([pose.viewpoint for pose in walk])
    assert (np.abs(np.diff(viewpoints, axis=0)).max(axis=1) > 0).all()
    assert np.ptp(yaws(walk[:200])) > np.deg2rad(20)


def test_jumps_leap_from_view_to_view():
    poses = list(itertools.islice(camera_path("jump", np.random.default_rng(2)), STEPS))
    assert not in_wedge(poses).any()
    assert len({pose.yaw for pose in poses}) == STEPS
    assert np.median(np.abs(np.diff(yaws(poses)))) > np.deg2rad(25)


def test_the_fixed_camera_never_moves():
    poses = list(itertools.islice(camera_path("fixed", np.random.default_rng(3)), 20))
    assert set(poses) == {FIXED_CAMERA}


@pytest.mark.parametrize("kind", ["moving", "jump"])
def test_a_seed_fixes_the_path(kind):
    def viewpoints(seed):
        path = camera_path(kind, np.random.default_rng(seed))
        return np.stack([next(path).viewpoint for _ in range(100)])

    np.testing.assert_array_equal(viewpoints(5), viewpoints(5))
    assert (viewpoints(5) != viewpoints(6)).any()


def test_every_path_has_a_name():
    assert set(CAMERA_PATHS) == {"fixed", "moving", "jump"}


def test_viewpoint_is_position_then_cosines_and_sines():
    pose = CameraPose(yaw=0.3, elevation=0.6, radius=1.4)
    assert pose.viewpoint.dtype == np.float32
    assert cameras.VIEWPOINT_COLUMNS == ("x", "y", "z", "cos_yaw", "sin_yaw", "cos_pitch", "sin_pitch")
    angles = [np.cos(0.3), np.sin(0.3), np.cos(-0.6), np.sin(-0.6)]
    np.testing.assert_allclose(pose.viewpoint[3:], angles, atol=1e-6)
    np.testing.assert_allclose(pose.viewpoint[:3], pose.position, atol=1e-6)


def test_checkpoints_state_the_same_convention():
    assert checkpoint.CAMERA_CONVENTION == cameras.CONVENTION


def test_field_of_view_is_the_models(model):
    assert np.rad2deg(FIELD_OF_VIEW) == pytest.approx(model.vis.global_.fovy)


@pytest.mark.parametrize("image_size", [64, 256])
def test_viewpoints_predict_where_the_target_appears(model, image_size):
    """Target position and viewpoint alone give the centre of the target's pixels."""
    rng = np.random.default_rng(4)
    data, renderer = mujoco.MjData(model), renderer_for(model, image_size)
    focal_length = image_size / 2 / np.tan(np.deg2rad(22.5))
    misses = []
    for scene in range(150):
        data.qpos[:6] = HOME + rng.uniform(-1, 1, 6)
        data.mocap_pos[0] = target = rng.uniform(*TARGET_BOX)
        mujoco.mj_forward(model, data)
        pose = DOME.sample(rng, held_out=scene % 3 == 0)
        rows, columns = np.nonzero(renderer.labels(model, data, pose) == LABEL_TARGET)
        whole = np.pi * (focal_length * 0.05 / np.linalg.norm(target - pose.position)) ** 2
        if len(rows) > 0.9 * whole:  # else something hides it
            centre = np.array([columns.mean(), rows.mean()]) + 0.5
            misses.append(np.abs(centre - project(pose.viewpoint, target, image_size)).max())
    assert len(misses) > 80
    assert max(misses) < 1.0
    assert np.mean(misses) < 0.35


def test_the_second_camera_stands_in_the_training_part_and_looks_across_the_first() -> None:
    second = cameras.SECOND_CAMERA
    assert DOME.elevation[0] <= second.elevation <= DOME.elevation[1]
    assert DOME.radius[0] <= second.radius <= DOME.radius[1]
    assert DOME.yaw[0] <= second.yaw <= DOME.yaw[1]
    assert not DOME.held_out_yaw[0] <= second.yaw <= DOME.held_out_yaw[1]
    assert abs(np.dot(second.direction[:2], FIXED_CAMERA.direction[:2])) < 0.25


# Cameras of other people's models.


def test_viewpoints_of_positions_and_directions_are_those_of_poses(dome: list[CameraPose]) -> None:
    for pose in dome[:50]:
        found = cameras.viewpoint_of(pose.position, 3 * pose.direction)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, pose.viewpoint, atol=1e-6)


def scene_with(camera: str) -> mujoco.MjData:
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{camera}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def test_the_viewpoint_of_a_models_camera() -> None:
    data = scene_with('<camera name="eye" pos="1 2 3" xyaxes="0 1 0 -0.6 0 0.8"/>')
    expected = [1, 2, 3, -1, 0, 0.8, -0.6]  # right is +y, up leans back: it looks along -x and down
    for name in ("eye", 0):
        np.testing.assert_allclose(cameras.camera_viewpoint(data, name), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("0 0.9 0.4359 -1 0 0", "camera 'eye' is tilted sideways by 25.8°: .* set it upright"),
        ("1 0 0 0 1 0", "straight up or down has no yaw"),
    ],
)
def test_cameras_that_no_viewpoint_describes(axes: str, message: str) -> None:
    data = scene_with(f'<camera name="eye" pos="0 0 1" xyaxes="{axes}"/>')
    with pytest.raises(ValueError, match=message):
        cameras.camera_viewpoint(data, "eye")
