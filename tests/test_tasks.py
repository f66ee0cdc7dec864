"""Every task against its docstring: reward terms, success, goals and things, computed here a second time."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import pytest

import gqn_transfer.envs  # noqa: F401
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.experts import EXPERTS
from gqn_transfer.envs.frames import Frame
from gqn_transfer.envs.grasp import GRIP_HEIGHT, Grasp
from gqn_transfer.envs.kinematics import HAND_SITE, HOME, joint_limits, joint_speeds
from gqn_transfer.envs.models import kinematics_of
from gqn_transfer.envs.place import Place
from gqn_transfer.envs.point import Point
from gqn_transfer.envs.pose import Pose
from gqn_transfer.envs.press import Press
from gqn_transfer.envs.push import Push
from gqn_transfer.envs.reach import TARGET_BOX, Reach
from gqn_transfer.envs.registry import TASKS, find_task
from gqn_transfer.envs.setting import Setting
from gqn_transfer.envs.state import STATE_COLUMNS
from gqn_transfer.envs.task import Bench
from gqn_transfer.envs.things import free_pose, stand
from gqn_transfer.envs.track import RADII, Track
from gqn_transfer.envs.vector import ArmVectorEnv

NAMES = tuple(TASKS)
HOLD = {"Track-v0": 10, "Grasp-v0": 5}
"""Consecutive steps that success takes, where it takes more than one."""
WORKSPACE = np.array([[-0.75, -0.3, 0.05], [-0.15, 0.3, 0.55]])
FLOOR = np.array([[-0.62, -0.22], [-0.34, 0.22]])
"""Corners of the rectangle of things on the floor."""
BUTTONS = np.array([[-0.68, -0.28], [-0.3, 0.28]])
POSE_TOLERANCE = np.array([0.15, 0.15, 0.15, 0.15, 0.4, 0.4])
POSE_RANGE = np.array([1.4, 0.8, 1.0, 1.8, 1.8, 1.8])
DOWN = np.array([0.0, 0.0, -1.0])
OPEN, STILL, CLOSED = (np.array([0, 0, 0, 0, 0, 0, fingers], np.float32) for fingers in (-1, 0, 1))

every_task = pytest.mark.parametrize("name", NAMES)
few_or_many = pytest.mark.parametrize("goals", [300, pytest.param(10_000, marks=pytest.mark.slow)])


def make(name: str, **arguments: Any) -> ArmEnv:
    return gymnasium.make(f"gqn_transfer/{name}", **{"obs": "state"} | arguments).unwrapped


def between(values: np.ndarray, corners: np.ndarray) -> bool:
    """True if every row lies in the box with these two corners."""
    low, high = corners
    return bool((values >= low - 1e-9).all() and (values <= high + 1e-9).all())


# What is there, read from simulator data of our own.


class Seen(NamedTuple):
    joints: np.ndarray
    torques: np.ndarray
    """Of the fingers' servos."""
    hand: np.ndarray
    axis: np.ndarray
    target: np.ndarray
    thing: np.ndarray
    lowest: float
    """Height of the thing's lowest point."""


def fresh_data(env: ArmEnv) -> mujoco.MjData:
    """The positions of `env` in other data, computed anew."""
    data = mujoco.MjData(env.model)
    data.qpos[:], data.mocap_pos[:] = env.data.qpos, env.data.mocap_pos
    mujoco.mj_forward(env.model, data)
    return data


def bodies(model: mujoco.MjModel) -> set[str]:
    return {model.body(k).name for k in range(model.nbody)}


def lowest_point(data: mujoco.MjData) -> float:
    """Of the rims of the cylinder called object: a can or a cap."""
    geom, turn = data.geom("object"), np.linspace(0, 2 * np.pi, 3000)
    radius, half_height, _ = data.model.geom("object").size
    rim = radius * np.column_stack([np.cos(turn), np.sin(turn), 0 * turn])
    up = geom.xmat.reshape(3, 3)[2]
    return float(geom.xpos[2] + (rim @ up).min() - half_height * abs(up[2]))


def seen(env: ArmEnv) -> Seen:
    data, names, nowhere = fresh_data(env), bodies(env.model), np.zeros(3)
    site = data.site(HAND_SITE)
    target, thing = (data.body(b).xpos.copy() if b in names else nowhere for b in ("target", "object"))
    lowest = lowest_point(data) if "object" in names else 0.0
    axis = site.xmat.reshape(3, 3)[:, 2].copy()
    torques = np.array([env.data.actuator(f"finger_{k}").force[0] for k in (1, 2, 3)])
    return Seen(data.qpos[:6].copy(), torques, site.xpos.copy(), axis, target, thing, lowest)


