"""The scripts that time training steps run on small settings and say what they measured."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gqn_transfer.benchmarks import gqn_speed, peer_torch_gqn

PEER = """
import torch
from helper import scale


class GQN(torch.nn.Module):
    def __init__(self, representation, L, shared_core):
        super().__init__()
        assert (representation, L, shared_core) == ("pool", 1, True)
        self.read = torch.nn.Linear(7, 1)

    def forward(self, x, v, v_q, x_q, sigma):
        assert x.shape[2:] == x_q.shape[1:] == (3, 64, 64) and v.shape[2:] == v_q.shape[1:] == (7,)
        return scale * self.read(v_q)[:, 0] / sigma
"""


def test_a_port_is_timed_in_turns_with_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "model.py").write_text(PEER)
    (tmp_path / "helper.py").write_text("scale = 2.0")
    peer_torch_gqn.main(tmp_path, batch=1, contexts=1, layers=1, rounds=1, device="cpu")
    printed = capsys.readouterr().out
    rows = re.findall(r"(the port|ours) +│ (fp32|bf16) +│ +([\d.]+) +│ +([\d.]+)", printed)
    assert [row[:2] for row in rows] == [
        ("the port", "fp32"), ("ours", "fp32"), ("the port", "bf16"), ("ours", "bf16"),
    ]  # fmt: skip
    assert rows[0][3] == "1.00"
    assert float(rows[1][3]) < 1  # a port of seven numbers is faster than a GQN


def test_a_folder_without_the_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no model\.py: clone iShohei220/torch-gqn"):
        peer_torch_gqn.main(tmp_path)


def test_unknown_architectures_list_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"unknown models resnet; known: paper, pool, L=4, .*cpu-30min"):
        gqn_speed.main(models=("resnet",))


def test_every_step_that_is_timed_has_all_contexts() -> None:
    speed = gqn_speed.measure(
        gqn_speed.MODELS["cpu-30min"], batch=1, contexts=2, steps=1, precision="fp32", layout="contiguous",
        threads=1, device="cpu",
    )  # fmt: skip
    assert speed.steps_per_second > 0
    assert speed.peak_bytes > 2**27
    chance = gqn_speed._AllContexts()
    assert {chance.integers(1, 4) for _ in range(5)} == {3}
