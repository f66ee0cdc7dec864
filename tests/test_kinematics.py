"""The arm's chain, limits and servos against the Jaco's own files, and inverse kinematics against forward."""

import importlib.util
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

import gqn_transfer.envs  # noqa: F401
from gqn_transfer.envs.kinematics import (
    ARM_JOINTS,
    FINGER_JOINTS,
    HAND_SITE,
    HOME,
    TOLERANCE,
    Kinematics,
    joint_limits,
    joint_speeds,
)
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.rendering import LABEL_ARM, geom_labels

JOINTS = ARM_JOINTS + FINGER_JOINTS
IN_THE_HAND = ("hand", "b_finger", "finger", "pinchsite", "gripsite")
SERVOS = {
    **dict.fromkeys(ARM_JOINTS[:3], (500.0, np.deg2rad(36), 30.5)),
    **dict.fromkeys(ARM_JOINTS[3:], (500.0, np.deg2rad(48), 6.8)),
    **dict.fromkeys(FINGER_JOINTS, (10.0, 5.0, 1.0)),
}
"""Joint -> velocity gain, largest velocity (rad/s), largest torque (N m)."""


@pytest.fixture(scope="module")
def arm() -> mujoco.MjModel:
    """The arm in its room: what the environments simulate."""
    return load_model("reach.xml")


@pytest.fixture(scope="module")
def jaco() -> mujoco.MjModel:
    """The Jaco as dm_control ships it: read as files, because dm_control itself cannot be imported."""
    package = importlib.util.find_spec("dm_control")
    if package is None or package.origin is None:
        pytest.skip("the Jaco's files are not here: pip install 'gqn-transfer[mesh]'")
    folder = Path(package.origin).parent / "third_party/kinova"
    arm, hand = (mujoco.MjSpec.from_file(str(folder / f"jaco_{part}.xml")) for part in ("arm", "hand"))
    arm.attach(hand, site=arm.site("wristsite"), prefix="hand/")
    return arm.compile()


def in_jaco(name: str) -> str:
    """Our name of a body, joint or site -> the name in the attached Jaco."""
    return f"hand/{name}" if name.startswith(IN_THE_HAND) else name


def body_names(model: mujoco.MjModel) -> list[str]:
    """What hangs on the arm's base."""
    base = model.body("b_base").id
    return [model.body(body).name for body in np.flatnonzero(model.body_rootid == base)]


