"""Scenes for pretraining: seeds, shapes, the state's meaning against kinematics, views, cameras, errors."""

import mujoco
import numpy as np
import pytest

from gqn_transfer.envs.cameras import DOME, FIXED_CAMERA
from gqn_transfer.envs.kinematics import HAND_SITE
from gqn_transfer.envs.looks import LOOK_FIELDS, RANDOMIZE, read_look
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.rendering import LABEL_ARM, LABEL_TARGET, LABELS
from gqn_transfer.envs.scenes import SCENE_CAMERAS, SceneArrays, sample_scenes, scene_columns
from gqn_transfer.envs.state import SCENE_COLUMNS

SCENES, VIEWS = 300, 2
ANGLES = [f"joint_{k}" for k in range(1, 7)]
FINGERS = [f"finger_{k}" for k in range(1, 4)]


def draw(seed: int, scenes: int, views: int = 1, **arguments) -> SceneArrays:
    return sample_scenes(scenes, views, np.random.default_rng(seed), **arguments)


@pytest.fixture(scope="module")
def sampled() -> SceneArrays:
    return draw(0, SCENES, VIEWS)


@pytest.fixture(scope="module")
def columns(sampled) -> dict[str, np.ndarray]:
    """State column -> its values (N,)."""
    return dict(zip(SCENE_COLUMNS, sampled.state.T.astype(np.float64), strict=True))


@pytest.fixture(scope="module")
def target(columns) -> np.ndarray:
    return xyz(columns, "target")


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model("reach.xml")


@pytest.fixture(scope="module")
def simulated(model, columns) -> list[mujoco.MjData]:
    """Each scene built again from its state alone."""
    sines, cosines = (np.stack([columns[f"{name}_{f}"] for name in ANGLES], axis=1) for f in ("sin", "cos"))
    joints = np.arctan2(sines, cosines)
    joints[:, 1:3] %= 2 * np.pi  # the two limited joints turn between 0 and 2 pi
    fingers = np.stack([columns[name] for name in FINGERS], axis=1)
    scenes = []
    for angles, grip in zip(joints, fingers, strict=True):
        data = mujoco.MjData(model)
        data.qpos[:6], data.qpos[6:9] = angles, grip
        mujoco.mj_forward(model, data)
        scenes.append(data)
    return scenes


def xyz(columns: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.stack([columns[f"{name}_{axis}"] for axis in "xyz"], axis=1)


def yaws(viewpoints: np.ndarray) -> np.ndarray:
    return np.arctan2(viewpoints[..., 4], viewpoints[..., 3])


def in_wedge(viewpoints: np.ndarray) -> np.ndarray:
    low, high = DOME.held_out_yaw
    return (yaws(viewpoints) > low + 1e-6) & (yaws(viewpoints) < high - 1e-6)


# Seeds and shapes.


@pytest.mark.parametrize("randomize", RANDOMIZE)
@pytest.mark.parametrize("camera", SCENE_CAMERAS)
def test_the_same_generator_state_gives_the_same_scenes(randomize, camera):
    first = draw(7, 4, 2, randomize=randomize, camera=camera)
    second = draw(7, 4, 2, randomize=randomize, camera=camera)
    other = draw(8, 4, 2, randomize=randomize, camera=camera)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.state != other.state).any()
    assert (first.images != other.images).any()


@pytest.mark.parametrize("randomize", RANDOMIZE)
def test_a_scene_does_not_depend_on_the_one_before(randomize):
    """Six at once equal six one by one from the same generator: nothing leaks through model or data."""
    at_once = draw(9, 6, 2, randomize=randomize)
    rng = np.random.default_rng(9)
    singly = [sample_scenes(1, 2, rng, randomize=randomize) for _ in range(6)]
    for name in SceneArrays._fields:
        np.testing.assert_array_equal(
            getattr(at_once, name), np.concatenate([getattr(one, name) for one in singly]), err_msg=name
        )


def test_the_image_size_does_not_change_the_scenes():
    small, large = draw(1, 3, 2, image_size=16), draw(1, 3, 2, image_size=48)
    np.testing.assert_array_equal(small.state, large.state)
    np.testing.assert_array_equal(small.viewpoints, large.viewpoints)
    shrunk = large.images.reshape(3, 2, 16, 3, 16, 3, 3).mean(axis=(3, 5))
    assert np.abs(shrunk - small.images).mean() < 10


