"""What `gqn-bench pretrain` can do besides: compile, and write for TensorBoard."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes

Pair = tuple[Scenes, Scenes]


def curve(folder: Path) -> list[dict[str, float]]:
    with open(folder / "training.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_a_compiled_run_learns_the_same(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gqn_transfer.training.LOG_EVERY", 2)
    config = dataclasses.replace(tiny, prior_only=0.5)  # both kinds of rollout
    for name, compiled in (("plain", False), ("compiled", True)):
        how = {"device": "cpu", "precision": "fp32", "compiled": compiled}
        assert pretrain(config, *scenes, tmp_path / name, **how).finished  # type: ignore[arg-type]
    plain, ours = curve(tmp_path / "plain"), curve(tmp_path / "compiled")
    assert [row["step"] for row in ours] == [row["step"] for row in plain]
    for row, expected in zip(ours, plain, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=5e-3)
        assert row["test_mse_1"] == pytest.approx(expected["test_mse_1"], rel=5e-3)


def test_tensorboard_shows_the_learning_curve(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr("gqn_transfer.training.LOG_EVERY", 2)
    assert pretrain(tiny, *scenes, tmp_path, device="cpu", precision="fp32", tensorboard=True).finished
    events = reading.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = curve(tmp_path)
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}
    for name in ("loss", "test_mse_1"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in shown] == [row["step"] for row in rows]
        assert [value for _, value in shown] == pytest.approx([row[name] for row in rows], rel=1e-3)


def test_without_tensorboard_there_is_one_message(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match="TensorBoard is not installed: pip install"):
        pretrain(tiny, *scenes, tmp_path, device="cpu", tensorboard=True)
