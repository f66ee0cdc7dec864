"""`as_sb3`: Gymnasium's vector environments, ours or anyone's, as Stable-Baselines3 wants them."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.vector import ArmVectorEnv

COUNT = 3
SAME_STEP = AutoresetMode.SAME_STEP


@pytest.fixture
def adopt() -> Iterator[Callable[[VectorEnv], VecEnv]]:
    """`as_sb3`, and closed after the test."""
    made: list[VecEnv] = []

    def wrap(vector_env: VectorEnv) -> VecEnv:
        made.append(as_sb3(vector_env))
        return made[-1]

    yield wrap
    for venv in made:
        venv.close()


def sync(*makers: Callable[[], gymnasium.Env], mode: AutoresetMode = SAME_STEP) -> SyncVectorEnv:
    return SyncVectorEnv(list(makers), autoreset_mode=mode)


class Corridor(gymnasium.Env):
    """Walk right: five steps to the door, which ends the episode; a pit to the left of the start does too."""

    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.start = 0, self.np_random.random()
        return self._see(), {"begun": self.start}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place += 1 if action[0] > 0 else -1
        info = {"place": self.place, "pair": np.array([self.place, 1.0])}
        if self.place == 5:
            info["door"] = True
        return self._see(), float(self.place), self.place in (5, -1), False, info

    def _see(self) -> np.ndarray:
        return np.float32([self.place, self.start])


def limited(steps: int) -> Callable[[], gymnasium.Env]:
    return lambda: TimeLimit(Corridor(), steps)


def plain(value: Any) -> Any:
    """Arrays and NumPy's numbers as Python's, so that infos compare with ==."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def assert_same(ours: Any, theirs: Any) -> None:
    """Observations: dictionaries of arrays, or arrays; images may differ by two levels on a few pixels."""
    if not isinstance(ours, dict):
        ours, theirs = {"": ours}, {"": theirs}
    assert ours.keys() == theirs.keys()
    for key in ours:
        if key == "image":
            assert (np.abs(ours[key].astype(int) - theirs[key]) <= 2).mean() >= 0.995
        else:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


def assert_same_infos(ours: list[dict], theirs: list[dict]) -> None:
    """But for `TimeLimit.truncated`, which `DummyVecEnv` says at every step and `as_sb3` where one ends."""
    for one, other in zip(ours, theirs, strict=True):
        one, other = dict(one), dict(other)
        last, expected = one.pop("terminal_observation", None), other.pop("terminal_observation", None)
        assert (last is None) == (expected is None)
        if last is None:
            assert not other.pop("TimeLimit.truncated", False)
        else:
            assert_same(last, expected)
        assert plain(one) == plain(other)


def assert_alike(ours: VecEnv, theirs: VecEnv, steps: int) -> list[np.ndarray]:
    """Through `steps` random steps from one seed; which episodes have ended at each."""
    rng, ends = np.random.default_rng(0), []
    ours.seed(5), theirs.seed(5)
    assert_same(ours.reset(), theirs.reset())
    assert_same_infos(ours.reset_infos, theirs.reset_infos)
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (ours.num_envs, *ours.action_space.shape)).astype(np.float32)
        (observation, rewards, dones, infos), expected = ours.step(actions), theirs.step(actions)
        assert_same(observation, expected[0])
        np.testing.assert_allclose(rewards, expected[1], rtol=1e-6)
        np.testing.assert_array_equal(dones, expected[2])
        assert_same_infos(infos, expected[3])
        assert_same_infos(ours.reset_infos, theirs.reset_infos)
        ends.append(dones)
    return ends


# The same, whatever is wrapped.


@pytest.mark.parametrize("arguments", [{"obs": "state"}, {"camera": "jump", "image_size": 32}])
def test_our_vector_environment_is_gymnasiums_of_the_same_arms(adopt, arguments):
    """To the end of the episodes and into the next."""
    many = adopt(ArmVectorEnv("Reach-v0", COUNT, workers=2, **arguments))
    single = adopt(sync(*[lambda: ArmEnv("Reach-v0", **arguments)] * COUNT))
    ends = assert_alike(many, single, 53)
    assert [step for step, dones in enumerate(ends, start=1) if dones.all()] == [50]


def test_it_is_what_stable_baselines_makes_of_the_same_arms(adopt):
    many = adopt(ArmVectorEnv("Reach-v0", COUNT, obs="state"))
    dummy = DummyVecEnv([lambda: ArmEnv("Reach-v0", obs="state")] * COUNT)
    assert_alike(many, dummy, 53)


