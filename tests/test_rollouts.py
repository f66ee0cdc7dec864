"""Frames of the tasks: what agents meet, with its state, and what an evaluation says of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from gqn_transfer.benchmarks import encoder_probes, task_frames
from gqn_transfer.benchmarks.checkpoint_evaluation import EvaluationConfig, evaluate_checkpoints
from gqn_transfer.benchmarks.encoder_probes import nearest_distance
from gqn_transfer.benchmarks.evaluation_table import print_evaluation
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.envs.rendering import LABEL_TARGET
from gqn_transfer.envs.rollouts import EVERY, sample_rollouts
from gqn_transfer.envs.scenes import SceneArrays
from gqn_transfer.envs.state import SCENE_COLUMNS, THING_COLUMNS
from gqn_transfer.probes import Coded, ProbeRow, probe
from gqn_transfer.scenes import Scenes, ScenesError

ALL = (*SCENE_COLUMNS, *THING_COLUMNS)


def draw(task: str, frames: int = 60, seed: int = 0, columns: int = len(ALL), **how: str) -> SceneArrays:
    return sample_rollouts(task, frames, np.random.default_rng(seed), columns, **how)


def place(arrays: SceneArrays, name: str) -> np.ndarray:
    return arrays.state[:, [ALL.index(f"{name}_{axis}") for axis in "xyz"]]


@pytest.mark.parametrize("task", list(TASKS))
def test_frames_show_the_tasks_things(task: str) -> None:
    arrays = draw(task, 30)
    assert arrays.images.shape == (30, 1, 64, 64, 3)
    assert np.isfinite(arrays.state).all()
    shown = place(arrays, "target").any() or place(arrays, "object").any()
    assert shown == (task != "Pose-v0") == bool((arrays.labels == LABEL_TARGET).any())


def test_some_episodes_go_well_and_some_do_not() -> None:
    arrays = draw("Reach-v0", 250)
    away = np.linalg.norm(place(arrays, "hand") - place(arrays, "target"), axis=1)
    kept = -(-50 // EVERY)
    last = away[kept - 1 :: kept]
    assert last.min() < 0.05
    assert last.max() > 0.2
    assert np.ptp(place(arrays, "hand"), axis=0).min() > 0.3, "random arms move too"


def test_the_same_generator_state_gives_the_same_frames() -> None:
    first, second, other = draw("Press-v0", 20), draw("Press-v0", 20), draw("Press-v0", 20, seed=1)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first.state != other.state).any()


def test_cameras_and_columns_are_those_asked_for() -> None:
    arrays = draw("Grasp-v0", 20, columns=len(SCENE_COLUMNS), camera="moving")
    assert arrays.state.shape == (20, len(SCENE_COLUMNS))
    assert len(np.unique(arrays.viewpoints[:, 0], axis=0)) == 20


@pytest.mark.parametrize("camera", ["fixed", "moving"])
def test_images_and_labels_are_by_the_camera_that_the_viewpoint_tells(
    camera: str, project: Callable[[np.ndarray, np.ndarray, int], np.ndarray]
) -> None:
    arrays, misses = draw("Reach-v0", 40, camera=camera), []
    at = project(arrays.viewpoints[:, 0].astype(float), place(arrays, "target").astype(float), 64)
    for labels, (column, row) in zip(arrays.labels[:, 0], at, strict=True):
        rows, columns = np.nonzero(labels == LABEL_TARGET)
        if len(rows) > 4:  # what is seen of it, if the arm is not before it
            misses.append(np.hypot(rows.mean() + 0.5 - row, columns.mean() + 0.5 - column))
    assert len(misses) > 20
    assert np.median(misses) < 1.0, "pixels"


def test_looks_are_those_of_the_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ScenesConfig(scenes=20, test_scenes=20, views=1, image_size=16, randomize="full")
    train, _ = make_scenes(config, tmp_path, workers=1)
    monkeypatch.setattr(task_frames, "OWN", 20)
    judged, own = task_frames.task_frames(["Reach-v0"], "moving", train, 0)["Reach-v0"]
    assert (len(judged), len(own)) == (task_frames.JUDGED, 20)
    red = judged.all_state()[:, ALL.index("target_red")]
    assert len(np.unique(red[:200:13])) > 10, "every episode has looks of its own"
    assert len(np.unique(judged.all_viewpoints(0), axis=0)) == task_frames.JUDGED, "the camera moves"
    assert not np.isin(own.all_state()[:, 0], judged.all_state()[:, 0]).any(), (
        "none is judged that was fitted"
    )


def test_distance_to_the_nearest_is_in_deviations() -> None:
    known = torch.tensor([[0.0, 0.0], [2.0, 200.0]])
    codes = known[:1] + torch.tensor([[-3.0, 0.0], [-4.0, 0.0], [-3.0, 0.0]]) * known.std(0)
    assert nearest_distance(known, codes) == pytest.approx(3.0, rel=1e-4)
    assert nearest_distance(known, known) == pytest.approx(0.0, abs=1e-5)


# In an evaluation.


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(ScenesConfig(scenes=60, test_scenes=20, views=3), folder, workers=1)
    return folder


def test_an_evaluation_reads_the_tasks_frames(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqn_transfer.probes.fit_mlp.__defaults__", (None, 30))
    monkeypatch.setattr(task_frames, "JUDGED", 40)
    monkeypatch.setattr(task_frames, "OWN", 400)
    config = EvaluationConfig(count=20, samples=1, device="cpu", tasks=("Reach-v0", "Grasp-v0"))
    fitted = []

    def spy(seen: Coded, judged: Sequence[Coded], *rest: Any) -> list[list[ProbeRow]]:
        fitted.append(len(seen.codes))
        known = {row.tobytes() for row in seen.state}
        assert not any(row.tobytes() in known for one in judged for row in one.state), (
            "judged on what was fitted"
        )
        return probe(seen, judged, *rest)

    monkeypatch.setattr(encoder_probes, "probe", spy)
    evaluation = evaluate_checkpoints(["jaco-small-ae"], scenes, config)
    assert fitted == [400, 400, 180, 180], "each task's own, the scenes', and the scenes' for cameras"
    figures = {(row.figure, row.part): row for row in evaluation.checkpoints["jaco-small-ae"].figures}
    assert 0 < figures["task_mlp_median_error", "hand in Reach-v0"].value < 0.6
    assert figures["task_mlp_median_error", "hand in Grasp-v0"].unit == "m"
    assert ("task_mlp_median_error", "target in Reach-v0") in figures
    assert ("task_mlp_median_error", "target in Grasp-v0") not in figures, "it has none"
    own = figures["task_own_ridge_median_error", "target in Reach-v0"].value
    assert own < figures["task_own_mlp_median_error", "target in Reach-v0"].value, "that one had 30 steps"
    assert own < 0.8 * figures["task_mlp_median_error", "target in Reach-v0"].value, (
        "one of 180 scenes' views"
    )
    strange = [figures["task_strangeness", task].value for task in config.tasks]
    assert strange[1] > strange[0] > 0.3, "a can is new to an encoder of Reach"
    console = Console(record=True, width=120)
    print_evaluation(evaluation, console)
    text = console.export_text()
    assert "mlp in tasks, m" in text
    assert "their own mlp, m" in text
    assert "their own mlp, rad" not in text, "in the files alone"
    assert "strangeness" in text


def test_tasks_of_an_evaluation_are_checked() -> None:
    with pytest.raises(ValueError, match="Reach-v0"):
        EvaluationConfig(tasks=("Reech-v0",))
    with pytest.raises(ValueError, match="expected one of 'fixed', 'moving', 'jump'"):
        EvaluationConfig(camera="dome")


def test_scenes_of_something_else_have_no_tasks(scenes: Path) -> None:
    train = Scenes.open(scenes / "train")
    other = Scenes(train.folder, train.meta | {"state_columns": ["x"]}, train.shards)
    with pytest.raises(ScenesError, match="not of this arm"):
        task_frames.task_frames(["Reach-v0"], "fixed", other, 0)
