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
from gqn_transfer.envs.rendering import LABEL_ARM, LABEL_FINGERS, geom_labels

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
    for geom in np.flatnonzero(np.isin(geom_labels(arm), (LABEL_ARM, LABEL_FINGERS))):
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


# Where the hand points.


def axis_at(model: mujoco.MjModel, joints: np.ndarray) -> np.ndarray:
    """(3,): the direction out of the hand, in data of our own."""
    data = mujoco.MjData(model)
    data.qpos[:6] = joints
    mujoco.mj_kinematics(model, data)
    return data.site(HAND_SITE).xmat.reshape(3, 3)[:, 2].copy()


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def poses_near_home(model: mujoco.MjModel, count: int, seed: int) -> np.ndarray:
    """(count, 6): known to be possible, whatever is asked of their hands."""
    rng = np.random.default_rng(seed)
    return np.clip(HOME + rng.uniform(-0.7, 0.7, (count, 6)), *joint_limits(model))


def within_limits(model: mujoco.MjModel, joints: np.ndarray) -> bool:
    low, high = joint_limits(model)
    return bool(((joints >= low) & (joints <= high)).all())


def test_hand_and_axis_are_forward_kinematics(arm):
    kinematics = Kinematics(arm)
    for joints in poses_near_home(arm, 20, 5):
        np.testing.assert_allclose(kinematics.hand(joints), hand_at(arm, joints), atol=1e-12)
        np.testing.assert_allclose(kinematics.hand_axis(joints), axis_at(arm, joints), atol=1e-12)


def test_solved_axes_are_within_two_degrees(arm):
    kinematics = Kinematics(arm)
    for pose in poses_near_home(arm, 100, 6):
        axis = axis_at(arm, pose)
        joints = kinematics.solve(HOME, axis=axis)
        assert joints is not None
        assert degrees_between(axis_at(arm, joints), axis) <= 2
        assert within_limits(arm, joints)


def test_solved_positions_and_axes_hold_together(arm):
    kinematics, solved = Kinematics(arm), 0
    for pose in poses_near_home(arm, 200, 7):
        position, axis = hand_at(arm, pose), axis_at(arm, pose)
        joints = kinematics.solve(HOME, position, axis)
        if joints is not None:
            assert np.linalg.norm(hand_at(arm, joints) - position) <= TOLERANCE
            assert degrees_between(axis_at(arm, joints), axis) <= 2
            assert within_limits(arm, joints)
            solved += 1
    assert solved >= 195


@pytest.mark.parametrize(
    "axis", [(0, 0, -1), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (-0.6, 0, -0.8), (0.6, 0, 0.8)]
)
def test_any_direction_can_be_pointed_in(arm, axis):
    joints = Kinematics(arm).solve(HOME, axis=np.array(axis, float))
    assert degrees_between(axis_at(arm, joints), np.array(axis)) <= 2


def test_the_hand_turns_right_round(arm):
    """From an axis to its opposite, where the way to turn is anyone's choice."""
    opposite = -axis_at(arm, HOME)
    joints = Kinematics(arm).solve(HOME, axis=opposite, iterations=200)
    assert degrees_between(axis_at(arm, joints), opposite) <= 2


def test_a_solved_aim_points_at_the_target_from_where_the_hand_then_is(arm):
    kinematics, rng, solved = Kinematics(arm), np.random.default_rng(8), 0
    for target in rng.uniform([-0.75, -0.3, 0.05], [-0.15, 0.3, 0.55], (200, 3)):
        joints = kinematics.solve(HOME, aim=target)
        if joints is not None:
            assert degrees_between(axis_at(arm, joints), target - hand_at(arm, joints)) <= 2
            assert within_limits(arm, joints)
            solved += 1
    assert solved >= 180


