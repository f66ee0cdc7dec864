"""What actions do: shares of the joints' speed limits, or the hand's velocity in the room."""

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

import gqn_transfer.envs  # noqa: F401
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.control import CONTROLS, Cartesian, checked_actions
from gqn_transfer.envs.kinematics import HAND_SITE
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.envs.vector import ArmVectorEnv

JOINT_SPEEDS = np.deg2rad([36, 36, 36, 48, 48, 48])
FINGER_SPEED, HAND_SPEED = 1.5, 0.25
"""rad/s and m/s at full command."""
BY_JOINTS_ONLY = ("Pose-v0", "Point-v0")
BY_HAND = [name for name in TASKS if name not in BY_JOINTS_ONLY]
DIRECTIONS = np.concatenate([np.eye(3), -np.eye(3)])

by_hand = pytest.mark.parametrize("name", BY_HAND)


def make(name: str, control: str, seed: int = 0, **arguments: Any) -> ArmEnv:
    env = gymnasium.make(f"gqn_transfer/{name}", control=control, obs="state", **arguments).unwrapped
    env.reset(seed=seed)
    return env


def in_the_open(name: str, seed: int) -> ArmEnv:
    """Driven by the hand, which rests at least 20 cm over the floor: nothing is in its way."""
    env = make(name, "cartesian", seed)
    while hand_of(env)[0][2] < 0.2:
        env.step(np.float32([0, 0, 1, 0]))
    for _ in range(2):
        env.step(np.zeros(4, np.float32))
    return env


def hand_of(env: ArmEnv) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) and rotation (3, 3), computed in other data than the environment's."""
    data = mujoco.MjData(env.model)
    data.qpos[:] = env.data.qpos
    mujoco.mj_kinematics(env.model, data)
    site = data.site(HAND_SITE)
    return site.xpos.copy(), site.xmat.reshape(3, 3).copy()


def drive(
    env: ArmEnv, velocity: np.ndarray, steps: int = 4, fingers: float = 0.0
) -> tuple[np.ndarray, float]:
    """Mean velocity (3,) of the hand in m/s after the first step, largest share of a joint's limit."""
    env.step(np.float32([*velocity, fingers]))
    before, fastest = hand_of(env)[0], 0.0
    for _ in range(steps - 1):
        env.step(np.float32([*velocity, fingers]))
        fastest = max(fastest, np.max(np.abs(env.data.qvel[:6]) / JOINT_SPEEDS))
    return (hand_of(env)[0] - before) / (0.1 * (steps - 1)), fastest