@pytest.mark.parametrize(("scenes", "views", "size"), [(3, 2, 64), (1, 5, 32), (0, 2, 16)])
def test_arrays_have_the_documented_shapes(scenes, views, size):
    arrays = draw(0, scenes, views, image_size=size)
    assert arrays.images.shape == (scenes, views, size, size, 3)
    assert arrays.viewpoints.shape == (scenes, views, 7)
    assert arrays.labels.shape == (scenes, views, size, size)
    assert arrays.state.shape == (scenes, len(SCENE_COLUMNS))
    assert [array.dtype for array in arrays] == [np.uint8, np.float32, np.uint8, np.float32]


def test_sampling_leaves_the_shared_model_alone(model):
    look = read_look(model)
    draw(0, 3, randomize="full")
    assert all(np.array_equal(getattr(model, field), look[field]) for field in LOOK_FIELDS)


# What the state says.


def test_column_names_are_unique():
    assert len(set(SCENE_COLUMNS)) == len(SCENE_COLUMNS) == 27


def test_everything_is_finite(sampled):
    assert np.isfinite(sampled.state).all()
    assert np.isfinite(sampled.viewpoints).all()


def test_sines_and_cosines_belong_together(columns):
    for name in ANGLES:
        np.testing.assert_allclose(np.hypot(columns[f"{name}_sin"], columns[f"{name}_cos"]), 1, atol=1e-6)


def test_hand_columns_are_the_kinematics_of_the_angles(columns, simulated):
    hands = np.array([data.site(HAND_SITE).xpos for data in simulated])
    axes = np.array([data.site(HAND_SITE).xmat.reshape(3, 3)[:, 2] for data in simulated])
    np.testing.assert_allclose(xyz(columns, "hand"), hands, atol=2e-6)
    np.testing.assert_allclose(xyz(columns, "hand_axis"), axes, atol=2e-6)


def test_the_hand_axis_points_out_of_the_hand(columns, simulated):
    """From the hand's root to the point between the finger tips."""
    roots = np.array([data.body("hand").xpos for data in simulated])
    reach = xyz(columns, "hand") - roots
    along = (reach * xyz(columns, "hand_axis")).sum(axis=1)
    np.testing.assert_allclose(along, 0.193, atol=1e-3)


def test_target_columns_are_where_the_images_show_it(sampled, target, project):
    """In every view, unless the arm hides part of it."""
    misses = []
    for view in range(VIEWS):
        predicted = project(sampled.viewpoints[:, view].astype(float), target, 64)
        for labels, expected in zip(sampled.labels[:, view], predicted, strict=True):
            rows, cols = np.nonzero(labels == LABEL_TARGET)
            if len(rows) >= 26:
                misses.append(np.hypot(cols.mean() + 0.5 - expected[0], rows.mean() + 0.5 - expected[1]))
    assert len(misses) > SCENES * VIEWS / 4
    assert np.quantile(misses, 0.95) < 1


def test_object_columns_are_where_the_images_show_it(project):
    arrays = draw(1, 60, tasks=("Grasp-v0",))
    where = xyz(dict(zip(scene_columns(("Grasp-v0",)), arrays.state.T, strict=True)), "object")
    expected = project(arrays.viewpoints[:, 0].astype(float), where.astype(float), 64)
    seen = [np.argwhere(labels == LABEL_TARGET) for labels in arrays.labels[:, 0]]
    large = [k for k, pixels in enumerate(seen) if len(pixels) >= 12]
    misses = [np.linalg.norm(seen[k].mean(0)[::-1] + 0.5 - expected[k]) for k in large]
    assert len(large) > 15
    assert np.quantile(misses, 0.9) < 2


@pytest.mark.parametrize("randomize", RANDOMIZE)
def test_colour_columns_are_the_targets_colour(randomize):
    """Lights scale a colour but hardly change its ratios."""
    arrays = draw(3, 20, 1, randomize=randomize)
    colours = arrays.state[:, -3:]
    assert SCENE_COLUMNS[-3:] == ("target_red", "target_green", "target_blue")
    for image, labels, colour in zip(arrays.images[:, 0], arrays.labels[:, 0], colours, strict=True):
        if (labels == LABEL_TARGET).sum() > 10:
            seen = image[labels == LABEL_TARGET].mean(axis=0)
            np.testing.assert_allclose(seen / seen.max(), colour / colour.max(), atol=0.12)
    spread = 0 if randomize == "none" else 0.1
    assert (np.std(colours, axis=0) >= spread).all()