def touching_the_arm(data: mujoco.MjData) -> set[str]:
    """Names of the bodies that the arm touches; its own links count as "arm"."""
    model, names = data.model, set()
    base = model.body("b_base").id
    for pair in data.contact.geom:
        roots = model.body_rootid[model.geom_bodyid[pair]]
        if base in roots:
            other = max(roots, key=lambda root: root != base)
            names.add("arm" if other == base else model.body(other).name)
    return names


# Reward terms and success, from the docstrings.


def norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def near(distance: float, scale: float) -> float:
    return 1 - np.tanh(distance / scale)


def bell(distance: float, scale: float) -> float:
    return np.exp(-((distance / scale) ** 2))


def share(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


Expected = tuple[dict[str, float], bool]


def reach(now: Seen, plan: np.ndarray) -> Expected:
    away = norm(now.hand - now.target)
    return {"nearness": near(away, 0.5), "precision": bell(away, 0.1)}, away <= 0.05


def pose(now: Seen, plan: np.ndarray) -> Expected:
    angles = np.abs(np.angle(np.exp(1j * (now.joints - plan))))  # across whole turns
    errors = angles / POSE_TOLERANCE
    terms = {
        "nearness": np.mean([near(error, 5) for error in errors]),
        "precision": bell(np.sqrt(np.mean(errors**2)), 2),
    }
    return terms, bool((angles <= POSE_TOLERANCE).all())


def point(now: Seen, plan: np.ndarray) -> Expected:
    line = now.target - now.hand
    angle = np.arccos(np.clip(now.axis @ line / norm(line), -1, 1))
    return {"nearness": near(angle, 1), "precision": bell(angle, 0.2)}, np.rad2deg(angle) <= 10


def press(now: Seen, plan: np.ndarray) -> Expected:
    pressed = share(0.085 - now.thing[2], 0, 0.03)
    return {"nearness": near(norm(now.hand - now.thing), 0.3), "pressed": pressed}, pressed >= 0.8


def grasp(now: Seen, plan: np.ndarray) -> Expected:
    away = norm(now.hand - now.thing)
    terms = {
        "nearness": near(away, 0.15),
        "grip": share(now.torques.mean(), 0, 1) * bell(away, 0.04),
        "raised": share(now.lowest, 0.001, 0.01),
        "lifted": share(now.lowest, 0, 0.05),
    }
    return terms, now.lowest >= 0.05


def push(now: Seen, plan: np.ndarray) -> Expected:
    way = norm(now.thing[:2] - now.target[:2])
    terms = {
        "inside": near(norm(now.hand - [*now.thing[:2], now.thing[2] + 0.01]), 0.1),
        "done": share(plan[0] - way, 0, plan[0]),
        "precision": bell(way, 0.06),
    }
    return terms, way <= 0.06


def place(now: Seen, plan: np.ndarray) -> Expected:
    way = norm(now.thing[:2] - now.target[:2])
    precision = bell(way, 0.06)
    terms = {
        "grip": share(now.torques.mean(), 0, 1) * bell(norm(now.hand - now.thing), 0.04),
        "nearness": near(way, 0.2),
        "precision": precision,
        "lowered": precision * (1 - share(now.lowest, 0, 0.12)),
    }
    return terms, way <= 0.05 and now.lowest <= 0.01


EXPECTED: dict[str, Callable[[Seen, np.ndarray], Expected]] = {
    "Reach-v0": reach,
    "Pose-v0": pose,
    "Point-v0": point,
    "Track-v0": reach,
    "Press-v0": press,
    "Grasp-v0": grasp,
    "Push-v0": push,
    "Place-v0": place,
}


@every_task
def test_terms_and_success_through_episodes_are_the_docstrings(name):
    """The expert until it has succeeded for a while, then random actions, which lose it again or do not."""
    env, rng, outcomes = make(name), np.random.default_rng(0), set()
    for seed in range(2):
        held, wins = [], 0
        _, info = env.reset(seed=seed)
        for _ in range(env.task.horizon):
            terms, holds = EXPECTED[name](seen(env), env.plan)
            assert info["reward_terms"] == pytest.approx(terms, abs=1e-6)
            held.append(holds)
            success = len(held) >= HOLD.get(name, 1) and all(held[-HOLD.get(name, 1) :])
            assert info["success"] == success
            outcomes.add(success)
            wins += success
            *_, info = env.step(EXPERTS[name](env) if wins < 5 else rng.uniform(-1, 1, 7))
    assert outcomes == {False, True}


def scatter(env: ArmEnv, name: str, rng: np.random.Generator, nearly: bool) -> None:
    """Everything at random places; `nearly`: where the task is about done."""
    data = env.data
    data.qpos[:6] = HOME + rng.uniform(-1, 1, 6)
    data.qpos[6:9] = rng.uniform(0.1, 1.4, 3)
    data.actuator_force[6:9] = rng.uniform(-0.5, 1, 3)
    if name == "Pose-v0" and nearly:
        data.qpos[:6] = env.plan + rng.uniform(-1.2, 1.2, 6) * POSE_TOLERANCE
        data.qpos[[0, 3, 4, 5]] += 2 * np.pi * rng.integers(-2, 3, 4)
    mujoco.mj_kinematics(env.model, data)
    hand, axis = env.frame.hand.copy(), env.frame.hand_axis.copy()
    if env.model.nmocap:
        ahead = 0.3 * axis if name == "Point-v0" else 0.0
        spot = hand + ahead + rng.normal(0, 0.03, 3) if nearly else rng.uniform(*WORKSPACE)
        data.mocap_pos[0] = [*spot[:2], 0] if name in ("Press-v0", "Push-v0", "Place-v0") else spot
    if name == "Press-v0":
        data.qpos[9] = -0.03 * rng.beta(0.5, 0.5)
    elif env.model.nq == 16:
        near_by = data.mocap_pos[0] if env.model.nmocap else hand
        data.qpos[9:12] = near_by + rng.normal(0, 0.04, 3) if nearly else rng.uniform(*WORKSPACE)
        data.qpos[11] = rng.uniform(0.02, 0.12)
        turn = rng.normal(size=4) if rng.random() < 0.5 else [1, 0, 0, 0]
        data.qpos[12:16] = turn / np.linalg.norm(turn)
    mujoco.mj_kinematics(env.model, data)


@every_task
def test_terms_and_condition_anywhere_are_the_docstrings(name):
    """Also where no episode goes soon: cans upside down, joints that have turned round."""
    env, rng, outcomes = make(name), np.random.default_rng(1), []
    env.reset(seed=0)
    for trial in range(200):
        scatter(env, name, rng, nearly=trial % 2 == 0)
        terms, holds = EXPECTED[name](seen(env), env.plan)
        found = env.task.reward_terms(env.frame, env.plan)
        assert {key: float(value) for key, value in found.items()} == pytest.approx(terms, abs=2e-6)
        assert env.task.condition(env.frame, env.plan) == holds
        outcomes.append(holds)
    assert 10 < sum(outcomes) < 190


# Holding for several steps.


def half_height_of_the_can() -> float:
    return float(make("Grasp-v0").model.geom("object").size[1])


def frame_where(name: str, holds: bool) -> Frame:
    """A frame in which the condition of Track or Grasp holds, or just does not."""
    eye, zero = np.eye(3), np.zeros(3)
    hand = np.array([0.049 if holds else 0.051, 0, 0])
    thing = np.array([0, 0, half_height_of_the_can() + (0.051 if holds else 0.049)])
    return Frame(np.zeros(6), zero, np.zeros(9), zero, hand, eye, zero, thing, eye, zero)


@pytest.mark.parametrize("name", HOLD)
@pytest.mark.parametrize("reward", ["dense", "sparse"])
def test_success_takes_consecutive_steps_and_one_miss_starts_over(name, reward):
    setting, hold, plan = Setting(find_task(name), obs="state", reward=reward), HOLD[name], np.zeros(0)
    pattern = [True] * (hold - 1) + [False] + [True] * (hold + 2) + [False, True]
    successes, streak = [], np.zeros((), int)
    for holds in pattern:
        judgement = setting.judge(frame_where(name, holds), plan, streak)
        streak = judgement.streak
        successes.append(bool(judgement.success))
        if reward == "sparse":
            assert judgement.reward == float(judgement.success)
    assert successes == [False] * (2 * hold - 1) + [True] * 3 + [False] * 2


class HoldFour(Reach):
    """A task that always holds, and succeeds at the fourth time."""

    hold_steps = 4

    def condition(self, frame: Frame, plan: np.ndarray) -> np.ndarray:
        return np.ones(frame.hand.shape[:-1], bool)


def test_a_new_episode_starts_a_new_streak():
    env = ArmEnv(HoldFour(), obs="state")
    for _ in range(2):
        infos = [env.reset(seed=0)[1]] + [env.step(STILL)[4] for _ in range(4)]
        assert [info["success"] for info in infos] == [False, False, False, True, True]


def test_a_new_episode_among_many_starts_a_new_streak_alone():
    """The second of three episodes ends at the first and the sixth step, the third at the second."""
    envs, ends = ArmVectorEnv(HoldFour(), 3, obs="state"), {1: 1, 2: 2, 6: 1}
    envs.reset(seed=0)
    infos = []
    for step in range(1, 7):
        if step in ends:
            envs._steps[ends[step]] = envs.task.horizon - 1
        infos.append(envs.step(np.stack([STILL] * 3))[4])
    assert [info["success"].tolist() for info in infos] == [
        [False, False, False],
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, False, True],
    ]
    finals = [infos[step - 1]["final_info"]["success"][index] for step, index in ends.items()]
    assert finals == [False, False, True]


