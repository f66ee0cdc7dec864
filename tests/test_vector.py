"""Many arms in step are that many arms: bit for bit in all but images, at any number of workers."""

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from gqn_transfer.envs import ENV_IDS, rendering
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.cameras import DOME, SECOND_CAMERA
from gqn_transfer.envs.experts import EXPERTS
from gqn_transfer.envs.models import load_model
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.envs.render_pool import RenderPool
from gqn_transfer.envs.vector import ArmVectorEnv

COUNT = 3
FREE_CONTROL = [name for name in TASKS if name not in ("Pose-v0", "Point-v0")]
every_task = pytest.mark.parametrize("name", list(TASKS))


@pytest.fixture
def make_many() -> Iterator[Any]:
    """(name, count=3, **arguments) -> ArmVectorEnv, closed after the test."""
    made: list[ArmVectorEnv] = []

    def make(name: str, count: int = COUNT, **arguments: Any) -> ArmVectorEnv:
        made.append(ArmVectorEnv(name, count, **arguments))
        return made[-1]

    yield make
    for envs in made:
        envs.close()


def single(name: str, **arguments: Any) -> ArmEnv:
    return ArmEnv(name, **arguments)


def random_actions(envs: VectorEnv, seed: int, steps: int) -> np.ndarray:
    shape = (steps, *envs.action_space.shape)
    return np.random.default_rng(seed).uniform(-1.2, 1.2, shape).astype(np.float32)


def assert_same_observation(many: dict, one: dict) -> None:
    assert many.keys() == one.keys()
    for key in one:
        assert (many[key].shape, many[key].dtype) == (one[key].shape, one[key].dtype)
        if key == "image":
            difference = np.abs(many[key].astype(int) - one[key])
            assert (difference <= 2).mean() >= 0.995
        else:
            np.testing.assert_array_equal(many[key], one[key], err_msg=key)


def row(values: dict, index: int) -> dict:
    return {key: value[index] for key, value in values.items()}


def info_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """What Gymnasium's batched infos say of one environment, by their masks."""
    found = {}
    for key, value in infos.items():
        if not key.startswith("_") and infos[f"_{key}"][index]:
            found[key] = info_of(value, index) if isinstance(value, dict) else value[index]
    return found


def masks_of(infos: dict[str, Any]) -> list[np.ndarray]:
    """All masks, of infos within infos too."""
    inner = [mask for value in infos.values() if isinstance(value, dict) for mask in masks_of(value)]
    return inner + [value for key, value in infos.items() if key.startswith("_")]


class Singles:
    """The same as `ArmVectorEnv`, by one `ArmEnv` after the other; `ahead`: steps that each has behind it."""

    def __init__(self, name: str, count: int = COUNT, **arguments: Any) -> None:
        self.envs = [single(name, **arguments) for _ in range(count)]

    def assert_reset_alike(self, many: ArmVectorEnv, seeds: list[int | None], given: Any) -> None:
        observations, infos = many.reset(seed=given)
        for index, (env, seed) in enumerate(zip(self.envs, seeds, strict=True)):
            observation, info = env.reset(seed=seed)
            assert_same_observation(row(observations, index), observation)
            assert info_of(infos, index) == info

    def skip_ahead(self, many: ArmVectorEnv, steps: list[int]) -> None:
        """Make as if so many steps were done already, so that episodes end one by one."""
        many._steps[:] = steps
        for env, done in zip(self.envs, steps, strict=True):
            env.steps = done

    def assert_step_alike(self, many: ArmVectorEnv, actions: np.ndarray) -> list[bool]:
        """Which episodes have ended."""
        observations, rewards, terminated, truncated, infos = many.step(actions)
        ends = []
        for index, env in enumerate(self.envs):
            observation, reward, _, ended, info = env.step(actions[index])
            assert rewards[index] == reward
            assert not terminated[index]
            assert truncated[index] == ended
            if ended:
                assert_same_observation(infos["final_obs"][index], observation)
                final_info = info
                observation, info = env.reset()
                info |= {"final_obs": infos["final_obs"][index], "final_info": final_info}
            assert_same_observation(row(observations, index), observation)
            assert info_of(infos, index) == info
            ends.append(ended)
        assert (rewards.dtype, truncated.dtype) == (np.float64, bool)
        assert ("final_obs" in infos) == ("final_info" in infos) == any(ends)
        for mask in masks_of(infos.get("final_info", {})):
            np.testing.assert_array_equal(mask, ends)
        return ends


