"""Every task: Gymnasium's and SB3's own checks, spaces, seeds, rewards, experts, errors, copies."""

import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from gqn_transfer.envs import ENV_IDS
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.cameras import DOME, FIXED_CAMERA
from gqn_transfer.envs.experts import EXPERTS
from gqn_transfer.envs.kinematics import HAND_SITE, HOME
from gqn_transfer.envs.looks import LOOK_FIELDS, read_look
from gqn_transfer.envs.rendering import renderer_for
from gqn_transfer.envs.setting import HOME_NOISE
from gqn_transfer.envs.state import STATE_COLUMNS

HORIZONS = {
    "Reach": 50,
    "Pose": 50,
    "Point": 50,
    "Track": 50,
    "Press": 50,
    "Push": 100,
    "Grasp": 100,
    "Place": 150,
}
OVER_THE_OBJECT = {"Grasp", "Push", "Place"}
WITH_GOAL = {"Pose"}
REACH = "gqn_transfer/Reach-v0"
SEEDS = {20: range(1000, 1020), 200: range(1000, 1200)}

every_task = pytest.mark.parametrize("env_id", ENV_IDS)
varied_arguments = pytest.mark.parametrize(
    "arguments",
    [
        {"obs": "state"},
        {"camera": "moving", "randomize": "full"},
        {"camera": "jump", "randomize": "colors"},
    ],
    ids=["state", "moving", "jump"],
)
both_observations = pytest.mark.parametrize("obs", ["state", "pixels"])
few_or_many = pytest.mark.parametrize("episodes", [20, pytest.param(200, marks=pytest.mark.slow)])


def make(env_id: str, **arguments) -> ArmEnv:
    return gymnasium.make(env_id, **arguments).unwrapped


def task_of(env_id: str) -> str:
    """gqn_transfer/Reach-v0 -> Reach."""
    return env_id.split("/")[1].split("-")[0]


def random_actions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 7)).astype(np.float32)


def in_fresh_process(code: str) -> str:
    """What `code` prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout.strip()


def rollout(env: ArmEnv, seed: int, steps: int = 25) -> list[dict]:
    """Observations with the reward beside them; the actions are always the same."""
    observation, _ = env.reset(seed=seed)
    seen = [observation | {"reward": np.zeros(1)}]
    for action in random_actions(steps):
        observation, reward, *_ = env.step(action)
        seen.append(observation | {"reward": np.array([reward])})
    return seen


def assert_same(a: list[dict], b: list[dict]) -> None:
    """Bit for bit, but for images: renderers may differ by two levels on a few pixels."""
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"image"}:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
        if "image" in one:
            difference = np.abs(one["image"].astype(int) - other["image"])
            assert (difference <= 2).mean() >= 0.995


def recomputed(env: ArmEnv) -> mujoco.MjData:
    """Positions by kinematics on other data than the environment's."""
    data = mujoco.MjData(env.model)
    data.qpos[:], data.mocap_pos[:] = env.data.qpos, env.data.mocap_pos
    mujoco.mj_kinematics(env.model, data)
    return data


def body_position(data: mujoco.MjData, name: str) -> np.ndarray:
    """(3,): zero where there is no such body."""
    names = [data.model.body(k).name for k in range(data.model.nbody)]
    return data.body(name).xpos.copy() if name in names else np.zeros(3)


def hand_and_target(env: ArmEnv) -> tuple[np.ndarray, np.ndarray]:
    data = recomputed(env)
    return data.site(HAND_SITE).xpos.copy(), body_position(data, "target")


# Registration and spaces.


@every_task
@both_observations
def test_gymnasium_accepts_it(env_id, obs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(env_id, obs=obs, render_mode="rgb_array"))


