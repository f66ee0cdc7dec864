"""Atomic writing: the old content or the new, never something between."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.files import read_json, write_atomic, write_json, write_text


def test_text_round_trip_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_synced_before_it_is_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("sync"), fsync(file))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths))[1])
    write_text(tmp_path / "file", "x")
    assert events == ["sync", "replace"]


def test_temporary_file_lies_beside_the_target(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_atomic(tmp_path / "file", lambda path: (seen.append(path), path.write_text("x"))[0])
    assert seen[0].parent == tmp_path  # a rename across file systems would not be atomic
    assert seen[0].name.startswith(".")


def test_json_takes_numpy_values(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": np.float32(0.5), "a": np.arange(2), "c": (1, 2)})
    assert read_json(path) == {"a": [0, 1], "b": 0.5, "c": [1, 2]}
    assert list(json.loads(path.read_text())) == ["a", "b", "c"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"loss": value})
    assert read_json(path) == 1


def test_json_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        write_json(tmp_path / "x.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", '{"a": 1', "\x00\x00"])
def test_broken_json_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json is not JSON .*delete it and run the same command"):
        read_json(path)
