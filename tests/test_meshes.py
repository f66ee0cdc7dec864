"""The arm in the Jaco's meshes: the same physics as the arm of primitives, bit for bit, and another look."""

import copy
import importlib.machinery
import importlib.util
import pickle
import sys
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from gqn_transfer.envs import ENV_IDS, meshes
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.cameras import DOME, FIXED_CAMERA
from gqn_transfer.envs.experts import grasp_expert
from gqn_transfer.envs.kinematics import HOME
from gqn_transfer.envs.looks import randomize_look
from gqn_transfer.envs.meshes import MESHES, NoMeshesError
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.rendering import LABEL_ARM, LABEL_FINGERS, geom_labels, renderer_for
from gqn_transfer.envs.vector import ArmVectorEnv

ARM = (LABEL_ARM, LABEL_FINGERS)
INSTALL = r"pip install 'gqn-transfer\[mesh\]'"
SCENES = sorted({find_task(env_id.split("/")[1]).scene for env_id in ENV_IDS})
SAME_FIELDS = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_invweight0", "dof_armature")
LINKS_AND_FINGERS = {
    **{f"b_{link}": f"link_{link}" for link in range(1, 6)},
    **{f"b_finger_{finger}": f"finger_{finger}" for finger in (1, 2, 3)},
}
"""Body -> its primitive."""

needs_meshes = pytest.mark.skipif(
    importlib.util.find_spec("dm_control") is None, reason="no dm-control: pip install 'gqn-transfer[mesh]'"
)
every_task = pytest.mark.parametrize("env_id", ENV_IDS)
every_scene = pytest.mark.parametrize("scene", SCENES)
every_look = pytest.mark.parametrize("level", ["none", "colors", "full"])


@pytest.fixture
def model() -> mujoco.MjModel:
    """The mesh arm in its room; a copy that a test may repaint."""
    return copy.copy(load_model("reach.xml", "mesh"))


def compile_anew() -> mujoco.MjModel:
    """What an environment does first, by-passing the models already compiled."""
    return load_model.__wrapped__("reach.xml", "mesh")


def make(env_id: str, arm: str, **arguments) -> ArmEnv:
    return gymnasium.make(env_id, arm=arm, **arguments).unwrapped


def states(env: ArmEnv, actions) -> tuple[np.ndarray, list]:
    """(T, nq + nv + 1) positions, velocities and rewards, and the names of the geoms in touch, by step.

    An action is an array (7,) or an expert.
    """
    env.reset(seed=3)
    rows, touching = [], []
    for action in actions:
        _, reward, *_ = env.step(action(env) if callable(action) else action)
        rows.append(np.concatenate([env.data.qpos, env.data.qvel, [reward]]))
        touching.append([[env.model.geom(geom).name for geom in pair] for pair in env.data.contact.geom])
    return np.array(rows), touching


def at_home(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:6], data.qpos[6:9] = HOME, 0.6
    mujoco.mj_forward(model, data)
    return data


def draw(model: mujoco.MjModel, camera=FIXED_CAMERA) -> np.ndarray:
    return renderer_for(model, 64).image(model, at_home(model), camera).astype(int)


def labels_of(model: mujoco.MjModel, camera=FIXED_CAMERA) -> np.ndarray:
    return renderer_for(model, 64).labels(model, at_home(model), camera)


def mesh_geoms(model: mujoco.MjModel, *bodies: str) -> np.ndarray:
    """Indices of the mesh geoms, of `bodies` only if there are any."""
    of_body = np.isin(model.geom_bodyid, [model.body(body).id for body in bodies or MESHES])
    return np.flatnonzero(of_body & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH))


def without(model: mujoco.MjModel, geoms: np.ndarray) -> mujoco.MjModel:
    """A copy in which these geoms are transparent, so that MuJoCo leaves them out."""
    bare = copy.copy(model)
    bare.geom_rgba[geoms] = 0
    return bare


def mesh_poses(model: mujoco.MjModel) -> dict[tuple[str, str], np.ndarray]:
    """(body, mesh) -> position and quaternion of the geom in its body, (7,)."""
    return {
        (model.body(model.geom_bodyid[geom]).name, model.mesh(model.geom_dataid[geom]).name): np.concatenate(
            [model.geom_pos[geom], model.geom_quat[geom]]
        )
        for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
    }


# Physics.


@needs_meshes
@every_task
def test_trajectories_are_those_of_the_primitive_arm(env_id):
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 7)).astype(np.float32)
    (plain, plain_touching), (dressed, touching) = (
        states(make(env_id, arm, obs="state"), actions) for arm in ("primitive", "mesh")
    )
    np.testing.assert_array_equal(dressed, plain)
    assert touching == plain_touching