def random_configuration(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    limited = model.jnt_limited.astype(bool)
    low, high = np.where(limited, model.jnt_range.T, [[-np.pi], [np.pi]])
    return rng.uniform(low, high)


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Radians between two flat rotation matrices; exact for small angles, where arccos is not."""
    turn = a.reshape(3, 3).T @ b.reshape(3, 3)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return float(np.arctan2(np.linalg.norm(axis), np.trace(turn) - 1))


def hand_at(model: mujoco.MjModel, joints: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(model)
    data.qpos[:6] = joints
    mujoco.mj_kinematics(model, data)
    return data.site(HAND_SITE).xpos.copy()


def test_the_arm_has_the_jacos_bodies_and_joints(arm, jaco):
    assert {in_jaco(name) for name in body_names(arm)} == set(body_names(jaco))
    assert [in_jaco(name) for name in JOINTS] == [jaco.joint(j).name for j in range(jaco.njnt)]
    assert list(JOINTS) == [arm.joint(j).name for j in range(arm.njnt)]


def test_every_body_is_where_the_jacos_is(arm, jaco):
    rng = np.random.default_rng(0)
    ours, theirs = mujoco.MjData(arm), mujoco.MjData(jaco)
    pairs = [(arm.body(name).id, jaco.body(in_jaco(name)).id) for name in body_names(arm)]
    mine, other = np.array(pairs).T
    worst_shift = worst_turn = 0.0
    for _ in range(1000):
        ours.qpos[:] = theirs.qpos[:] = random_configuration(arm, rng)
        mujoco.mj_kinematics(arm, ours)
        mujoco.mj_kinematics(jaco, theirs)
        worst_shift = max(worst_shift, np.abs(ours.xpos[mine] - theirs.xpos[other]).max())
        turns = map(angle_between, ours.xmat[mine], theirs.xmat[other])
        worst_turn = max(worst_turn, *turns)
    assert worst_shift <= 1e-6
    assert worst_turn <= 1e-6


@pytest.mark.parametrize("site", ["pinchsite", "gripsite"])
def test_the_hands_sites_are_where_the_jacos_are(arm, jaco, site):
    rng = np.random.default_rng(1)
    ours, theirs = mujoco.MjData(arm), mujoco.MjData(jaco)
    for _ in range(100):
        ours.qpos[:] = theirs.qpos[:] = random_configuration(arm, rng)
        mujoco.mj_kinematics(arm, ours)
        mujoco.mj_kinematics(jaco, theirs)
        mine, other = ours.site(site), theirs.site(in_jaco(site))
        np.testing.assert_allclose(mine.xpos, other.xpos, atol=1e-6)
        assert angle_between(mine.xmat, other.xmat) <= 1e-6


def test_joint_ranges_and_passive_forces_are_the_jacos(arm, jaco):
    for name in JOINTS:
        ours, theirs = arm.joint(name), jaco.joint(in_jaco(name))
        assert arm.jnt_limited[ours.id] == jaco.jnt_limited[theirs.id], name
        np.testing.assert_allclose(ours.range, theirs.range, atol=1e-9, err_msg=name)
        for field in ("armature", "damping", "frictionloss"):
            assert getattr(ours, field)[0] == getattr(theirs, field)[0], f"{name} {field}"


def test_masses_and_centres_of_mass_are_the_jacos(arm, jaco):
    for name in body_names(arm):
        ours, theirs = arm.body(name), jaco.body(in_jaco(name))
        assert ours.mass[0] == pytest.approx(theirs.mass[0], rel=1e-6), name
        np.testing.assert_allclose(ours.ipos, theirs.ipos, atol=6e-4, err_msg=name)  # rounded to 1 mm


@pytest.mark.parametrize("joint", JOINTS)
def test_servos_have_the_jacos_limits(arm, joint):
    gain, velocity, torque = SERVOS[joint]
    servo = arm.actuator(joint)
    assert servo.trnid[0] == arm.joint(joint).id
    assert arm.actuator_gainprm[servo.id, 0] == gain
    np.testing.assert_array_equal(arm.actuator_biasprm[servo.id, :3], [0, 0, -gain])
    assert arm.actuator_ctrllimited[servo.id]
    assert arm.actuator_forcelimited[servo.id]
    np.testing.assert_allclose(servo.ctrlrange, [-velocity, velocity], atol=1e-6)
    np.testing.assert_array_equal(servo.forcerange, [-torque, torque])


def test_contact_parameters_are_the_jacos(arm):
    for geom in np.flatnonzero(geom_labels(arm) == LABEL_ARM):
        is_finger = arm.geom(geom).name.startswith("finger")
        assert (arm.geom_contype[geom], arm.geom_conaffinity[geom]) == (3, 2)
        assert arm.geom_condim[geom] == (4 if is_finger else 3)


@pytest.mark.parametrize(
    ("joints", "position"),
    [
        ((0, np.pi, np.pi, 0, 0, 0), (0.015, 0.0619, 1.2141)),
        ((0, 3.3, 1.6, 0, 0.5, 0), (-0.5624, 0.0708, 0.5297)),
    ],
    ids=["upright", "home"],
)
def test_known_hand_positions(arm, joints, position):
    np.testing.assert_allclose(hand_at(arm, np.array(joints)), position, atol=6e-5)


def test_home_is_the_documented_pose():
    np.testing.assert_array_equal(HOME, [0.0, 3.3, 1.6, 0.0, 0.5, 0.0])


@pytest.mark.parametrize("joints", [HOME, (0, 4.71, 3.14, 0, 0, 0), (1.0, 4.0, 2.0, 1.0, 1.0, 0)])
def test_the_arm_does_not_sag(arm, joints):
    data = mujoco.MjData(arm)
    data.qpos[:6], data.qpos[6:] = joints, 0.6
    start = data.qpos.copy()
    mujoco.mj_step(arm, data, round(5 / arm.opt.timestep))
    np.testing.assert_allclose(data.qpos, start, atol=1e-4)


def test_full_action_turns_the_joints_at_their_limits():
    env = gymnasium.make("gqn_transfer/Reach-v0", obs="state").unwrapped
    env.reset(seed=0)
    limits = np.array([SERVOS[joint][1] for joint in ARM_JOINTS])
    fastest = np.zeros(6)
    for action in (1.0, -1.0):
        for _ in range(15):
            env.step(np.full(7, action, np.float32))
            fastest = np.maximum(fastest, np.abs(env.data.qvel[:6]))
    assert (fastest <= limits * 1.001).all()
    assert (fastest >= limits * 0.95).all()


def test_joint_speeds_are_the_servos_limits(arm):
    np.testing.assert_allclose(joint_speeds(arm), [SERVOS[joint][1] for joint in ARM_JOINTS], atol=1e-6)


def test_seconds_needed_is_the_slowest_joints_time(arm):
    goal = HOME + np.deg2rad([36, -72, 0, 0, 48, 144])
    assert Kinematics(arm).seconds_needed(HOME, goal) == pytest.approx(3.0, abs=1e-5)


def test_joints_stay_within_their_limits(arm):
    rng = np.random.default_rng(2)
    data = mujoco.MjData(arm)
    data.qpos[:6], data.qpos[6:] = HOME, 0.6
    limited = arm.jnt_limited.astype(bool)
    low, high = arm.jnt_range[limited].T
    for _ in range(60):
        data.ctrl[:] = rng.choice([-1, 1], arm.nu) * arm.actuator_ctrlrange[:, 1]
        for _ in range(10):
            mujoco.mj_step(arm, data, 20)
            assert (data.qpos[limited] >= low - 0.02).all()
            assert (data.qpos[limited] <= high + 0.02).all()


def test_inverse_kinematics_reaches_where_the_hand_can_be(arm):
    """Targets are hand positions of poses near home, so each is known to be reachable."""
    rng = np.random.default_rng(3)
    low, high = joint_limits(arm)
    kinematics = Kinematics(arm)
    for _ in range(200):
        target = hand_at(arm, np.clip(HOME + rng.uniform(-0.8, 0.8, 6), low, high))
        start = HOME.copy()
        joints = kinematics.solve(start, target)
        assert joints is not None
        np.testing.assert_array_equal(start, HOME)
        assert np.linalg.norm(hand_at(arm, joints) - target) <= TOLERANCE
        assert (joints >= low).all()
        assert (joints <= high).all()


def test_inverse_kinematics_respects_limits_on_the_way_to_the_base(arm):
    """Targets close to the base press joints 2 and 3 against their limits."""
    rng = np.random.default_rng(4)
    low, high = joint_limits(arm)
    kinematics, at_a_limit = Kinematics(arm), 0
    for _ in range(300):
        joints = kinematics.solve(HOME, rng.uniform([-0.2, -0.2, 0.0], [0.0, 0.2, 0.3]))
        if joints is not None:
            assert (joints >= low).all()
            assert (joints <= high).all()
            at_a_limit += bool(((joints == low) | (joints == high)).any())
    assert at_a_limit > 0


@pytest.mark.parametrize("target", [(-1.5, 0, 0.3), (0, 0, 1.4), (-0.7, -0.7, 0.3)])
def test_inverse_kinematics_gives_none_out_of_reach(arm, target):
    assert Kinematics(arm).solve(HOME, np.array(target)) is None