# Goals: where the docstrings say, and reachable by inverse kinematics of our own.


Error = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of the hand's position and axis; zero where they are as wished, in metres."""


class Solver:
    """Gauss-Newton on numerical derivatives, undamped; each joint is charged by its speed limit."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.limits, self.speeds = joint_limits(model), joint_speeds(model)
        self.site = self.data.site(HAND_SITE)

    def solve(self, start: np.ndarray, error: Error, within: float = np.inf) -> np.ndarray:
        """Joints at which `error` is below a centimetre, `within` seconds of `start` at full speed.

        Where the way down from `start` itself ends elsewhere, it is tried from near it.
        """
        rng = np.random.default_rng(0)
        for spread in (0.0, 0.1, 0.1, 0.2, 0.2, 0.3):
            joints = self._descend(start + rng.normal(0, spread, 6), error)
            if joints is not None and np.max(np.abs(joints - start) / self.speeds) <= within:
                return joints
        raise AssertionError(f"no pose found from {start} within {within} s")

    def _descend(self, joints: np.ndarray, error: Error) -> np.ndarray | None:
        for _ in range(60):
            now = self._at(joints, error)
            if norm(now) < 0.01:
                return joints
            slopes = np.array([self._at(joints + nudge, error) - now for nudge in np.eye(6) * 1e-6]).T / 1e-6
            step = -self.speeds * np.linalg.lstsq(slopes * self.speeds, now, rcond=1e-2)[0]
            joints = np.clip(joints + step * min(1, 0.3 / np.abs(step).max()), *self.limits)
        return None

    def _at(self, joints: np.ndarray, error: Error) -> np.ndarray:
        self.data.qpos[:6] = joints
        mujoco.mj_kinematics(self.model, self.data)
        return error(self.site.xpos, self.site.xmat[2::3])


def at(place: np.ndarray) -> Error:
    return lambda hand, axis: hand - place


def aiming_at(target: np.ndarray) -> Error:
    return lambda hand, axis: 0.15 * (axis - (target - hand) / norm(target - hand))


def pointing_down_at(place: np.ndarray, height: float) -> Error:
    goal = np.append(place, height)
    return lambda hand, axis: np.concatenate([hand - goal, 0.15 * (axis - DOWN)])


def starts(name: str, goals: int):
    """The environment at `goals` starts, and what is seen in each."""
    env = make(name)
    for seed in range(goals):
        env.reset(seed=seed)
        yield env, seen(env)


def assert_fills(places: list[np.ndarray], corners: np.ndarray) -> None:
    """All within the box, and spread over most of it."""
    assert between(np.array(places), corners)
    assert (np.ptp(places, axis=0) > 0.85 * (corners[1] - corners[0])).all()


@few_or_many
def test_reach_goals(goals):
    """In the workspace, 15 cm from the hand, within 60 % of the horizon at the speed limits."""
    solver, targets = Solver(make("Reach-v0").model), []
    for _, now in starts("Reach-v0", goals):
        assert norm(now.target - now.hand) >= 0.15
        solver.solve(now.joints, at(now.target), within=3.0)
        targets.append(now.target)
    assert_fills(targets, WORKSPACE)


def bench_of(scene: str, joint_1: float = 0.0) -> Bench:
    """The arm at home, but for its first joint, with half open fingers."""
    kinematics = kinematics_of(scene)
    bench = Bench(mujoco.MjData(kinematics.model), kinematics)
    bench.data.qpos[:6], bench.data.qpos[6:9] = HOME, 0.6
    bench.data.qpos[0] += joint_1
    return bench


@pytest.mark.parametrize(
    ("joint_1", "target", "reachable"),
    [
        (0.0, (-0.5, -0.2, 0.3), True),
        (1.5, (-0.5, -0.2, 0.3), True),
        (3.0, (-0.5, -0.2, 0.3), False),  # 4 seconds away at 36 degrees a second
        (0.0, (-1.2, 0.0, 0.3), False),  # out of reach
        (0.0, (-0.5, 0.0, 0.0), False),  # fingers in the floor
    ],
)
def test_reach_knows_what_is_reachable(joint_1, target, reachable):
    assert Reach().is_reachable(bench_of("reach.xml", joint_1), np.array(target)) == reachable


@pytest.mark.parametrize(
    ("joint_1", "target", "reachable"),
    [
        (0.0, (-0.5, -0.2, 0.3), True),
        (0.0, (-2.0, 0.0, 0.3), True),  # one can point at what is far away
        (0.0, (0.5, 0.0, 0.3), False),  # behind the arm's own base
    ],
)
def test_point_knows_what_is_reachable(joint_1, target, reachable):
    assert Point().is_reachable(bench_of("reach.xml", joint_1), np.array(target)) == reachable


@pytest.mark.parametrize(
    ("joint_1", "button", "reachable"),
    [
        (0.0, (-0.5, -0.2, 0), True),
        (3.0, (-0.5, -0.2, 0), False),  # too long a turn
        (0.0, (-1.2, 0, 0), False),  # out of reach
        (0.0, (-0.08, 0, 0), False),  # at the arm's foot
    ],
)
def test_press_knows_what_is_reachable(joint_1, button, reachable):
    bench = bench_of("press.xml", joint_1)
    bench.data.mocap_pos[0] = button
    assert Press().is_reachable(bench, bench.data.mocap_pos[0]) == reachable


@pytest.mark.parametrize(("place", "reachable"), [((-0.5, 0.1), True), ((-1.0, 0.1), False)])
def test_grasp_knows_what_is_reachable(place, reachable):
    assert Grasp().is_reachable(bench_of("grasp.xml"), np.array(place)) == reachable


@pytest.mark.parametrize(
    ("ring", "spot", "pushable"),
    [
        ((-0.5, 0.1), (-0.5, -0.1), True),
        ((-0.95, 0.0), (-0.6, 0.0), False),  # no way to get inside the ring
        ((-0.6, 0.0), (-0.95, 0.0), False),  # no way to follow it to the spot
    ],
)
def test_push_knows_what_can_be_pushed(ring, spot, pushable):
    assert Push().is_pushable(bench_of("push.xml"), np.array(ring), np.array(spot)) == pushable


@few_or_many
def test_pose_goals(goals):
    """About the start, within limits and reach, free of contact; one of the first joints has to turn."""
    turns = []
    for env, now in starts("Pose-v0", goals):
        low, high = joint_limits(env.model)
        turn = env.plan - now.joints
        assert np.abs(turn[:4]).max() >= 0.5
        assert (low <= env.plan).all()
        assert (env.plan <= high).all()
        assert np.max(np.abs(turn) / joint_speeds(env.model)) <= 3.0
        env.data.qpos[:6] = env.plan
        data = fresh_data(env)
        assert touching_the_arm(data) == set()
        assert data.site(HAND_SITE).xpos[2] >= 0.08
        assert norm(data.site(HAND_SITE).xpos - [-0.45, 0, 0.3]) <= 0.42 + 1e-9
        turns.append(turn)
    assert_fills(turns, np.array([-POSE_RANGE, POSE_RANGE]))


def test_pose_tells_the_oracle_how_far_each_joint_has_to_turn():
    """The short way round: adding the turns to the joints gives the goal."""
    env = make("Pose-v0")
    for seed in range(5):
        env.reset(seed=seed)
        observation, *_ = env.step(np.ones(7))
        columns = [STATE_COLUMNS.index(f"joint_{k}_to_goal") for k in range(1, 7)]
        turns = observation["state"][columns]
        assert (np.abs(turns) <= np.pi).all()
        np.testing.assert_allclose(np.exp(1j * (env.data.qpos[:6] + turns)), np.exp(1j * env.plan), atol=1e-5)


@pytest.mark.parametrize("obs", ["state", "pixels"])
def test_pose_goals_are_told_as_sines_and_cosines(obs):
    """Through the whole episode, and they are all that the agent hears of the plan."""
    env = make("Pose-v0", obs=obs)
    for seed in range(3):
        observations = [env.reset(seed=seed)[0]] + [env.step(CLOSED)[0] for _ in range(3)]
        expected = np.float32([np.sin(a) for a in env.plan] + [np.cos(a) for a in env.plan])
        for observation in observations:
            np.testing.assert_allclose(observation["goal"], expected, atol=1e-6)


@pytest.mark.parametrize("obs", ["state", "pixels"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "Pose-v0"])
def test_other_goals_are_not_told(name, obs):
    env = make(name, obs=obs, image_size=16)
    assert not env.reset(seed=0)[0]["goal"].any()
    assert not env.step(CLOSED)[0]["goal"].any()


@few_or_many
def test_point_goals(goals):
    """In the workspace, 25 cm and 30 degrees away, within 60 % of the horizon at the speed limits."""
    solver, targets = Solver(make("Point-v0").model), []
    for _, now in starts("Point-v0", goals):
        line = now.target - now.hand
        assert norm(line) >= 0.25
        assert now.axis @ line / norm(line) <= np.cos(np.deg2rad(30)) + 1e-9
        solver.solve(now.joints, aiming_at(now.target), within=3.0)
        targets.append(now.target)
    assert_fills(targets, WORKSPACE)


@few_or_many
def test_track_goals(goals):
    """Round the whole ellipse, one place from the next, the first within 60 % of the horizon."""
    solver = Solver(make("Track-v0").model)
    for env, now in starts("Track-v0", goals):
        joints = solver.solve(now.joints, at(now.target), within=3.0)
        steps_of_a_turn = 20 * np.pi / abs(env.plan[9])
        for turn in np.linspace(0, 1, 8, endpoint=False):
            target = env.task.target_at(env.plan, np.asarray(turn * steps_of_a_turn))
            joints = solver.solve(joints, at(target))  # fails where the hand cannot get there
            assert RADII[0] <= np.linalg.norm(target - env.plan[:3]) <= RADII[1]
            assert ((target >= TARGET_BOX[0]) & (target <= TARGET_BOX[1])).all()


@few_or_many
def test_press_goals(goals):
    """On the floor in front of the arm; the hand gets above the cap in time and without touching."""
    solver, buttons = Solver(make("Press-v0").model), []
    for env, now in starts("Press-v0", goals):
        np.testing.assert_allclose(now.thing, [*now.target[:2], 0.085], atol=1e-9)
        env.data.qpos[:6] = solver.solve(now.joints, at(now.thing - 0.05 * DOWN), within=3.0)
        assert touching_the_arm(fresh_data(env)) == set()
        assert now.target[2] == 0
        buttons.append(now.target[:2])
    assert_fills(buttons, BUTTONS)


@few_or_many
def test_grasp_goals(goals):
    """The hand starts between around the can and 18 cm, the higher the farther aside, and can grip."""
    solver, places, offsets, shares = Solver(make("Grasp-v0").model), [], [], []
    for env, now in starts("Grasp-v0", goals):
        assert now.lowest == pytest.approx(0, abs=1e-9)
        assert now.axis @ DOWN >= np.cos(np.deg2rad(2.1))
        assert touching_the_arm(fresh_data(env)) == set()
        solver.solve(now.joints, pointing_down_at(now.thing[:2], GRIP_HEIGHT))
        shares.append((now.hand[2] - GRIP_HEIGHT) / (0.18 - GRIP_HEIGHT))
        offsets.append(now.hand[:2] - now.thing[:2])
        assert np.abs(offsets[-1]).max() <= 0.1 * shares[-1] + 0.01
        places.append(now.thing[:2])
    assert_fills(places, FLOOR)
    assert between(np.array(shares), np.array([-0.04, 1.04]))
    assert np.ptp(shares) > 0.9
    assert np.ptp(offsets, axis=0).min() > 0.15


@few_or_many
def test_push_goals(goals):
    """The spot lies 15 to 30 cm from the ring; the hand can be in it and where it pushes; it starts above."""
    solver, rings, spots, ways, offsets = Solver(make("Push-v0").model), [], [], [], []
    for env, now in starts("Push-v0", goals):
        ring, spot = now.thing[:2], now.target[:2]
        way = spot - ring
        assert now.thing[2] == pytest.approx(0.02)
        assert now.axis @ DOWN >= np.cos(np.deg2rad(2.1))
        assert touching_the_arm(fresh_data(env)) == set()
        joints = solver.solve(now.joints, pointing_down_at(ring, 0.03))
        solver.solve(joints, pointing_down_at(spot + 0.04 * way / norm(way), 0.03))
        rings.append(ring)
        spots.append(spot)
        ways.append(norm(way))
        offsets.append(now.hand - [*ring, 0.0])
    assert_fills(rings, FLOOR)
    assert_fills(spots, FLOOR)
    assert between(np.array(ways), np.array([0.15, 0.30]))
    assert np.ptp(ways) > 0.14
    assert between(np.abs(offsets), np.array([[0, 0, 0.074], [0.066, 0.066, 0.146]]))
    assert (np.ptp(offsets, axis=0) > [0.1, 0.1, 0.05]).all()


@pytest.mark.parametrize("goals", [300, pytest.param(5_000, marks=pytest.mark.slow)])
def test_place_goals(goals):
    """The spot lies 12 to 30 cm from the can, which hangs in the hand; the hand can be over the spot."""
    solver, cans, spots, ways = Solver(make("Place-v0").model), [], [], []
    can_height = 2 * half_height_of_the_can()
    for env, now in starts("Place-v0", goals):
        can, spot = now.thing[:2], now.target[:2]
        assert touching_the_arm(fresh_data(env)) <= {"object"}
        assert norm(now.hand - now.thing) < 0.04
        assert now.hand[2] == pytest.approx(0.17, abs=0.03)
        assert now.axis @ DOWN >= np.cos(np.deg2rad(4))
        solver.solve(now.joints, pointing_down_at(spot, can_height))
        cans.append(can)
        spots.append(spot)
        ways.append(norm(can - spot))
    assert between(np.array(ways), np.array([0.09, 0.33]))  # a can may slip 3 cm as the fingers close
    assert np.ptp(ways) > 0.15
    assert_fills(spots, FLOOR)
    assert between(np.array(cans), FLOOR + np.array([[-0.03], [0.03]]))


@pytest.mark.parametrize(
    ("hand", "free"),
    [
        ((-0.5, 0.1, 0.18), True),
        ((-0.5, 0.1, 0.04), True),
        ((-0.5, 0.1, 0), False),
        ((-0.5, 0.14, 0.03), False),
        ((-1.2, 0, 0.1), False),
    ],
)
def test_a_free_pose_points_down_and_touches_nothing(hand, free):
    """Over the can and around it, but not in it nor in the floor, and None out of reach."""
    bench = bench_of("grasp.xml")
    stand(bench, np.array([-0.5, 0.1]), half_height_of_the_can())
    joints = free_pose(bench, np.array(hand))
    assert (joints is not None) == free
    if free:
        np.testing.assert_allclose(bench.kinematics.hand(joints), hand, atol=0.005)
        assert bench.kinematics.hand_axis(joints) @ DOWN >= np.cos(np.deg2rad(2))


@pytest.mark.parametrize(
    ("task", "check"),
    [
        (Reach, "is_reachable"),
        (Pose, "is_posable"),
        (Point, "is_reachable"),
        (Track, "_is_followable"),
        (Press, "is_reachable"),
        (Grasp, "is_reachable"),
        (Push, "is_pushable"),
        (Place, "grip"),
    ],
)
def test_what_a_check_refuses_is_drawn_again(monkeypatch, task, check):
    """Two goals are refused here, and the third is taken."""
    asked = []

    def answer(self: Any, bench: Bench, *goal: np.ndarray) -> bool:
        asked.append(bench)
        return len(asked) == 3

    monkeypatch.setattr(task, check, answer)
    ArmEnv(task(), obs="state").reset(seed=0)
    assert len(asked) == 3


# Things that move, and things that lie still.


def test_track_targets_run_along_an_ellipse_in_the_workspace():
    """Of half axes of 8 to 14 cm in any plane, one turn in 7 to 10 seconds.

    On an ellipse, and nowhere else, the acceleration is proportional to the way back to one centre.
    """
    env, periods, half_axes, normals = make("Track-v0"), [], [], []

    def path_at(steps: np.ndarray) -> np.ndarray:
        return env.task.target_at(np.tile(env.plan, (len(steps), 1)), steps)

    for seed in range(300):
        env.reset(seed=seed)
        path = path_at(np.arange(20))
        bend = path[2:] - 2 * path[1:-1] + path[:-2]
        along, pull = path[1:-1] - path[1:-1].mean(0), bend - bend.mean(0)
        strength = -(along * pull).sum() / (along**2).sum()
        np.testing.assert_allclose(pull, -strength * along, atol=1e-9)
        centre = path[1:-1].mean(0) + bend.mean(0) / strength
        periods.append(0.1 * 2 * np.pi / np.arccos(1 - strength / 2))
        whole = path_at(10 * periods[-1] * np.arange(360) / 360)
        assert between(whole, WORKSPACE)
        half_axes.append(np.linalg.svdvals(whole - centre) / np.sqrt(180))
        normals.append(np.cross(whole[0] - centre, whole[90] - centre))
    assert between(np.array(periods), np.array([7 - 1e-6, 10 + 1e-6]))
    assert np.ptp(periods) > 2.8
    assert between(np.array(half_axes), np.array([[0.08, 0.08, 0], [0.14, 0.14, 0]]))
    assert (np.ptp(half_axes, axis=0)[:2] > 0.05).all()
    assert (np.sign(normals).min(0) == -1).all()
    assert (np.sign(normals).max(0) == 1).all()


def test_track_moves_the_target_at_every_step():
    """Where `target_at` says it is, in the simulator and in what the agent sees."""
    env = make("Track-v0")
    env.reset(seed=0)
    for step in range(1, 51):
        env.step(STILL)
        expected = env.task.target_at(env.plan, np.asarray(step))
        np.testing.assert_array_equal(seen(env).target, expected)


def as_the_docstring_says(name: str) -> tuple[float, float, float]:
    """Width and height in centimetres, mass in grams of the task's object."""
    sentence = r"([\d.]+) cm wide, ([\d.]+) cm tall, (\d+) g"
    return tuple(map(float, re.search(sentence, find_task(name).__doc__).groups()))


