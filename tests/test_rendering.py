"""Images and labels: what they show, that renderers do not disturb each other, and how GL is chosen."""

import copy
import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from gqn_transfer.envs import rendering
from gqn_transfer.envs.cameras import DOME, FIXED_CAMERA, CameraPose
from gqn_transfer.envs.kinematics import HAND_SITE, HOME
from gqn_transfer.envs.looks import LOOK_FIELDS, randomize_look, read_look, visible_colour, write_look
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.reach import TARGET_BOX
from gqn_transfer.envs.rendering import (
    BACKENDS,
    LABEL_ARM,
    LABEL_BACKGROUND,
    LABEL_FINGERS,
    LABEL_SHADOW,
    LABEL_TARGET,
    NoOpenGLError,
    Renderer,
    geom_labels,
    renderer_for,
)

APT_LINE = "apt-get install -y libegl1 libgl1-mesa-dri libopengl0"
TARGET_IN_THE_OPEN = (-0.7, -0.25, 0.45)
"""Metres: nothing hides a target here from the fixed camera."""


@pytest.fixture
def model() -> mujoco.MjModel:
    """A copy that a test may repaint."""
    return copy.copy(load_model("reach.xml"))


def scene(model: mujoco.MjModel, target=TARGET_IN_THE_OPEN, joints=HOME) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:6], data.qpos[6:9] = joints, 0.6
    data.mocap_pos[0] = target
    mujoco.mj_forward(model, data)
    return data


def random_scene(model: mujoco.MjModel, rng: np.random.Generator) -> mujoco.MjData:
    return scene(model, rng.uniform(*TARGET_BOX), HOME + rng.uniform(-0.8, 0.8, 6))


def draw(model: mujoco.MjModel, data: mujoco.MjData, camera=FIXED_CAMERA, image_size=64) -> np.ndarray:
    return renderer_for(model, image_size).image(model, data, camera)


def labels_of(model: mujoco.MjModel, data: mujoco.MjData, camera=FIXED_CAMERA, image_size=64) -> np.ndarray:
    return renderer_for(model, image_size).labels(model, data, camera)


def target_centre(model: mujoco.MjModel, target, camera=FIXED_CAMERA) -> np.ndarray:
    """Row and column of the middle of the target's pixels."""
    pixels = np.argwhere(labels_of(model, scene(model, target), camera) == LABEL_TARGET)
    return pixels.mean(axis=0)


def saturation(colour: np.ndarray) -> float:
    return float(1 - colour.min() / colour.max())