def test_solved_positions_and_aims_hold_together(arm):
    kinematics, rng, solved = Kinematics(arm), np.random.default_rng(9), 0
    for pose in poses_near_home(arm, 200, 10):
        position = hand_at(arm, pose)
        target = position + rng.uniform(0.1, 0.5) * axis_at(arm, pose)
        joints = kinematics.solve(HOME, position, aim=target)
        if joints is not None:
            assert np.linalg.norm(hand_at(arm, joints) - position) <= TOLERANCE
            assert degrees_between(axis_at(arm, joints), target - hand_at(arm, joints)) <= 2
            solved += 1
    assert solved >= 195


@pytest.mark.parametrize(
    "goal",
    [
        {"position": (-0.95, 0, 0.3), "axis": (1, 0, 0)},  # stretched out, the hand cannot look back
        {"position": (-1.5, 0, 0.3), "axis": (0, 0, -1)},
        {"position": (-1.5, 0, 0.3), "aim": (-0.5, 0, 0.3)},
        {"position": (-0.95, 0, 0.3), "aim": (-0.5, 0, 0.3)},
    ],
)
def test_none_where_one_of_two_wishes_cannot_be(arm, goal):
    assert Kinematics(arm).solve(HOME, **{key: np.array(value, float) for key, value in goal.items()}) is None


def test_none_when_iterations_do_not_suffice(arm):
    target = hand_at(arm, HOME + np.eye(6)[0])
    assert Kinematics(arm).solve(HOME, target, iterations=2) is None
    assert Kinematics(arm).solve(HOME, target, iterations=60) is not None


def test_a_start_that_serves_is_kept(arm):
    joints = Kinematics(arm).solve(HOME, hand_at(arm, HOME), axis_at(arm, HOME))
    np.testing.assert_array_equal(joints, HOME)


# The same answers, whatever was asked before.


@pytest.mark.parametrize("scene", ["reach.xml", "press.xml", "push.xml", "place.xml"])
def test_answers_do_not_depend_on_earlier_questions(scene):
    """Bit for bit: of a solver that is new, and of one that has solved and looked for contacts elsewhere."""
    model = load_model(scene)
    fresh, used, rng = Kinematics(model), Kinematics(model), np.random.default_rng(11)
    elsewhere = mujoco.MjData(model)
    for pose in poses_near_home(model, 20, 12):
        elsewhere.qpos[:] += rng.uniform(-0.3, 0.3, model.nq)
        elsewhere.mocap_pos[:] = rng.uniform(-0.5, 0.5, elsewhere.mocap_pos.shape)
        used.arm_touches(elsewhere, HOME + rng.uniform(-1, 1, 6))
        used.solve(HOME + rng.uniform(-1, 1, 6), rng.uniform(-0.6, 0.6, 3))
        position, axis = hand_at(model, pose), axis_at(model, pose)
        goals = (
            {"position": position},
            {"axis": axis},
            {"aim": position},
            {"position": position, "axis": axis},
        )
        for goal in goals:
            first, second = (solver.solve(HOME, **goal) for solver in (Kinematics(model), used))
            assert (first is None) == (second is None)
            if first is not None:
                np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(fresh.hand(pose), used.hand(pose))
        np.testing.assert_array_equal(fresh.hand_axis(pose), used.hand_axis(pose))


def test_contacts_do_not_depend_on_earlier_questions():
    kinematics = Kinematics(load_model("press.xml"))
    here, there = mujoco.MjData(kinematics.model), mujoco.MjData(kinematics.model)
    here.mocap_pos[0], there.mocap_pos[0] = [-0.4, 0.0, 0.0], [-0.6, 0.2, 0.0]
    for data in (here, there):
        data.qpos[6:9] = 0.6
    pressing = kinematics.solve(HOME, np.array([-0.4, 0.0, 0.05]))
    assert [kinematics.arm_touches(data, pressing) for data in (here, there, here)] == [True, False, True]


# What the arm touches.


def data_of(scene: str) -> tuple[Kinematics, mujoco.MjData]:
    """A solver, and data with half open fingers."""
    kinematics = Kinematics(load_model(scene))
    data = mujoco.MjData(kinematics.model)
    data.qpos[6:9] = 0.6
    return kinematics, data


