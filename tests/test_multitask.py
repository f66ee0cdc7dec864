"""Several tasks at once: one shared encoder, heads that know nothing of one another."""

import dataclasses
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents import build_multitask
from gqn_transfer.agents.build import environment_seed, make_agent
from gqn_transfer.agents.build_multitask import (
    add_rendering,
    add_task,
    load_multitask,
    make_multitask_agent,
)
from gqn_transfer.agents.gradients import cosines, without_conflicts
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv
from gqn_transfer.agents.multitask import MultiTaskPPO
from gqn_transfer.agents.resuming import restore_training, save_training
from gqn_transfer.agents.saving import AgentError, load_agent, save_agent
from gqn_transfer.agents.scene_collector import VIEWS, PretrainingScenes, SceneCollector, collectors_in
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.model import GQN
from gqn_transfer.presets import PRESETS
from gqn_transfer.scenes import Scenes

SIZES = dataclasses.replace(PRESETS["tiny"].model, image_size=16)
SHORT: dict[str, Any] = {"n_steps": 10, "batch_size": 10, "n_epochs": 2, "device": "cpu"}
TASKS = ("Reach-v0", "Pose-v0")


def environments(tasks: tuple[str, ...] = TASKS, envs: int = 2, **how: Any) -> dict[str, VecEnv]:
    return {task: as_sb3(ArmVectorEnv(task, envs, **({"image_size": 16} | how))) for task in tasks}


@pytest.fixture
def mixed() -> Iterator[MixedVecEnv]:
    venv = MixedVecEnv(environments())
    yield venv
    venv.close()


def agent_on(venv: MixedVecEnv, **how: Any) -> MultiTaskPPO:
    return make_multitask_agent(venv, encoder=Encoder.untrained(SIZES), seed=0, **(SHORT | how))


# The environments.


def test_it_is_its_parts_side_by_side(mixed: MixedVecEnv) -> None:
    assert mixed.seed(3) == [3, 4, 10_003, 10_004]
    parts = environments()
    for number, part in enumerate(parts.values()):
        part.seed(3 + 10_000 * number)
    rng = np.random.default_rng(0)
    seen, alone = mixed.reset(), [part.reset() for part in parts.values()]
    for step in range(52):  # beyond an episode's end
        for key, values in alone[0].items():
            np.testing.assert_array_equal(seen[key], np.concatenate([values, alone[1][key]]))
        actions = rng.uniform(-1, 1, (4, 7)).astype(np.float32)
        seen, rewards, dones, infos = mixed.step(actions)
        each = [part.step(actions[2 * k : 2 * k + 2]) for k, part in enumerate(parts.values())]
        alone = [found[0] for found in each]
        np.testing.assert_array_equal(rewards, np.concatenate([found[1] for found in each]))
        np.testing.assert_array_equal(dones, np.concatenate([found[2] for found in each]))
        assert len(infos) == 4
        if step == 49:
            assert dones.all()
            assert [float(info["terminal_observation"]["task"][0]) for info in infos] == [0, 0, 1, 1]
    assert seen["task"].ravel().tolist() == [0, 0, 1, 1]
    assert all(mixed.observation_space[key].contains(values[0]) for key, values in seen.items())


def test_calls_reach_the_environments_they_name(mixed: MixedVecEnv) -> None:
    assert [task.scene for task in mixed.get_attr("task")] == ["reach.xml"] * 2 + ["pose.xml"] * 2
    mixed.reset()
    assert [len(found.actions) for found in mixed.env_method("bookmark", indices=[1, 3])] == [0, 0]
    assert mixed.columns(1) == slice(2, 4)
    assert mixed.tasks == TASKS


def test_other_spaces_are_refused() -> None:
    venvs = environments(("Reach-v0",)) | environments(("Pose-v0",), image_size=32)
    with pytest.raises(ValueError, match=r"'Pose-v0' has spaces .*: make all with the same arguments"):
        MixedVecEnv(venvs)


# Heads.