def turn_between(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two rotation matrices."""
    return float(np.rad2deg(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


# By the hand's velocity.


@by_hand
@pytest.mark.parametrize("direction", DIRECTIONS, ids=["x", "y", "z", "-x", "-y", "-z"])
def test_the_hand_goes_where_it_is_told_at_a_quarter_metre_a_second(name, direction):
    """Slower, but no other way, where a joint is at its limit."""
    for seed in range(3):
        velocity, fastest = drive(in_the_open(name, seed), direction)
        speed = np.linalg.norm(velocity)
        assert velocity @ direction > 0.98 * speed
        assert speed < 1.05 * HAND_SPEED
        assert speed > (0.4 if fastest > 0.98 else 0.9) * HAND_SPEED


@by_hand
@pytest.mark.parametrize("direction", DIRECTIONS, ids=["x", "y", "z", "-x", "-y", "-z"])
def test_the_hand_keeps_its_orientation(name, direction):
    for seed in range(3):
        env = in_the_open(name, seed)
        before = hand_of(env)[1]
        drive(env, direction)
        assert turn_between(before, hand_of(env)[1]) < 10


@by_hand
def test_half_an_action_is_half_the_speed(name):
    velocity, _ = drive(in_the_open(name, 0), np.array([0, 0.5, 0]))
    np.testing.assert_allclose(velocity, [0, 0.5 * HAND_SPEED, 0], atol=0.015)


@by_hand
def test_axes_add_up(name):
    velocity, _ = drive(in_the_open(name, 0), np.array([0.3, -0.5, 0.4]))
    np.testing.assert_allclose(velocity, HAND_SPEED * np.array([0.3, -0.5, 0.4]), atol=0.03)


@by_hand
def test_no_action_is_no_motion(name):
    env = make(name, "cartesian")
    before = env.data.qpos[:6].copy()
    for _ in range(10):
        env.step(np.zeros(4, np.float32))
    np.testing.assert_allclose(env.data.qpos[:6], before, atol=2e-3)


@by_hand
def test_joints_keep_to_their_limits_however_the_hand_is_driven(name):
    """Also where the arm is stretched out and its Jacobian is nearly singular."""
    env, rng = make(name, "cartesian"), np.random.default_rng(0)
    limits = np.append(JOINT_SPEEDS, [FINGER_SPEED] * 3) * (1 + 1e-6)
    for step in range(100):
        if step % 20 == 0:
            action = rng.choice([-1.0, 1.0], 4)
        env.step(action)
        assert (np.abs(env.data.ctrl) <= limits).all()
        assert (np.abs(env.data.qvel[:6]) <= 1.05 * JOINT_SPEEDS).all()


def test_where_a_joint_would_be_too_fast_the_whole_motion_slows_down():
    """All joints by the same factor, so that the direction stays; what is slow enough is left alone."""
    control, rng = Cartesian(load_model("reach.xml")), np.random.default_rng(0)
    slowed = 0
    for _ in range(100):
        jacobian, action = rng.normal(0, 0.15, (6, 6)), rng.uniform(-1, 1, 4)
        full, little = control.commands(action, jacobian), control.commands(0.01 * action, jacobian)
        assert (np.abs(little[:6]) < JOINT_SPEEDS).all()
        excess = np.max(np.abs(100 * little[:6]) / JOINT_SPEEDS)
        np.testing.assert_allclose(full[:6], 100 * little[:6] / max(excess, 1), rtol=1e-5)
        np.testing.assert_allclose(full[6:], FINGER_SPEED * action[3])
        slowed += excess > 1
    assert 20 < slowed < 100


@by_hand
@pytest.mark.parametrize("sign", [1, -1])
def test_the_last_action_moves_the_three_fingers_alone(name, sign):
    env = make(name, "cartesian")
    if name == "Push-v0":  # a fist has no way to close
        env.data.qpos[6:9] = 0.7
    before = env.data.qpos[:9].copy()
    for _ in range(3):
        env.step(np.float32([0, 0, 0, sign]))
    moved = env.data.qpos[:9] - before
    np.testing.assert_allclose(moved[:6], 0, atol=0.01)
    np.testing.assert_array_equal(env.data.ctrl[6:], [sign * FINGER_SPEED] * 3)
    if name != "Place-v0":  # there the can is in the way
        assert (sign * moved[6:] > 0.15).all()
        assert (sign * moved[6:] <= 0.3 * FINGER_SPEED).all()


@by_hand
def test_fingers_and_hand_move_together(name):
    env = make(name, "cartesian")
    velocity, _ = drive(env, np.array([0, 0.5, 0.5]), fingers=-0.5)
    np.testing.assert_allclose(velocity, HAND_SPEED * np.array([0, 0.5, 0.5]), atol=0.03)
    np.testing.assert_array_equal(env.data.ctrl[6:], [-0.5 * FINGER_SPEED] * 3)


@pytest.mark.parametrize("name", BY_JOINTS_ONLY)
@pytest.mark.parametrize("make_one", [ArmEnv, ArmVectorEnv])
def test_tasks_that_need_every_joint_refuse_it_by_name(name, make_one):
    with pytest.raises(ValueError, match=rf"{name[:-3]}.*control='cartesian'.*'joint_velocity'"):
        make_one(name, control="cartesian", obs="state")


# By the joints' velocities.


@pytest.mark.parametrize("name", TASKS)
def test_joint_actions_are_shares_of_the_speed_limits(name):
    env, rng = make(name, "joint_velocity"), np.random.default_rng(1)
    limits = np.append(JOINT_SPEEDS, [FINGER_SPEED] * 3)
    for _ in range(5):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        env.step(action)
        np.testing.assert_allclose(env.data.ctrl, action[[0, 1, 2, 3, 4, 5, 6, 6, 6]] * limits, rtol=1e-6)


def test_joints_turn_at_the_speed_that_is_told():
    env = make("Reach-v0", "joint_velocity")
    action = np.float32([0.5, -0.25, 0.75, -0.5, 0.25, 1.0, 0.5])
    for _ in range(4):
        env.step(action)
    before = env.data.qpos.copy()
    for _ in range(3):
        env.step(action)
    turned = (env.data.qpos - before) / 0.3
    np.testing.assert_allclose(turned[:6], action[:6] * JOINT_SPEEDS, rtol=0.05)
    np.testing.assert_allclose(turned[6:], 0.5 * FINGER_SPEED, rtol=0.2)


@pytest.mark.parametrize("control", CONTROLS)
def test_many_rows_are_commanded_as_each_alone(control):
    """Bit for bit, at any number of rows."""
    made, rng = CONTROLS[control](load_model("reach.xml")), np.random.default_rng(2)
    actions, jacobians = rng.uniform(-1, 1, (9, made.action_size)), rng.normal(0, 0.5, (9, 6, 6))
    alone = [made.commands(a, j) for a, j in zip(actions, jacobians, strict=True)]
    for rows in (1, 2, 5, 9):
        np.testing.assert_array_equal(made.commands(actions[:rows], jacobians[:rows]), alone[:rows])


# Bad actions.


def test_good_actions_are_passed_on_as_they_are():
    given = np.float32([[0.5, -1.0, 1.0], [0.0, -0.25, 0.75]])
    checked = checked_actions(given, (2, 3))
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, given)


def test_actions_beyond_one_are_clipped_in_a_copy():
    given = np.array([3.0, -1.5, 0.5])
    np.testing.assert_array_equal(checked_actions(given, (3,)), [1.0, -1.0, 0.5])
    np.testing.assert_array_equal(given, [3.0, -1.5, 0.5])


def test_whole_numbers_are_actions_too():
    np.testing.assert_array_equal(checked_actions(np.array([1, 0, -2]), (3,)), [1.0, 0.0, -1.0])


@pytest.mark.parametrize("shape", [(), (2,), (4,), (1, 3), (3, 1)])
def test_another_shape_is_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match=r"expected \(3,\)") as raised:
        checked_actions(np.zeros(shape), (3,))
    assert str(shape) in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_what_is_no_number_is_refused(value, place):
    actions = np.zeros((2, 3))
    actions[place] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        checked_actions(actions, (2, 3))
