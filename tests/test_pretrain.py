"""Pretraining: it learns, it resumes bit for bit, it stops cleanly, its schedule and objectives are right."""

import contextlib
import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gqn_transfer import checkpoint
from gqn_transfer import pretrain as pretraining
from gqn_transfer import training as loop
from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record
from gqn_transfer.decoders import Question, RenderingDecoder, Report, Schedule, StateDecoder, squared_errors
from gqn_transfer.files import read_json, write_json
from gqn_transfer.loader import DrawnScenes, Loader, step_rng
from gqn_transfer.model import GQN
from gqn_transfer.objectives import Objective
from gqn_transfer.presets import PRESETS, PretrainConfig, adjusted, preset_named
from gqn_transfer.pretrain import Result, assemble, build, pretrain
from gqn_transfer.scenes import Batch, Scenes
from gqn_transfer.training import schedule
from gqn_transfer.training_log import TrainingLog

Pair = tuple[Scenes, Scenes]
Make = Callable[..., Scenes]
PLAIN = (1.0, 1.0, 1.0, 1.0)
"""Label weights of the bound as it is."""


def run(config: PretrainConfig, scenes: Pair, folder: Path, **how: Any) -> Result:
    return pretrain(config, *scenes, folder, **({"device": "cpu", "precision": "fp32"} | how))