def test_an_agent_of_one_task_with_the_same_seed_has_none_of_their_weights_and_episodes(
    mixed: MixedVecEnv,
) -> None:
    """Else a new task would begin with the head that its encoder was trained with."""
    alone = make_agent(
        "gqn-finetune", environments(("Reach-v0",))["Reach-v0"], encoder=Encoder.untrained(SIZES), seed=0
    )
    several = agent_on(mixed, head_width=alone.policy.net_arch["pi"][0])
    drawn = [weight for weight in alone.policy.parameters() if weight.dim() == 2]
    for name, weight in several.policy.heads.named_parameters():
        twins = [one for one in drawn if one.shape == weight.shape]
        assert twins or weight.dim() == 1, name
        assert not any(torch.equal(one, weight) for one in twins), name
    starts = [each.get_env().reset()["image"][:2] for each in (several, alone)]
    assert (starts[0] != starts[1]).any(), "images of Reach"


def test_each_row_is_answered_by_the_head_of_its_task(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    observations, _ = agent.policy.obs_to_tensor(mixed.reset())
    with torch.no_grad():
        agent.policy.heads[1].value.bias += 7
        agent.policy.heads[0].value.bias -= 7
        agent.policy.heads[1].log_std -= 3
        values = agent.policy.predict_values(observations).flatten()
        deviation = agent.policy.get_distribution(observations).distribution.stddev
        _, same_values, _ = agent.policy(observations)
    assert values[:2].max() < 0 < values[2:].min()
    assert deviation[:2].min() > 10 * deviation[2:].max()
    torch.testing.assert_close(same_values.flatten(), values)


def test_a_heads_inputs_are_scaled_on_its_own_task(mixed: MixedVecEnv) -> None:
    """Reach has no goal, Pose has one: of both together neither would be zero."""
    reach, pose = (head.scale.mean.flatten() for head in agent_on(mixed).policy.heads)
    without_goal = reach == 0
    assert without_goal.sum() >= 12
    assert pose[without_goal].any()


def test_environments_have_seeds_of_their_own(mixed: MixedVecEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that an evaluation has, none that SB3 gives."""
    seeds: list[int] = []
    monkeypatch.setattr(mixed, "seed", seeds.append)
    agent_on(mixed)
    assert seeds[-1] == environment_seed(build_multitask.own_seed(0)) >= 2**31


def test_eyes_are_handed_uint8(mixed: MixedVecEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, seen = agent_on(mixed), []
    eyes = agent.policy.features_extractor.eyes
    look = type(eyes).forward
    monkeypatch.setattr(
        type(eyes), "forward", lambda self, images, v: (seen.append(images.dtype), look(self, images, v))[1]
    )
    agent.learn(40)
    assert set(seen) == {torch.uint8}


def test_gradients_of_a_task_reach_no_other_head(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    rows = agent._rows()
    agent.policy.zero_grad()
    agent._loss(rows[1]).backward()
    for parameter in agent.policy.heads[0].parameters():
        assert parameter.grad is None or not parameter.grad.any()
    assert any(parameter.grad.any() for parameter in agent.policy.heads[1].parameters())
    assert any(p.grad is not None and p.grad.any() for p in agent.policy.shared_parameters())


def test_learning_trains_encoder_and_both_heads(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    before = [p.detach().clone() for p in agent.policy.parameters()]
    agent.learn(80)
    changed = [not torch.equal(p, q) for p, q in zip(agent.policy.parameters(), before, strict=True)]
    assert all(changed)
    assert agent._n_updates == 2 * 2


def test_a_frozen_encoder_stays_and_heads_learn(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed, mode="frozen")
    assert agent.policy.shared_parameters() == []
    before = {key: value.clone() for key, value in agent.policy.features_extractor.state_dict().items()}
    agent.learn(40)
    after = agent.policy.features_extractor.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


# One more task.


@torch.no_grad()
def outputs(agent: MultiTaskPPO, task: int = 0) -> list[torch.Tensor]:
    """Mean, deviation and value of a task's head on fixed observations."""
    rng = np.random.default_rng(5)
    space = agent.observation_space
    seen = {
        key: np.stack([part.low + rng.random(part.shape) for _ in range(3)]) for key, part in space.items()
    }
    seen = {key: values.astype(space[key].dtype) for key, values in seen.items()}
    seen["image"] = rng.integers(0, 256, seen["image"].shape).astype(np.uint8)
    seen["viewpoint"], seen["goal"] = rng.random((3, 7), np.float32), rng.random((3, 12), np.float32)
    seen["task"][:] = task
    observations = {key: torch.from_numpy(values) for key, values in seen.items()}
    distribution = agent.policy.get_distribution(observations).distribution
    return [distribution.mean, distribution.stddev, agent.policy.predict_values(observations)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("beside", [True, False])
def test_adding_a_task_leaves_the_others_bit_for_bit(mixed: MixedVecEnv, beside: bool) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    before = [outputs(agent, task) for task in (0, 1)]
    (venv,) = environments(("Grasp-v0",)).values()
    grown = add_task(agent, "Grasp-v0", venv, beside)
    assert all(same(outputs(grown, task), before[task]) for task in (0, 1))
    assert len(grown.policy.heads) == 3
    assert grown.env.tasks == ((*TASKS, "Grasp-v0") if beside else ("Grasp-v0",))
    assert grown.env.reset()["task"].max() == 2
    scale = grown.policy.heads[2].scale
    assert not torch.equal(scale.mean, torch.zeros_like(scale.mean))  # fitted on its own task


@pytest.mark.parametrize("beside", [True, False])
def test_a_task_that_was_added_is_learned(mixed: MixedVecEnv, beside: bool) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    steps = agent.policy.optimizer.state[agent.policy.shared_parameters()[0]]["step"]
    grown = add_task(agent, "Grasp-v0", environments(("Grasp-v0",))["Grasp-v0"], beside)
    kept = grown.policy.optimizer.state[grown.policy.shared_parameters()[0]]["step"]
    assert kept == steps == 4
    (group,) = [one for one in grown.policy.optimizer.param_groups if "factor" in one]
    assert group["steps"] == 0
    before = [[p.detach().clone() for p in head.parameters()] for head in grown.policy.heads]
    shared = [p.detach().clone() for p in grown.policy.shared_parameters()]
    grown.learn(80, reset_num_timesteps=False)
    changed = [
        any(not torch.equal(p, q) for p, q in zip(head.parameters(), old, strict=True))
        for head, old in zip(grown.policy.heads, before, strict=True)
    ]
    assert changed == [beside, beside, True]
    assert any(not torch.equal(p, q) for p, q in zip(grown.policy.shared_parameters(), shared, strict=True))


def test_a_task_is_not_added_twice(mixed: MixedVecEnv) -> None:
    with pytest.raises(ValueError, match="has a head for 'Pose-v0' already; it has Reach-v0, Pose-v0"):
        add_task(agent_on(mixed), "Pose-v0", environments(("Pose-v0",))["Pose-v0"])


def test_heads_are_those_of_the_environments_tasks(mixed: MixedVecEnv, tmp_path: Path) -> None:
    grown = add_task(agent_on(mixed), "Grasp-v0", environments(("Grasp-v0",))["Grasp-v0"], beside=False)
    save_agent(grown, tmp_path)
    alone = environments(("Grasp-v0",))
    again = load_multitask(tmp_path, MixedVecEnv(alone, first=2), Encoder.untrained(SIZES))
    assert same(outputs(again, 2), outputs(grown, 2))
    swapped = MixedVecEnv(environments(TASKS[::-1]))
    for venv in (swapped, MixedVecEnv(alone)):
        with pytest.raises(ValueError, match="but heads of Reach-v0, Pose-v0, Grasp-v0: give"):
            load_multitask(tmp_path, venv, Encoder.untrained(SIZES))


@pytest.mark.parametrize("setting", ["target_kl", "clip_range_vf", "normalize_advantage"])
def test_settings_that_it_would_ignore_are_refused(mixed: MixedVecEnv, setting: str) -> None:
    with pytest.raises(ValueError, match=f"do not know PPO's {setting}: leave them out"):
        agent_on(mixed, **{setting: 0.1})


def test_an_added_task_has_seeds_of_its_own_and_generators_go_on(
    scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = rendering_agent(scenes)
    seeds: list[int] = []
    monkeypatch.setattr(MixedVecEnv, "seed", lambda _, seed: seeds.append(seed))
    (venv,) = environments(("Press-v0",)).values()
    grown = add_task(agent, "Press-v0", SceneCollector(venv, np.random.default_rng(0)))
    assert seeds[-1] == environment_seed(build_multitask.own_seed(0)) + 2 * build_multitask.SEED_DISTANCE
    assert grown.surgery_rng is agent.surgery_rng
    assert grown.auxiliary.rng is agent.auxiliary.rng


def test_a_grown_agent_is_saved_and_read_again(mixed: MixedVecEnv, tmp_path: Path) -> None:
    grown = add_task(agent_on(mixed), "Grasp-v0", environments(("Grasp-v0",))["Grasp-v0"])
    grown.learn(60)
    save_agent(grown, tmp_path)
    again = load_multitask(
        tmp_path, MixedVecEnv(environments((*TASKS, "Grasp-v0"))), Encoder.untrained(SIZES)
    )
    assert all(same(outputs(again, task), outputs(grown, task)) for task in range(3))
    assert again.num_timesteps == grown.num_timesteps
    with pytest.raises(AgentError, match="was trained with the encoder"):
        load_multitask(tmp_path, mixed, Encoder.untrained(SIZES, seed=1))
    with pytest.raises(AgentError, match="several tasks: read it with load_multitask"):
        load_agent(tmp_path, mixed, Encoder.untrained(SIZES))


def test_as_many_environments_of_every_task(mixed: MixedVecEnv) -> None:
    venvs = environments(("Reach-v0",), 4) | environments(("Pose-v0",), 2)
    with pytest.raises(ValueError, match="4 of Reach-v0, 2 of Pose-v0: make as many environments of every"):
        MixedVecEnv(venvs)


def test_unknown_settings_are_refused(mixed: MixedVecEnv) -> None:
    with pytest.raises(ValueError, match="unknown settings of ppo: colour"):
        agent_on(mixed, colour=1)


# How tasks are balanced.


def test_advantages_are_normalised_within_each_task(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    rows = agent._rows()
    assert [len(each) for each in rows] == [20, 20]
    agent.rollout_buffer.advantages[rows[0]] = np.arange(20, dtype=np.float32)[:, None] * 100 + 5
    for each in rows:
        agent._normalise(each)
        chosen = agent.rollout_buffer.advantages[each]
        assert abs(chosen.mean()) < 1e-5
        assert chosen.std() == pytest.approx(1, abs=1e-3)


def test_learning_normalises_them(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    for each in agent._rows():
        chosen = agent.rollout_buffer.advantages[each]
        assert abs(chosen.mean()) < 1e-5
        assert chosen.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("surgery", [False, True])
def test_the_encoder_follows_the_mean_of_the_tasks(mixed: MixedVecEnv, surgery: bool) -> None:
    """Of their gradients, or of what surgery leaves of them."""
    agent = agent_on(mixed, surgery=surgery)
    noise, count = torch.Generator().manual_seed(0), sum(p.numel() for p in agent.policy.shared_parameters())
    shared = torch.randn(2, count, generator=noise)
    shared[1] -= shared[0]  # so that they are against each other
    own = [[torch.zeros_like(p) for p in head.parameters()] for head in agent._heads()]
    cosine = agent._take_step(list(zip(shared, own, strict=True)))
    left = without_conflicts(shared, np.random.default_rng([0, 4])) if surgery else shared
    found = torch.cat([p.grad.flatten() for p in agent.policy.shared_parameters()])
    torch.testing.assert_close(found, left.mean(0))
    torch.testing.assert_close(cosine, cosines(shared))
    assert cosine.item() < 0


def test_rows_are_those_of_their_task(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    for task, rows in enumerate(agent._rows()):
        assert (agent.rollout_buffer._get_samples(rows).observations["task"] == task).all()


def test_a_minibatch_holds_as_many_samples_of_each(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    agent.learn(40)
    rows = agent._rows()
    batches = list(agent._batches(rows))
    assert [[len(part) for part in batch] for batch in batches] == [[10, 10]] * 2
    for task in (0, 1):
        assert sorted(np.concatenate([batch[task] for batch in batches])) == sorted(rows[task])


def test_every_task_has_the_same_say(mixed: MixedVecEnv) -> None:
    """A task whose loss is a thousand times as large moves the encoder no more than another."""
    agent = agent_on(mixed)
    agent.learn(40)
    rows = agent._rows()
    agent.rollout_buffer.returns[rows[0]] *= 1000
    norms = [
        float(agent._gradients(head, each)[0].norm()) for head, each in zip(agent._heads(), rows, strict=True)
    ]
    assert max(norms) <= agent.max_grad_norm * 1.001


def test_one_task_alone_is_ppo() -> None:
    """The same loss and the same step as SB3's, on the same samples."""
    venv = MixedVecEnv(environments(("Reach-v0",)))
    agent = agent_on(venv, n_epochs=1, batch_size=20)
    agent.learn(20)
    (rows,) = agent._rows()
    agent._normalise(rows)
    samples = agent.rollout_buffer._get_samples(rows)
    values, log_prob, entropy = agent.policy.evaluate_actions(samples.observations, samples.actions)
    ratio = (log_prob - samples.old_log_prob).exp()
    clipped = torch.min(samples.advantages * ratio, samples.advantages * ratio.clamp(0.8, 1.2))
    expected = -clipped.mean() + 0.5 * (samples.returns - values.flatten()).square().mean()
    torch.testing.assert_close(agent._loss(rows), expected - agent.ent_coef * entropy.mean())


def test_the_same_seed_gives_the_same_agent() -> None:
    weights = []
    for _ in range(2):
        venv = MixedVecEnv(environments())
        weights.append(agent_on(venv, surgery=True).learn(80).policy.state_dict())
        venv.close()
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_agreement_is_logged(mixed: MixedVecEnv) -> None:
    agent = agent_on(mixed)
    seen: dict[str, float] = {}
    logger = configure(None, [])
    record = logger.record
    logger.record = lambda key, value, *rest, **more: (seen.update({key: value}), record(key, value))  # type: ignore
    agent.set_logger(logger)
    agent.learn(40)
    assert -1 <= seen["train/gradient_cosine"] <= 1
    assert 0 <= seen["train/gradient_conflicts"] <= 1


# Rendering beside the tasks, and going on.


def rendering_agent(scenes: tuple[Scenes, Scenes], **how: Any) -> MultiTaskPPO:
    collected = {
        task: SceneCollector(venv, np.random.default_rng([7, number]))
        for number, (task, venv) in enumerate(environments(("Reach-v0", "Grasp-v0")).items())
    }
    agent = agent_on(MixedVecEnv(collected), surgery=True, **how)
    add_rendering(agent, GQN(SIZES, seed=1), PretrainingScenes(scenes[0]))
    return agent


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_multitask, "RENDERED", 4)


@pytest.mark.usefixtures("_small_batches")
def test_the_bound_is_taken_half_on_scenes_and_half_on_states_met(
    scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = rendering_agent(scenes)
    bound, drawn = agent.auxiliary, []
    assert bound.model.representation is agent.policy.features_extractor.eyes.encoder.representation
    for source in bound.sources:
        sample = source.sample
        monkeypatch.setattr(
            source, "sample", lambda n, rng, s=sample: (drawn.append(n), s(n, rng))[1], raising=False
        )
    before = [p.detach().clone() for p in bound.model.generator.parameters()]
    agent.learn(80)
    assert set(drawn) == {2}
    assert sum(c.frames for c in collectors_in(agent.get_env())) == 2 * 2 * 2 * VIEWS
    assert any(not torch.equal(p, q) for p, q in zip(bound.model.generator.parameters(), before, strict=True))


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("rollouts", [2, 5])
def test_it_goes_on_as_if_it_had_not_stopped(
    rollouts: int, scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    """Tasks whose episodes have different lengths: one ends where another is at half."""
    agent = rendering_agent(scenes)
    agent.learn(rollouts * 40)
    save_training(agent, tmp_path)
    agent.learn(80, reset_num_timesteps=False)
    again = rendering_agent(scenes)
    torch.manual_seed(99), np.random.seed(99)  # noqa: NPY002
    restore_training(again, tmp_path)
    again.learn(80, reset_num_timesteps=False)
    assert again.num_timesteps == agent.num_timesteps
    for part in ("policy", "auxiliary.model"):
        ours, theirs = (operator.attrgetter(part)(one).state_dict() for one in (agent, again))
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def norm_of(gradients: list[torch.Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(gradients))


@pytest.mark.usefixtures("_small_batches")
def test_the_bound_weighs_as_much_as_the_tasks_however_many(
    scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = rendering_agent(scenes)
    agent.learn(40)
    bound, shared = agent.auxiliary, agent.policy.shared_parameters()
    norms, step = [], agent.policy.optimizer.step

    def watched() -> None:
        gradients = [one.grad for one in shared], bound._gradients()[: bound.split]
        norms.append([norm_of([one for one in each if one is not None]) for each in gradients])
        step()

    monkeypatch.setattr(agent.policy.optimizer, "step", watched)
    agent.learn(40, reset_num_timesteps=False)
    assert len(norms) == 4
    for tasks, bounds in norms:
        assert bounds == pytest.approx(tasks, rel=1e-3)


@pytest.mark.usefixtures("_small_batches")
def test_rendering_goes_on_where_a_task_is_added(scenes: tuple[Scenes, Scenes], tmp_path: Path) -> None:
    agent = rendering_agent(scenes)
    agent.learn(80)
    generator = [p.detach().clone() for p in agent.auxiliary.model.generator.parameters()]
    (venv,) = environments(("Press-v0",)).values()
    grown = add_task(agent, "Press-v0", SceneCollector(venv, np.random.default_rng(0)))
    ours = list(grown.auxiliary.model.generator.parameters())
    assert all(torch.equal(p, q) for p, q in zip(ours, generator, strict=True))
    assert grown.policy.optimizer.state[ours[0]]["step"] == agent.policy.optimizer.state[ours[0]]["step"]
    grown.learn(120, reset_num_timesteps=False)
    assert any(not torch.equal(p, q) for p, q in zip(ours, generator, strict=True))
    assert len(collectors_in(grown.get_env())) == 3
    save_agent(grown, tmp_path)
    collected = {
        task: SceneCollector(each, np.random.default_rng(1))
        for task, each in environments(("Reach-v0", "Grasp-v0", "Press-v0")).items()
    }
    rendering = GQN(SIZES, seed=1), PretrainingScenes(scenes[0])
    again = load_multitask(tmp_path, MixedVecEnv(collected), Encoder.untrained(SIZES), rendering)
    read = again.auxiliary.model.generator.parameters()
    assert all(torch.equal(p, q) for p, q in zip(ours, read, strict=True))


@pytest.mark.usefixtures("_small_batches")
def test_untaught_the_encoder_follows_rendering_alone(
    mixed: MixedVecEnv, scenes: tuple[Scenes, Scenes]
) -> None:
    agent = agent_on(mixed, teach=False)
    before = [p.detach().clone() for p in agent.policy.shared_parameters()]
    agent.learn(40)
    assert all(torch.equal(p, q) for p, q in zip(agent.policy.shared_parameters(), before, strict=True))
    assert all(any(p.grad.any() for p in head.parameters()) for head in agent.policy.heads)
    agent = rendering_agent(scenes, teach=False)
    before = [p.detach().clone() for p in agent.policy.shared_parameters()]
    agent.learn(80)
    assert any(not torch.equal(p, q) for p, q in zip(agent.policy.shared_parameters(), before, strict=True))


def test_the_encoder_starts_slowly(mixed: MixedVecEnv) -> None:
    """Over `warm_up` steps of each task, at `encoder_rate` of the heads' rate."""
    agent = agent_on(mixed, encoder_rate=0.1, warm_up=50)
    (group,) = [one for one in agent.policy.optimizer.param_groups if "factor" in one]
    assert (group["factor"], group["warm_up"]) == (0.1, 50 * 2 // 10)


# Gradients.


def test_cosines_of_every_pair() -> None:
    gradients = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(cosines(gradients), torch.tensor([0.0, -1.0, 0.0, 0.0, 0.0, 0.0]))


def test_surgery_takes_out_what_is_against_another() -> None:
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    mended = without_conflicts(gradients, np.random.default_rng(0))
    torch.testing.assert_close(mended, torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    assert mended[0] @ gradients[1] == pytest.approx(0, abs=1e-6)


def test_surgery_leaves_agreeing_gradients_alone() -> None:
    gradients = torch.tensor([[1.0, 0.5], [0.2, 1.0], [0.0, 0.0]])
    assert torch.equal(without_conflicts(gradients, np.random.default_rng(0)), gradients)