def test_the_arm_at_home_touches_nothing():
    for scene in ("reach.xml", "pose.xml", "press.xml", "grasp.xml", "push.xml", "place.xml"):
        kinematics, data = data_of(scene)
        assert not kinematics.arm_touches(data, HOME)


@pytest.mark.parametrize(("height", "touches"), [(0.2, False), (0.15, False), (0.0, True), (-0.05, True)])
def test_a_hand_in_the_floor_touches(height, touches):
    kinematics, data = data_of("reach.xml")
    joints = kinematics.solve(HOME, np.array([-0.5, 0, height]), np.array([0, 0, -1.0]))
    assert kinematics.arm_touches(data, joints) == touches


@pytest.mark.parametrize(("joint_3", "touches"), [(0.34, True), (0.9, False)])
def test_a_folded_arm_touches_itself(joint_3, touches):
    """The hand against the upper arm, high above the floor."""
    kinematics, data = data_of("pose.xml")
    joints = np.array([0, 1.5, joint_3, 0, 0.5, 0])
    assert kinematics.hand(joints)[2] > 0.3
    assert kinematics.arm_touches(data, joints) == touches


@pytest.mark.parametrize(("away", "touches"), [(0.05, True), (0.3, False)])
def test_a_hand_in_a_can_touches(away, touches):
    """The can is where `data` has it, not where the XML has it."""
    kinematics, data = data_of("grasp.xml")
    data.qpos[9:16] = [-0.4, 0.1 + away, 0.2, 1, 0, 0, 0]
    joints = kinematics.solve(HOME, np.array([-0.4, 0.1, 0.2]), np.array([0, 0, -1.0]))
    assert kinematics.arm_touches(data, joints) == touches


@pytest.mark.parametrize(("fingers", "touches"), [(0.1, False), (1.3, True)])
def test_the_fingers_are_where_the_data_have_them(fingers, touches):
    """A can between the fingers is touched by closed ones only."""
    kinematics, data = data_of("grasp.xml")
    data.qpos[6:9] = fingers
    data.qpos[9:16] = [-0.4, 0.1, 0.2, 1, 0, 0, 0]
    joints = kinematics.solve(HOME, np.array([-0.4, 0.1, 0.2]), np.array([0, 0, -1.0]))
    assert kinematics.arm_touches(data, joints) == touches


@pytest.mark.parametrize(("turn", "touches"), [((1, 0, 0, 0), True), ((0, 1, 0, 0), False)])
def test_the_button_is_turned_as_the_data_have_it(turn, touches):
    """Upside down it lies below the floor."""
    kinematics, data = data_of("press.xml")
    data.mocap_pos[0], data.mocap_quat[0] = [-0.4, 0.0, 0.0], turn
    joints = kinematics.solve(HOME, np.array([-0.4, 0.0, 0.05]))
    assert kinematics.arm_touches(data, joints) == touches


def test_things_that_touch_each_other_do_not_count():
    """A can in the floor, far from the arm."""
    kinematics, data = data_of("grasp.xml")
    data.qpos[9:16] = [-0.4, 0.5, 0.0, 1, 0, 0, 0]
    mujoco.mj_forward(kinematics.model, data)
    assert data.ncon
    assert not kinematics.arm_touches(data, HOME)


def test_a_target_to_reach_cannot_be_touched():
    kinematics, data = data_of("reach.xml")
    data.mocap_pos[0] = kinematics.hand(HOME)
    assert not kinematics.arm_touches(data, HOME)


def test_looking_for_contacts_leaves_the_data_alone():
    kinematics, data = data_of("grasp.xml")
    before = data.qpos.copy(), data.mocap_pos.copy()
    kinematics.arm_touches(data, HOME + 1)
    np.testing.assert_array_equal(data.qpos, before[0])
    np.testing.assert_array_equal(data.mocap_pos, before[1])
