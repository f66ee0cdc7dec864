"""Source stages: tasks train an encoder on, it is handed on as a checkpoint, and goes on after a stop."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gqn_transfer.agents import build_multitask
from gqn_transfer.agents.build_multitask import make_multitask_agent
from gqn_transfer.agents.mixed_vec_env import MixedVecEnv
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.benchmarks import artefacts, hours, source_stage, work
from gqn_transfer.benchmarks.artefacts import SourceRecipe
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.checkpoint_evaluation import EvaluationConfig, evaluate_checkpoints
from gqn_transfer.benchmarks.claims import claimed
from gqn_transfer.benchmarks.curves import read_curve
from gqn_transfer.benchmarks.encoder_commands import source
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.benchmarks.source_config import SourceConfig
from gqn_transfer.benchmarks.source_stage import train_source
from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from gqn_transfer.encoder import load_encoder, load_gqn
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.files import read_json, write_json, write_text
from gqn_transfer.presets import PRESETS
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes
from gqn_transfer.tier import Tier, TierConfig

pytestmark = pytest.mark.usefixtures("short_probes")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenes, Scenes]:
    config = ScenesConfig(scenes=30, test_scenes=10, views=4, image_size=16)
    return make_scenes(config, tmp_path_factory.mktemp("scenes"), workers=1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, scenes: tuple[Scenes, Scenes]) -> Path:
    tiny = PRESETS["tiny"]
    small = dataclasses.replace(tiny, steps=3, model=dataclasses.replace(tiny.model, image_size=16))
    return pretrain(small, *scenes, tmp_path_factory.mktemp("start") / "core", device="cpu").encoder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_multitask, "RENDERED", 4)


def config_of(start: Path, **changes: object) -> SourceConfig:
    small = SourceConfig(
        str(start),
        ("Reach-v0", "Press-v0"),
        steps=500,
        num_envs=2,
        settings=(("batch_size", 125), ("warm_up", 0)),
        evaluate_every=250,
        episodes=2,
    )
    return dataclasses.replace(small, **changes)


@pytest.fixture(scope="module")
def stage(start: Path, scenes: tuple[Scenes, Scenes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_multitask, "RENDERED", 4)
        train_source(config_of(start), start, folder, scenes[0], {"command": "here"})
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_gqn(folder).state_dict()


def test_every_task_is_evaluated_at_its_own_steps(stage: Path) -> None:
    for task in ("Reach-v0", "Press-v0"):
        curve = read_curve(stage / f"{task}.csv")
        assert curve.steps.tolist() == [0, 250, 500]
        assert curve.episodes.tolist() == [2, 2, 2]


def test_every_task_is_evaluated_with_its_own_head(start: Path, scenes: tuple[Scenes, Scenes]) -> None:
    held_out = source_stage._held_out(config_of(start), start, scenes[0])
    for number, venv in enumerate(held_out.values()):
        assert (venv.reset()["task"] == number).all()


def test_scenes_that_its_start_has_not_seen_are_counted(stage: Path, start: Path, tmp_path: Path) -> None:
    config = ScenesConfig(scenes=20, test_scenes=10, views=4, image_size=16, seed=5)
    others, _ = make_scenes(config, tmp_path / "scenes", workers=1)
    again = train_source(config_of(start), start, tmp_path / "stage", others, {})
    frames = [read_record(encoder)["frames"] for encoder in (stage / "encoder", again)]
    assert frames[1] - frames[0] == 20 * 4
    assert again is not None
    config_again = config_of(again, steps=250)
    twice = train_source(config_again, again, tmp_path / "twice", others, {})
    rendered = (frames[0] - read_record(start)["frames"]) / 2  # in half the steps
    own = read_record(twice)["frames"] - frames[1]
    assert own == pytest.approx(rendered, abs=20), "the scenes were counted by its start"


def test_frames_are_those_that_anything_was_trained_on(tmp_path: Path) -> None:
    for record, frames in (({"steps": 0}, 0), ({"steps": 0, "source_steps": 9}, 7), ({"steps": 5}, 7)):
        write_json(tmp_path / "checkpoint.json", {"frames": 7} | record)
        assert artefacts.pretraining_frames(tmp_path) == frames


def test_how_far_gradients_agree_is_told(stage: Path) -> None:
    steps, cosines, conflicts, rendering = np.loadtxt(stage / "gradients.csv", delimiter=",", skiprows=1).T
    assert steps.tolist() == [250, 500]
    assert (np.abs(cosines) <= 1).all()
    assert ((conflicts >= 0) & (conflicts <= 1)).all()
    assert np.abs(rendering[-1]) < 1
    assert np.ptp(cosines) > 0


def test_encoder_and_generator_are_trained_on_and_handed_on(stage: Path, start: Path) -> None:
    before, after = weights(start), weights(stage / "encoder")
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert any(key.startswith("representation.") for key in changed)
    assert any(key.startswith("generator.") for key in changed)
    record = read_record(stage / "encoder")
    assert record["source"]["tasks"] == ["Reach-v0", "Press-v0"]
    assert record["source_steps"] == 2 * 500
    assert record["frames"] == read_record(start)["frames"] + 2 * 500 + 2 * 250 // 8 * 2 * 3
    codes = load_encoder(stage / "encoder")
    assert not torch.equal(codes.feature_std, load_encoder(start).feature_std)


def test_a_finished_stage_is_not_run_again(
    stage: Path, start: Path, scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_stage, "source_agent", lambda *_: pytest.fail("it trains again"))
    assert train_source(config_of(start), start, stage, scenes[0], {}) == stage / "encoder"


def test_a_stopped_stage_goes_on_to_the_same_encoder(
    stage: Path, start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    save = source_stage.save_training

    def save_and_die(*arguments: object) -> None:
        save(*arguments)
        raise Killed

    monkeypatch.setattr(source_stage, "save_training", save_and_die)
    with pytest.raises(Killed):
        train_source(config_of(start), start, tmp_path, scenes[0], {})
    monkeypatch.setattr(source_stage, "save_training", save)
    assert train_source(config_of(start), start, tmp_path, scenes[0], {}, seconds=-1) is None
    assert train_source(config_of(start), start, tmp_path, scenes[0], {}) == tmp_path / "encoder"
    ours, theirs = weights(tmp_path / "encoder"), weights(stage / "encoder")
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    for task in ("Reach-v0", "Press-v0"):
        one, other = (read_curve(folder / f"{task}.csv") for folder in (tmp_path, stage))
        assert one.return_mean.tolist() == other.return_mean.tolist()
    assert (tmp_path / "gradients.csv").read_text() == (stage / "gradients.csv").read_text()


@pytest.mark.parametrize("part", ["sources", "stages"])
def test_a_stage_does_not_go_on_under_other_code(
    part: str,
    start: Path,
    scenes: tuple[Scenes, Scenes],
    stage: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = ({"versions": {part: name, "revision": name}} for name in ("old", "new"))
    assert train_source(config_of(start), start, tmp_path, scenes[0], old, seconds=-1) is None
    shutil.copytree(stage / "agent", tmp_path / "agent")  # as if it had gone half its way
    assert train_source(config_of(start), start, tmp_path, scenes[0], new, seconds=-1) is None
    assert f"starts anew: what was kept is of other {part}" in capsys.readouterr().err
    assert not (tmp_path / "agent").exists()
    assert read_json(tmp_path / "config.json")["versions"][part] == "new"


def test_imported_tables_are_no_stage(
    start: Path, scenes: tuple[Scenes, Scenes], stage: Path, tmp_path: Path
) -> None:
    """Also where they are of another start: this one is trained here, from its beginning."""
    for name in ("Reach-v0.csv", "Press-v0.csv", "done.json", "gradients.csv"):
        shutil.copy(stage / name, tmp_path / name)
    known = read_json(stage / "config.json") | {"start": "another"}
    write_json(tmp_path / "config.json", known)
    write_text(tmp_path / "probes.csv", "of another machine")
    assert train_source(config_of(start), start, tmp_path, scenes[0], {}, seconds=-1) is None
    assert read_curve(tmp_path / "Reach-v0.csv").steps.tolist() == [0]
    assert not (tmp_path / "done.json").exists()
    assert not (tmp_path / "probes.csv").exists()


def test_another_stages_folder_is_refused(
    start: Path, scenes: tuple[Scenes, Scenes], stage: Path, tmp_path: Path
) -> None:
    (tmp_path / "agent").symlink_to(stage / "agent")
    (tmp_path / "config.json").write_text((stage / "config.json").read_text())
    with pytest.raises(ValueError, match="belongs to another source stage"):
        train_source(config_of(start, seed=1), start, tmp_path, scenes[0], {})


def test_a_stage_from_other_weights_is_no_longer_taken(
    start: Path, scenes: tuple[Scenes, Scenes], stage: Path, tmp_path: Path
) -> None:
    """Its name and settings are the same: the encoder of that name has been trained anew."""
    other = tmp_path / "other"
    shutil.copytree(start, other)
    weights = {name: value + 1 for name, value in load_tensors(start).items()}
    save_checkpoint(other, weights, read_record(start))
    with pytest.raises(ValueError, match=r"started from the weights .* choose another folder"):
        train_source(config_of(start), other, stage, scenes[0], {})


def test_a_stage_goes_on_on_its_own_scenes(
    start: Path, scenes: tuple[Scenes, Scenes], stage: Path, tmp_path: Path
) -> None:
    config = ScenesConfig(scenes=20, test_scenes=10, views=4, image_size=16, seed=5)
    others, _ = make_scenes(config, tmp_path / "scenes", workers=1)
    with pytest.raises(ValueError, match=r"began with scenes of .*, these are of .*'seed': 5"):
        train_source(config_of(start), start, stage, others, {})


def test_an_encoder_that_nothing_trains_is_refused(start: Path) -> None:
    with pytest.raises(ValueError, match="neither tasks nor rendering"):
        config_of(start, teach=False, rendering=False)


def test_untaught_it_is_rendering_that_trains(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, stage: Path
) -> None:
    config = config_of(start, teach=False, steps=250)
    assert "-untaught-" in config.name
    encoder = train_source(config, start, tmp_path, scenes[0], {})
    assert encoder is not None
    assert not torch.equal(load_encoder(encoder).feature_std, load_encoder(start).feature_std)


def test_without_rendering_the_generator_is_left_out(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    config = config_of(start, rendering=False, steps=250)
    encoder = train_source(config, start, tmp_path, scenes[0], {})
    assert encoder is not None
    assert read_record(encoder)["frames"] == read_record(start)["frames"] + 2 * 250
    assert not torch.equal(
        load_encoder(encoder).representation.state_dict()["leave.0.weight"],
        load_encoder(start).representation.state_dict()["leave.0.weight"],
    )
    with pytest.raises(ValueError, match="without its generator"):
        load_gqn(encoder)


def test_names_tell_stages_apart(start: Path) -> None:
    names = {
        config_of(start, **change).name for change in ({}, {"seed": 1}, {"rendering": False}, {"steps": 250})
    }
    assert len(names) == 4
    assert all(name.startswith("encoder-reach-press-") for name in names)
    assert config_of(start, seed=1).pattern == config_of(start).pattern


def die_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """The process ends after it has saved so often."""
    count, save = [0], source_stage.save_training

    def save_and_die(*arguments: object) -> None:
        save(*arguments)
        count[0] += 1
        if count[0] == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(source_stage, "save_training", save_and_die)


def test_tasks_in_turn_are_learned_one_after_another_and_go_on_after_a_stop(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(start, in_turn=True)
    assert "-in-turn-" in config.name
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    encoder = train_source(config, start, whole, scenes[0], {})
    assert encoder is not None
    assert read_curve(whole / "Reach-v0.csv").steps.tolist() == [0, 250, 500, 750, 1000]
    assert read_curve(whole / "Press-v0.csv").steps.tolist() == [750, 1000]
    record = read_record(encoder)
    assert record["source_steps"] == 2 * 500
    assert record["frames"] == read_record(start)["frames"] + 2 * 500 + 2 * 250 // 8 * 2 * 3
    with monkeypatch.context() as patch:
        die_after(patch, 3)  # in the middle of the second turn
        with pytest.raises(KeyboardInterrupt):
            train_source(config, start, stopped, scenes[0], {})
    assert train_source(config, start, stopped, scenes[0], {}) == stopped / "encoder"
    ours, theirs = weights(stopped / "encoder"), weights(whole / "encoder")
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert read_record(stopped / "encoder")["frames"] == record["frames"]


def test_a_turn_that_was_evaluated_and_not_kept_is_begun_again(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(start, in_turn=True, steps=250)
    evaluated, save = [0], source_stage.save_training

    def die_before(*arguments: object) -> None:
        evaluated[0] += 1
        if evaluated[0] == 2:  # the first of the second turn
            raise KeyboardInterrupt
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(source_stage, "save_training", die_before)
        with pytest.raises(KeyboardInterrupt):
            train_source(config, start, tmp_path, scenes[0], {})
    rewind = source_stage.rewind_curve
    monkeypatch.setattr(source_stage, "rewind_curve", lambda *where: rewind(*where) + 1_000)
    assert train_source(config, start, tmp_path, scenes[0], {}) == tmp_path / "encoder"
    curves = [read_curve(tmp_path / f"{task}.csv") for task in config.tasks]
    assert [curve.steps.tolist() for curve in curves] == [[0, 250, 500], [500]]
    assert curves[0].wall_seconds[2] > 1_000, "the clock goes on, and does not begin again"
    rows = (tmp_path / "gradients.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["250", "500"]


def test_turns_are_whole_rollouts(start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path) -> None:
    config = config_of(start, in_turn=True, settings=(("batch_size", 100), ("n_steps", 100)))
    with pytest.raises(ValueError, match="steps=500 of a task are no whole number of rollouts of 200"):
        train_source(config, start, tmp_path, scenes[0], {})


def test_a_stage_ends_at_an_evaluation(start: Path) -> None:
    with pytest.raises(ValueError, match="ends at an evaluation"):
        config_of(start, steps=600)


# As a command.


def test_the_command_trains_what_its_options_say(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SourceConfig] = []
    monkeypatch.setattr(source_stage, "train_source", lambda config, *_: asked.append(config))
    where = scenes[0].folder.parent
    source(tmp_path, where, ("Reach-v0", "Press-v0"), str(start), 40_000, in_turn=True, surgery=True, seed=3)
    source(tmp_path, where, ("Reach-v0",), str(start), tier=16)
    source(tmp_path, where, ("Reach-v0",), str(start), tier=16, tier_bottleneck=0.1, tier_history=4)
    first, second, third = asked
    assert (first.tasks, first.steps, first.seed) == (("Reach-v0", "Press-v0"), 40_000, 3)
    assert (first.rendering, first.in_turn, dict(first.settings)) == (True, True, {"surgery": True})
    assert (second.rendering, second.tier) == (False, TierConfig(16))
    assert third.tier == TierConfig(16, bottleneck=0.1, history=4)


def test_the_command_stops_in_time_and_says_so(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source(tmp_path, scenes[0].folder.parent, ("Reach-v0",), str(start), max_seconds=0.0)
    assert capsys.readouterr().out == "stopped: run the same command again\n"
    assert read_curve(tmp_path / "Reach-v0.csv").steps.tolist() == [0]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((), "tasks (none): expected one or more"),
        (("Reach-v0", "Reach-v0"), "each once"),
        (("X-v0",), "X-v0"),
    ],
)
def test_tasks_are_checked_first(
    tasks: tuple[str, ...], message: str, start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        train_source(config_of(start, tasks=tasks), start, tmp_path, scenes[0], {})


# Tiers.


@pytest.fixture(scope="module")
def tier_stage(start: Path, scenes: tuple[Scenes, Scenes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tier")
    train_source(
        config_of(start, rendering=False, tier=TierConfig(size=8, width=16)), start, folder, scenes[0], {}
    )
    return folder


def test_tasks_train_a_tier_and_leave_the_encoder(tier_stage: Path, start: Path) -> None:
    encoder, base = load_encoder(tier_stage / "encoder"), load_encoder(start)
    assert encoder.features_dim == 8
    kept = encoder.representation.base.state_dict()  # type: ignore[union-attr, operator]
    assert all(torch.equal(value, kept[name]) for name, value in base.state_dict().items())
    fresh = Tier(base.features_dim, TierConfig(size=8, width=16)).state_dict()
    trained = encoder.representation.tier.state_dict()  # type: ignore[union-attr, operator]
    assert fresh.keys() == trained.keys()
    assert read_record(tier_stage / "encoder")["frames"] == read_record(start)["frames"] + 2 * 500
    assert read_curve(tier_stage / "Reach-v0.csv").steps.tolist() == [0, 250, 500]


def test_a_tier_of_no_steps_is_the_one_it_began_with(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    """The control of a tier's form: nothing has trained it."""
    config = config_of(start, tier=TierConfig(size=8), rendering=False, steps=0)
    made = train_source(config, start, tmp_path, scenes[0], {})
    assert made is not None
    codes = load_encoder(made)
    assert codes.features_dim == 8
    assert read_record(made)["source_steps"] == 0
    assert read_curve(tmp_path / "Reach-v0.csv").steps.tolist() == [0]