@needs_meshes
def test_a_grasp_is_that_of_the_primitive_arm():
    """The expert's, with contacts of fingers, can and floor: each arm with its own solver."""
    env_id = "gqn_transfer/Grasp-v0"
    (plain, plain_touching), (dressed, touching) = (
        states(make(env_id, arm, obs="state"), [grasp_expert] * 100) for arm in ("primitive", "mesh")
    )
    np.testing.assert_array_equal(dressed, plain)
    assert touching == plain_touching
    in_touch = {name for pairs in touching for pair in pairs for name in pair}
    assert {name[-1] for name in in_touch if name.startswith("finger")} == {"1", "2", "3"}
    assert dressed[-1, 11] > 0.09  # the can is up


@needs_meshes
def test_forces_are_the_same_wherever_the_arm_is():
    """Random configurations, most of them in contact with the floor, the can or the arm itself."""
    rng, pairs = np.random.default_rng(0), [load_model("grasp.xml", arm) for arm in ("primitive", "mesh")]
    contacts = 0
    for _ in range(200):
        configuration = np.concatenate([rng.uniform(-np.pi, np.pi, 6) + HOME, rng.uniform(0.15, 1.35, 3)])
        both = [mujoco.MjData(model) for model in pairs]
        for model, data in zip(pairs, both, strict=True):
            data.qpos[:9] = configuration
            mujoco.mj_forward(model, data)
        contacts += both[0].ncon
        np.testing.assert_array_equal(both[0].contact.dist, both[1].contact.dist)
        np.testing.assert_array_equal(both[0].qacc, both[1].qacc)
    assert contacts > 500


@needs_meshes
@every_scene
@pytest.mark.parametrize("field", SAME_FIELDS)
def test_masses_and_inertias_are_those_of_the_primitive_arm(scene, field):
    plain, dressed = (getattr(load_model(scene, arm), field) for arm in ("primitive", "mesh"))
    assert plain.any()
    np.testing.assert_array_equal(dressed, plain)


@needs_meshes
def test_meshes_touch_nothing(model):
    geoms = mesh_geoms(model)
    assert len(geoms) == 14
    assert not model.geom_contype[geoms].any()
    assert not model.geom_conaffinity[geoms].any()


@needs_meshes
def test_dm_control_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "dm_control", raising=False)
    compile_anew()
    assert "dm_control" not in sys.modules


# Look.


@needs_meshes
def test_meshes_are_where_the_jacos_are(model):
    folder = Path(importlib.util.find_spec("dm_control").origin).parent / "third_party/kinova"
    parts = [mujoco.MjModel.from_xml_path(str(folder / f"jaco_{part}.xml")) for part in ("arm", "hand")]
    theirs = mesh_poses(parts[0]) | mesh_poses(parts[1])
    ours = mesh_poses(model)
    assert ours.keys() == theirs.keys()
    for which, pose in ours.items():
        np.testing.assert_allclose(pose, theirs[which], atol=1e-9, err_msg=str(which))


@needs_meshes
@every_scene
def test_primitives_of_the_arm_are_not_drawn(scene):
    """Without the meshes there is no arm to see, from anywhere, in the image or in the labels."""
    model, rng = load_model(scene, "mesh"), np.random.default_rng(0)
    bare = without(model, mesh_geoms(model))
    painted = copy.copy(bare)
    painted.geom_rgba[np.isin(geom_labels(model), ARM) & (painted.geom_rgba[:, 3] > 0)] = (1, 0, 1, 1)
    for camera in (FIXED_CAMERA, DOME.sample(rng), DOME.sample(rng)):
        assert np.isin(labels_of(model, camera), ARM).sum() > 50
        assert not np.isin(labels_of(bare, camera), ARM).any()
        np.testing.assert_array_equal(draw(painted, camera), draw(bare, camera))


@needs_meshes
def test_it_looks_like_another_arm_in_the_same_place(model):
    """Against the primitives: other pixels, a silhouette of its own, but most of it shared."""
    plain = load_model("reach.xml")
    assert (draw(model) != draw(plain)).any(axis=-1).sum() > 50
    arms = [np.isin(labels_of(each), ARM) for each in (model, plain)]
    shared = (arms[0] & arms[1]).sum() / (arms[0] | arms[1]).sum()
    assert 0.5 < shared < 0.95


@needs_meshes
@every_look
def test_labels_mark_the_meshes_as_arm(model, level):
    """The pixels that change when the meshes go are the ones labelled arm."""
    randomize_look(model, np.random.default_rng(0), level)
    assert np.isin(geom_labels(model)[mesh_geoms(model)], ARM).all()
    changed = (draw(model) != draw(without(model, mesh_geoms(model)))).any(axis=-1)
    assert changed.sum() > 100
    assert (np.isin(labels_of(model), ARM) != changed).sum() <= 3