def test_images_and_labels_have_their_shapes(model):
    data = scene(model)
    image, labels = draw(model, data, image_size=48), labels_of(model, data, image_size=48)
    assert (image.shape, image.dtype) == ((48, 48, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((48, 48), np.uint8)


def test_labels_are_background_arm_target_shadow_and_fingers(model):
    assert set(np.unique(labels_of(model, scene(model)))) == {0, 1, 2, 3, 4}
    assert (LABEL_BACKGROUND, LABEL_ARM, LABEL_TARGET, LABEL_SHADOW, LABEL_FINGERS) == (0, 1, 2, 3, 4)


def test_fingers_are_told_from_the_arm(model):
    fingers = [geom for geom in range(model.ngeom) if "finger" in model.geom(geom).name]
    assert len(fingers) >= 6
    assert (geom_labels(model)[fingers] == LABEL_FINGERS).all()
    assert (geom_labels(model) == LABEL_FINGERS).sum() == len(fingers)
    data = scene(model)
    seen, places = labels_of(model, data, image_size=256), np.argwhere
    hand = places(seen == LABEL_FINGERS).mean(0)
    assert np.linalg.norm(places(seen == LABEL_ARM) - hand, axis=1).min() < 12, "at the end of the arm"


@pytest.mark.parametrize("height", [0.1, 0.3, 0.5])
def test_shadows_lie_on_the_floor_under_what_casts_them(model, height):
    """Where pixels darken when a target appears elsewhere: the floor point below it, at any height."""
    camera = CameraPose(yaw=0.0, elevation=np.deg2rad(50.0), radius=1.3)
    data = scene(model, (-0.6, 0.25, height))
    pixels = np.argwhere(labels_of(model, data, camera, 256) == LABEL_SHADOW)
    hand = data.site(HAND_SITE).xpos
    for caster in ((-0.6, 0.25), hand[:2]):
        row, column = project(camera, np.array([*caster, 0.0]), 256)
        distances = np.hypot(pixels[:, 0] - row, pixels[:, 1] - column)
        assert distances.min() < 3
        assert (distances < 20).sum() > 60


def project(camera: CameraPose, point: np.ndarray, image_size: int) -> tuple[float, float]:
    """Row and column of a world point in `camera`'s image."""
    right = np.array([np.sin(camera.yaw), -np.cos(camera.yaw), 0.0])
    down = -np.cross(right, camera.direction)
    away = point - camera.position
    scale = image_size / 2 / np.tan(np.pi / 8) / (away @ camera.direction)
    return image_size / 2 + scale * (away @ down), image_size / 2 + scale * (away @ right)


def test_shadows_darken_what_they_lie_on(model):
    lit, shaded = scene(model, (-0.6, 0.25, 0.4)), scene(model, (-0.6, -0.25, 0.4))
    shadow = (labels_of(model, shaded) == LABEL_SHADOW) & (labels_of(model, lit) == LABEL_BACKGROUND)
    assert shadow.sum() >= 5
    assert (draw(model, shaded)[shadow].astype(int) < draw(model, lit)[shadow] - 30).all()


def test_geom_labels_follow_the_tree(model):
    of_geom = geom_labels(model)
    expected = {"floor": 0, "wall_left": 0, "base": 1, "hand": 1, "finger_tip_3": 4, "target": 2}
    for name, label in expected.items():
        assert of_geom[model.geom(name).id] == label, name


def test_target_coloured_pixels_are_the_ones_labelled_target(model):
    """The target is the one thing whose red is more than twice its green and its blue."""
    rng = np.random.default_rng(0)
    both = either = 0
    for _ in range(30):
        data, camera = random_scene(model, rng), DOME.sample(rng)
        red, green, blue = np.moveaxis(draw(model, data, camera).astype(float), -1, 0)
        looks_like_it = (red > 2 * green) & (red > 2 * blue)
        labelled = labels_of(model, data, camera) == LABEL_TARGET
        both += (looks_like_it & labelled).sum()
        either += (looks_like_it | labelled).sum()
    assert either > 300
    assert both / either > 0.98


def test_arm_pixels_change_when_the_arm_moves(model):
    """Labels and image agree on the arm: away from its silhouettes and shadows nothing changes."""
    before, after = scene(model), scene(model, joints=HOME + 0.5 * np.eye(6)[0])
    changed = (draw(model, before) != draw(model, after)).any(axis=-1)
    moved = [
        np.isin(labels_of(model, data), (LABEL_ARM, LABEL_FINGERS, LABEL_SHADOW)) for data in (before, after)
    ]
    assert changed.sum() > 100
    assert not (changed & ~moved[0] & ~moved[1]).any()


def test_out_is_written_in_place(model):
    data = scene(model)
    images = np.zeros((3, 64, 64, 3), np.uint8)
    returned = renderer_for(model, 64).image(model, data, FIXED_CAMERA, out=images[1])
    assert np.shares_memory(returned, images)
    np.testing.assert_array_equal(images[1], draw(model, data))
    assert not images[[0, 2]].any()


def test_images_do_not_share_memory(model):
    first = draw(model, scene(model))
    kept = first.copy()
    draw(model, scene(model, target=(-0.5, 0.2, 0.1)))
    np.testing.assert_array_equal(first, kept)


def test_the_image_is_upright(model):
    low, high = target_centre(model, (-0.7, -0.25, 0.2)), target_centre(model, (-0.7, -0.25, 0.45))
    assert high[0] < low[0] - 5
    assert abs(high[1] - low[1]) < 3


def test_the_image_is_not_mirrored(model):
    """A camera in front of the arm looks along +x: what moves towards -y moves to its right."""
    camera = CameraPose(yaw=0.0, elevation=0.6, radius=1.4)
    left, right = (target_centre(model, (-0.75, y, 0.3), camera) for y in (0.25, -0.25))
    assert right[1] > left[1] + 10
    assert abs(right[0] - left[0]) < 2


def test_two_image_sizes_do_not_disturb_each_other(model):
    data = scene(model)
    small, large = draw(model, data, image_size=64), draw(model, data, image_size=128)
    labels = labels_of(model, data, image_size=64)
    for _ in range(3):
        np.testing.assert_array_equal(draw(model, data, image_size=64), small)
        np.testing.assert_array_equal(labels_of(model, data, image_size=64), labels)
        np.testing.assert_array_equal(draw(model, data, image_size=128), large)
    shrunk = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 5


def test_two_models_do_not_disturb_each_other(model):
    """Two XMLs with geoms, textures and sizes of their own, drawn in turns."""
    textured_box = """<mujoco>
      <asset>
        <texture name="green" type="2d" builtin="flat" rgb1="0 1 0" width="8" height="8"/>
        <material name="green" texture="green"/>
      </asset>
      <worldbody><geom type="box" size=".2 .1 .3" pos="-.45 0 .3" material="green"/></worldbody>
    </mujoco>"""
    other = mujoco.MjModel.from_xml_string(textured_box)
    randomize_look(model, np.random.default_rng(0), "full")
    data, other_data = scene(model), mujoco.MjData(other)
    mujoco.mj_forward(other, other_data)
    first, other_first = draw(model, data), draw(other, other_data)
    for _ in range(3):
        np.testing.assert_array_equal(draw(model, data), first)
        np.testing.assert_array_equal(draw(other, other_data), other_first)
    red, green, blue = other_first[32, 32]
    assert green > 50
    assert red == blue == 0


def test_copies_of_a_model_share_a_renderer_but_not_colours(model):
    plain, painted = load_model("reach.xml"), model
    painted.geom("target").rgba[:3] = [0, 0, 1]
    assert renderer_for(plain, 64) is renderer_for(painted, 64)
    target = labels_of(plain, scene(plain)) == LABEL_TARGET
    red, blue = draw(plain, scene(plain))[target], draw(painted, scene(painted))[target]
    assert (red[:, 0] > red[:, 2]).all()
    assert (blue[:, 2] > blue[:, 0]).all()
    np.testing.assert_array_equal(draw(plain, scene(plain))[target], red)


@pytest.mark.parametrize("image_size", [0, -1, 1025, 4096])
def test_an_image_size_that_cannot_be_drawn_is_refused(model, image_size):
    with pytest.raises(ValueError, match="1 to 1024"):
        renderer_for(model, image_size)


@pytest.mark.parametrize("level", ["colors", "full"])
def test_a_random_look_changes_the_image_and_not_the_labels(model, level):
    plain = load_model("reach.xml")
    data = scene(plain)
    image, labels = draw(plain, data), labels_of(plain, data)
    randomize_look(model, np.random.default_rng(0), level)
    assert (draw(model, scene(model)) != image).any(axis=-1).mean() > 0.9
    np.testing.assert_array_equal(labels_of(model, scene(model)), labels)


@pytest.mark.parametrize("level", ["colors", "full"])
def test_a_random_look_leaves_the_shared_model_alone(model, level):
    shared = load_model("reach.xml")
    data = scene(shared)
    look, image = read_look(shared), draw(shared, data)
    randomize_look(model, np.random.default_rng(0), level)
    draw(model, scene(model))
    for field in LOOK_FIELDS:
        np.testing.assert_array_equal(getattr(shared, field), look[field])
    np.testing.assert_array_equal(draw(shared, data), image)


@pytest.mark.parametrize("level", ["colors", "full"])
def test_a_seed_fixes_the_look_whatever_came_before(level):
    images = []
    for history in ([7], [3, 4, 7], [8]):
        model = copy.copy(load_model("reach.xml"))
        for seed in history:
            randomize_look(model, np.random.default_rng(seed), level)
        images.append(draw(model, scene(model)))
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


@pytest.mark.parametrize("level", ["colors", "full"])
def test_all_sides_of_the_ring_have_one_colour(level):
    model = copy.copy(load_model("push.xml"))
    sides = model.geom_bodyid == model.body("object").id
    plain = visible_colour(model, "object")
    randomize_look(model, np.random.default_rng(0), level)
    assert len(np.unique(model.geom_rgba[sides], axis=0)) == 1
    assert (visible_colour(model, "object") != plain).any()
    assert (visible_colour(model, "object") != visible_colour(model, "target")).any()


def test_no_randomization_draws_nothing(model):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    look = read_look(model)
    randomize_look(model, rng, "none")
    assert rng.bit_generator.state == before
    assert all(np.array_equal(getattr(model, field), look[field]) for field in LOOK_FIELDS)


def test_full_moves_light_and_textures_and_colors_does_not(model):
    before = read_look(model)
    randomize_look(model, np.random.default_rng(0), "colors")
    assert np.array_equal(model.light_dir, before["light_dir"])
    assert np.array_equal(model.geom_matid, before["geom_matid"])
    randomize_look(model, np.random.default_rng(0), "full")
    for field in LOOK_FIELDS:
        assert not np.array_equal(getattr(model, field), before[field]), field


@pytest.mark.parametrize("level", ["colors", "full"])
def test_a_look_is_all_in_its_fields(model, level):
    """What `read_look` copies makes the same image on a fresh model."""
    randomize_look(model, np.random.default_rng(5), level)
    fresh = copy.copy(load_model("reach.xml"))
    write_look(fresh, read_look(model))
    np.testing.assert_array_equal(draw(fresh, scene(fresh)), draw(model, scene(model)))


@pytest.mark.parametrize("level", ["none", "colors", "full"])
def test_target_arm_and_room_are_tellable_apart(model, level):
    """The target's mean colour stands out from the room's; the arm is not painted like the target."""
    rng = np.random.default_rng(0)
    from_room, from_arm, vividness = [], [], []
    for _ in range(60):
        randomize_look(model, rng, level)
        data, camera = random_scene(model, rng), DOME.sample(rng)
        image, labels = draw(model, data, camera).astype(float), labels_of(model, data, camera)
        if (labels == LABEL_TARGET).sum() < 10:
            continue
        room, arm, target = (image[labels == label].mean(axis=0) for label in range(3))
        from_room.append(np.linalg.norm(target - room))
        from_arm.append(np.linalg.norm(target - arm))
        vividness.append(saturation(target) - saturation(room))
    assert len(from_room) > 30
    assert min(from_room) > 45
    assert min(from_arm) > 45
    assert min(vividness) > 0.3


def test_visible_colour_is_the_pixels_colour(model):
    """Shading scales a colour but keeps its ratios."""
    for level in ("none", "colors"):
        randomize_look(model, np.random.default_rng(1), level)
        pixels = draw(model, scene(model))[labels_of(model, scene(model)) == LABEL_TARGET].mean(axis=0)
        colour = visible_colour(model, "target")
        np.testing.assert_allclose(pixels / pixels.max(), colour / colour.max(), atol=0.06)


# Choosing a backend. `backend` keeps its answer, so each of these tests starts it afresh.


@pytest.fixture
def fresh_backend(monkeypatch):
    for variable in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.setenv(variable, "")
    rendering.backend.cache_clear()
    yield monkeypatch
    rendering.backend.cache_clear()


@pytest.mark.parametrize("asked", [*BACKENDS, "EGL", "OSMesa"])
def test_backend_is_the_one_asked_for(fresh_backend, asked):
    fresh_backend.setenv("MUJOCO_GL", asked)
    assert rendering.backend() == asked.lower()


@pytest.mark.parametrize("asked", ["vulkan", "disable"])
def test_an_unknown_backend_is_refused_by_name(fresh_backend, asked):
    fresh_backend.setenv("MUJOCO_GL", asked)
    with pytest.raises(NoOpenGLError, match=rf"'{asked}'.*egl, osmesa, glfw"):
        rendering.backend()


@pytest.mark.parametrize(("egl", "osmesa", "expected"), [(1, 1, "egl"), (1, 0, "egl"), (0, 1, "osmesa")])
def test_egl_is_preferred_to_osmesa(fresh_backend, egl, osmesa, expected):
    fresh_backend.setattr(rendering, "_egl_has_a_device", lambda: bool(egl))
    fresh_backend.setattr(rendering, "_osmesa_loads", lambda: bool(osmesa))
    assert rendering.backend() == expected


def test_a_desktop_without_either_gets_glfw(fresh_backend):
    fresh_backend.setattr(rendering.ctypes, "CDLL", no_library)
    fresh_backend.setenv("DISPLAY", ":0")
    assert rendering.backend() == "glfw"


def no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_without_a_library_the_error_names_the_packages(fresh_backend):
    fresh_backend.setattr(rendering.ctypes, "CDLL", no_library)
    fresh_backend.setattr(rendering.sys, "platform", "linux")
    with pytest.raises(NoOpenGLError, match=APT_LINE):
        rendering.backend()


@pytest.mark.parametrize("error", [ImportError, AttributeError, OSError, mujoco.FatalError])
def test_a_context_that_fails_names_the_packages(model, monkeypatch, error):
    def broken_context(width: int, height: int) -> None:
        raise error("no device")

    monkeypatch.setattr(rendering, "gl_context_class", lambda: broken_context)
    with pytest.raises(NoOpenGLError, match=APT_LINE) as raised:
        Renderer(model, 16)
    assert "no device" in str(raised.value)


def test_egl_without_a_driver_names_the_packages():
    """End to end, in a process whose EGL finds no driver."""
    if rendering.backend() != "egl":
        pytest.skip("no EGL here")
    code = "import gymnasium as g; g.make('gqn_transfer.envs:gqn_transfer/Reach-v0').reset()"
    nowhere = {"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere", "__EGL_VENDOR_LIBRARY_FILENAMES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | nowhere | {"MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert APT_LINE in done.stderr


def test_the_renderer_describes_itself():
    described = rendering.describe_renderer()
    assert described["backend"] == rendering.backend()
    assert described["renderer"]
    assert described["version"]