# What the scenes hold.


def test_nothing_collides(simulated):
    assert all(data.ncon == 0 for data in simulated)


def test_the_hand_is_above_the_floor_and_near_the_workspace(columns):
    hand = xyz(columns, "hand")
    assert hand[:, 2].min() > 0.03
    assert np.linalg.norm(hand - [-0.45, 0, 0.3], axis=1).max() < 0.6


def test_joints_are_within_their_limits(model, simulated):
    limited = model.jnt_limited.astype(bool)
    low, high = model.jnt_range[limited].T
    angles = np.array([data.qpos[limited] for data in simulated])
    assert (angles >= low - 1e-5).all()
    assert (angles <= high + 1e-5).all()


def test_configurations_are_varied(simulated, columns, target):
    angles = np.array([data.qpos for data in simulated])
    assert (angles[:, 3:6].std(axis=0) > 0.8).all()
    assert (angles[:, 6:9].std(axis=0) > 0.2).all()
    assert (np.ptp(xyz(columns, "hand"), axis=0) > [0.7, 0.7, 0.6]).all()
    assert (np.ptp(target, axis=0) > [0.55, 0.55, 0.48]).all()


def test_some_targets_are_in_the_hand(columns, target):
    """A fifth by design, and a few by chance."""
    distance = np.linalg.norm(target - xyz(columns, "hand"), axis=1)
    assert np.mean(distance < 0.15) == pytest.approx(0.22, abs=0.07)


def test_targets_lie_in_the_workspace_or_in_the_hand(columns, target):
    away = np.linalg.norm(target - xyz(columns, "hand"), axis=1) > 0.3  # six standard deviations
    assert (target[away] >= np.array([-0.75, -0.3, 0.05]) - 1e-6).all()
    assert (target[away] <= np.array([-0.15, 0.3, 0.55]) + 1e-6).all()
    assert target[:, 2].min() >= 0.05 - 1e-6


def test_target_and_arm_are_in_most_views(sampled):
    pixels_of = {label: (sampled.labels == label).sum(axis=(2, 3)) for label in (LABEL_ARM, LABEL_TARGET)}
    assert np.mean(pixels_of[LABEL_TARGET] >= 5) > 0.9
    assert np.mean(pixels_of[LABEL_ARM] >= 50) > 0.99
    assert set(np.unique(sampled.labels)) == set(range(len(LABELS)))


# Cameras.


def test_dome_views_differ_and_avoid_the_wedge(sampled):
    assert not in_wedge(sampled.viewpoints).any()
    assert len(np.unique(sampled.viewpoints.reshape(-1, 7), axis=0)) == SCENES * VIEWS
    assert np.ptp(yaws(sampled.viewpoints)) > np.deg2rad(170)


def test_held_out_views_stand_in_the_wedge():
    arrays = draw(0, 40, 3, camera="held_out", image_size=8)
    assert in_wedge(arrays.viewpoints).all()
    assert len(np.unique(arrays.viewpoints.reshape(-1, 7), axis=0)) == 120


def test_fixed_views_are_the_tasks_fixed_camera():
    arrays = draw(0, 4, 2, camera="fixed")
    assert (arrays.viewpoints == FIXED_CAMERA.viewpoint).all()
    np.testing.assert_array_equal(arrays.images[:, 0], arrays.images[:, 1])


def test_views_of_a_scene_show_the_same_scene(sampled):
    """The target's colour is the same in both; the images are not."""
    assert (sampled.images[:, 0] != sampled.images[:, 1]).any(axis=(1, 2, 3)).all()


# Bad arguments.


@pytest.mark.parametrize(
    ("argument", "value", "known"),
    [
        ("camera", "moving", "'dome', 'held_out', 'fixed'"),
        ("randomize", "color", "'none', 'colors', 'full'"),
        ("image_size", 0, "1 to 1024"),
        ("image_size", 2048, "1 to 1024"),
    ],
)
def test_a_wrong_argument_names_what_exists(argument, value, known):
    with pytest.raises(ValueError, match=known) as raised:
        draw(0, 1, 1, **{argument: value})
    assert f"{argument}={value!r}" in str(raised.value)


@pytest.mark.parametrize(("scenes", "views"), [(-1, 1), (1, -1)])
def test_negative_counts_are_refused(scenes, views):
    with pytest.raises(ValueError, match="negative"):
        draw(0, scenes, views)