def test_the_can_is_as_wide_tall_and_heavy_as_grasp_says():
    wide, tall, heavy = as_the_docstring_says("Grasp-v0")
    model = make("Grasp-v0").model
    radius, half_height, _ = model.geom("object").size
    np.testing.assert_allclose([200 * radius, 200 * half_height], [wide, tall])
    assert 1000 * model.body("object").mass[0] == pytest.approx(heavy)


def test_the_ring_is_as_wide_tall_and_heavy_as_push_says():
    """Eight equal sides, each turned by an eighth, without a gap."""
    wide, tall, heavy = as_the_docstring_says("Push-v0")
    model = make("Push-v0").model
    sides = np.flatnonzero(model.geom_bodyid == model.body("object").id)
    assert len(sides) == 8
    for side, turn in zip(sides, np.arange(8) * np.pi / 4, strict=True):
        thick, long, high = model.geom_size[side]
        middle = model.geom_pos[side]
        assert 200 * (norm(middle) - thick) == pytest.approx(wide, abs=0.02)
        assert np.arctan2(middle[1], middle[0]) % (2 * np.pi) == pytest.approx(turn, abs=1e-3)
        quarter, half = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)]), norm(middle) + thick
        np.testing.assert_allclose(model.geom_quat[side], quarter, atol=1e-4)
        assert long == pytest.approx(half * np.tan(np.pi / 8), abs=1e-4)
        assert 200 * high == pytest.approx(tall)
    assert 1000 * model.body("object").mass[0] == pytest.approx(heavy)