def assert_alike(many: ArmVectorEnv, singles: Singles, steps: int = 9) -> None:
    """Through resets at the second step of one, the fifth of the other and the eighth of both."""
    horizon = many.task.horizon
    singles.assert_reset_alike(many, [7, 8, 9], 7)
    singles.skip_ahead(many, [horizon - 2, 0, horizon - 5])
    ends = []
    for step, actions in enumerate(random_actions(many, 0, steps)):
        if step == 7:
            singles.skip_ahead(many, [horizon - 1, 3, horizon - 1])
        ends.append(singles.assert_step_alike(many, actions))
    assert [step for step, ended in enumerate(ends) if any(ended)] == [1, 4, 7]
    assert ends[7] == [True, False, True]


# The same as single environments.


@every_task
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_state_and_infos_are_the_single_environments(make_many, name, workers):
    assert_alike(make_many(name, workers=workers, obs="state"), Singles(name, obs="state"))


@every_task
@pytest.mark.parametrize("workers", [1, 2])
def test_pixels_are_the_single_environments(make_many, name, workers):
    """With looks and cameras that change, in each environment by its own random numbers."""
    arguments = {"camera": "jump", "randomize": "full", "reward": "sparse"}
    assert_alike(make_many(name, workers=workers, **arguments), Singles(name, **arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"camera": "moving", "randomize": "colors", "image_size": 32},
        {"camera": "moving", "obs": "state", "randomize": "full"},
    ],
    ids=["defaults", "colors", "looks-unseen"],
)
def test_other_arguments_are_the_single_environments(make_many, arguments):
    assert_alike(make_many("Push-v0", workers=2, **arguments), Singles("Push-v0", **arguments))


@pytest.mark.parametrize("name", FREE_CONTROL)
@pytest.mark.parametrize("workers", [1, 3])
def test_cartesian_control_is_the_single_environments(make_many, name, workers):
    arguments = {"control": "cartesian", "obs": "state"}
    assert_alike(make_many(name, workers=workers, **arguments), Singles(name, **arguments))


@pytest.mark.parametrize(
    ("name", "reward"), [*((name, "dense") for name in TASKS), ("Track-v0", "sparse"), ("Press-v0", "sparse")]
)
def test_success_and_contact_are_the_single_environments(make_many, name, reward):
    """What the expert does in the first is done in all: success there, collisions elsewhere."""
    many = make_many(name, workers=2, obs="state", reward=reward)
    singles, successes = Singles(name, obs="state", reward=reward), 0
    singles.assert_reset_alike(many, [1, 1, 2], [1, 1, 2])
    for _ in range(many.task.horizon + 2):
        action = EXPERTS[name](singles.envs[0])
        singles.assert_step_alike(many, np.stack([action, 0.9 * action, action]))
        successes += singles.envs[0]._streak >= many.task.hold_steps
    assert successes > 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_environments_is_as_many_single_ones(make_many, count):
    many = make_many("Track-v0", count, workers=2, image_size=16)
    singles = Singles("Track-v0", count, image_size=16)
    singles.assert_reset_alike(many, list(range(count)), 0)
    for actions in random_actions(many, 1, 52):
        singles.assert_step_alike(many, actions)


def test_every_episode_that_ends_at_the_horizon_starts_over_in_the_same_step(make_many):
    many, singles = make_many("Reach-v0", obs="state"), Singles("Reach-v0", obs="state")
    singles.assert_reset_alike(many, [0, 1, 2], 0)
    ends = [singles.assert_step_alike(many, actions) for actions in random_actions(many, 2, 101)]
    assert [step for step, ended in enumerate(ends, start=1) if all(ended)] == [50, 100]
    assert not any(any(ended) for step, ended in enumerate(ends, start=1) if step % 50)


# Seeds.


def test_a_seed_counts_up(make_many):
    Singles("Pose-v0", obs="state").assert_reset_alike(make_many("Pose-v0", obs="state"), [3, 4, 5], 3)


def test_seed_zero_is_a_seed(make_many):
    Singles("Pose-v0", obs="state").assert_reset_alike(make_many("Pose-v0", obs="state"), [0, 1, 2], 0)


def test_seeds_may_be_given_one_by_one(make_many):
    seeds = [11, 4, 11]
    many = make_many("Pose-v0", obs="state")
    Singles("Pose-v0", obs="state").assert_reset_alike(many, seeds, seeds)


