"""DeepMind's TFRecords: what an independent writer wrote is read, and every defect is refused by name."""

import builtins
import dataclasses
import io
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from tfrecord import TFRecordWriter, example_pb2

from gqn_transfer.benchmarks import shard_jobs, tfrecord_scenes
from gqn_transfer.benchmarks.encoder_report import report_encoder
from gqn_transfer.benchmarks.tfrecord_scenes import ConversionConfig, convert_scenes
from gqn_transfer.checkpoint import CAMERA_CONVENTION, CheckpointError, read_record
from gqn_transfer.gqn_datasets import DATASETS, dataset_named, read_scene, viewpoints
from gqn_transfer.presets import preset_named
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import FIELDS, Scenes, ScenesError, shard_path
from gqn_transfer.tf_example import parse_example
from gqn_transfer.tfrecords import Record, masked_crc, read_records, record_offsets

ROOMS = "rooms_ring_camera"
CONFIG = ConversionConfig(ROOMS, scenes=9, test_scenes=3, views=4)
JPEG_ERROR = 3.0
"""Mean absolute difference, of 255, that JPEG may make on a smooth image."""

Features = dict[str, tuple[Any, str]]


# A small data set of smooth pictures


def picture(seed: Sequence[int], size: int) -> np.ndarray:
    """Smooth colours, uint8 (size, size, 3): JPEG keeps them nearly as they are."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BILINEAR))


def jpeg(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def pictures(scene: int, views: int, size: int) -> np.ndarray:
    return np.stack([picture((scene, view), size) for view in range(views)])


def cameras(scene: int, views: int) -> np.ndarray:
    """float32 (views, 5): x, y, z, yaw, pitch."""
    return np.random.default_rng(scene).uniform(-2, 2, (views, 5)).astype(np.float32)


def features(scene: int, name: str = ROOMS) -> Features:
    dataset = DATASETS[name]
    frames = [jpeg(image) for image in pictures(scene, dataset.views, dataset.image_size)]
    return {"frames": (frames, "byte"), "cameras": (cameras(scene, dataset.views).ravel(), "float")}


def write(path: Path, records: Sequence[Features]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = TFRecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()
    return path


def only_record(path: Path) -> Record:
    (record,) = read_records(path)
    return record


@pytest.fixture(scope="session")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records of rooms; leave it as it is."""
    path = tmp_path_factory.mktemp("tfrecords") / "0001-of-2160.tfrecord"
    return write(path, [features(scene) for scene in range(3)])


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms as DeepMind lays them out: scenes 0 to 9 in three files of train, 100 to 102 in one of test."""
    folder = tmp_path_factory.mktemp("rooms")
    for number, scenes in ((1, range(4)), (2, range(4, 7)), (5, range(7, 10))):
        write(folder / "train" / f"{number:04d}-of-2160.tfrecord", [features(scene) for scene in scenes])
    write(folder / "test" / "001-of-240.tfrecord", [features(scene) for scene in range(100, 103)])
    return folder


@pytest.fixture
def damaged(one_file: Path, tmp_path: Path) -> Callable[[Callable[[bytearray], None]], Path]:
    """Applies a change to the bytes of a copy of `one_file`."""

    def damage(change: Callable[[bytearray], None]) -> Path:
        content = bytearray(one_file.read_bytes())
        change(content)
        path = tmp_path / one_file.name
        path.write_bytes(content)
        return path

    return damage


def flip(position: int, bit: int = 0) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[position] ^= 1 << bit

    return change


# Records


def test_records_are_what_the_writer_wrote(one_file: Path) -> None:
    records = list(read_records(one_file))
    assert [record.content for record in records] == [
        TFRecordWriter.serialize_tf_example(features(scene)) for scene in range(3)
    ]
    offsets = record_offsets(one_file)
    assert offsets[0] == 0
    assert np.diff(offsets).tolist() == [len(record.content) + 16 for record in records[:2]]
    assert [f"{one_file}: record {n} at byte {o}" for n, o in enumerate(offsets, 1)] == [
        r.place for r in records
    ]


def test_reading_can_start_at_any_record(one_file: Path) -> None:
    offset = int(record_offsets(one_file)[1])
    assert list(read_records(one_file, offset, 2)) == list(read_records(one_file))[1:]


def test_crc_is_that_of_the_standard() -> None:
    """RFC 3720, B.4: 32 bytes of zeros have the CRC32C 0x8a9136aa."""
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("read", [record_offsets, lambda path: list(read_records(path))])
@pytest.mark.parametrize("position", [0, 3, 7, 8, 11])
@pytest.mark.parametrize("number", [1, 3])
def test_damaged_length(
    damaged: Callable, one_file: Path, read: Callable, position: int, number: int
) -> None:
    offset = int(record_offsets(one_file)[number - 1])
    path = damaged(flip(offset + position, bit=position % 8))
    message = rf"{path}: record {number} at byte {offset}: its length is damaged, expected CRC 0x.*: download"
    with pytest.raises(ScenesError, match=message):
        read(path)


@pytest.mark.parametrize("position", [12, 13, 500, 10_000, -5, -4, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_damaged_content(damaged: Callable, one_file: Path, position: int, bit: int) -> None:
    offsets = [*record_offsets(one_file).tolist(), one_file.stat().st_size]
    start = offsets[1] if position >= 0 else offsets[2]
    path = damaged(flip(start + position, bit))
    message = rf"{path}: record 2 at byte {offsets[1]}: its content is damaged, expected CRC .*: download"
    with pytest.raises(ScenesError, match=message):
        list(read_records(path))
    assert len(list(read_records(path, offsets[2], 3))) == 1


@pytest.mark.parametrize("read", [record_offsets, lambda path: list(read_records(path))])
@pytest.mark.parametrize("left", [1, 7, 8, 9, 11, 12, 13, 1000, -5, -4, -3, -1])
def test_truncated_file(damaged: Callable, one_file: Path, read: Callable, left: int) -> None:
    """Cut in the length, its CRC, the content, its CRC of the last record."""
    last = int(record_offsets(one_file)[2])
    path = damaged(lambda content: content.__delitem__(slice(last + left if left > 0 else left, None)))
    message = (
        rf"{path}: record 3 at byte {last}: the file is truncated, expected \d+ bytes, got \d+: download"
    )
    with pytest.raises(ScenesError, match=message):
        read(path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").touch()
    with pytest.raises(ScenesError, match=r"a\.tfrecord is empty, expected at least one record: download"):
        record_offsets(tmp_path / "a.tfrecord")


def test_a_length_beyond_the_file_reserves_no_memory(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**62)
    path = tmp_path / "huge.tfrecord"
    path.write_bytes(length + TFRecordWriter.masked_crc(length) + bytes(100))
    with pytest.raises(
        ScenesError, match="the file is truncated, expected 4611686018427387920 bytes, got 112"
    ):
        list(read_records(path))


def test_missing_package_names_the_extra(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "google_crc32c":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ScenesError, match=r"needs google-crc32c: pip install 'gqn-transfer\[tfrecords\]'"):
        record_offsets(one_file)


# Examples


def unpacked(record: Features) -> bytes:
    """The example with each float in a field of its own, by protobuf from a changed schema."""
    file = descriptor_pb2.FileDescriptorProto()
    example_pb2.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        if message.name == "FloatList":
            message.field[0].options.packed = False
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
    return kind.FromString(TFRecordWriter.serialize_tf_example(record)).SerializeToString()


def test_packed_and_unpacked_floats_are_the_same() -> None:
    packed, single = TFRecordWriter.serialize_tf_example(features(0)), unpacked(features(0))
    assert len(single) > len(packed)
    for content in (packed, single):
        found = parse_example(Record("here", content))
        assert found["frames"].strings == features(0)["frames"][0]
        assert found["frames"].floats.size == 0
        np.testing.assert_array_equal(found["cameras"].floats, cameras(0, 10).ravel())
        assert found["cameras"].floats.dtype == np.float32


def test_other_features_and_unknown_fields_are_passed_over() -> None:
    record = features(0) | {"number": ([3, -1], "int"), "empty": ([], "byte")}
    fields = (b"\x10\x96\x01", b"\x19" + b"\xff" * 8, b"\x25" + b"\xff" * 4, b"\x7a\x02hi")  # 2, 3, 4 and 15
    strange = b"".join(fields)
    found = parse_example(Record("here", strange + TFRecordWriter.serialize_tf_example(record) + strange))
    assert set(found) == {"frames", "cameras", "number", "empty"}
    assert found["number"].strings == found["empty"].strings == []
    assert len(found["frames"].strings) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a\x05ab", "a field of 5 bytes where 2 are left"),
        (b"\x0b", "a field of wire type 3"),
        (b"\xff" * 11, "a number without an end"),
        (b"\x0a", "a number without an end"),
        (b"\x0a\x06\x0a\x04\x0a\x02\xff\xfe", "can't decode byte"),
        (b"\x0a\x0e\x0a\x0c\x0a\x01a\x12\x07\x12\x05\x0a\x03abc", "multiple of"),
        (b"\x0d\x00", "a field of 4 bytes where 1 are left"),
    ],
)
def test_content_that_is_no_example(content: bytes, message: str) -> None:
    with pytest.raises(ScenesError, match=rf"^here: expected a tf\.Example, got .*{message}.*: download"):
        parse_example(Record("here", content))


# Scenes of the seven sets


def test_the_table_has_the_seven_sets() -> None:
    table = {
        name: (each.image_size, each.views, each.files["train"], each.files["test"])
        for name, each in DATASETS.items()
    }
    assert table == {
        "jaco": (64, 11, 3600, 400),
        "rooms_ring_camera": (64, 10, 2160, 240),
        "rooms_free_camera_no_object_rotations": (64, 10, 2160, 240),
        "rooms_free_camera_with_object_rotations": (128, 10, 2034, 226),
        "shepard_metzler_5_parts": (64, 15, 900, 100),
        "shepard_metzler_7_parts": (64, 15, 900, 100),
        "mazes": (84, 300, 1080, 120),
    }
    with pytest.raises(ValueError, match="unknown dataset 'room'; known: jaco, mazes, rooms_free"):
        dataset_named("room")


def test_files_are_named_as_deepmind_names_them() -> None:
    assert DATASETS[ROOMS].file_name("train", 1) == "0001-of-2160.tfrecord"
    assert DATASETS[ROOMS].file_name("test", 240) == "240-of-240.tfrecord"
    assert DATASETS["shepard_metzler_5_parts"].file_name("train", 12) == "012-of-900.tfrecord"


@pytest.mark.parametrize("name", DATASETS)
def test_every_set_is_read(name: str, tmp_path: Path) -> None:
    dataset = DATASETS[name]
    record = only_record(write(tmp_path / "a.tfrecord", [features(3, name)]))
    images, places = read_scene(record, name, dataset.views, dataset.image_size)
    truth = pictures(3, dataset.views, dataset.image_size)
    assert (images.shape, images.dtype) == (truth.shape, np.uint8)
    assert np.abs(images.astype(float) - truth).mean((1, 2, 3)).max() < JPEG_ERROR
    x, y, z, yaw, pitch = cameras(3, dataset.views).astype(float).T
    expected = np.stack([x, y, z, np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)], axis=1)
    assert places.dtype == np.float32
    np.testing.assert_allclose(places, expected, atol=1e-6)


def test_viewpoint_columns_are_in_our_order() -> None:
    (place,) = viewpoints(np.array([[1, 2, 3, np.pi / 2, 0]], np.float32))
    np.testing.assert_allclose(place, [1, 2, 3, 0, 1, 1, 0], atol=1e-6)


def test_first_views_are_kept_and_images_resized(tmp_path: Path) -> None:
    name = "mazes"
    record = only_record(write(tmp_path / "a.tfrecord", [features(1, name)]))
    images, places = read_scene(record, name, 3, 64)
    assert images.shape == (3, 64, 64, 3)
    assert np.abs(images.astype(float) - pictures(1, 3, 64)).mean() < 2 * JPEG_ERROR
    np.testing.assert_array_equal(places[:, :3], cameras(1, 300)[:3, :3])


def test_shrinking_counts_every_pixel(tmp_path: Path) -> None:
    """A fine checkerboard of 128 pixels becomes grey, not one of its colours."""
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    name = "rooms_free_camera_with_object_rotations"
    record = features(0, name) | {"frames": ([jpeg(np.dstack([board] * 3))] * 10, "byte")}
    images, _ = read_scene(only_record(write(tmp_path / "a.tfrecord", [record])), name, 1, 64)
    assert np.abs(images[0, 2:-2, 2:-2].astype(float) - 127.5).max() < 8


def cut(frames: list[bytes]) -> list[bytes]:
    return [frames[0], frames[1][: len(frames[1]) // 2], *frames[2:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {"cameras": f["cameras"]}, "no frames, there is cameras: this is no file of rooms_ring"),
        (lambda f: {"frames": f["frames"]}, "no cameras, there is frames: this is no file of rooms_ring"),
        (lambda f: {"a": f["frames"]}, "no frames, there is a: "),
        (
            lambda f: f | {"frames": (f["frames"][0][:9], "byte")},
            "9 frames, expected 10: .* name the dataset",
        ),
        (lambda f: f | {"frames": ([1.0] * 10, "float")}, "0 frames, expected 10"),
        (lambda f: f | {"cameras": (f["cameras"][0][:49], "float")}, "49 camera numbers, expected 50"),
        (lambda f: f | {"cameras": ([1] * 50, "int")}, "0 camera numbers, expected 50"),
        (lambda f: f | {"cameras": (np.full(50, np.nan), "float")}, "cameras are not all finite: download"),
        (lambda f: f | {"frames": ([b"text"] * 10, "byte")}, "frame 1: expected a JPEG image, got .*: downl"),
        (lambda f: f | {"frames": ([b""] * 10, "byte")}, "frame 1: expected a JPEG image, got .*: download"),
        (
            lambda f: f | {"frames": ([jpeg(picture((0, 0), 64), "PNG")] * 10, "byte")},
            "frame 1: expected a JPEG image",
        ),
        (
            lambda f: f | {"frames": (cut(f["frames"][0]), "byte")},
            "frame 2: expected a JPEG image, got .*trunc",
        ),
        (
            lambda f: f | {"frames": ([jpeg(picture((0, 0), 128)[:64])] * 10, "byte")},
            "frame 1: 128x64 pixels, expected 64x64: name the dataset",
        ),
        (lambda f: features(0, "jaco"), "11 frames, expected 10"),
        (
            lambda f: features(0, "rooms_free_camera_with_object_rotations"),
            "frame 1: 128x128 pixels, expected 64x64",
        ),
    ],
)
def test_record_that_does_not_fit(tmp_path: Path, change: Callable, message: str) -> None:
    path = write(tmp_path / "a.tfrecord", [features(1), change(features(0))])
    _, second = read_records(path)
    with pytest.raises(ScenesError, match=rf"{path}: record 2 at byte \d+: .*{message}"):
        read_scene(second, ROOMS, 10, 64)


# Conversion


class Here:
    """Stands in for the pool of processes, whose start takes seconds."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, call: Callable, *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(call(*arguments))
        return future


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of four scenes, converted in this process."""
    monkeypatch.setattr(shard_jobs, "worker_pool", Here)
    monkeypatch.setattr(shard_jobs, "SHARD_SIZE", 4)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/shard-*/*.npy")}


@pytest.mark.usefixtures("small_shards")
def test_scenes_are_those_of_the_files(downloaded: Path, tmp_path: Path) -> None:
    train, test = convert_scenes(downloaded, CONFIG, tmp_path)
    assert [len(shard.images) for shard in train.shards] == [4, 4, 1]
    assert (len(test), test.meta["views"], test.meta["image_size"]) == (3, 4, 64)
    for scenes, first in ((train, 0), (test, 100)):
        batch = scenes.gather(np.arange(len(scenes)))
        assert not batch.labels.any()
        assert (batch.labels.shape, batch.state.shape) == (batch.images.shape[:4], (len(scenes), 0))
        for row in range(len(scenes)):
            difference = batch.images[row].astype(float) - pictures(first + row, 4, 64)
            assert np.abs(difference).mean() < JPEG_ERROR
            np.testing.assert_array_equal(batch.viewpoints[row, :, :3], cameras(first + row, 10)[:4, :3])
    assert train.all_state().shape == (9, 0)
    assert len(train.in_memory()) == 9


@pytest.mark.usefixtures("small_shards")
def test_meta_says_where_they_come_from(downloaded: Path, tmp_path: Path) -> None:
    train, _ = convert_scenes(downloaded, CONFIG, tmp_path)
    assert train.meta["recipe"] == dataclasses.asdict(CONFIG) | {"source": "deepmind/gqn-datasets"}
    assert train.meta["camera_convention"] == CAMERA_CONVENTION
    assert train.meta["field_of_view"] is None
    assert "field of view" in train.meta["camera_note"]
    assert train.meta["files"] == {
        "0001-of-2160.tfrecord": 4, "0002-of-2160.tfrecord": 3, "0005-of-2160.tfrecord": 3,
    }  # fmt: skip
    assert str(downloaded) not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))


@pytest.mark.usefixtures("small_shards")
def test_limits_are_upper_ones_and_later_files_are_not_opened(downloaded: Path, tmp_path: Path) -> None:
    everything = dataclasses.replace(CONFIG, scenes=1000)
    assert len(convert_scenes(downloaded, everything, tmp_path / "all")[0]) == 10
    few = dataclasses.replace(CONFIG, scenes=4)
    train, _ = convert_scenes(downloaded, few, tmp_path / "few")
    assert (len(train), list(train.meta["files"])) == (4, ["0001-of-2160.tfrecord"])


@pytest.mark.usefixtures("small_shards")
def test_an_interrupted_conversion_goes_on(
    downloaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_scenes(downloaded, CONFIG, tmp_path / "whole")
    write_shard, written = tfrecord_scenes.write_shard, []

    def interrupted(folder: Path, index: int, arrays: Any) -> None:
        written.append(f"{folder.name}/{index}")
        if len(written) == 2:
            raise KeyboardInterrupt
        write_shard(folder, index, arrays)

    monkeypatch.setattr(tfrecord_scenes, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_scenes(downloaded, CONFIG, tmp_path / "parts")
    with pytest.raises(ScenesError, match="unfinished"):
        Scenes.open(tmp_path / "parts" / "train")
    convert_scenes(downloaded, CONFIG, tmp_path / "parts")
    assert written == ["train/0", "train/1", "train/1", "train/2", "test/0"]
    assert len(contents(tmp_path / "whole")) == 4 * len(FIELDS)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("small_shards")
def test_a_finished_conversion_needs_its_files_no_more(downloaded: Path, tmp_path: Path) -> None:
    convert_scenes(downloaded, CONFIG, tmp_path)
    train, _ = convert_scenes(tmp_path / "deleted", CONFIG, tmp_path)
    assert len(train) == 9
    for path in shard_path(tmp_path / "train", 1).iterdir():
        path.unlink()
    shard_path(tmp_path / "train", 1).rmdir()
    with pytest.raises(ScenesError, match=r"deleted.train does not exist: files of rooms_ring_camera/train"):
        convert_scenes(tmp_path / "deleted", CONFIG, tmp_path)
    assert len(convert_scenes(downloaded, CONFIG, tmp_path)[0]) == 9


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize(
    "change",
    [{"scenes": 5}, {"views": 3}, {"image_size": 32}, {"dataset": "rooms_free_camera_no_object_rotations"}],
)
def test_another_configuration_is_refused(downloaded: Path, tmp_path: Path, change: dict) -> None:
    convert_scenes(downloaded, CONFIG, tmp_path)
    before = contents(tmp_path)
    ((key, value),) = change.items()
    message = (
        rf"holds other scenes .*'{key}': \({getattr(CONFIG, key)!r}, {value!r}\)}}; choose another --out"
    )
    with pytest.raises(ScenesError, match=message):
        convert_scenes(downloaded, dataclasses.replace(CONFIG, **change), tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("small_shards")
def test_resuming_from_other_files_is_refused(downloaded: Path, tmp_path: Path) -> None:
    convert_scenes(downloaded, CONFIG, tmp_path / "out")
    (tmp_path / "out" / "train" / "meta.json").unlink()
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for path in (downloaded / split).iterdir():
            os.link(path, tmp_path / split / path.name)
    write(tmp_path / "train" / "0003-of-2160.tfrecord", [features(50)])
    with pytest.raises(
        ScenesError, match=r"holds other scenes .*'train': .*'files': 3.*; choose another --out"
    ):
        convert_scenes(tmp_path, CONFIG, tmp_path / "out")


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize(("position", "number", "shards"), [(300, 1, 1), (-1, 3, 2)])
def test_damage_stops_it_and_finished_shards_stay(
    downloaded: Path, tmp_path: Path, position: int, number: int, shards: int
) -> None:
    config = dataclasses.replace(CONFIG, scenes=10)
    for path in downloaded.glob("*/*"):
        write(tmp_path / path.relative_to(downloaded), []).write_bytes(path.read_bytes())
    bad = tmp_path / "train" / "0005-of-2160.tfrecord"
    content = bytearray(bad.read_bytes())
    content[position] ^= 1
    bad.write_bytes(content)
    with pytest.raises(ScenesError, match=rf"{bad}: record {number} at byte \d+: its content is damaged"):
        convert_scenes(tmp_path, config, tmp_path / "out")
    kept = sorted(path.parent.name for path in (tmp_path / "out").glob("train/shard-*/state.npy"))
    assert kept == ["shard-00000", "shard-00001"][:shards]
    bad.write_bytes((downloaded / "train" / bad.name).read_bytes())
    assert len(convert_scenes(tmp_path, config, tmp_path / "out")[0]) == 10


@pytest.mark.usefixtures("small_shards")
def test_a_truncated_file_stops_it_before_the_first_shard(downloaded: Path, tmp_path: Path) -> None:
    content = (downloaded / "train" / "0001-of-2160.tfrecord").read_bytes()
    cut_off = write(tmp_path / "train" / "0001-of-2160.tfrecord", [])
    cut_off.write_bytes(content[:-100])
    with pytest.raises(ScenesError, match=rf"{cut_off}: record 4 at byte \d+: the file is truncated"):
        convert_scenes(tmp_path, CONFIG, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "0001-of-3600.tfrecord",
            r"0001-of-3600\.tfrecord: files of rooms_ring_camera/train are named 0001-of-2160",
        ),
        ("001-of-240.tfrecord", r"001-of-240\.tfrecord: .* to 2160-of-2160\.tfrecord; name the dataset"),
        ("2161-of-2160.tfrecord", r"2161-of-2160\.tfrecord: files of"),
        ("readme.txt", r"train holds no \.tfrecord file: .*; download some, or name the folder above"),
    ],
)
def test_files_of_another_set_are_refused_by_name(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "train" / name, [features(0)])
    with pytest.raises(ScenesError, match=message):
        convert_scenes(tmp_path, CONFIG, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "rooms"}, "unknown dataset 'rooms'; known: jaco"),
        ({"views": 11}, "views=11: a scene of rooms_ring_camera has 1 to 10 of them"),
        ({"views": 0}, "views=0: a scene"),
        ({"scenes": 0}, "must be at least 1"),
        ({"image_size": 0}, "must be at least 1"),
    ],
)
def test_config_refuses(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConversionConfig(**({"dataset": ROOMS} | values))


def gqn_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from gqn_transfer.benchmarks.cli import main; main()"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as in this process: other tests may run beside it
    command = [*program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)


def test_from_the_command_line_to_an_encoder(downloaded: Path, tmp_path: Path) -> None:
    """Two worker processes convert; the smoke preset trains on the result; predictions are drawn."""
    convert = (
        "scenes-from-tfrecords",
        str(downloaded),
        "--dataset",
        ROOMS,
        "--out",
        str(tmp_path / "scenes"),
    )
    done = gqn_bench(*convert, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "10 training and 3 held-out scenes of 6 views" in done.stdout
    scenes = tuple(Scenes.open(tmp_path / "scenes" / split) for split in ("train", "test"))
    train = ("pretrain", "--scenes", str(tmp_path / "scenes"), "--out", str(tmp_path / "run"))
    done = gqn_bench(*train, "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    record = read_record(tmp_path / "run" / "encoder")
    assert (record["frames"], record["scenes"]["recipe"]["dataset"]) == (60, ROOMS)
    assert np.isfinite(float((tmp_path / "run/training.csv").read_text().splitlines()[-1].split(",")[2]))
    assert report_encoder(tmp_path / "run" / "encoder", *scenes, tmp_path / "figures") == []
    assert (tmp_path / "figures/predictions.png").exists()
    regressor = preset_named("regressor-20min")
    with pytest.raises(CheckpointError, match="no state for a decoder to learn: choose a preset"):
        pretrain(regressor, *scenes, tmp_path / "regressor")


def test_a_worker_reports_damage_as_one_message(downloaded: Path, tmp_path: Path) -> None:
    for path in downloaded.glob("*/*"):
        write(tmp_path / path.relative_to(downloaded), []).write_bytes(path.read_bytes())
    with open(tmp_path / "test" / "001-of-240.tfrecord", "r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    done = gqn_bench(
        "scenes-from-tfrecords",
        str(tmp_path),
        "--dataset",
        ROOMS,
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(r"gqn-bench: .*001-of-240\.tfrecord: record 1 at byte 0: its content is damaged", last)
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dataset"] == ROOMS