def test_place_and_grasp_have_the_same_can():
    sizes = [make(name).model.geom("object").size for name in ("Grasp-v0", "Place-v0")]
    np.testing.assert_array_equal(*sizes)


def test_the_cap_springs_back():
    env = make("Press-v0")
    env.reset(seed=0)
    env.data.qpos[9] = -0.03
    mujoco.mj_kinematics(env.model, env.data)
    assert env.task.condition(env.frame, env.plan)
    env.step(STILL)
    assert seen(env).thing[2] > 0.07
    for _ in range(5):
        env.step(STILL)
    assert seen(env).thing[2] == pytest.approx(0.085, abs=5e-4)


@pytest.mark.parametrize("name", ["Grasp-v0", "Push-v0"])
def test_what_nothing_touches_lies_still(name):
    env = make(name)
    for seed in range(3):
        env.reset(seed=seed)
        before = env.data.qpos[9:16].copy()
        for _ in range(env.task.horizon):
            env.step(STILL)
        np.testing.assert_allclose(env.data.qpos[9:16], before, atol=2e-4)


@pytest.mark.parametrize("name", ["Grasp-v0", "Push-v0", "Place-v0"])
def test_an_episode_starts_at_rest(name):
    env = make(name)
    for seed in range(5):
        env.reset(seed=seed)
        assert not env.data.qvel.any()
        assert not env.data.ctrl.any()
        assert env.data.time == 0