def rows(folder: Path) -> list[dict[str, str]]:
    """The learning curve without its clock."""
    with open(folder / "training.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def plan(self_context: float, prior_only: bool, **more: float) -> Schedule:
    """A schedule at sigma 0.2 without extras."""
    nothing = dict.fromkeys((field.name for field in dataclasses.fields(Schedule)), 0.0)
    values: dict[str, Any] = {"sigma": 0.2, "self_context": self_context, "prior_only": prior_only}
    values["emphasis"] = 1.0
    return Schedule(**(nothing | values | more))


def rendering(model: GQN, contexts: int, queries: int, *how: Any) -> Objective:
    """The bound alone; how: weights by label, KL balance."""
    decoder = RenderingDecoder(model, *how)
    return Objective(model, {"rendering": decoder}, max_contexts=contexts, queries=queries)


@contextlib.contextmanager
def before_step(step: int, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` once, in the middle of the run's step number `step`."""
    update = loop.Run._update

    def watched(self: loop.Run, losses: torch.nn.Module, batch: Batch) -> Report:
        if self.step == step:
            act()
        return update(self, losses, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_update", watched)
        yield


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# Learning


def test_training_lowers_the_loss(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny, steps=80, batch=16, learning_rate=(3e-3, 3e-3), sigma=(0.1, 0.1), label_weights=PLAIN,
        warm_up=0.0, transition=0.0, adam_epsilon=1e-8,
    )  # fmt: skip
    trained = build(config, scenes[0], torch.device("cpu"))
    everything, last = scenes[0].gather(np.arange(64)), schedule(config, 80)
    before = trained(everything, last, np.random.default_rng(0))[1]()["mse"]
    assert run(config, scenes, tmp_path) == Result(True, 80, tmp_path / "encoder")
    tensors = load_tensors(tmp_path / "encoder")
    trained.load_state_dict({name: tensors[name] for name in trained.state_dict()})
    assert trained(everything, last, np.random.default_rng(0))[1]()["mse"] < 0.75 * before


def test_every_trained_weight_moves(tiny: PretrainConfig, scenes: Pair, trained_run: Path) -> None:
    fresh = build(tiny, scenes[0], torch.device("cpu")).state_dict()
    trained = load_tensors(trained_run / "encoder")
    assert set(trained) == {*fresh, "feature_mean", "feature_std"}
    still = [name for name, value in fresh.items() if torch.equal(trained[name], value)]
    assert still == []


def test_regression_learns(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny, decoders={"state": 1.0}, steps=60, batch=16, learning_rate=(1e-3, 1e-3), adam_epsilon=1e-8
    )
    fresh = build(config, scenes[0], torch.device("cpu"))
    held_out = scenes[1].gather(np.arange(16))
    run(config, scenes, tmp_path)
    assert float(rows(tmp_path)[-1]["test_state"]) < 0.85 * fresh.evaluate(held_out)["test_state"]


def test_regression_leaves_the_generator_alone(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, decoders={"state": 1.0}, steps=2)
    fresh = build(config, scenes[0], torch.device("cpu")).state_dict()
    run(config, scenes, tmp_path)
    trained = load_tensors(tmp_path / "encoder")
    for name, value in fresh.items():
        if name.startswith("model.generator."):
            assert torch.equal(trained[name], value)


def test_random_takes_no_step_and_still_writes_an_encoder(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    config = dataclasses.replace(tiny, decoders={}, steps=0)
    assert run(config, scenes, tmp_path) == Result(True, 0, tmp_path / "encoder")
    fresh, written = GQN(config.model, seed=config.seed).state_dict(), load_tensors(tmp_path / "encoder")
    assert all(torch.equal(written[f"model.{name}"], value) for name, value in fresh.items())
    assert read_record(tmp_path / "encoder")["steps"] == 0


def test_same_seed_same_weights(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, steps=3)
    other = dataclasses.replace(config, seed=1)
    for name, one in (("a", config), ("b", config), ("c", other)):
        torch.manual_seed(len(name) + ord(name))  # the global generator must not matter
        run(one, scenes, tmp_path / name)
    a, b, c = (load_tensors(tmp_path / name / "encoder") for name in "abc")
    assert same(a, b)
    assert not torch.equal(a["model.representation.enter.0.weight"], c["model.representation.enter.0.weight"])


def test_numbers_too_small_for_their_exponent_are_zero(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    products: list[float] = []
    with before_step(1, lambda: products.append(float(torch.tensor(1e-30) * torch.tensor(1e-9)))):
        run(dataclasses.replace(tiny, steps=2), scenes, tmp_path)
    assert products == [0.0]


def test_batches_depend_on_seed_and_step(tiny: PretrainConfig, scenes: Pair) -> None:
    def drawn(config: PretrainConfig, first_step: int) -> list[np.ndarray]:
        source = DrawnScenes(scenes[0], config.batch, config.seed)
        return [batch.state for batch in Loader(source, first_step, config.steps)]

    whole, late, other = drawn(tiny, 0), drawn(tiny, 7), drawn(dataclasses.replace(tiny, seed=1), 0)
    assert len(whole) == 10
    assert all(len(state) == tiny.batch for state in whole)
    np.testing.assert_array_equal(np.stack(late), np.stack(whole[7:]))
    assert not any(np.array_equal(a, b) for a, b in zip(whole, other, strict=True))
    assert len({state.tobytes() for state in whole}) == 10


def test_noise_depends_on_seed_step_and_purpose() -> None:
    keys = [(0, 0, "noise"), (1, 0, "noise"), (0, 1, "noise"), (0, 0, "batch")]
    assert len({int(step_rng(*key).integers(2**62)) for key in keys}) == 4


def test_training_leaves_the_global_generator_alone(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    run(dataclasses.replace(tiny, steps=2), scenes, tmp_path / "a")
    run(dataclasses.replace(tiny, steps=2, decoders={"state": 1.0}), scenes, tmp_path / "b")
    assert torch.equal(before, torch.get_rng_state())


def test_scenes_in_memory_train_the_same(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, steps=3)
    run(config, scenes, tmp_path / "a")
    run(config, (scenes[0].in_memory(), scenes[1]), tmp_path / "b")
    assert same(load_tensors(tmp_path / "a" / "encoder"), load_tensors(tmp_path / "b" / "encoder"))


def test_record_tells_what_the_encoder_was_trained_on(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    config = dataclasses.replace(tiny, steps=1)
    run(config, scenes, tmp_path, provenance={"command": "me"})
    record = read_record(tmp_path / "encoder")
    assert PretrainConfig.from_dict(record["config"]) == config
    assert (record["steps"], record["frames"], record["provenance"]) == (1, 64 * 4, {"command": "me"})
    assert record["scenes"]["recipe"] == {"scenes": "synthetic"}


# Stopping and going on


@pytest.mark.usefixtures("busy_log")
@pytest.mark.parametrize(
    "change",
    [{}, {"decoders": {"state": 1.0}}, {"decoders": {"rendering": 1.0, "segmentation": 0.5}, "average": 0.9}],
    ids=["rendering", "state", "averaged"],
)
def test_resuming_is_bit_exact(tiny: PretrainConfig, scenes: Pair, tmp_path: Path, change: dict) -> None:
    config = dataclasses.replace(tiny, steps=8, prior_only=0.3, **change)
    assert run(config, scenes, tmp_path / "whole").finished
    stops = sorted(np.random.default_rng(5).choice(np.arange(8), 3, replace=False))
    for stop in stops:
        with before_step(stop, terminate):
            result = run(config, scenes, tmp_path / "parts")
        assert result == Result(stop == 7, stop + 1, tmp_path / "parts" / "encoder")
    assert run(config, scenes, tmp_path / "parts").finished
    for part in ("training", "encoder"):
        whole, parts = load_tensors(tmp_path / "whole" / part), load_tensors(tmp_path / "parts" / part)
        assert same(whole, parts)
    assert any(name.startswith("optimiser.exp_avg_sq.") for name in load_tensors(tmp_path / "parts/training"))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "whole")] == ["3", "6", "8"]


def test_out_of_time_stops_with_a_checkpoint(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, steps=3)
    for step in (1, 2):
        result = run(config, scenes, tmp_path, max_seconds=0)
        assert (result.finished, result.step) == (False, step)
        assert read_record(tmp_path / "training")["step"] == step
        assert not (tmp_path / "encoder").exists()
    assert run(config, scenes, tmp_path, max_seconds=0).finished


def test_sigterm_stops_after_the_step_and_the_handler_is_given_back(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with before_step(2, terminate):
        result = run(tiny, scenes, tmp_path)
    assert result == Result(False, 3, tmp_path / "encoder")
    assert read_record(tmp_path / "training")["step"] == 3
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("saved", [False, True])
def test_crash_after_rows_that_no_checkpoint_knows_leaves_none_twice(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    if saved:
        run(tiny, scenes, tmp_path, max_seconds=0)
    with before_step(5, _raise), pytest.raises(KeyboardInterrupt):
        run(tiny, scenes, tmp_path)
    assert (tmp_path / "training").exists() == saved
    run(tiny, scenes, tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == ["2", "4", "6", "8", "10"]


def _raise() -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("busy_log")
@pytest.mark.parametrize("stage", ["write_atomic", "write_json"])
def test_crash_within_a_save_goes_on_from_the_save_before(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, stage: str
) -> None:
    config = dataclasses.replace(tiny, steps=6)
    run(config, scenes, tmp_path / "whole")
    patch = pytest.MonkeyPatch()

    def break_saving() -> None:
        patch.setattr(checkpoint, stage, lambda *_: _raise())

    with patch.context(), before_step(3, break_saving), pytest.raises(KeyboardInterrupt):
        run(config, scenes, tmp_path / "parts")
    patch.undo()
    assert read_record(tmp_path / "parts" / "training")["step"] == 3
    assert run(config, scenes, tmp_path / "parts").finished
    assert same(load_tensors(tmp_path / "whole" / "encoder"), load_tensors(tmp_path / "parts" / "encoder"))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import torch
from gqn_transfer import training as loop
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS, loop.LOG_EVERY = -1.0, 2
config, train, test, folder, fatal = json.loads(sys.argv[1])
update = loop.Run._update
def killed(self, losses, batch):
    if self.step == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, losses, batch)
loop.Run._update = killed
scenes = Scenes.open(train), Scenes.open(test)
pretrain(PretrainConfig.from_dict(config), *scenes, Path(folder), device="cpu", precision="fp32")
"""


@pytest.mark.slow
def test_killed_process_goes_on_to_the_same_weights(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    def process(folder: str, fatal: int) -> int:
        where = [str(scenes[0].folder), str(scenes[1].folder), str(tmp_path / folder)]
        argument = json.dumps([tiny.to_dict(), *where, fatal])
        return subprocess.run([sys.executable, "-c", SCRIPT, argument], check=False, timeout=300).returncode

    assert process("whole", -1) == 0
    assert [process("parts", fatal) for fatal in (4, 7, -1)] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    for part in ("training", "encoder"):
        assert same(load_tensors(tmp_path / "whole" / part), load_tensors(tmp_path / "parts" / part))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_finished_run_is_returned_at_once(
    tiny: PretrainConfig, scenes: Pair, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gqn_transfer.pretrain.build", lambda *_: pytest.fail("it trains again"))
    result = run(dataclasses.replace(tiny, steps=5), scenes, trained_run)
    assert result == Result(True, 5, trained_run / "encoder")


def test_other_config_is_refused(
    tiny: PretrainConfig, scenes: Pair, trained_run: Path, tmp_path: Path
) -> None:
    message = "belongs to another configuration; choose another --out, or delete it"
    with pytest.raises(CheckpointError, match="encoder " + message):
        run(dataclasses.replace(tiny, steps=6), scenes, trained_run)
    run(tiny, scenes, tmp_path, max_seconds=0)
    with pytest.raises(CheckpointError, match="training " + message):
        run(dataclasses.replace(tiny, seed=3), scenes, tmp_path)


def test_a_run_goes_on_that_was_begun_before_an_option_existed(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    run(tiny, scenes, tmp_path, max_seconds=0)
    record = read_json(tmp_path / "training/checkpoint.json")
    del record["config"]["self_contexts"]
    write_json(tmp_path / "training/checkpoint.json", record)
    assert run(tiny, scenes, tmp_path).finished
    run(tiny, scenes, tmp_path / "other", max_seconds=0)
    write_json(tmp_path / "other/training/checkpoint.json", record)
    with pytest.raises(CheckpointError, match="another configuration"):
        run(dataclasses.replace(tiny, self_contexts=0.5), scenes, tmp_path / "other")


def test_a_seed_is_the_presets_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('preset = "tiny"\nseed = 7\n')
    mine = preset_named(str(tmp_path / "mine.toml"))
    assert [adjusted(mine, seed).seed for seed in (None, 0, 3)] == [7, 0, 3]


def test_a_log_goes_on_that_was_begun_without_a_column(tmp_path: Path) -> None:
    path = tmp_path / "training.csv"
    TrainingLog(path).write({"step": 1, "loss": 0.5})
    log = TrainingLog(path)
    log.write({"step": 2, "fingers": 0.25, "loss": 0.125})
    assert path.read_text() == "step,loss,fingers\n1,0.5,\n2,0.125,0.25\n"
    log.drop_rows_after(1)
    assert path.read_text() == "step,loss,fingers\n1,0.5,\n"


def test_other_scenes_are_refused(
    tiny: PretrainConfig, scenes: Pair, make_scenes_folder: Make, trained_run: Path, tmp_path: Path
) -> None:
    """A run goes on, and has ended, on those that it began with."""
    others = make_scenes_folder(tmp_path / "others", (24,), {"recipe": {"seed": 77}}), scenes[1]
    with pytest.raises(CheckpointError, match=r"was trained on scenes of .*, not of .*77"):
        run(dataclasses.replace(tiny, steps=5), others, trained_run)
    run(tiny, scenes, tmp_path / "run", max_seconds=0)
    with pytest.raises(CheckpointError, match=r"has been trained on .*'from': 'folder'.*, not on .*77"):
        run(tiny, others, tmp_path / "run")
    twins = make_scenes_folder(tmp_path / "twins", (40, 24), seed=5), scenes[1]
    assert twins[0].meta["recipe"] == scenes[0].meta["recipe"]
    with pytest.raises(
        CheckpointError, match=r"was trained on scenes of .*digest': '\w{16}'}, not of .*digest"
    ):
        run(dataclasses.replace(tiny, steps=5), twins, trained_run)
    with pytest.raises(CheckpointError, match=r"has been trained on .*'digest'"):
        run(tiny, twins, tmp_path / "run")
    record = read_json(tmp_path / "run/training/checkpoint.json")
    del record["data"]["digest"]
    write_json(tmp_path / "run/training/checkpoint.json", record)  # as an earlier version wrote it
    run(tiny, scenes, tmp_path / "run", max_seconds=0)
    endless = FreshOf(scenes[0], tiny.batch, tiny.seed)
    with pytest.raises(CheckpointError, match=r"not on .*'from': 'FreshOf'"):
        run(tiny, scenes, tmp_path / "run", source=endless)


class FreshOf(DrawnScenes):
    """As if its scenes were drawn for the run."""

    def frames(self, steps: int) -> int:
        return steps * self.size * int(self.scenes.meta["views"])


def test_leftovers_of_a_killed_save_are_removed(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    run(tiny, scenes, tmp_path, max_seconds=0)
    leftover = tmp_path / "training" / ".weights.safetensors.0.tmp"
    leftover.touch()
    run(tiny, scenes, tmp_path)
    assert not leftover.exists()


def test_gradients_are_clipped(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    """Adam's first moment after a step is a tenth of the gradient."""

    def moment(clip: float) -> float:
        config, folder = dataclasses.replace(tiny, clip_gradient=clip), tmp_path / str(clip)
        run(config, scenes, folder, max_seconds=0)
        found = [
            v for k, v in load_tensors(folder / "training").items() if k.startswith("optimiser.exp_avg.")
        ]
        return float(torch.nn.utils.get_total_norm(found))

    assert moment(1e-3) == pytest.approx(1e-4, rel=1e-2)
    assert moment(0.0) > 1e-3


def test_settings_of_the_likelihood_reach_it(tiny: PretrainConfig) -> None:
    config = dataclasses.replace(tiny, kl_balance=0.8, label_margin=2, label_weights=(1, 2, 3, 4))
    decoder = assemble(config, 3).decoders["rendering"]
    assert (decoder.kl_balance, decoder.margin) == (0.8, 2)
    assert decoder.label_weights.tolist() == [1.0, 2.0, 3.0, 4.0, 2.0]
    assert decoder.label_weights.dtype == torch.float32


def test_statistics_have_the_runs_precision(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = pretraining.feature_statistics

    def watched(*arguments: Any, precision: str) -> Any:
        asked.append(precision)
        return real(*arguments, precision=precision)

    monkeypatch.setattr(pretraining, "feature_statistics", watched)
    run(dataclasses.replace(tiny, steps=1), scenes, tmp_path)
    assert asked == ["fp32"]


def test_what_is_judged_is_the_average_and_nothing_compiled(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of compiled parts would run those of the original."""
    runs: list[loop.Run] = []

    def compile_parts(model: GQN) -> None:
        model.generator.roll_out = model.generator.roll_out  # bound to this one

    train = loop.Run.train
    monkeypatch.setattr(GQN, "compile_parts", compile_parts)
    monkeypatch.setattr(loop.Run, "train", lambda self, *rest: runs.append(self) or train(self, *rest))
    run(dataclasses.replace(tiny, average=0.9, steps=2), scenes, tmp_path, compiled=True)
    assert "roll_out" in vars(runs[0].objective.model.generator)
    assert "roll_out" not in vars(runs[0].result.model.generator)


def test_nan_loss_keeps_the_earlier_checkpoint(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    run(tiny, scenes, tmp_path, max_seconds=0)
    before = load_tensors(tmp_path / "training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Objective, "forward", lambda self, *_: (next(self.parameters()).sum() * float("nan"), dict)
        )
        with pytest.raises(
            FloatingPointError, match=r"the loss is nan, .* at step 1; the last good checkpoint is in"
        ):
            run(tiny, scenes, tmp_path)
    assert same(before, load_tensors(tmp_path / "training"))
    assert not (tmp_path / "encoder").exists()
    assert run(tiny, scenes, tmp_path).finished


@pytest.mark.usefixtures("busy_log")
def test_nan_gradient_never_reaches_the_weights(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    run(tiny, scenes, tmp_path, max_seconds=0)
    real = Objective.forward

    def poisoned(self: Objective, *arguments: Any) -> Any:
        loss, report = real(self, *arguments)
        return loss + (next(self.parameters()).sum() * 0).sqrt(), report  # finite; its slope is not

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "forward", poisoned)
        with pytest.raises(FloatingPointError, match="at step 1"):
            run(tiny, scenes, tmp_path)
    assert all(value.isfinite().all() for value in load_tensors(tmp_path / "training").values())


@pytest.mark.usefixtures("busy_log")
def test_people_see_the_plateaus_and_what_is_held_out(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny, scenes, tmp_path)
    plateaus, titles, *lines, _waited = capsys.readouterr().out.splitlines()
    held_out = scenes[1].gather(np.arange(len(scenes[1])))
    pixels = held_out.images[:, -1].astype(np.float64) / 255
    foreground = ((pixels - pixels.mean(0)) ** 2)[held_out.labels[:, -1] > 0].mean()
    colour = ((pixels - pixels.mean((0, 1, 2))) ** 2).mean()
    assert plateaus.endswith(f"{colour:.4f} for the mean colour")
    assert f"mse {((pixels - pixels.mean(0)) ** 2).mean():.4f} ({foreground:.4f} in the f" in plateaus
    assert " ".join(titles.split()) == "step seconds loss kl test mse foreground target spread of r"
    last, shown = rows(tmp_path)[-1], lines[-1].split()
    assert shown[0] == last["step"] == str(tiny.steps)
    errors = [last[f"test_mse{part}_1"] for part in ("", "_foreground", "_target")]
    assert shown[4:] == [*errors, last["spread"]]


# Scenes that do not fit


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"views": 3}, r"3 views a scene, but 3 contexts and 1 queries need 4: render more views"),
        ({"size": 32}, r"image_size is 32, the run needs 16"),
        ({"meta": {"camera_convention": "z-down"}}, r"camera_convention is 'z-down', the run needs 'xyz-"),
    ],
)
def test_scenes_that_do_not_fit_are_refused(
    tiny: PretrainConfig,
    scenes: Pair,
    make_scenes_folder: Make,
    tmp_path: Path,
    split: int,
    how: dict,
    message: str,
) -> None:
    wrong = make_scenes_folder(tmp_path / "wrong", (4,), **how)
    pair = (wrong, scenes[1]) if split == 0 else (scenes[0], wrong)
    with pytest.raises(CheckpointError, match=rf"wrong: {message}"):
        run(tiny, pair, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_scenes_without_labels_teach_no_segmentation(
    tiny: PretrainConfig, scenes: Pair, make_scenes_folder: Make, tmp_path: Path
) -> None:
    blank = make_scenes_folder(tmp_path / "blank", (6,), meta={"labels": ["unlabelled"]})
    config = dataclasses.replace(tiny, decoders={"rendering": 1.0, "segmentation": 1.0})
    with pytest.raises(CheckpointError, match="blank: its scenes have no labels"):
        run(config, (blank, scenes[1]), tmp_path / "run")


def test_regression_needs_one_view_only(
    tiny: PretrainConfig, make_scenes_folder: Make, tmp_path: Path
) -> None:
    pair = tuple(make_scenes_folder(tmp_path / name, (6,), views=1) for name in "ab")
    assert run(dataclasses.replace(tiny, decoders={"state": 1.0}, steps=1), pair, tmp_path / "run").finished


# Which views are seen


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """For every call of `encode_views`, the views it was shown (`marked` scenes tell them by colour)."""
    calls: list[set[int]] = []
    encode_views = GQN.encode_views

    def spy(self: GQN, images: torch.Tensor, viewpoints: torch.Tensor) -> torch.Tensor:
        calls.append({int(image[0, 0, 0]) for image in images})
        return encode_views(self, images, viewpoints)

    monkeypatch.setattr(GQN, "encode_views", spy)
    return calls


@pytest.fixture
def queried(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """For every call of `rollout`, the views asked for (`marked` scenes tell them by viewpoint)."""
    calls: list[set[int]] = []
    rollout = GQN.rollout

    def spy(self: GQN, r: torch.Tensor, viewpoint: torch.Tensor, *rest: Any) -> Any:
        calls.append({round(float(v[0])) for v in viewpoint})
        return rollout(self, r, viewpoint, *rest)

    monkeypatch.setattr(GQN, "rollout", spy)
    return calls


def marked(arrays: Callable[..., Batch], views: int = 5) -> Batch:
    """Scenes whose every pixel, and whose viewpoint's x, is the view's number."""
    batch = arrays(3, views=views)
    batch.images[:] = np.arange(views)[None, :, None, None, None]
    batch.viewpoints[..., 0] = np.arange(views)
    return batch


@pytest.mark.parametrize("queries", [1, 2])
def test_outside_the_warm_up_the_query_is_never_a_context(
    tiny: PretrainConfig, scene_arrays: Callable, seen: list, queried: list, queries: int
) -> None:
    objective, batch = rendering(GQN(tiny.model), 3, queries), marked(scene_arrays)
    rng = np.random.default_rng(0)
    for _ in range(40):
        objective(batch, plan(0.0, False), rng)
    assert len(seen) == len(queried) == 40
    assert not any(contexts & asked for contexts, asked in zip(seen, queried, strict=True))
    assert {len(contexts) for contexts in seen} == {1, 2, 3}
    assert {len(asked) for asked in queried} == {queries}
    assert set.union(*seen) == set.union(*queried) == set(range(5))


@pytest.mark.parametrize("queries", [1, 2])
def test_inside_the_warm_up_the_query_is_the_only_context(
    tiny: PretrainConfig, scene_arrays: Callable, seen: list, queried: list, queries: int
) -> None:
    objective, batch = rendering(GQN(tiny.model), 3, queries), marked(scene_arrays)
    rng = np.random.default_rng(0)
    for _ in range(20):
        objective(batch, plan(1.0, False), rng)
    assert seen == queried
    assert len(seen) == 20


def test_in_the_warm_up_each_query_sees_itself_alone(tiny: PretrainConfig, scene_arrays: Callable) -> None:
    objective, batch = rendering(GQN(tiny.model), 3, 2), scene_arrays(3)
    codes: list[tuple[torch.Tensor, torch.Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        rollout = GQN.rollout
        patch.setattr(
            GQN, "rollout", lambda self, r, v, *a: (codes.append((r, v)), rollout(self, r, v, *a))[1]
        )
        objective(batch, plan(1.0, False), np.random.default_rng(0))
    (r, viewpoints), shown = codes[0], torch.from_numpy(batch.viewpoints).flatten(0, 1)
    pixels = torch.from_numpy(batch.images).flatten(0, 1).permute(0, 3, 1, 2)
    for code, viewpoint in zip(r, viewpoints, strict=True):
        which = int((shown == viewpoint).all(1).nonzero())
        own = objective.model.encode_views(pixels[which : which + 1], viewpoint[None])[0]
        torch.testing.assert_close(code, own)


def test_between_both_happen(tiny: PretrainConfig, scene_arrays: Callable, seen: list, queried: list) -> None:
    objective, batch = rendering(GQN(tiny.model), 3, 1), marked(scene_arrays)
    rng = np.random.default_rng(0)
    for _ in range(60):
        objective(batch, plan(0.5, False), rng)
    own = sum(contexts == asked for contexts, asked in zip(seen, queried, strict=True))
    assert 15 < own < 45


def test_evaluation_never_sees_its_query(
    tiny: PretrainConfig, scene_arrays: Callable, seen: list, queried: list
) -> None:
    metrics = rendering(GQN(tiny.model), 3, 1).evaluate(marked(scene_arrays, views=4))
    assert seen == [{0}, {0, 1, 2}]
    assert queried == [{3}, {3}]
    parts = ("mse", "mse_foreground", "mse_target", "mse_fingers")
    assert set(metrics) == {f"test_{part}_{count}" for part in parts for count in (1, 3)} | {"spread"}


def test_evaluation_is_deterministic_and_ignores_the_weighting(
    tiny: PretrainConfig, scene_arrays: Callable
) -> None:
    model, batch = GQN(tiny.model), scene_arrays(4)
    one, other = (
        rendering(model, 3, 1, weight).evaluate(batch) for weight in (PLAIN, (1.0, 4.0, 16.0, 16.0))
    )
    assert one == other


# Schedule and objective


def test_schedule_at_start_middle_and_end(tiny: PretrainConfig) -> None:
    config = dataclasses.replace(
        tiny, steps=100, sigma=(0.3, 0.1), warm_up=0.2, transition=0.4, prior_only=0.5,
        label_fade=0.4,
    )  # fmt: skip
    at = {step: schedule(config, step) for step in (0, 20, 25, 40, 49, 50, 60, 80, 99)}
    assert [at[step].sigma for step in (0, 25, 50, 99)] == pytest.approx([0.3, 0.2, 0.1, 0.1])
    assert [at[step].self_context for step in (0, 20, 40, 60, 99)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert [at[step].prior_only for step in (0, 49, 50, 99)] == [True, True, False, False]
    assert [at[step].emphasis for step in (0, 60, 80, 99)] == pytest.approx([1, 1, 0.5, 0.025])
    assert schedule(dataclasses.replace(config, label_fade=0.0), 99).emphasis == 1
    half = dataclasses.replace(config, self_contexts=0.5)
    assert [schedule(half, step).self_context for step in (0, 20, 40, 60, 99)] == [1, 1, 0.75, 0.5, 0.5]


def test_self_contexts_for_ever_are_an_autoencoder(tiny: PretrainConfig) -> None:
    found = [dataclasses.replace(tiny, self_contexts=share).autoencodes for share in (0.0, 0.5, 1.0)]
    assert found == [False, False, True]


def test_schedule_without_warm_up_or_transition(tiny: PretrainConfig) -> None:
    none = dataclasses.replace(tiny, steps=100, warm_up=0.0, transition=0.0)
    assert [schedule(none, step).self_context for step in (0, 1, 50, 99)] == [0, 0, 0, 0]
    assert not schedule(none, 0).prior_only
    step = dataclasses.replace(tiny, steps=100, warm_up=0.1, transition=0.0)
    assert [schedule(step, at).self_context for at in (0, 9, 10)] == [1, 1, 0]


def test_learning_rate_falls_over_the_run(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    config = dataclasses.replace(tiny, steps=4, learning_rate=(4e-4, 0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", spy)
        run(config, scenes, tmp_path)
        early = dataclasses.replace(config, learning_rate_share=0.5)
        run(early, scenes, tmp_path / "early")
    assert rates == pytest.approx([4e-4, 3e-4, 2e-4, 1e-4, 4e-4, 2e-4, 0, 0])


def gradients(objective: Objective, batch: Batch, schedule: Schedule) -> dict[str, torch.Tensor | None]:
    objective.zero_grad(set_to_none=True)
    loss, _ = objective(batch, schedule, np.random.default_rng(3))
    loss.backward()
    return {name: p.grad for name, p in objective.named_parameters()}


@pytest.mark.parametrize("label", [0, 1, 2])
def test_each_label_has_its_weight(tiny: PretrainConfig, scene_arrays: Callable, label: int) -> None:
    batch, now = scene_arrays(4), plan(0.0, True)
    only = batch._replace(labels=np.full_like(batch.labels, label))
    weights = tuple(3.0 if k == label else 1.0 for k in range(3))
    floor = 0.5 * np.log(2 * np.pi) + np.log(now.sigma)
    plain, heavy = (
        rendering(GQN(tiny.model), 3, 1, w)(only, now, np.random.default_rng(3))[0].item() - floor
        for w in (PLAIN, weights)
    )
    assert heavy == pytest.approx(3 * plain, rel=1e-3)
    others = batch._replace(labels=np.full_like(batch.labels, (label + 1) % 3))
    light = rendering(GQN(tiny.model), 3, 1, weights)(others, now, np.random.default_rng(3))[0]
    assert light.item() - floor == pytest.approx(plain, rel=1e-3)
    for emphasis in (0.0, 0.5):
        later = dataclasses.replace(now, emphasis=emphasis)
        loss = rendering(GQN(tiny.model), 3, 1, weights)(only, later, np.random.default_rng(3))[0].item()
        assert loss - floor == pytest.approx(3**emphasis * plain, rel=1e-3)


def test_squared_errors_of_all_foreground_and_target() -> None:
    labels = torch.tensor([0, 0, 1, 2]).reshape(1, 1, 2, 2)
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    mean = torch.tensor([0.0, 0.2, 0.4, 0.6]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    found = squared_errors(mean, images, labels)
    expected = {"mse": 0.14, "mse_foreground": 0.26, "mse_target": 0.36, "mse_fingers": 0.0}
    assert found == pytest.approx(expected)


def test_prior_only_trains_without_the_inference_network(
    tiny: PretrainConfig, scene_arrays: Callable
) -> None:
    objective, batch = rendering(GQN(tiny.model), 3, 1), scene_arrays(4)
    ours = [name for name, _ in objective.named_parameters() if "inference" in name or "posterior" in name]
    assert ours

    def used(prior_only: bool) -> set[str]:
        found = gradients(objective, batch, plan(0.0, prior_only))
        return {name for name, g in found.items() if g is not None and g.abs().sum() > 0}

    assert not used(True) & set(ours)
    assert set(ours) & used(False)
    assert any("generation" in name for name in used(True))


def test_loss_is_the_bound_per_pixel_channel(tiny: PretrainConfig, scene_arrays: Callable) -> None:
    batch = scene_arrays(4)
    objective = rendering(GQN(tiny.model), 3, 1)
    loss, report = objective(batch, plan(0.0, True), np.random.default_rng(0))
    metrics = report()
    floor = 0.5 * np.log(2 * np.pi) + np.log(0.2)
    assert metrics["kl"] == 0
    mean = metrics["mse"]  # of the clamped mean, so at most the loss's own
    assert float(loss.detach()) == pytest.approx(floor + mean / (2 * 0.2**2), rel=0.05)


def test_regression_predicts_in_the_states_own_units(scenes: Pair, tiny: PretrainConfig) -> None:
    state = scenes[0].all_state()
    decoder = StateDecoder((12,), state.shape[1])
    decoder.standardise(state * 100 + 7)
    for parameter in decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    predicted = decoder.predict(torch.randn(2, 12)).detach().numpy()
    np.testing.assert_allclose(predicted, np.tile(state.mean(0) * 100 + 7, (2, 1)), rtol=1e-5)


def test_regression_asks_nothing_about_what_is_not_there() -> None:
    names = ("hand_x", "target_x", "target_red", "object_x", "object_z_z")
    state = np.array([[1, 2, 0.5, 0, 0], [3, 0, 0, 4, 1], [5, 6, 0.7, 8, -1]], np.float32)
    decoder = StateDecoder((12,), len(names))
    decoder.standardise(state, names)
    torch.testing.assert_close(decoder.mean, torch.tensor([3, 4, 0.6, 6, 0]))
    question = Question(torch.randn(3, 12), None, None, None, torch.from_numpy(state))
    error = decoder._error(question)
    assert (error != 0).tolist() == [[True] * 3 + [False] * 2, [True, False, False, True, True], [True] * 5]


# Configurations


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name: str) -> None:
    values = json.loads(json.dumps(PRESETS[name].to_dict()))
    assert PretrainConfig.from_dict(values) == PRESETS[name]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoders": {"gan": 1.0}}, "unknown decoders gan; known: rendering, state, segmentation"),
        ({"train": ("state",)}, "state is none of encoder, decoder or of the run's decoders .rendering"),
        ({"steps": 0}, "steps=0, .*: without steps there must be nothing to train"),
        ({"decoders": {}}, "decoders={}, .*: without steps there must be nothing to train"),
        ({"train": ()}, "train=.., .*|.*without steps there must be nothing to train"),
        ({"batch": 0}, "batch=0: expected at least 1"),
        ({"queries": 0}, "queries=0: expected at least 1"),
        ({"max_contexts": 0}, "max_contexts=0: expected at least 1"),
        ({"warm_up": 0.8, "transition": 0.3}, "must fit in one run"),
        ({"warm_up": -0.1}, "must fit in one run"),
        ({"label_fade": 1.5}, "label_fade=1.5: expected a share of the run"),
        ({"self_contexts": -0.5}, "self_contexts=-0.5: expected a share of the steps, from 0 to 1"),
        ({"learning_rate_share": 0.0}, "learning_rate_share=0.0: expected a share of the run"),
        ({"sigma_share": 1.5}, "sigma_share=1.5: expected a share of the run"),
        ({"label_margin": -1}, "label_margin=-1: expected at least 0"),
        ({"label_weights": (1.0, 2.0, 3.0)}, "label_weights=.*: expected those of background, arm, target"),
    ],
)
def test_config_refuses(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**values)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown keys stepz; known: decoders, train, start, model, steps"):
        PretrainConfig.from_dict({"stepz": 1})
    with pytest.raises(ValueError, match=r"unknown preset 'huge'; known: .*cpu-30min"):
        preset_named("huge")
