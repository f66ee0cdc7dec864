"""Checkpoints side by side: labels, refusals, what cannot be computed, and the files that are left."""

import csv
import dataclasses
import io
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from gqn_transfer import similarity
from gqn_transfer.benchmarks import checkpoint_evaluation, encoder_probes, likeness
from gqn_transfer.benchmarks.checkpoint_evaluation import (
    Evaluation,
    EvaluationConfig,
    evaluate_checkpoints,
    labels_of,
)
from gqn_transfer.benchmarks.encoder_report import report_encoder
from gqn_transfer.benchmarks.evaluation_files import DEFINITIONS, slug, write_evaluation
from gqn_transfer.benchmarks.evaluation_table import print_evaluation
from gqn_transfer.benchmarks.task_frames import TaskFrames
from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from gqn_transfer.compact import Compact
from gqn_transfer.encoder import Encoder
from gqn_transfer.files import read_json, write_json
from gqn_transfer.model import GQNConfig
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes, ScenesError
from gqn_transfer.similarity import agreement_where_shown
from gqn_transfer.subject import read_subject

CONFIG = EvaluationConfig(count=12, samples=2, seed=3, device="cpu")
COLOURS = ["target_red", "target_green", "target_blue"]


pytestmark = pytest.mark.usefixtures("short_probes")


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, scenes: tuple[Scenes, Scenes], tiny: PretrainConfig
) -> dict[str, Path]:
    """Folders of a GQN, an untrained network and a regressor."""
    root = tmp_path_factory.mktemp("runs")
    configs = {
        "gqn": dataclasses.replace(tiny, steps=3),
        "random": dataclasses.replace(tiny, decoders={}, steps=0),
        "regressor": dataclasses.replace(tiny, decoders={"state": 1.0}, steps=3),
        "prior": dataclasses.replace(tiny, steps=3, prior_only=1.0),
    }
    for name, config in configs.items():
        pretrain(config, *scenes, root / name, device="cpu", precision="fp32")
    return {name: root / name for name in configs}


@pytest.fixture(scope="module")
def folder(scenes: tuple[Scenes, Scenes]) -> Path:
    return scenes[0].folder.parent


@pytest.fixture(scope="module")
def evaluation(runs: dict[str, Path], folder: Path) -> Evaluation:
    return evaluate_checkpoints([str(path) for path in runs.values()], folder, CONFIG)


