"""Checkpoints: round trip, fingerprint, and one clear error for whatever cannot be used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gqn_transfer import checkpoint
from gqn_transfer.checkpoint import (
    RECORD,
    WEIGHTS,
    CheckpointError,
    fingerprint,
    load_into,
    load_tensors,
    read_record,
    save_checkpoint,
)


def tensors(seed: int = 0) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(4, 3, 2, 2, generator=source).to(memory_format=torch.channels_last),
        "b": torch.randn(5, generator=source),
        "half": torch.randn(3, generator=source).bfloat16(),
        "step": torch.tensor(7.0),
    }


def change_record(folder: Path, **values: Any) -> None:
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | values))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "saved", tensors(), {"config": {"x": 1}, "step": 3})
    return tmp_path / "saved"


def test_round_trip_bit_for_bit(folder: Path) -> None:
    loaded, saved = load_tensors(folder), tensors()
    assert loaded.keys() == saved.keys()
    for name, value in saved.items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)
    record = read_record(folder)
    assert (record["config"], record["step"]) == ({"x": 1}, 3)
    assert record["fingerprint"] == fingerprint(saved)
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, WEIGHTS]


def test_record_cannot_overrule_the_facts(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tensors(), {"format_version": 99, "fingerprint": "mine"})
    assert load_tensors(tmp_path).keys() == tensors().keys()


def test_second_save_replaces_the_first(folder: Path) -> None:
    for seed in (1, 2, 3):
        save_checkpoint(folder, tensors(seed), {"step": seed})
        assert torch.equal(load_tensors(folder)["b"], tensors(seed)["b"])
        assert read_record(folder)["step"] == seed
        assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("stage", ["write_atomic", "write_json"])
def test_interrupted_save_keeps_the_earlier_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for seed in (1, 2):  # twice: the second finds what the first left behind
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, stage, killed)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(folder, tensors(seed), {"step": seed})
        assert read_record(folder)["step"] == 3
        assert torch.equal(load_tensors(folder)["b"], tensors()["b"])
    save_checkpoint(folder, tensors(3), {"step": 4})
    assert torch.equal(load_tensors(folder)["b"], tensors(3)["b"])
    assert len(list(folder.iterdir())) == 2


def test_interrupted_first_save_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "write_json", lambda *_: None)
    save_checkpoint(tmp_path, tensors(), {})
    with pytest.raises(CheckpointError, match=r"no checkpoint: it has no checkpoint\.json; train one with"):
        load_tensors(tmp_path)


def test_missing_record(folder: Path) -> None:
    (folder / RECORD).unlink()
    with pytest.raises(CheckpointError, match=r"saved is no checkpoint: it has no checkpoint\.json; train"):
        read_record(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("format_version", 1, "2"), ("camera_convention", "z-down/feet", "'xyz-cosyaw.*metres'")],
)
def test_other_format_or_convention(folder: Path, key: str, value: object, expected: str) -> None:
    change_record(folder, **{key: value})
    message = rf"checkpoint\.json: {key} is {value!r}, this program reads {expected}; train the encoder again"
    with pytest.raises(CheckpointError, match=message):
        load_tensors(folder)


def test_broken_record(folder: Path) -> None:
    os.truncate(folder / RECORD, 20)
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is not JSON"):
        read_record(folder)


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1, -20])
def test_truncated_weights(folder: Path, cut: int) -> None:
    path = folder / WEIGHTS
    os.truncate(path, cut % path.stat().st_size)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is missing or truncated .*: restore it"):
        load_tensors(folder)


def test_missing_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is missing or truncated"):
        load_tensors(folder)


def test_weights_of_another_checkpoint(folder: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "other", tensors(1), {})
    os.replace(tmp_path / "other" / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(
        CheckpointError, match=r"weights\.safetensors is not what the record beside it describes .*: restore"
    ):
        load_tensors(folder)


def test_one_flipped_bit_is_seen(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="another fingerprint"):
        load_tensors(folder)


def test_fingerprint_sees_every_value() -> None:
    base = fingerprint(tensors())
    assert len(base) == 16
    for name, value in tensors().items():
        for index in range(value.numel()):
            changed = {**tensors(), name: value.contiguous().clone()}
            changed[name].view(-1)[index] += 0.5
            assert fingerprint(changed) != base


def test_fingerprint_sees_names_shapes_and_types() -> None:
    values = torch.zeros(4)
    prints = [
        fingerprint({"a": values}),
        fingerprint({"b": values}),
        fingerprint({"a": values.reshape(2, 2)}),
        fingerprint({"a": values.int()}),
        fingerprint({"a": values, "b": values[:0]}),
    ]
    assert len(set(prints)) == len(prints)


def test_fingerprint_ignores_memory_format_order_and_gradients() -> None:
    plain = {name: value.contiguous() for name, value in tensors().items()}
    assert not tensors()["a.weight"].is_contiguous()
    assert fingerprint(plain) == fingerprint(tensors())
    assert fingerprint(dict(reversed(plain.items()))) == fingerprint(plain)
    assert fingerprint({k: v.clone().requires_grad_() for k, v in plain.items()}) == fingerprint(plain)


def test_load_into_refuses_what_does_not_fit() -> None:
    module = torch.nn.Linear(2, 3)
    load_into(module, {"weight": torch.ones(3, 2), "bias": torch.ones(3)}, "x")
    assert module.weight.eq(1).all()
    for wrong in ({"weight": torch.ones(3, 2)}, {"weight": torch.ones(2, 2), "bias": torch.ones(3)}):
        with pytest.raises(CheckpointError, match=r"folder does not fit the network its record describes"):
            load_into(module, wrong, "folder")