def test_none_among_seeds_goes_on_with_the_old_random_numbers(make_many):
    many, singles = make_many("Pose-v0", obs="state"), Singles("Pose-v0", obs="state")
    singles.assert_reset_alike(many, [0, 1, 2], 0)
    singles.assert_reset_alike(many, [None, 5, None], [None, 5, None])
    singles.assert_reset_alike(many, [None] * 3, None)


def test_a_reset_in_mid_episode_starts_every_episode_anew(make_many):
    many, singles = make_many("Track-v0", obs="state"), Singles("Track-v0", obs="state")
    for seed in (3, 3, 4):
        singles.assert_reset_alike(many, [seed, seed + 1, seed + 2], seed)
        for actions in random_actions(many, 0, 3):
            singles.assert_step_alike(many, actions)
    assert list(many._steps) == [3, 3, 3]


def test_without_seeds_no_two_environments_are_alike(make_many):
    states = [make_many("Reach-v0", 2, obs="state").reset()[0]["state"] for _ in range(2)]
    assert len({state.tobytes() for state in np.concatenate(states)}) == 4


@pytest.mark.parametrize("seeds", [[1, 2], [1, 2, 3, 4], []])
def test_a_wrong_number_of_seeds_is_refused(make_many, seeds):
    with pytest.raises(ValueError, match=rf"{len(seeds)} seeds.*3"):
        make_many("Reach-v0", obs="state").reset(seed=seeds)


# Gymnasium.


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_gymnasium_makes_it(env_id):
    envs = gymnasium.make_vec(
        env_id, num_envs=2, vectorization_mode="vector_entry_point", workers=2, obs="state"
    )
    assert isinstance(envs.unwrapped, ArmVectorEnv)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    observations, rewards, *_ = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert rewards.shape == (2,)
    assert row(observations, 0) in envs.single_observation_space
    envs.close()


@pytest.mark.parametrize("obs", ["state", "pixels"])
@pytest.mark.parametrize("control", ["joint_velocity", "cartesian"])
def test_spaces_are_the_single_ones_with_a_leading_axis(make_many, obs, control):
    arguments = {"obs": obs, "control": control}
    many, one = make_many("Grasp-v0", 4, **arguments), single("Grasp-v0", **arguments)
    assert many.num_envs == 4
    assert many.single_observation_space == one.observation_space
    assert many.single_action_space == one.action_space
    assert many.observation_space == gymnasium.vector.utils.batch_space(one.observation_space, 4)
    assert many.action_space == gymnasium.vector.utils.batch_space(one.action_space, 4)


# Arrays.


def arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, dict):
        return [array for part in value.values() for array in arrays(part)]
    if isinstance(value, tuple):
        return [array for part in value for array in arrays(part)]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [array for part in value if part is not None for array in arrays(part)]
    return [value]