def test_place_starts_with_the_can_between_the_fingers():
    """Nothing else is near it, and it is there after a moment of closing."""
    env = make("Place-v0")
    for seed in range(20):
        env.reset(seed=seed)
        data, can = fresh_data(env), env.model.geom("object").id
        others = [g for pair in data.contact.geom if can in pair for g in pair if g != can]
        assert all("finger" in env.model.body(env.model.geom_bodyid[geom]).name for geom in others)
        assert lowest_point(data) > 0.1
        before = seen(env).thing
        for _ in range(3):
            env.step(CLOSED)
        assert norm(seen(env).thing - before) < 0.015
        assert touching_the_arm(fresh_data(env)) == {"object"}


def can_after(action: np.ndarray, seed: int, steps: int) -> tuple[float, float]:
    """Metres from hand to can, and from the floor to the can's centre."""
    env = make("Place-v0")
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(action)
    now = seen(env)
    return norm(now.hand - now.thing), float(now.thing[2])


@pytest.mark.parametrize("seed", range(5))
def test_fingers_that_close_keep_the_can(seed):
    away, height = can_after(CLOSED, seed, 150)
    assert away < 0.03
    assert height > 0.14


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("action", "steps"), [(OPEN, 10), (STILL, 40)], ids=["open", "still"])
def test_fingers_that_do_not_close_lose_the_can(seed, action, steps):
    away, height = can_after(action, seed, steps)
    assert away > 0.1
    assert height < 0.06
