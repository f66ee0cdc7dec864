"""Rendering scenes in shards: resumable, reproducible, and never mixed up."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gqn_transfer.benchmarks import scene_factory, shard_jobs
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.checkpoint import CAMERA_CONVENTION
from gqn_transfer.envs import TASKS, cameras
from gqn_transfer.envs.rendering import LABELS
from gqn_transfer.envs.state import SCENE_COLUMNS
from gqn_transfer.reference import read_reference
from gqn_transfer.scenes import FIELDS, Scenes, ScenesError, shard_path

CONFIG = ScenesConfig(scenes=5, test_scenes=3, views=2, image_size=16)


class Here:
    """Stands in for the pool of processes, whose start takes seconds."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, call: Any, *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(call(*arguments))
        return future


@pytest.fixture(autouse=True)
def _small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(shard_jobs, "worker_pool", Here)
        monkeypatch.setattr(shard_jobs, "SHARD_SIZE", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/shard-*/*.npy"))
    }


def test_renders_both_splits(tmp_path: Path) -> None:
    train, test = make_scenes(CONFIG, tmp_path)
    assert (len(train), len(test)) == (5, 3)
    assert [len(shard.images) for shard in train.shards] == [2, 2, 1]
    batch = train.gather(np.arange(5))
    assert batch.images.shape == (5, 2, 16, 16, 3)
    assert set(np.unique(batch.labels)) <= set(range(len(LABELS)))
    assert 1 in batch.labels
    assert batch.images.std() > 5
    assert batch.state.shape == (5, len(SCENE_COLUMNS))


def test_every_split_keeps_how_the_tasks_look(tmp_path: Path) -> None:
    for scenes in make_scenes(CONFIG, tmp_path):
        renders = read_reference(scenes.folder)
        assert renders.keys() == TASKS.keys()
        assert {image.shape for image in renders.values()} == {(16, 16, 3)}


def test_meta_says_how_they_were_made(tmp_path: Path) -> None:
    train, test = make_scenes(CONFIG, tmp_path)
    assert train.meta["recipe"] == test.meta["recipe"] == CONFIG.as_json
    assert train.meta["camera_convention"] == cameras.CONVENTION == CAMERA_CONVENTION
    assert train.meta["state_columns"] == list(SCENE_COLUMNS)
    assert {"mujoco", "gqn-transfer"} <= set(train.meta["versions"])
    assert train.meta["renderer"]


def test_resuming_gives_identical_bytes(tmp_path: Path) -> None:
    make_scenes(CONFIG, tmp_path)
    before = contents(tmp_path)
    assert len(before) == 5 * len(FIELDS)
    for split, index in (("train", 1), ("test", 0)):
        _remove(shard_path(tmp_path / split, index))
    (tmp_path / "train" / "meta.json").unlink()
    make_scenes(CONFIG, tmp_path)
    assert contents(tmp_path) == before


def _remove(shard: Path) -> None:
    for path in shard.iterdir():
        path.unlink()
    shard.rmdir()


def test_finished_scenes_are_not_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_scenes(CONFIG, tmp_path)
    monkeypatch.setattr(scene_factory, "sample_scenes", lambda *_: pytest.fail("it renders again"))
    train, _ = make_scenes(CONFIG, tmp_path)
    assert isinstance(train, Scenes)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("sources_digest", lambda _: "other"),
        ("library_versions", lambda: {"mujoco": "other"}),
        ("rendering.describe_renderer", lambda: "other"),
    ],
)
def test_a_folder_is_not_finished_by_other_code(
    name: str, other: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scenes(CONFIG, tmp_path / "whole")
    make_scenes(CONFIG, tmp_path / "half")
    _remove(shard_path(tmp_path / "half" / "test", 0))
    monkeypatch.setattr(f"gqn_transfer.benchmarks.scene_factory.{name}", other)
    make_scenes(CONFIG, tmp_path / "whole")
    with pytest.raises(ScenesError, match="was begun by other code of the environments, another Mu"):
        make_scenes(CONFIG, tmp_path / "half")


def test_only_missing_shards_are_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_scenes(CONFIG, tmp_path)
    _remove(shard_path(tmp_path / "train", 2))
    asked: list[int] = []
    sample = scene_factory.sample_scenes
    monkeypatch.setattr(
        scene_factory, "sample_scenes", lambda count, *rest: (asked.append(count), sample(count, *rest))[1]
    )
    make_scenes(CONFIG, tmp_path)
    assert asked == [1]


def test_other_seed_other_scenes(tmp_path: Path) -> None:
    ours, _ = make_scenes(CONFIG, tmp_path / "a")
    theirs, _ = make_scenes(dataclasses.replace(CONFIG, seed=1), tmp_path / "b")
    assert not np.array_equal(ours.all_state(), theirs.all_state())


@pytest.mark.parametrize(
    "change", [{"seed": 7}, {"scenes": 9}, {"views": 3}, {"camera": "fixed"}, {"randomize": "colors"}]
)
def test_another_config_is_refused_with_the_difference(tmp_path: Path, change: dict) -> None:
    make_scenes(CONFIG, tmp_path)
    before = contents(tmp_path)
    ((key, value),) = change.items()
    message = (
        rf"holds other scenes .*'{key}': \({getattr(CONFIG, key)!r}, {value!r}\).*; choose another --out"
    )
    with pytest.raises(ScenesError, match=message):
        make_scenes(dataclasses.replace(CONFIG, **change), tmp_path)
    assert contents(tmp_path) == before
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG.as_json


def test_no_scene_is_drawn_twice(tmp_path: Path) -> None:
    train, test = make_scenes(dataclasses.replace(CONFIG, scenes=8, test_scenes=8), tmp_path)
    everything = np.concatenate([train.all_state(), test.all_state()])
    assert len(np.unique(everything, axis=0)) == 16


def test_held_out_seeds_never_meet_the_training_ones() -> None:
    keys = [(index,) for index in range(200)] + [
        (scene_factory.TEST_SPLIT_KEY, index) for index in range(200)
    ]
    first = {
        int(np.random.default_rng(np.random.SeedSequence(0, spawn_key=key)).integers(2**62)) for key in keys
    }
    assert len(first) == 400


def test_leftovers_of_a_dead_process_are_removed(tmp_path: Path) -> None:
    make_scenes(CONFIG, tmp_path)
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    leftovers = [tmp_path / "train" / f".shard-00000.{pid}.tmp" for pid in (dead.pid, os.getpid())]
    for folder in leftovers:
        folder.mkdir()
        (folder / "images.npy").write_bytes(b"half")
    make_scenes(CONFIG, tmp_path)
    assert [folder.exists() for folder in leftovers] == [False, True]  # the living may still be writing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"randomize": "shapes"}, "randomize='shapes': expected one of none"),
        ({"camera": "ceiling"}, "camera='ceiling': expected one of dome"),
        ({"views": 0}, "must be at least 1"),
        ({"test_scenes": 0}, "must be at least 1"),
    ],
)
def test_config_refuses(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScenesConfig(**values)


def test_a_failing_shard_is_reported_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = scene_factory.write_shard

    def full(folder: Path, index: int, arrays: Any) -> None:
        if index == 1:
            raise OSError(28, "No space left on device")
        write(folder, index, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(scene_factory, "write_shard", full)
        with pytest.raises(OSError, match="No space left"):
            make_scenes(CONFIG, tmp_path)
    assert shard_path(tmp_path / "train", 0).exists()
    assert not (tmp_path / "train" / "meta.json").exists()
    assert len(make_scenes(CONFIG, tmp_path)[0]) == 5


SCRIPT = """
import json, sys
from pathlib import Path
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
if __name__ == "__main__":
    make_scenes(ScenesConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""


@pytest.mark.slow
def test_killed_and_started_again_completes_with_the_same_bytes(tmp_path: Path) -> None:
    config = ScenesConfig(scenes=750, test_scenes=10, views=2, image_size=16)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def start(folder: str) -> subprocess.Popen:
        argument = json.dumps(dataclasses.asdict(config))
        command = [sys.executable, str(script), argument, str(tmp_path / folder)]
        return subprocess.Popen(command, start_new_session=True)

    assert start("whole").wait(300) == 0
    process = start("parts")
    while not list((tmp_path / "parts").glob("*/shard-*")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "parts" / "train" / "meta.json").exists()
    with pytest.raises(ScenesError, match=r"unfinished|does not exist"):
        Scenes.open(tmp_path / "parts" / "train")
    assert start("parts").wait(300) == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert len(Scenes.open(tmp_path / "parts" / "train")) == 750