def test_episodes_that_end_one_by_one_are_what_stable_baselines_makes_of_them(adopt):
    """By their own end or by a time limit; infos that only some steps have stay with those."""
    makers = [limited(2), limited(7), limited(50)]
    ends = assert_alike(adopt(sync(*makers)), DummyVecEnv(makers), 60)
    counts = np.sum(ends, axis=0)
    assert len(set(counts.tolist())) == 3
    assert 0 < np.sum([dones.all() for dones in ends]) < np.sum([dones.any() for dones in ends])


def test_every_end_says_whether_time_was_up(adopt):
    venv = adopt(sync(limited(3), limited(50), limited(5)))
    venv.seed(0)
    venv.reset()
    for step in range(1, 6):
        *_, dones, infos = venv.step(np.ones((3, 1), np.float32))
        assert dones.tolist() == [step == 3, step == 5, step == 5]
        for done, info in zip(dones, infos, strict=True):
            assert ("TimeLimit.truncated" in info) == ("terminal_observation" in info) == done
    assert [info.get("TimeLimit.truncated") for info in infos] == [None, False, False]
    venv.reset()
    infos = [venv.step(np.ones((3, 1), np.float32))[3] for _ in range(3)][-1]
    assert infos[0]["TimeLimit.truncated"] is True


def test_a_terminal_observation_is_the_last_of_its_episode_and_the_infos_are_too(adopt):
    venv = adopt(sync(limited(2), limited(4)))
    venv.seed(0)
    first = venv.reset()
    venv.step(np.ones((2, 1), np.float32))
    observation, rewards, _, infos = venv.step(np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [2, first[0, 1]])
    assert (infos[0]["place"], infos[1]["place"]) == (2, 2)
    assert observation[:, 0].tolist() == [0, 2]
    assert rewards.tolist() == [2, 2]
    assert venv.reset_infos[0] == {"begun": pytest.approx(observation[0, 1])}
    assert "begun" not in infos[0]
    assert not {"final_obs", "final_info"} & set(infos[0])


def test_infos_hold_plain_numbers(adopt):
    venv = adopt(ArmVectorEnv("Reach-v0", COUNT, obs="state"))
    venv.seed(0)
    venv.reset()
    *_, infos = venv.step(np.zeros((COUNT, 7), np.float32))
    for info in infos:
        assert info.keys() == {"success", "is_success", "reward_terms"}
        assert type(info["is_success"]) is bool
        assert {type(value) for value in info["reward_terms"].values()} == {float}


# What it refuses.


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_another_autoreset_mode_is_refused_with_the_cure(mode):
    with pytest.raises(
        ValueError, match=r"autoreset_mode=gymnasium\.vector\.AutoresetMode\.SAME_STEP"
    ) as raised:
        as_sb3(sync(limited(3), mode=mode))
    assert str(mode) in str(raised.value)


def test_a_vector_environment_that_does_not_say_its_mode_is_refused():
    silent = sync(limited(3))
    silent.metadata = {}
    with pytest.raises(ValueError, match="SAME_STEP"):
        as_sb3(silent)


# Seeds.


@pytest.mark.parametrize(
    "make",
    [lambda: ArmVectorEnv("Pose-v0", COUNT, obs="state"), lambda: sync(limited(9), limited(9), limited(9))],
)
def test_a_seed_gives_the_same_start_again(adopt, make):
    venv = adopt(make())
    starts = []
    for seed in (3, 3, 4):
        venv.seed(seed)
        starts.append(np.concatenate([np.ravel(part) for part in plain_parts(venv.reset())]))
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])


def plain_parts(observation: Any) -> list[np.ndarray]:
    return list(observation.values()) if isinstance(observation, dict) else [observation]


def test_seeds_count_up_and_are_used_once(adopt):
    venv = adopt(ArmVectorEnv("Pose-v0", COUNT, obs="state"))
    assert venv.seed(7) == [7, 8, 9]
    first, second = venv.reset(), venv.reset()
    alone = ArmEnv("Pose-v0", obs="state")
    expected = alone.reset(seed=8)[0]
    np.testing.assert_array_equal(first["state"][1], expected["state"])
    np.testing.assert_array_equal(second["state"][1], alone.reset()[0]["state"])


# What else Stable-Baselines3 asks for.


def test_spaces_and_count_are_the_vector_environments(adopt):
    arms = ArmVectorEnv("Reach-v0", COUNT, image_size=16)
    venv = adopt(arms)
    assert venv.num_envs == COUNT
    assert venv.observation_space == arms.single_observation_space
    assert venv.action_space == arms.single_action_space