@pytest.mark.parametrize("obs", ["state", "pixels"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_leaves_what_earlier_steps_returned(make_many, obs, workers):
    many = make_many("Track-v0", workers=workers, obs=obs, image_size=16, camera="jump")
    returned = arrays(many.reset(seed=0))
    many._steps[:2] = many.task.horizon - 2
    for actions in random_actions(many, 0, 4):
        returned += arrays(many.step(actions))
    many._steps[0] = many.task.horizon - 1
    before = [array.copy() for array in returned]
    for actions in random_actions(many, 1, 3):
        many.step(actions)
    many.reset(seed=5)
    for old, now in zip(before, returned, strict=True):
        np.testing.assert_array_equal(old, now)


def test_a_final_observation_is_not_the_next_episodes_first(make_many):
    many = make_many("Reach-v0", image_size=16)
    many.reset(seed=0)
    many._steps[1] = many.task.horizon - 1
    observations, *_, infos = many.step(random_actions(many, 0, 1)[0])
    assert not np.shares_memory(infos["final_obs"][1]["image"], observations["image"])
    assert (infos["final_obs"][1]["image"] != observations["image"][1]).any()
    assert infos["final_obs"][0] is None
    assert infos["final_obs"][2] is None


def test_actions_are_not_changed(make_many):
    many = make_many("Reach-v0", obs="state")
    many.reset(seed=0)
    actions = np.full((COUNT, 7), 3.0, np.float32)
    many.step(actions)
    np.testing.assert_array_equal(actions, 3.0)


# Processes and threads.


IN_ANOTHER_PROCESS = """
import numpy as np
from gqn_transfer.envs.vector import ArmVectorEnv
envs = ArmVectorEnv("Reach-v0", 2, workers=2, image_size=32)
envs.reset(seed=0)
pipe.send(envs.step(np.zeros((2, 7), np.float32))[0])
envs.close()
"""


def test_it_works_in_a_spawned_process(make_many):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=exec, args=(IN_ANOTHER_PROCESS, {"pipe": there}))
    process.start()
    there.close()
    observations = here.recv()
    process.join(30)
    assert process.exitcode == 0
    many = make_many("Reach-v0", 2, image_size=32)
    many.reset(seed=0)
    expected, *_ = many.step(np.zeros((2, 7), np.float32))
    assert_same_observation(observations, expected)


def test_close_ends_its_threads_and_may_be_called_twice():
    before = set(threading.enumerate())
    many = ArmVectorEnv("Reach-v0", 4, workers=3, image_size=16)
    many.reset(seed=0)
    assert set(threading.enumerate()) - before
    many.close()
    assert not set(threading.enumerate()) - before
    many.close()


def renderers_of_other_threads() -> set[tuple[int, ...]]:
    return {key for key in rendering._renderers if key[1] != threading.get_ident()}


def test_close_gives_the_renderers_of_its_threads_back():
    before = renderers_of_other_threads()
    many = ArmVectorEnv("Reach-v0", 4, workers=3, image_size=17, render_mode="rgb_array")
    many.reset(seed=0)
    many.render()
    assert len(renderers_of_other_threads() - before) >= 2
    many.close()
    assert renderers_of_other_threads() == before


def test_a_pool_of_renderers_may_be_closed_twice():
    before = renderers_of_other_threads()
    pool = RenderPool(load_model("reach.xml"), workers=2)
    pool.close()
    pool.close()
    assert renderers_of_other_threads() == before


def test_close_before_the_first_reset_works():
    before = renderers_of_other_threads()
    ArmVectorEnv("Reach-v0", 3, workers=3).close()
    assert renderers_of_other_threads() == before


def test_environments_work_after_others_were_closed():
    images = []
    for _ in range(3):
        many = ArmVectorEnv("Reach-v0", 4, workers=2)
        images.append(many.reset(seed=0)[0]["image"])
        many.close()
    for image in images[1:]:
        assert (np.abs(images[0].astype(int) - image) <= 2).mean() >= 0.995


def test_closing_one_leaves_the_others(make_many):
    first, second = (make_many("Reach-v0", workers=2, image_size=16) for _ in range(2))
    first.reset(seed=0)
    second.reset(seed=0)
    first.close()
    observations, *_ = second.step(random_actions(second, 0, 1)[0])
    assert observations["image"].std() > 10


def test_more_workers_than_environments_are_not_started():
    before = set(threading.enumerate())
    many = ArmVectorEnv("Reach-v0", 2, workers=8, image_size=16)
    many.reset(seed=0)
    assert len(set(threading.enumerate()) - before) <= 2
    many.close()


# Bad input.


@pytest.mark.parametrize("numbers", [{"num_envs": 0}, {"num_envs": -1}, {"num_envs": 2, "workers": 0}])
def test_too_few_environments_or_workers_are_refused(numbers):
    with pytest.raises(ValueError, match=r"num_envs=.*workers=.*at least 1"):
        ArmVectorEnv("Reach-v0", **numbers)


@pytest.mark.parametrize(
    ("argument", "value", "known"),
    [
        ("task", "Jump-v0", "'Reach-v0'"),
        ("obs", "rgb", "'pixels', 'state'"),
        ("control", "torque", "'joint_velocity', 'cartesian'"),
        ("render_mode", "human", "'rgb_array'"),
        ("image_size", 7, "8 to 1024"),
    ],
)
def test_a_wrong_argument_names_what_exists(argument, value, known):
    with pytest.raises(ValueError, match=known) as raised:
        ArmVectorEnv(**{"task": "Reach-v0", "num_envs": 2} | {argument: value})
    assert f"{argument}={value!r}" in str(raised.value)


@pytest.mark.parametrize("shape", [(7,), (COUNT, 6), (COUNT, 8), (2, 7), (1, 7), (7, COUNT), ()])
def test_actions_of_a_wrong_shape_are_refused_before_they_act(make_many, shape):
    many = make_many("Reach-v0", obs="state")
    many.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected \(3, 7\)"):
        many.step(np.zeros(shape, np.float32))
    assert not many._steps.any()


def test_a_step_before_the_first_reset_is_refused(make_many):
    with pytest.raises(gymnasium.error.ResetNeeded):
        make_many("Reach-v0").step(np.zeros((COUNT, 7), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_actions_that_are_no_numbers_are_refused_before_they_act(make_many, value):
    many, singles = make_many("Reach-v0", obs="state"), Singles("Reach-v0", obs="state")
    singles.assert_reset_alike(many, [0, 1, 2], 0)
    actions = np.zeros((COUNT, 7), np.float32)
    actions[1, 3] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        many.step(actions)
    singles.assert_step_alike(many, random_actions(many, 0, 1)[0])


# For people.


@pytest.mark.parametrize("workers", [1, 2])
def test_render_gives_a_picture_of_each_for_people(make_many, workers):
    arguments = {"camera": "jump", "randomize": "full", "render_mode": "rgb_array"}
    many, singles = make_many("Push-v0", workers=workers, **arguments), Singles("Push-v0", **arguments)
    singles.assert_reset_alike(many, [0, 1, 2], 0)
    singles.assert_step_alike(many, random_actions(many, 0, 1)[0])
    pictures = many.render()
    assert len(pictures) == COUNT
    for picture, env in zip(pictures, singles.envs, strict=True):
        expected = env.render()
        assert (picture.shape, picture.dtype) == ((480, 480, 3), np.uint8)
        assert (np.abs(picture.astype(int) - expected) <= 2).mean() >= 0.995


def test_render_is_none_unless_asked_for(make_many):
    many = make_many("Push-v0")
    many.reset(seed=0)
    assert many.render() is None


# Other views.


def test_scene_views_show_every_episode_as_it_is_now(make_many: Any) -> None:
    many = make_many("Reach-v0", image_size=16, workers=2)
    many.reset(seed=4)
    for action in random_actions(many, 1, 3):
        many.step(action)
    found = many.scene_views(2, np.random.default_rng(0))
    assert found.images.shape == (3, 2, 16, 16, 3)
    assert found.labels.shape == (3, 2, 16, 16)
    rng = np.random.default_rng(0)
    for row, column in np.ndindex(3, 2):
        pose = DOME.sample(rng)
        np.testing.assert_array_equal(found.viewpoints[row, column], pose.viewpoint)
        (image,) = many._images(np.array([row]), 16, [pose] * 3)
        np.testing.assert_array_equal(found.images[row, column], image)
    assert set(np.unique(found.labels)) <= {0, 1, 2, 3, 4}
    assert (found.labels == 1).any()
    first = many.scene_views(1, np.random.default_rng(0))  # its first view is by the same camera
    np.testing.assert_array_equal(first.images[0, 0], found.images[0, 0])
    np.testing.assert_array_equal(first.labels[0, 0], found.labels[0, 0])
    assert (found.labels[0, 0] != found.labels[2, 1]).any()


def test_the_second_camera_follows_in_the_channels(make_many: Any) -> None:
    how = {"image_size": 16, "camera": "moving"}
    one, two = (make_many("Reach-v0", 2, **how, **more) for more in ({}, {"second_camera": True}))
    lone = ArmEnv("Reach-v0", **how, second_camera=True)
    assert two.single_observation_space == lone.observation_space
    plain, both, alone = one.reset(seed=3)[0], two.reset(seed=3)[0], lone.reset(seed=3)[0]
    for action in (None, *random_actions(one, 0, 2)):
        if action is not None:
            plain, both, alone = one.step(action)[0], two.step(action)[0], lone.step(action[0])[0]
        assert lone.observation_space.contains(alone)
        assert both["image"].shape == (2, 16, 16, 6)
        np.testing.assert_array_equal(both["image"][..., :3], plain["image"])
        np.testing.assert_array_equal(both["viewpoint"][:, :7], plain["viewpoint"])
        np.testing.assert_array_equal(both["viewpoint"][:, 7:], [SECOND_CAMERA.viewpoint] * 2)
        np.testing.assert_array_equal(alone["image"], both["image"][0])
        np.testing.assert_array_equal(alone["viewpoint"], both["viewpoint"][0])
    assert not np.array_equal(both["image"][..., 3:], both["image"][..., :3])
