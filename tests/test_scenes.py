"""The scenes store: round trip, and one clear error for whatever cannot be used."""

import dataclasses
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.scenes import FIELDS, Batch, Scenes, ScenesError, finish, shard_path, write_shard

Arrays = Callable[..., Batch]
Make = Callable[..., Scenes]
Pair = tuple[Scenes, Scenes]


@pytest.fixture
def copy(scenes: Pair, tmp_path: Path) -> Path:
    """A training folder that a test may damage."""
    return Path(shutil.copytree(scenes[0].folder, tmp_path / "train"))


def joined(arrays: Arrays) -> Batch:
    """What the fixture `scenes` wrote as its training split."""
    return Batch(*map(np.concatenate, zip(arrays(40), arrays(24, seed=1), strict=True)))


def test_round_trip(scenes: Pair, scene_arrays: Arrays) -> None:
    stored = scenes[0].gather(np.arange(64))
    for name, dtype in FIELDS.items():
        assert getattr(stored, name).dtype == dtype
        np.testing.assert_array_equal(getattr(stored, name), getattr(joined(scene_arrays), name))


def test_meta_says_what_is_in_the_folder(scenes: Pair) -> None:
    train = scenes[0]
    assert (len(train), train.meta["count"], train.meta["views"], train.meta["image_size"]) == (64, 64, 4, 16)
    assert len(train.shards) == 2
    pixels = train.shards[0].images / 255
    np.testing.assert_allclose(train.meta["image_mean"], pixels.mean((0, 1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(train.meta["image_std"], pixels.std((0, 1, 2, 3)), atol=1e-5)
    np.testing.assert_array_equal(train.all_state(), train.gather(np.arange(64)).state)


def test_gather_keeps_the_order_asked_for(scenes: Pair) -> None:
    order = np.array([63, 0, 40, 39, 40, 5])
    everything, some = scenes[0].gather(np.arange(64)), scenes[0].gather(order)
    for whole, part in zip(everything, some, strict=True):
        np.testing.assert_array_equal(part, whole[order])


def test_gather_refuses_what_is_not_there(scenes: Pair) -> None:
    with pytest.raises(IndexError):
        scenes[0].gather(np.array([64]))


def test_shards_are_mapped_and_gather_copies(scenes: Pair) -> None:
    assert isinstance(scenes[0].shards[0].images, np.memmap)
    assert not isinstance(scenes[0].gather(np.array([0])).images, np.memmap)


def test_in_memory_holds_the_same(scenes: Pair) -> None:
    kept = scenes[0].in_memory()
    assert not isinstance(kept.shards[1].images, np.memmap)
    order = np.array([50, 3, 41])
    for mapped, copied in zip(scenes[0].gather(order), kept.gather(order), strict=True):
        np.testing.assert_array_equal(mapped, copied)
    assert kept.meta == scenes[0].meta


def test_the_digest_is_of_what_scenes_are_not_of_how_they_are_drawn(
    tmp_path: Path, make_scenes_folder: Callable
) -> None:
    one, same, other = (
        make_scenes_folder(tmp_path / str(k), (9,), seed=seed) for k, seed in enumerate((0, 0, 1))
    )
    assert one.digest == same.digest != other.digest
    (shard,) = same.shards
    drawn = Scenes(same.folder, same.meta, (shard._replace(images=shard.images ^ 1),))
    assert drawn.digest == one.digest
    bare = [
        shard._replace(state=np.empty((9, 0), np.float32), images=each)
        for each in (shard.images, shard.images ^ 1)
    ]
    found = [Scenes(same.folder, same.meta, (each,)).digest for each in bare]
    assert found[0] != found[1], "without states some images tell"


def test_scenes_that_do_not_fit_in_memory_stay_on_disk(scenes: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a container or a job, which may have less than the machine."""
    monkeypatch.setattr("gqn_transfer.scenes.usable_memory", lambda: 100)
    assert scenes[0].in_memory() is scenes[0]
    monkeypatch.setattr("gqn_transfer.scenes.usable_memory", lambda: 3 * scenes[0].nbytes)
    assert scenes[0].in_memory() is not scenes[0]
    assert scenes[0].in_memory(processes=2) is scenes[0]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ScenesError, match=r"none does not exist: make it with `gqn-bench scenes"):
        Scenes.open(tmp_path / "none")


def test_unfinished_folder(copy: Path) -> None:
    (copy / "meta.json").unlink()
    with pytest.raises(ScenesError, match=r"train is unfinished .*make it with `gqn-bench scenes"):
        Scenes.open(copy)


def test_broken_meta(copy: Path) -> None:
    text = (copy / "meta.json").read_text()
    (copy / "meta.json").write_text(text[: len(text) // 2])
    with pytest.raises(ScenesError, match=r"meta\.json is not JSON .*delete it and run the same"):
        Scenes.open(copy)


def test_other_schema_version(copy: Path) -> None:
    meta = json.loads((copy / "meta.json").read_text())
    (copy / "meta.json").write_text(json.dumps(meta | {"schema_version": 99}))
    with pytest.raises(ScenesError, match=r"meta\.json: schema version 99, this program reads 1: render"):
        Scenes.open(copy)


@pytest.mark.parametrize("name", list(FIELDS))
@pytest.mark.parametrize("cut", [0, 3, 8, 60, 128, 0.5, -1])
def test_truncated_array(copy: Path, name: str, cut: float) -> None:
    path = shard_path(copy, 1) / f"{name}.npy"
    size = path.stat().st_size
    os.truncate(path, int(size * cut) if isinstance(cut, float) else cut % size)
    with pytest.raises(
        ScenesError, match=rf"shard-00001.{name}\.npy is missing or truncated .*: delete that"
    ):
        Scenes.open(copy)


def test_missing_array(copy: Path) -> None:
    (shard_path(copy, 0) / "labels.npy").unlink()
    with pytest.raises(
        ScenesError, match=r"labels\.npy is missing or truncated .*: delete that shard's folder"
    ):
        Scenes.open(copy)


def test_missing_shard(copy: Path) -> None:
    shutil.rmtree(shard_path(copy, 1))
    with pytest.raises(ScenesError, match=r"40 scenes in its shards but 64 in meta\.json: run the command"):
        Scenes.open(copy)


def test_pickled_array_is_not_unpickled(copy: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    (shard_path(copy, 0) / "state.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ScenesError, match=r"state\.npy"):
        Scenes.open(copy)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("viewpoints", lambda a: a.astype(np.float64), r"viewpoints\.npy: dtype float64, expected float32"),
        ("images", lambda a: a.astype(np.float32), r"images\.npy: dtype float32, expected uint8"),
        ("images", lambda a: a[:, :, :8, :8], r"images\.npy: shape \(40, 4, 8, 8, 3\), expected"),
        ("images", lambda a: a[:, :2], r"images\.npy: shape \(40, 2, 16, 16, 3\), expected"),
        ("viewpoints", lambda a: a[:, :, :6], r"viewpoints\.npy: shape \(40, 4, 6\), expected"),
        ("labels", lambda a: a[:, :2], r"labels\.npy: shape \(40, 2, 16, 16\), expected"),
        ("state", lambda a: a[:, :3], r"state\.npy: shape \(40, 3\), expected"),
        ("state", lambda a: a[:-1], r"shard-00000: its arrays hold different numbers of scenes"),
    ],
)
def test_array_that_does_not_fit(copy: Path, name: str, change: Callable, message: str) -> None:
    path = shard_path(copy, 0) / f"{name}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(ScenesError, match=message + r".*: (delete that shard's folder and )?run the command"):
        Scenes.open(copy)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_interrupted_write_leaves_nothing_that_loads(
    tmp_path: Path, scenes: Pair, scene_arrays: Arrays, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    write_shard(tmp_path, 0, scene_arrays(2))
    save, calls = np.save, []

    def half(file: io.BufferedWriter, array: np.ndarray, **how: bool) -> None:
        calls.append(file)
        assert not list(tmp_path.glob("shard-00001*"))  # a kill here would leave it behind
        if len(calls) > stop:
            file.write(b"\x93NUMPY")
            raise OSError(28, "No space left on device")
        save(file, array, **how)

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path, 1, scene_arrays(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00000"]
    assert len(finish(tmp_path, scenes[0].meta)) == 2


def test_wrong_number_of_arrays_is_refused(tmp_path: Path, scene_arrays: Arrays) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_shard(tmp_path, 0, scene_arrays(2)[:3])
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_writer_is_ignored(copy: Path) -> None:
    shutil.copytree(shard_path(copy, 0), copy / ".shard-00002.1234.tmp")
    assert len(Scenes.open(copy)) == 64


def test_shards_are_read_in_the_order_of_their_numbers(
    tmp_path: Path, scenes: Pair, scene_arrays: Arrays
) -> None:
    for index in (2, 0, 1):
        write_shard(tmp_path, index, scene_arrays(1 + index, seed=index))
    stored = finish(tmp_path, scenes[0].meta)
    assert [len(shard.images) for shard in stored.shards] == [1, 2, 3]
    assert re.fullmatch(r"shard-\d{5}", shard_path(tmp_path, 7).name)


def test_scenes_are_read_only(scenes: Pair) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        scenes[0].folder = Path()  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        scenes[0].shards[0].images[0] = 0