def test_the_tier_is_what_the_tasks_have_trained(
    tier_stage: Path, start: Path, scenes: tuple[Scenes, Scenes]
) -> None:
    """Before its first step the stage's agent has other weights, of the same seed in every run."""
    config = config_of(start, rendering=False, tier=TierConfig(size=8, width=16))
    ours, theirs = (
        source_stage.source_agent(config, start, scenes[0]).policy.features_extractor.tier.state_dict()
        for _ in range(2)
    )
    trained = load_encoder(tier_stage / "encoder").representation.tier.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name])
        assert not torch.equal(value, trained[name])


def test_a_noisy_tier_that_remembers_goes_on_after_a_stop(
    start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: its noise, and what the running episodes had shown."""
    tier = TierConfig(size=8, width=16, bottleneck=0.01, history=3)
    config = config_of(start, rendering=False, tier=tier)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    made = train_source(config, start, whole, scenes[0], {})
    with monkeypatch.context() as patch:
        die_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train_source(config, start, stopped, scenes[0], {})
    assert train_source(config, start, stopped, scenes[0], {}) == stopped / "encoder"
    ours, theirs = load_tensors(stopped / "encoder"), load_tensors(whole / "encoder")
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert made is not None
    assert load_encoder(made).below[1] == 3


def test_a_tier_needs_codes_and_no_rendering(start: Path, scenes: tuple[Scenes, Scenes]) -> None:
    with pytest.raises(ValueError, match="rendering has nothing to train"):
        config_of(start, tier=TierConfig())
    venv = MixedVecEnv({"Reach-v0": as_sb3(ArmVectorEnv("Reach-v0", 2, image_size=16))})
    with pytest.raises(ValueError, match="give it an EncodedVecEnv"):
        make_multitask_agent(venv, encoder=load_encoder(start), seed=0, tier=TierConfig())


def test_encoders_and_tiers_of_stages_are_evaluated(
    stage: Path, tier_stage: Path, start: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    """Pictures and bound of those that kept their generator, probes of all."""
    config = config_of(start, rendering=False, steps=250)
    blind = train_source(config, start, tmp_path / "blind", scenes[0], {})
    names = [str(stage / "encoder"), str(tier_stage / "encoder"), str(blind)]
    how = EvaluationConfig(count=10, samples=1)
    whole, tier, bare = evaluate_checkpoints(names, scenes[0].folder.parent, how).checkpoints.values()
    assert "predictions and bound" not in whole.not_computed
    assert "predictions and bound" in set(tier.not_computed) & set(bare.not_computed)
    assert "then Reach-v0, Press-v0" in tier.subject.objective
    assert all(one.probes for one in (whole, tier, bare))


# As recipes of a suite.


def test_a_recipe_is_made_with_all_that_it_stands_on(
    scenes: tuple[Scenes, Scenes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tier on an encoder that a task has trained on, from one that the suite pretrains itself."""
    short: dict[str, object] = {
        "steps": 250, "rendering": False, "num_envs": 2, "settings": (("batch_size", 125),),
        "evaluate_every": 250, "episodes": 2,
    }  # fmt: skip
    tuned = SourceConfig("smoke-gqn", ("Reach-v0",), **short)  # type: ignore[arg-type]
    on_top = SourceConfig("tuned", ("Press-v0",), **short, tier=TierConfig(size=8))  # type: ignore[arg-type]
    recipes = {"tuned": SourceRecipe("smoke", tuned), "on-top": SourceRecipe("smoke", on_top)}
    monkeypatch.setattr(artefacts, "ENCODERS", {**artefacts.ENCODERS, **recipes})
    assert artefacts.lineage("on-top") == ("smoke-gqn", "tuned", "on-top")
    assert work.render_scenes("on-top", tmp_path)
    assert work.work_on_encoder("on-top", tmp_path, 1, seconds=0.0) is work.Outcome.STOPPED
    with claimed(tmp_path / "encoders/tuned"):
        assert work.work_on_encoder("on-top", tmp_path, 1) is work.Outcome.BUSY
    made = work.work_on_encoder("on-top", tmp_path, 1)
    assert made == tmp_path / "encoders/on-top/encoder"
    encoder = load_encoder(made)  # type: ignore[arg-type]
    below = load_encoder(tmp_path / "encoders/tuned/encoder")
    assert encoder.features_dim == 8
    assert (tmp_path / "encoders/start-smoke-gqn/rendering.csv").exists(), "for the table's first row"
    assert not (tmp_path / "encoders/start-tuned").exists()
    for name in ("tuned", "on-top"):
        assert "camera" in (tmp_path / "encoders" / name / "probes.csv").read_text()
    assert encoder.representation.base.fingerprint == below.fingerprint  # type: ignore[union-attr]
    assert below.fingerprint != load_encoder(tmp_path / "encoders/smoke-gqn").fingerprint
    cell = Cell("t", "Reach-v0", "gqn-frozen", "ppo", "fixed", "on-top", 0, 1000)
    monkeypatch.setattr(hours, "speed", lambda: 1.0)
    assert hours.seconds_of([cell]) > hours.seconds_of([cell._replace(encoder="jaco-small")])


def test_a_recipe_whose_start_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = SourceConfig("nowhere", ("Reach-v0",))
    monkeypatch.setattr(artefacts, "ENCODERS", {"tuned": SourceRecipe("smoke", stage)})
    with pytest.raises(CheckpointError, match="'nowhere' is neither a shipped encoder"):
        artefacts.check("tuned")