@needs_meshes
@every_look
def test_fingers_and_their_neighbours_are_tellable_apart(model, level):
    """At 64 x 64, from the fixed camera: three fingers and the hand, four colours."""
    randomize_look(model, np.random.default_rng(0), level)
    image, colours = draw(model), []
    for bodies in (["hand"], *([f"b_finger_{finger}", f"b_finger_tip_{finger}"] for finger in (1, 2, 3))):
        seen = (image != draw(without(model, mesh_geoms(model, *bodies)))).any(axis=-1)
        assert seen.sum() >= 8, bodies
        colours.append(image[seen].mean(axis=0))
    away = np.linalg.norm(np.array(colours)[:, None] - colours, axis=-1)
    assert away[~np.eye(4, dtype=bool)].min() > 50


@needs_meshes
@every_look
def test_meshes_have_the_colours_of_their_primitives(model, level):
    """The same seed tints both arms alike."""
    plain = copy.copy(load_model("reach.xml"))
    for each in (model, plain):
        randomize_look(each, np.random.default_rng(1), level)
    for body, primitive in LINKS_AND_FINGERS.items():
        (mesh,) = mesh_geoms(model, body)
        expected = plain.geom(primitive)
        np.testing.assert_array_equal(model.geom_rgba[mesh], expected.rgba)
        assert model.mat(model.geom_matid[mesh]).name == plain.mat(expected.matid[0]).name
    untouched = load_model("reach.xml", "mesh").geom_rgba[mesh_geoms(model)]
    assert (model.geom_rgba[mesh_geoms(model)] != untouched).any() == (level != "none")


@needs_meshes
def test_both_arms_keep_their_looks_when_drawn_in_turns(model):
    plain = load_model("reach.xml")
    pictures = [draw(model), draw(plain)]
    for _ in range(3):
        np.testing.assert_array_equal(draw(model), pictures[0])
        np.testing.assert_array_equal(draw(plain), pictures[1])


@needs_meshes
@every_scene
def test_a_scene_fits_the_renderer(scene):
    """Room in its list of geoms, and an own segmentation colour for each."""
    assert load_model(scene, "mesh").ngeom < 200


# Environments.


@needs_meshes
def test_a_vector_of_mesh_arms_sees_what_single_ones_see():
    arguments = {"arm": "mesh", "randomize": "full", "camera": "jump"}
    together = ArmVectorEnv("Grasp-v0", 2, workers=2, **arguments)
    alone = [make("gqn_transfer/Grasp-v0", **arguments) for _ in range(2)]
    seen, _ = together.reset(seed=5)
    expected = [env.reset(seed=5 + k)[0] for k, env in enumerate(alone)]
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 7)).astype(np.float32):
        seen, *_ = together.step(np.stack([action, action]))
        expected = [env.step(action)[0] for env in alone]
    together.close()
    difference = np.abs(seen["image"].astype(int) - np.stack([one["image"] for one in expected]))
    assert (difference <= 2).mean() >= 0.995


@needs_meshes
def test_a_pickled_environment_goes_on_with_its_meshes():
    env = make("gqn_transfer/Reach-v0", "mesh", randomize="colors")
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    action = np.ones(7, np.float32)
    np.testing.assert_array_equal(twin.step(action)[0]["image"], env.step(action)[0]["image"])


# Without the meshes.


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)  # how Python marks what cannot be imported
    with pytest.raises(NoMeshesError, match=INSTALL):
        compile_anew()


def test_an_empty_folder_is_not_the_package(monkeypatch):
    folder = importlib.machinery.ModuleSpec("dm_control", None, is_package=True)
    monkeypatch.setattr(meshes.importlib.util, "find_spec", lambda name: folder)
    with pytest.raises(NoMeshesError, match=INSTALL):
        compile_anew()


@pytest.mark.parametrize("missing", ["base", "finger_distal"])
def test_a_package_without_a_file_names_the_file(monkeypatch, tmp_path, missing):
    """A package of that name, first on the path, whose import would fail."""
    folder = tmp_path / "dm_control" / meshes.FOLDER
    folder.mkdir(parents=True)
    (tmp_path / "dm_control/__init__.py").write_text("raise RuntimeError('imported')")
    for name in {name for names in MESHES.values() for name in names} - {missing}:
        (folder / f"{name}.stl").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NoMeshesError, match=rf"dm_control/{meshes.FOLDER}/{missing}\.stl.*{INSTALL}"):
        compile_anew()


def test_it_is_an_import_error():
    assert issubclass(NoMeshesError, ImportError)


def test_the_primitive_arm_needs_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    assert load_model.__wrapped__("reach.xml").nmesh == 0