@every_task
@both_observations
def test_stable_baselines_accepts_it(env_id, obs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(make(env_id, obs=obs))


@pytest.mark.parametrize("env_id", [REACH, f"gqn_transfer.envs:{REACH}"])
def test_make_works_in_a_fresh_process(env_id):
    """After an import, and without one by Gymnasium's module:id form."""
    first = "" if ":" in env_id else "import gqn_transfer.envs; "
    code = f"{first}import gymnasium; print(gymnasium.make({env_id!r}, obs='state').reset(seed=0)[0].keys())"
    assert "state" in in_fresh_process(code)


def test_importing_the_environments_loads_no_torch():
    code = "import sys, gqn_transfer.envs.reach; print({'torch', 'stable_baselines3'} & set(sys.modules))"
    assert in_fresh_process(code) == "set()"


@every_task
@both_observations
@pytest.mark.parametrize("image_size", [64, 32])
def test_spaces_are_the_same_for_every_task(env_id, obs, image_size):
    env = make(env_id, obs=obs, image_size=image_size)
    parts = {
        "image": spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
        "viewpoint": spaces.Box(-10, 10, (7,), np.float32),
        "goal": spaces.Box(-10, 10, (12,), np.float32),
        "state": spaces.Box(-10, 10, (60,), np.float32),
    }
    keys = ("goal", "state") if obs == "state" else ("goal", "image", "viewpoint")
    assert env.action_space == spaces.Box(-1, 1, (7,), np.float32)
    assert env.observation_space == spaces.Dict({key: parts[key] for key in keys})


@every_task
@both_observations
@pytest.mark.parametrize("camera", ["fixed", "moving", "jump"])
def test_observations_lie_in_their_space(env_id, obs, camera):
    env = make(env_id, obs=obs, camera=camera, randomize="full")
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    for action in random_actions(env.task.horizon):
        assert env.step(action)[0] in env.observation_space


@every_task
def test_pixel_observations_hold_no_joint_angles(env_id):
    env = make(env_id)
    for observation in rollout(env, 0, 5):
        assert set(observation) - {"reward"} == {"goal", "image", "viewpoint"}
        assert observation["goal"].any() == (task_of(env_id) in WITH_GOAL)


@every_task
def test_the_state_is_the_simulators(env_id):
    env = make(env_id, obs="state")
    observation = rollout(env, 3)[-1]
    state = dict(zip(STATE_COLUMNS, observation["state"], strict=True))
    hand, target = hand_and_target(env)
    for joint in range(6):
        name, angle = f"joint_{joint + 1}", env.data.qpos[joint]
        assert state[f"{name}_sin"] == pytest.approx(np.sin(angle), abs=1e-6)
        assert state[f"{name}_cos"] == pytest.approx(np.cos(angle), abs=1e-6)
        assert state[f"{name}_velocity"] == pytest.approx(env.data.qvel[joint], abs=1e-6)
    for finger in range(3):
        assert state[f"finger_{finger + 1}"] == pytest.approx(env.data.qpos[6 + finger], abs=1e-6)
    thing = body_position(recomputed(env), "object")
    for axis, here, there, what in zip("xyz", hand, target, thing, strict=True):
        assert state[f"hand_{axis}"] == pytest.approx(here, abs=1e-6)
        assert state[f"target_{axis}"] == pytest.approx(there, abs=1e-6)
        assert state[f"object_{axis}"] == pytest.approx(what, abs=1e-6)
        if task_of(env_id) != "Pose":
            assert not any(state[f"joint_{joint + 1}_to_goal"] for joint in range(6))
        ends = {"hand_to_target": (here, there), "hand_to_object": (here, what)}
        for name, (start, end) in (ends | {"object_to_target": (what, there)}).items():
            missing = ("target" in name and not target.any()) or ("object" in name and not thing.any())
            expected = 0 if missing else 10 * (end - start)
            assert state[f"{name}_{axis}"] == pytest.approx(expected, abs=1e-5)


@every_task
def test_the_image_is_what_the_viewpoint_sees_now(env_id):
    """Image, viewpoint and state of one step belong together."""
    env = make(env_id, camera="jump")
    env.reset(seed=0)
    for action in random_actions(5):
        observation, *_ = env.step(action)
        data = mujoco.MjData(env.model)
        data.qpos[:], data.mocap_pos[:] = env.data.qpos, env.data.mocap_pos
        mujoco.mj_kinematics(env.model, data)
        mujoco.mj_camlight(env.model, data)
        image = renderer_for(env.model, 64).image(env.model, data, env._pose)
        assert (np.abs(image.astype(int) - observation["image"]) <= 2).mean() >= 0.995
        np.testing.assert_array_equal(env._pose.viewpoint, observation["viewpoint"])


# Seeds and starts.


@every_task
@varied_arguments
def test_a_seed_fixes_the_rollout(env_id, arguments):
    """Also in an environment that has lived through other episodes before."""
    fresh, used = make(env_id, **arguments), make(env_id, **arguments)
    rollout(used, 99, 7)
    used.reset()
    assert_same(rollout(fresh, 5), rollout(used, 5))
    assert_same(rollout(fresh, 5), rollout(fresh, 5))


@every_task
def test_seeds_differ(env_id):
    env = make(env_id, obs="state")
    starts = [env.reset(seed=seed)[0] for seed in range(20)]
    starts += [env.reset()[0] for _ in range(20)]
    assert len({(start["state"].tobytes(), start["goal"].tobytes()) for start in starts}) == 40


@every_task
@pytest.mark.parametrize("arguments", [{"camera": "moving"}, {"camera": "jump"}, {"randomize": "colors"}])
def test_seeds_differ_in_pixels(env_id, arguments):
    env = make(env_id, **arguments)
    first, second = env.reset(seed=0)[0], env.reset(seed=1)[0]
    assert (first["image"] != second["image"]).mean() > 0.3


@every_task
def test_the_arm_starts_near_home_or_over_the_object(env_id):
    env = make(env_id, obs="state")
    offsets = []
    for seed in range(50):
        env.reset(seed=seed)
        frame = env.frame
        np.testing.assert_array_equal(env.data.qvel, 0)
        if task_of(env_id) in OVER_THE_OBJECT:
            assert frame.hand_axis[2] < -0.99
            assert 0.02 < frame.hand[2] < 0.2
            assert np.abs(frame.hand - frame.object)[:2].max() < 0.16
        else:
            offsets.append(frame.joints - HOME)
            assert np.abs(offsets[-1]).max() <= HOME_NOISE
        if task_of(env_id) not in {"Push", "Place"}:
            np.testing.assert_array_equal(frame.fingers, 0.6)
    assert not offsets or (np.std(offsets, axis=0) > HOME_NOISE / 3).all()


@every_task
def test_no_episode_starts_solved(env_id):
    env = make(env_id, obs="state")
    for seed in range(100):
        _, info = env.reset(seed=seed)
        assert not info["success"]


# Episodes, rewards, success.


@every_task
def test_episodes_end_by_truncation_at_the_horizon(env_id):
    env = make(env_id, obs="state")
    assert env.task.horizon == HORIZONS[task_of(env_id)]
    for seed in range(2):
        env.reset(seed=seed)
        ends = [env.step(EXPERTS[env_id.split("/")[1]](env))[2:4] for _ in range(env.task.horizon)]
        assert ends == [(False, False)] * (env.task.horizon - 1) + [(False, True)]


@every_task
def test_dense_reward_is_the_weighted_sum_of_its_terms(env_id):
    env = make(env_id, obs="state")
    assert sum(env.task.term_weights.values()) == pytest.approx(1)
    env.reset(seed=1)
    expert = EXPERTS[env_id.split("/")[1]]
    for step, action in enumerate(random_actions(env.task.horizon)):
        _, reward, _, _, info = env.step(expert(env) if step > 10 else action)
        terms = info["reward_terms"]
        assert terms.keys() == env.task.term_weights.keys()
        assert all(isinstance(value, float) and 0 <= value <= 1 for value in terms.values())
        assert reward == pytest.approx(
            sum(env.task.term_weights[name] * terms[name] for name in terms), abs=1e-12
        )
        assert 0 <= reward <= 1


@every_task
def test_the_expert_earns_more_than_standing_still(env_id):
    env = make(env_id, obs="state")
    expert = EXPERTS[env_id.split("/")[1]]
    last_rewards = []
    for act in (expert, lambda _: np.zeros(7, np.float32)):
        env.reset(seed=2)
        rewards = [env.step(act(env))[1] for _ in range(env.task.horizon)]
        last_rewards.append(rewards[-1])
    assert last_rewards[0] > last_rewards[1] + 0.2


@every_task
@pytest.mark.parametrize("reward", ["dense", "sparse"])
def test_success_is_the_condition_at_this_step(env_id, reward):
    env = make(env_id, obs="state", reward=reward)
    expert = EXPERTS[env_id.split("/")[1]]
    outcomes = set()
    for seed in range(3):
        env.reset(seed=seed)
        for _ in range(env.task.horizon):
            _, value, _, _, info = env.step(expert(env))
            assert info["success"] is info["is_success"]
            if reward == "sparse":
                assert value == float(info["success"])
            outcomes.add(info["success"])
    assert outcomes == {False, True}


def final_success_rate(env: ArmEnv, act, seeds: range) -> float:
    """Share of episodes whose condition holds at the last step."""
    wins = 0
    for seed in seeds:
        env.reset(seed=seed)
        for _ in range(env.task.horizon):
            *_, info = env.step(act(env))
        wins += info["is_success"]
    return wins / len(seeds)


@every_task
@few_or_many
def test_the_expert_succeeds(env_id, episodes):
    expert = EXPERTS[env_id.split("/")[1]]
    assert final_success_rate(make(env_id, obs="state"), expert, SEEDS[episodes]) >= 0.95


@every_task
@few_or_many
def test_a_random_policy_fails(env_id, episodes):
    rng = np.random.default_rng(0)
    rate = final_success_rate(make(env_id, obs="state"), lambda _: rng.uniform(-1, 1, 7), SEEDS[episodes])
    assert rate <= 0.05


# Cameras.


@every_task
@pytest.mark.parametrize("camera", ["moving", "jump"])
def test_a_moving_camera_changes_the_viewpoint_at_every_step(env_id, camera):
    env = make(env_id, camera=camera, image_size=16)
    viewpoints = np.array([step["viewpoint"] for step in rollout(env, 0)])
    assert (viewpoints[1:] != viewpoints[:-1]).any(axis=1).all()


@every_task
def test_the_fixed_camera_stays_through_every_episode(env_id):
    env = make(env_id, image_size=16)
    viewpoints = [step["viewpoint"] for seed in range(2) for step in rollout(env, seed)]
    assert all(np.array_equal(viewpoint, FIXED_CAMERA.viewpoint) for viewpoint in viewpoints)


@every_task
@pytest.mark.parametrize("camera", ["fixed", "moving", "jump"])
def test_no_task_camera_stands_in_the_held_out_wedge(env_id, camera):
    env = make(env_id, camera=camera, image_size=16)
    viewpoints = np.array([step["viewpoint"] for seed in range(10) for step in rollout(env, seed)])
    yaw = np.arctan2(viewpoints[:, 4], viewpoints[:, 3])
    low, high = DOME.held_out_yaw
    assert not ((yaw > low + 1e-6) & (yaw < high - 1e-6)).any()


def test_the_camera_does_not_change_the_physics():
    """The same seed and actions give the same hand path, whatever looks on."""
    paths = []
    for arguments in ({"obs": "state"}, {"camera": "fixed", "image_size": 16}):
        env = make(REACH, **arguments)
        rollout(env, 4)
        paths.append(env.data.qpos.copy())
    np.testing.assert_array_equal(*paths)


@every_task
def test_render_is_a_picture_for_people(env_id):
    env = make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((480, 480, 3), np.uint8)
    assert picture.std() > 10
    silent = make(env_id)
    silent.reset(seed=0)
    assert silent.render() is None


@pytest.mark.parametrize("randomize", ["colors", "full"])
def test_random_looks_are_drawn_per_episode_and_stay_private(randomize):
    plain, painted = make(REACH), make(REACH, randomize=randomize)
    before, _ = plain.reset(seed=0)
    looks = []
    for seed in range(3):
        painted.reset(seed=seed)
        looks.append(read_look(painted.model))
        look = read_look(painted.model)
        painted.step(np.zeros(7, np.float32))
        assert all(np.array_equal(look[field], getattr(painted.model, field)) for field in LOOK_FIELDS)
    assert not np.array_equal(looks[0]["geom_rgba"], looks[1]["geom_rgba"])
    after, _ = plain.reset(seed=0)
    np.testing.assert_array_equal(before["image"], after["image"])


# Bad input.


@every_task
@pytest.mark.parametrize(
    ("argument", "value", "known"),
    [
        ("obs", "rgb", "'pixels', 'state'"),
        ("camera", "orbit", "'fixed', 'moving', 'jump'"),
        ("control", "torque", "'joint_velocity'"),
        ("reward", "shaped", "'dense', 'sparse'"),
        ("randomize", "all", "'none', 'colors', 'full'"),
        ("render_mode", "ansi", "'rgb_array'"),
        ("image_size", 7, "8 to 1024"),
        ("image_size", 1025, "8 to 1024"),
        ("image_size", 64.5, "8 to 1024"),
        ("image_size", "64", "8 to 1024"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_a_wrong_argument_names_what_exists(env_id, argument, value, known):
    with pytest.raises(ValueError, match=known) as raised:
        make(env_id, **{argument: value})
    assert f"{argument}={value!r}" in str(raised.value)


@every_task
@pytest.mark.parametrize("shape", [(6,), (8,), (1, 7), ()])
def test_a_wrong_action_shape_is_refused(env_id, shape):
    env = make(env_id, obs="state")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected \(7,\)"):
        env.step(np.zeros(shape, np.float32))


@every_task
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_no_number_is_refused_before_it_acts(env_id, value):
    env = make(env_id, obs="state")
    env.reset(seed=0)
    before = env.data.qpos.copy()
    with pytest.raises(ValueError, match="NaN or infinity"):
        env.step(np.array([0, 0, 0, value, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(env.data.qpos, before)


def test_larger_actions_are_clipped():
    ends = []
    for size in (1.0, 100.0):
        env = make(REACH, obs="state")
        env.reset(seed=0)
        for _ in range(5):
            env.step(np.array([1, -1, 1, -1, 1, -1, 1]) * size)
        ends.append(env.data.qpos.copy())
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("column", range(7))
def test_each_action_turns_its_own_joint(column):
    env = make(REACH, obs="state")
    for sign in (1, -1):
        env.reset(seed=0)
        start = env.data.qpos.copy()
        for _ in range(3):
            env.step(sign * np.eye(7, dtype=np.float32)[column])
        moved = np.flatnonzero(np.abs(env.data.qpos - start) > 0.05)
        assert moved.tolist() == ([6, 7, 8] if column == 6 else [column])
        assert (np.sign(env.data.qpos - start)[moved] == sign).all()


# Copies.


def pickled(env: gymnasium.Env) -> gymnasium.Env:
    return pickle.loads(pickle.dumps(env))


@every_task
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
@varied_arguments
def test_a_copy_in_mid_episode_goes_on_alike(env_id, duplicate, arguments):
    """To the episode's end and into the next one; the original is not disturbed by its copy."""
    env, untouched = gymnasium.make(env_id, **arguments), gymnasium.make(env_id, **arguments)
    for each in (env, untouched):
        rollout(each, 3, 7)
    twin = duplicate(env)

    def go_on(each: gymnasium.Env) -> list[dict]:
        steps = [each.step(action)[0] for action in random_actions(20, seed=1)]
        steps.append(each.reset()[0])
        return steps + [each.step(action)[0] for action in random_actions(5, seed=2)]

    expected = go_on(untouched)
    assert_same(go_on(twin), expected)
    assert_same(go_on(env), expected)


def test_a_copy_before_the_first_reset_works():
    assert_same(rollout(pickled(make(REACH)), 0), rollout(make(REACH), 0))


def test_copies_share_the_model_unless_looks_differ():
    plain, painted = make(REACH), make(REACH, randomize="full")
    assert copy.deepcopy(plain).model is plain.model
    painted.reset(seed=0)
    assert pickled(painted).model is not painted.model
    assert pickled(painted).model.signature == painted.model.signature


# Endurance.


@every_task
@pytest.mark.slow
def test_memory_does_not_grow(env_id):
    """Pixels, changing looks, many resets: what a process holds after 2,000 steps it holds after 20,000."""
    env = make(env_id, camera="jump", randomize="full")
    held = []
    for steps in (2_000, 18_000):
        for step, action in enumerate(random_actions(steps)):
            if step % env.task.horizon == 0:
                env.reset(seed=step)
            env.step(action)
        held.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert held[1] - held[0] < 20e6


@every_task
@pytest.mark.parametrize("steps", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_actions_break_nothing(env_id, steps):
    """Full speed at random: no NaN, no MuJoCo warning, nothing outside the space."""
    env = make(env_id, obs="state")
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(steps):
            if step % env.task.horizon == 0:
                env.reset(seed=step)
                action = rng.choice([-1.0, 1.0], 7)
            elif step % 5 == 0:
                action = rng.choice([-1.0, 1.0], 7)
            observation, reward, *_ = env.step(action)
            assert np.isfinite(reward)
            assert np.abs(observation["state"]).max() <= 10  # False for NaN
            assert not env.data.warning.number.any()