@pytest.fixture(scope="module")
def written(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    write_evaluation(evaluation, out)
    return out


def figures_of(evaluation: Evaluation, label: str) -> set[str]:
    return {row.figure for row in evaluation.checkpoints[label].figures}


def values_of(evaluation: Evaluation, figure: str, label: str = "gqn") -> list[float]:
    return [row.value for row in evaluation.checkpoints[label].figures if row.figure == figure]


def test_invariance_compares_two_cameras(evaluation: Evaluation) -> None:
    for label in evaluation.checkpoints:
        (ratio,) = values_of(evaluation, "view_distance_ratio", label)
        assert 0.01 < ratio < 1.5  # 0 for one camera twice


def test_each_checkpoint_has_the_figures_that_mean_something(evaluation: Evaluation) -> None:
    assert list(evaluation.checkpoints) == ["gqn", "random", "regressor", "prior"]
    for label in evaluation.checkpoints:
        assert {"probe_mlp_r2", "view_distance_ratio", "view_retrieval"} < figures_of(evaluation, label)
        assert ("prior_sample_psnr" in figures_of(evaluation, label)) == (label in ("gqn", "prior"))
        assert ("elbo_above_floor" in figures_of(evaluation, label)) == (label == "gqn")
        assert ("probe_regressor_r2" in figures_of(evaluation, label)) == (label == "regressor")


def test_what_is_missing_is_said(evaluation: Evaluation) -> None:
    missing = {label: one.not_computed for label, one in evaluation.checkpoints.items()}
    assert missing["random"] == {"predictions and bound": "untrained"}
    assert missing["regressor"] == {"predictions and bound": "no trained generator (state)"}
    reason = "these scenes have 4 views, and the query is no context"
    assert missing["gqn"] == {"predictions from 5, 7 contexts": reason}
    assert "posterior untrained" in missing["prior"]["bound"]


def test_the_bound_is_at_the_papers_sigma_and_at_its_own(evaluation: Evaluation) -> None:
    parts = {row.part for row in evaluation.checkpoints["gqn"].figures if row.figure == "elbo_above_floor"}
    assert parts == {"sigma 0.7", "sigma 0.15"}


def test_the_same_seed_gives_the_same_figures(evaluation: Evaluation, runs: dict, folder: Path) -> None:
    again = evaluate_checkpoints([str(runs["gqn"])], folder, CONFIG)
    assert again.checkpoints["gqn"].figures == evaluation.checkpoints["gqn"].figures
    other = evaluate_checkpoints([str(runs["gqn"])], folder, dataclasses.replace(CONFIG, seed=4))
    both = [values_of(found, "prior_sample_psnr") for found in (evaluation, other)]
    assert both[0] != both[1]
    assert values_of(other, "prior_mean_psnr") == values_of(evaluation, "prior_mean_psnr")


def test_csv_is_long_and_holds_every_figure(evaluation: Evaluation, written: Path) -> None:
    rows = list(csv.DictReader((written / "evaluation.csv").open()))
    assert list(rows[0]) == ["checkpoint", "figure", "part", "contexts", "value", "unit"]
    assert {row["checkpoint"] for row in rows} == {*evaluation.checkpoints, "chance"}
    keys = [tuple(row.values())[:4] for row in rows]
    assert len(set(keys)) == len(keys)
    assert ("gqn", "prior_sample_psnr", "target", "3") in keys
    chance = {(row["figure"], row["part"]): row["value"] for row in rows if row["checkpoint"] == "chance"}
    assert float(chance["view_retrieval", "code"]) == pytest.approx(1 / 12, rel=1e-4)
    assert ("mean_image_ssim", "image") in chance
    assert ("probe_guess_median_error", "target") in chance
    assert ("probe_guess_median_error", "camera") in chance


def test_json_says_what_it_was_made_with(evaluation: Evaluation, written: Path, runs: dict) -> None:
    found = read_json(written / "evaluation.json")
    settings = {"count": 12, "samples": 2, "seed": 3, "device": "cpu", "tasks": []}
    settings |= {"camera": "fixed", "precision": "fp32"}
    assert found["settings"] == settings
    assert found["scenes"]["count"] == 12
    assert len(found["scenes"]["fingerprint"]) == 16
    assert {"torch", "revision"} < set(found["versions"])
    for label, one in found["checkpoints"].items():
        assert one["fingerprint"] == read_json(runs[label] / "encoder/checkpoint.json")["fingerprint"]
        assert len(one["figures"]) == len(evaluation.checkpoints[label].figures)
    psnr = next(row for row in found["checkpoints"]["gqn"]["figures"] if row["figure"] == "prior_sample_psnr")
    assert psnr["standard_error"] > 0


def test_every_figure_is_defined(evaluation: Evaluation) -> None:
    names = set.union(*(figures_of(evaluation, label) for label in evaluation.checkpoints))
    for name in names | {row.figure for row in evaluation.chance}:
        fits = [key for key in DEFINITIONS if matches(name, key)]
        assert fits, name


def matches(name: str, key: str) -> bool:
    if key.startswith("*") or key.endswith("*"):
        return name.startswith(key[:-1]) if key.endswith("*") else name.endswith(key[1:])
    first, _, last = key.partition("*")
    return name == key or bool(last and name.startswith(first) and name.endswith(last))


def test_pictures_of_those_that_draw(written: Path) -> None:
    assert {path.name for path in written.glob("*.png")} == {"predictions.png", "predictions-prior.png"}


def test_probes_csv_is_what_the_report_reads(written: Path, evaluation: Evaluation) -> None:
    rows = list(csv.DictReader((written / "probes.csv").open()))
    assert list(rows[0]) == ["probe", "quantity", "unit", "median_error", "r2"]
    assert [row["quantity"] for row in rows] == [*["hand", "target", "joint_1"] * 2, "camera", "camera"]


def test_the_suites_report_is_the_same_probes_and_a_picture(
    runs: dict[str, Path], scenes: tuple[Scenes, Scenes], tmp_path: Path
) -> None:
    report_encoder(runs["gqn"] / "encoder", *scenes, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "probes.csv", "predictions.png", "rendering.csv", "codes.npz"
    }  # fmt: skip
    rows = report_encoder(runs["regressor"] / "encoder", *scenes, tmp_path / "regressor")
    assert {path.name for path in (tmp_path / "regressor").iterdir()} == {"probes.csv", "codes.npz"}
    drawn = list(csv.DictReader((tmp_path / "rendering.csv").open()))
    assert {row["figure"] for row in drawn} == {"prior_sample_psnr", "elbo_above_floor"}
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as kept:
        views = scenes[1].meta["views"]
        assert kept["codes"].shape[0] == len(scenes[1]) * views == len(kept["hand"])
        np.testing.assert_array_equal(kept["hand"][0], kept["hand"][views - 1])
        assert (kept["hand"][0] != kept["hand"][views]).any()
    assert {row.probe for row in rows} == {"ridge", "mlp", "regressor"}


def test_table_has_a_column_a_checkpoint(evaluation: Evaluation) -> None:
    console = Console(file=io.StringIO(), width=140)
    print_evaluation(evaluation, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    heads = next(line for line in lines if "figure" in line).split()
    assert heads == ["figure", "of", "views", "gqn", "random", "regressor", "prior", "chance"]
    bound = next(line for line in lines if "-ELBO over floor" in line)
    assert bound.split()[-3:] == ["untrained", "–", "–"]
    figures = {row[:3]: row.value for row in evaluation.checkpoints["gqn"].figures}
    assert bound.split()[-4] == f"{figures['elbo_above_floor', 'sigma 0.7', 3]:.1f}"
    psnr = next(line for line in lines if "sample PSNR" in line)
    assert psnr.split()[3:6] == ["image", "1", f"{figures['prior_sample_psnr', 'image', 1]:.2f}"]
    assert "No predictions and bound for random: untrained." in lines


def test_more_contexts_than_in_training_are_marked(evaluation: Evaluation) -> None:
    one = evaluation.checkpoints["gqn"]
    fewer = dataclasses.replace(one, subject=dataclasses.replace(one.subject, max_contexts=2))
    console = Console(file=io.StringIO(), width=140)
    print_evaluation(dataclasses.replace(evaluation, checkpoints={"gqn": fewer}), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[-3] for line in lines if " image " in line] == ["1", "2", "3*"] * 2 + ["2", "image"]
    assert any(line.startswith("* more contexts than in training") for line in lines)
    bound = next(line for line in lines if "-ELBO over floor" in line)
    assert bound.split()[-2] == "2"


def test_without_a_generator_the_table_has_no_predictions(runs: dict, folder: Path) -> None:
    console = Console(file=io.StringIO(), width=140)
    print_evaluation(evaluate_checkpoints([str(runs["random"])], folder, CONFIG), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "PSNR" not in shown
    assert "same is nearest" in shown


def test_constant_colours_are_constant(runs: dict, tmp_path: Path, make_scenes_folder: Callable) -> None:
    for name, seed in (("train", 0), ("test", 9)):
        scenes = make_scenes_folder(tmp_path / name, (8,), seed=seed)
        add_colour(scenes)
    found = evaluate_checkpoints([str(runs["gqn"])], tmp_path, CONFIG)
    assert found.checkpoints["gqn"].constants == ("target_colour",)
    assert found.checkpoints["gqn"].not_computed["probe of target_colour"] == "constant in these scenes"
    assert "target_colour" not in {row.part for row in found.checkpoints["gqn"].figures}
    console = Console(file=io.StringIO(), width=140)
    print_evaluation(found, console)
    line = next(line for line in console.file.getvalue().splitlines() if "target colour" in line)  # type: ignore[attr-defined]
    assert line.split()[-1] == "constant"


def add_colour(scenes: Scenes) -> None:
    """Three columns more, the same for all scenes."""
    path = scenes.folder / "shard-00000/state.npy"
    state = np.load(path)
    np.save(path, np.column_stack([state, np.full((len(state), 3), 0.8, np.float32)]))
    write_json(
        scenes.folder / "meta.json", scenes.meta | {"state_columns": scenes.meta["state_columns"] + COLOURS}
    )


def test_scenes_without_a_state_and_labels_have_the_other_figures(
    runs: dict, tmp_path: Path, make_scenes_folder: Callable
) -> None:
    for name, seed in (("train", 0), ("test", 9)):
        scenes = make_scenes_folder(tmp_path / name, (8,), seed=seed)
        shard = scenes.folder / "shard-00000"
        np.save(shard / "state.npy", np.zeros((8, 0), np.float32))
        np.save(shard / "labels.npy", np.zeros_like(np.load(shard / "labels.npy")))
        write_json(scenes.folder / "meta.json", scenes.meta | {"state_columns": []})
    found = evaluate_checkpoints([str(runs["gqn"])], tmp_path, CONFIG)
    write_evaluation(found, tmp_path / "out")
    print_evaluation(found, Console(file=io.StringIO()))
    assert found.checkpoints["gqn"].probes == ()
    assert "without a state" in found.checkpoints["gqn"].not_computed["probes"]
    parts = {row.part for row in found.checkpoints["gqn"].figures if row.figure.startswith("prior")}
    assert parts == {"image"}
    assert "view_retrieval" in figures_of(found, "gqn")


def test_no_such_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'nowhere' is neither a shipped encoder .* nor a folder"):
        evaluate_checkpoints(["nowhere"], folder, CONFIG)


@pytest.mark.parametrize(
    ("how", "meta", "error", "message"),
    [
        ({"views": 1}, {}, ScenesError, r"1 views: a query and another view .* render with .*--views"),
        ({"size": 32}, {}, CheckpointError, "image_size is 32, but .* was trained with 16"),
        ({}, {"camera_convention": "left"}, CheckpointError, "camera_convention is 'left', but .* with 'xyz"),
    ],
)
def test_scenes_that_do_not_fit_are_refused_before_anything_is_computed(
    how: dict, meta: dict, error: type[Exception], message: str, runs: dict, tmp_path: Path,
    make_scenes_folder: Callable, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(checkpoint_evaluation, "evaluate_one", pytest.fail)
    for name in ("train", "test"):
        make_scenes_folder(tmp_path / name, (4,), meta=meta, **how)
    with pytest.raises(error, match=message):
        evaluate_checkpoints([str(runs["gqn"])], tmp_path, CONFIG)


def test_unfit_training_scenes_are_refused_too(
    runs: dict, tmp_path: Path, make_scenes_folder: Callable
) -> None:
    make_scenes_folder(tmp_path / "test", (4,))
    make_scenes_folder(tmp_path / "train", (4,), size=32)
    with pytest.raises(CheckpointError, match="train: image_size is 32"):
        evaluate_checkpoints([str(runs["gqn"])], tmp_path, CONFIG)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="count=1: expected at least 2"):
        EvaluationConfig(count=1)
    with pytest.raises(ValueError, match="samples=0: expected at least 1"):
        EvaluationConfig(samples=0)


def test_labels_are_short_and_tell_apart() -> None:
    assert labels_of(["runs/gqn/encoder", "runs/random", "jaco"]) == ["gqn", "random", "jaco"]
    assert labels_of(["a/gqn", "b/gqn"]) == ["a/gqn", "b/gqn"]
    assert slug("../runs/b gqn") == "runs-b-gqn"
    with pytest.raises(ValueError, match="a: given twice"):
        labels_of(["a", "b", "a"])
    with pytest.raises(ValueError, match="'chance' is taken"):
        labels_of(["runs/chance"])


def test_a_subject_knows_what_was_trained(runs: dict[str, Path]) -> None:
    subjects = {name: read_subject(path / "encoder") for name, path in runs.items()}
    assert [one.draws for one in subjects.values()] == [True, False, False, True]
    assert [one.infers for one in subjects.values()] == [True, False, False, False]
    assert [one.steps for one in subjects.values()] == [3, 0, 3, 3]
    assert subjects["gqn"].max_contexts == 3
    assert subjects["gqn"].final_sigma == 0.15
    assert subjects["gqn"].image_size == 16


@pytest.mark.parametrize("left_out", [".generator.", "heads."])
@pytest.mark.parametrize("name", ["gqn", "regressor"])
def test_an_encoder_that_shipped_without_the_rest_is_probed_alone(
    name: str, left_out: str, runs: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    whole = runs[name] / "encoder"
    kept = {key: value for key, value in load_tensors(whole).items() if left_out not in key}
    save_checkpoint(tmp_path / "part", kept, read_record(whole))
    found = evaluate_checkpoints([str(tmp_path / "part")], folder, CONFIG)
    assert {"probe_mlp_r2", "view_retrieval"} < figures_of(found, "part")
    assert "probe_regressor_r2" not in figures_of(found, "part")
    drawn = name == "gqn" and left_out == "heads."
    assert ("prior_sample_psnr" in figures_of(found, "part")) == drawn


def test_a_regressors_own_output_is_told_by_the_names_of_its_columns(
    runs: dict[str, Path], scenes: tuple[Scenes, Scenes]
) -> None:
    """Scenes may hold what its own did not, in another order; of what they have in common it is the same."""
    held_out = scenes[1]
    columns = held_out.meta["state_columns"]
    order = [*range(len(columns))][::-1]
    asked = [f"object_{axis}" for axis in "xyz"] + [columns[k] for k in order]
    rng = np.random.default_rng(0)
    shards = tuple(
        shard._replace(
            state=np.concatenate([rng.normal(size=(len(shard.state), 3)), shard.state[:, order]], 1)
        )
        for shard in held_out.shards
    )
    others = Scenes(held_out.folder, held_out.meta | {"state_columns": asked}, shards)
    subject = read_subject(runs["regressor"] / "encoder")
    one, other = (encoder_probes.regressor_rows(subject, each, 16) for each in (held_out, others))
    assert {row.quantity: row[3:] for row in one} == {
        row.quantity: pytest.approx(row[3:], rel=1e-4) for row in other
    }


def test_a_regressors_own_output_is_the_same_in_batches(
    runs: dict[str, Path], scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = read_subject(runs["regressor"] / "encoder")
    whole = encoder_probes.regressor_rows(subject, scenes[1], 16)
    batched = encoder_probes.in_batches
    monkeypatch.setattr(encoder_probes, "in_batches", lambda found, count: batched(found, count, 3))
    for one, other in zip(whole, encoder_probes.regressor_rows(subject, scenes[1], 16), strict=True):
        assert one[:3] == other[:3]
        assert one[3:] == pytest.approx(other[3:], rel=1e-4, abs=1e-5)


def test_a_spatial_code_is_made_small_enough_to_probe() -> None:
    config = GQNConfig(image_size=32, representation="tower", representation_size=6)
    encoder = Encoder.untrained(config)
    assert len(encoder.code_shape) == 3
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    viewpoints = torch.zeros(2, 7)
    codes = Compact(encoder)(images, viewpoints)
    assert codes.shape == (2, 6, 2, 2)
    whole = encoder(images, viewpoints).view(2, *encoder.code_shape)
    torch.testing.assert_close(codes.mean((2, 3)), whole.mean((2, 3)))


def test_every_pair_is_compared(evaluation: Evaluation, written: Path) -> None:
    rows = list(csv.DictReader((written / "likeness.csv").open()))
    labels = list(evaluation.checkpoints)
    assert [(row["one"], row["other"]) for row in rows] == list(itertools.combinations(labels, 2))
    assert all(0 <= float(row["cka"]) <= 1 for row in rows)
    assert all(float(row["hand"]) < 1 for row in rows)


def test_files_about_other_checkpoints_are_removed(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path)
    first = dict([*evaluation.checkpoints.items()][:1])
    write_evaluation(dataclasses.replace(evaluation, checkpoints=first), tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"predictions.png", "probes.csv", "evaluation.csv", "evaluation.json"}


def test_codes_that_are_all_one_are_near_to_nothing(
    runs: dict[str, Path], scenes: tuple[Scenes, Scenes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_probes, "nearest_distance", lambda *_: 0.0)
    subject = read_subject(runs["random"] / "encoder")
    frames = {"Reach-v0": TaskFrames(*scenes)}
    found = encoder_probes.probed(subject, *scenes, 10, torch.device("cpu"), rollouts=frames)
    names = {row.figure for row in checkpoint_evaluation.task_figures(found)}
    assert names == {
        "task_mlp_median_error",
        "task_own_mlp_median_error",
        "task_own_ridge_median_error",
    }


def test_an_encoder_is_like_itself_and_halves_share_no_scene(
    runs: dict[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(runs["gqn"], twin)
    found = evaluate_checkpoints([str(runs["gqn"]), str(twin)], folder, CONFIG)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(
        similarity, "probe_agreement", lambda one, other, quantity: seen.append((one, quantity)) or 0.5
    )
    (alike,) = likeness.likenesses(found.ground, found.checkpoints)
    assert alike.cka == pytest.approx(1)
    codes, hand = seen[0]
    views, count = found.ground.test.meta["views"], found.ground.count
    assert len(codes) == len(hand) == count * views
    assert torch.equal(hand[0], hand[views - 1])
    assert not torch.equal(hand[0], hand[views])
    assert not torch.equal(codes[0], codes[1])


def test_whether_a_target_is_there_is_not_where_it_is() -> None:
    """Codes that say this alone agree about nothing."""
    rng = np.random.default_rng(0)
    there = rng.random(400) < 0.5
    state = (rng.uniform(1, 2, (400, 3)) * there[:, None]).astype(np.float32)
    codes = torch.from_numpy(np.column_stack([there, rng.normal(size=400)])).float()
    assert agreement_where_shown(codes, codes, torch.from_numpy(state)) < 0.2