def test_attributes_and_methods_are_reached(adopt):
    venv = adopt(ArmVectorEnv("Track-v0", COUNT, obs="state", render_mode="rgb_array"))
    assert venv.render_mode == "rgb_array"
    assert [task.horizon for task in venv.get_attr("task")] == [50] * COUNT
    assert len(venv.get_attr("task", [0, 2])) == 2
    assert len(venv.get_attr("task", 1)) == 1
    venv.set_attr("note", "seen")
    assert venv.get_attr("note") == ["seen"] * COUNT
    venv.seed(0)
    venv.reset()
    pictures = venv.env_method("render", indices=[1])
    assert len(pictures) == 1
    assert pictures[0][0].shape == (480, 480, 3)
    with pytest.raises(AttributeError):
        venv.get_attr("no such thing")


def test_nothing_is_wrapped(adopt):
    venv = adopt(ArmVectorEnv("Reach-v0", COUNT, obs="state"))
    assert venv.env_is_wrapped(Monitor) == [False] * COUNT
    assert venv.env_is_wrapped(Monitor, [1]) == [False]


def test_images_are_one_picture_for_each(adopt):
    venv = adopt(ArmVectorEnv("Reach-v0", COUNT, obs="state", render_mode="rgb_array"))
    venv.reset()
    assert [image.shape for image in venv.get_images()] == [(480, 480, 3)] * COUNT
    silent = adopt(ArmVectorEnv("Reach-v0", COUNT, obs="state"))
    silent.reset()
    assert silent.get_images() == [None] * COUNT


def test_close_closes_the_vector_environment():
    class Closing(ArmVectorEnv):
        closings = 0

        def close_extras(self, **how: Any) -> None:
            super().close_extras(**how)
            self.closings += 1

    arms = Closing("Reach-v0", 2, workers=2)
    venv = as_sb3(arms)
    venv.reset()
    venv.close()
    assert arms.closings == 1


# Learning.


@pytest.mark.parametrize("obs", ["state", "pixels"])
def test_ppo_takes_its_steps_on_our_arms(adopt, obs):
    arguments = {"obs": obs} if obs == "state" else {"image_size": 36}
    venv = VecMonitor(
        adopt(ArmVectorEnv("Reach-v0", 4, workers=2, **arguments)), info_keywords=("is_success",)
    )
    agent = PPO("MultiInputPolicy", venv, n_steps=60, batch_size=60, n_epochs=1, seed=0, device="cpu")
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    agent.learn(240)
    assert agent.num_timesteps == 240
    assert any((old != new).any() for old, new in zip(before, agent.policy.parameters(), strict=True))
    episodes = list(agent.ep_info_buffer)
    assert [episode["l"] for episode in episodes] == [50] * 4
    assert all(0 <= episode["r"] <= 50 for episode in episodes)


def test_ppo_learns_to_walk_right(adopt):
    """A few hundred steps, with episodes that end at any time: the returns rise to the door's."""
    venv = VecMonitor(adopt(sync(*[limited(8)] * 4)))
    agent = PPO("MlpPolicy", venv, n_steps=32, batch_size=32, learning_rate=3e-3, seed=0, device="cpu")
    agent.learn(128)
    early = np.mean([episode["r"] for episode in agent.ep_info_buffer])
    agent.learn(1024, reset_num_timesteps=False)
    late = np.mean([episode["r"] for episode in list(agent.ep_info_buffer)[-20:]])
    assert early < 5
    assert late > 12


class OneStep(Corridor):
    """Every step is the last, by the episode's own end or by a limit."""

    def __init__(self, cut_off: bool) -> None:
        self.cut_off = cut_off

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, *_, info = super().step(action)
        return observation, reward, not self.cut_off, self.cut_off, info


@pytest.mark.parametrize(("cut_off", "bonus"), [(True, 90), (False, 0)])
def test_only_cut_off_episodes_are_bootstrapped(adopt, cut_off, bonus):
    """What lies beyond a time limit is worth what the critic says of the terminal observation."""
    venv = adopt(sync(*[lambda: OneStep(cut_off)] * 2))
    agent = PPO("MlpPolicy", venv, n_steps=4, batch_size=8, gamma=0.9, seed=0, device="cpu")
    agent.policy.predict_values = lambda seen: torch.full((len(seen), 1), 100.0)
    agent.learn(8)
    np.testing.assert_allclose(np.abs(agent.rollout_buffer.rewards - bonus), 1, rtol=1e-5)
