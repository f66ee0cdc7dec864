"""The auxiliary bound: other views of the agent's states, kept and counted, train its eyes too."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents import auxiliary as module
from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.saving import load_agent, save_agent
from gqn_transfer.agents.scene_collector import (
    EVERY,
    VIEWS,
    PretrainingScenes,
    SceneCollector,
    Together,
    collectors_in,
)
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.presets import PRESETS
from gqn_transfer.scenes import Batch, Scenes

SIZES = dataclasses.replace(PRESETS["tiny"].model, image_size=16)
SHORT = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "device": "cpu"}


@pytest.fixture
def arms() -> Iterator[Callable[[], VecEnv]]:
    made: list[VecEnv] = []

    def make() -> VecEnv:
        made.append(as_sb3(ArmVectorEnv("Reach-v0", 2, image_size=16)))
        made[-1].seed(0)
        return made[-1]

    yield make
    for each in made:
        each.close()


def agent_on(venv: VecEnv, **how: Any) -> Any:
    return make_agent("gqn-aux", venv, encoder=Encoder.untrained(SIZES), seed=0, **(SHORT | how))


def collector_of(agent: Any) -> SceneCollector:
    (found,) = collectors_in(agent.get_env())
    return found


def act(venv: VecEnv, steps: int) -> None:
    for _ in range(steps):
        venv.step(np.zeros((venv.num_envs, 7), np.float32))


def test_one_step_in_eight_shows_three_more_views(arms: Callable[[], VecEnv]) -> None:
    collector = SceneCollector(arms(), np.random.default_rng(0))
    collector.reset()
    act(collector, EVERY - 1)
    assert (len(collector), collector.frames) == (0, 0)
    act(collector, 1 + EVERY)
    assert (len(collector), collector.frames) == (4, 4 * VIEWS)
    batch = collector.sample(5, np.random.default_rng(0))
    assert batch.images.shape == (5, VIEWS, 16, 16, 3)
    assert batch.viewpoints.shape == (5, VIEWS, 7)
    assert batch.labels.max() > 0
    assert batch.state.shape == (5, 0)


def test_the_latest_states_are_kept(arms: Callable[[], VecEnv]) -> None:
    collector = SceneCollector(arms(), np.random.default_rng(0), capacity=3)
    collector.reset()
    act(collector, 2 * EVERY)
    assert len(collector) == 3
    views = collector.venv.env_method("scene_views", VIEWS, np.random.default_rng(9), indices=[0])[0]
    collector._keep(tuple(views))
    kept = collector._kept[1]
    for place in ((4 % 3), (5 % 3)):
        assert any(np.array_equal(kept[place], viewpoints) for viewpoints in views.viewpoints)


def test_other_views_do_not_disturb_the_episodes(arms: Callable[[], VecEnv]) -> None:
    plain, collected = arms(), SceneCollector(arms(), np.random.default_rng(0))
    plain.reset(), collected.reset()
    for _ in range(EVERY + 1):
        ours, theirs = (venv.step(np.full((2, 7), 0.5, np.float32)) for venv in (collected, plain))
        for key, values in theirs[0].items():
            np.testing.assert_array_equal(ours[0][key], values)
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_the_bound_trains_eyes_and_generator(arms: Callable[[], VecEnv]) -> None:
    agent = agent_on(arms())
    bound = agent.auxiliary
    assert bound.model.representation is agent.policy.features_extractor.eyes.encoder.representation
    generator = [p.detach().clone() for p in bound.model.generator.parameters()]
    agent.learn(16)  # two states: too few for a batch
    assert all(torch.equal(p, q) for p, q in zip(bound.model.generator.parameters(), generator, strict=True))
    agent.learn(8 * EVERY * 2, reset_num_timesteps=False)
    assert len(collector_of(agent)) >= module.BATCH
    assert any(
        not torch.equal(p, q) for p, q in zip(bound.model.generator.parameters(), generator, strict=True)
    )


def test_its_gradient_is_added_to_the_agents(arms: Callable[[], VecEnv]) -> None:
    agent = agent_on(arms())
    collector_of(agent).reset()
    act(collector_of(agent), 8 * EVERY)
    eyes = list(agent.policy.features_extractor.eyes.encoder.representation.parameters())
    for parameter in eyes:
        parameter.grad = torch.ones_like(parameter)
    agent.auxiliary.rng = np.random.default_rng(1)
    agent.policy.optimizer.before_step()
    added = [p.grad - 1 for p in eyes]
    assert sum(float(one.abs().sum()) for one in added) > 0
    agent.auxiliary.rng = np.random.default_rng(1)
    gradients = agent.auxiliary._gradients()
    for one, expected in zip(added, gradients, strict=False):  # the generator's come after the eyes'
        torch.testing.assert_close(one, expected, atol=1e-6, rtol=1e-4)
    norm = torch.nn.utils.get_total_norm([one for one in gradients if one is not None])
    assert norm <= module.CLIP * 1.01
    assert agent.policy.features_extractor.trunk[0].weight.grad is None


def test_a_plain_adam_elsewhere_does_not_double_it(arms: Callable[[], VecEnv]) -> None:
    agent = agent_on(arms())
    calls: list[int] = []
    agent.policy.optimizer.before_step = lambda: calls.append(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    agent.policy.optimizer.step()
    assert calls == [1]


def test_the_weight_counts_although_the_gradient_is_clipped(arms: Callable[[], VecEnv]) -> None:
    def norm(weight: float) -> float:
        agent = agent_on(arms(), auxiliary_weight=weight)
        collector_of(agent).reset()
        act(collector_of(agent), 8 * EVERY)
        found = [one for one in agent.auxiliary._gradients() if one is not None]
        return float(torch.nn.utils.get_total_norm(found))

    assert norm(4.0) == pytest.approx(4 * module.CLIP, rel=1e-3)
    assert norm(0.5) == pytest.approx(0.5 * module.CLIP, rel=1e-3)


def test_no_weight_no_change(arms: Callable[[], VecEnv]) -> None:
    agent = agent_on(arms(), auxiliary_weight=0.0)
    collector_of(agent).reset()
    act(collector_of(agent), 8 * EVERY)
    assert all(one is None or not one.any() for one in agent.auxiliary._gradients())


def test_same_seed_same_agent(arms: Callable[[], VecEnv]) -> None:
    one, other = (agent_on(arms()).learn(160).policy.state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_generator_and_its_moments_are_saved(arms: Callable[[], VecEnv], tmp_path: Any) -> None:
    agent = agent_on(arms()).learn(160)
    save_agent(agent, tmp_path)
    again = load_agent(tmp_path, arms(), Encoder.untrained(SIZES), device="cpu")
    for ours, theirs in zip(
        agent.auxiliary.model.state_dict().values(), again.auxiliary.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    states = [one.policy.optimizer.state_dict()["state"] for one in (agent, again)]
    assert states[0].keys() == states[1].keys()
    assert again.auxiliary.model.representation is again.policy.features_extractor.eyes.encoder.representation
    assert collector_of(again).frames == collector_of(agent).frames > 0
    again.learn(16, reset_num_timesteps=False)


def test_environments_that_cannot_are_refused(make_venv: Callable[..., VecEnv]) -> None:
    agent = agent_on(make_venv())
    with pytest.raises(ValueError, match=r"this environment cannot give: it has no moment\(\)"):
        agent.learn(16)


# Sources of scenes.


def test_pretraining_scenes_give_views_drawn_anew(scenes: tuple[Scenes, Scenes]) -> None:
    source, rng = PretrainingScenes(scenes[0]), np.random.default_rng(0)
    batch = source.sample(5, rng)
    assert batch.images.shape[:2] == (5, VIEWS)
    assert batch.viewpoints.shape == (5, VIEWS, 7)
    assert batch.state.shape == (5, 0)
    assert len(source) == len(scenes[0])
    views = {view.tobytes() for _ in range(12) for view in source.sample(4, rng).viewpoints.reshape(-1, 7)}
    known = scenes[0].gather(np.arange(len(scenes[0]))).viewpoints
    shown = [[view.tobytes() in views for view in scene] for scene in known]
    assert np.mean(shown, axis=0).min() > 0.1, "each of a scene's views is drawn now and then"


def test_sources_together_are_all_drawn_from(scenes: tuple[Scenes, Scenes]) -> None:
    class Marked:
        def __init__(self, mark: int, count: int) -> None:
            self.mark, self.count = mark, count

        def __len__(self) -> int:
            return self.count

        def sample(self, count: int, _: np.random.Generator) -> Batch:
            return Batch(*(np.full((count, 1), self.mark) for _ in range(4)))

    both = Together([Marked(1, 3), Marked(2, 4), Marked(3, 0)])
    assert len(both) == 7
    drawn = both.sample(200, np.random.default_rng(0)).images.ravel()
    assert {1, 2} == set(drawn)
    assert 60 < (drawn == 1).sum() < 140
