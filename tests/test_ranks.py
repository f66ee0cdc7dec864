"""Data-parallel training: two processes take the steps that one would, and only the first writes."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gqn_transfer.checkpoint import load_tensors, read_record
from gqn_transfer.latents import Noise
from gqn_transfer.loader import drawn
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import _check_ranks, pretrain
from gqn_transfer.ranks import ALONE, Ranks, join
from gqn_transfer.scenes import Scenes

Pair = tuple[Scenes, Scenes]
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import torch
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes
from gqn_transfer.training import Run
torch.set_num_threads(1)
config, train, test, folder, stop_at = json.loads(sys.argv[1])
update = Run._update
def stopping(self, losses, batch):
    if self.step == stop_at and not self.ranks.is_first:
        os.kill(os.getpid(), signal.SIGTERM)
    return update(self, losses, batch)
Run._update = stopping
scenes = Scenes.open(train), Scenes.open(test)
result = pretrain(PretrainConfig.from_dict(config), *scenes, Path(folder), device="cpu", precision="fp32")
sys.stdout.write(f"finished {result.finished} {result.step}\\n")  # whole, beside the other's
"""


def run_two(config: PretrainConfig, scenes: Pair, folder: Path, stop_second_at: int | None = None) -> str:
    """Under `torchrun`, two processes, the second of which may be told to stop at a step; what they print."""
    places = [str(scenes[0].folder), str(scenes[1].folder), str(folder)]
    arguments = [config.to_dict(), *places, stop_second_at]
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), json.dumps(arguments)],
        check=False, capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def differences(ours: Path, theirs: Path) -> dict[str, float]:
    """Largest difference of each of the model's tensors, relative to its largest value."""
    a, b = load_tensors(ours), load_tensors(theirs)
    assert a.keys() == b.keys()
    weights = [name for name in a if name.startswith("model.")]
    return {n: float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-12)) for n in weights}


@pytest.mark.parametrize("prior_only", [0.0, 1.0])
def test_two_ranks_take_the_step_that_one_would(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, prior_only: float
) -> None:
    """Same gradient (Adam's first moment after a step), noise of the latents included."""
    config = dataclasses.replace(tiny, steps=1, batch=8, queries=2, max_contexts=2, prior_only=prior_only)
    config = dataclasses.replace(config, warm_up=0.0, transition=0.0, adam_epsilon=1e-3)
    pretrain(config, *scenes, tmp_path / "one", device="cpu", precision="fp32", max_seconds=0)
    printed = run_two(config, scenes, tmp_path / "two")
    assert printed.count("finished True 1") == 2
    assert printed.count("plateaus") == 1
    found = differences(tmp_path / "one/encoder", tmp_path / "two/encoder")
    assert max(found.values()) < 1e-4


def test_a_signal_to_one_rank_stops_both(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    """After the same step: else one would wait for the other for ever."""
    config = dataclasses.replace(tiny, steps=4, batch=8)
    printed = run_two(config, scenes, tmp_path / "two", stop_second_at=1)
    assert printed.count("finished False 2") == 2
    assert read_record(tmp_path / "two" / "training")["step"] == 2


def test_each_rank_takes_its_part() -> None:
    assert [Ranks(rank, 3).part(12) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    whole = Noise(torch.Generator().manual_seed(3)).of_shape((6, 2))
    parts = [Noise(torch.Generator().manual_seed(3), rank, 3).of_shape((2, 2)) for rank in range(3)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


def test_without_torchrun_there_is_one_rank() -> None:
    assert join(torch.device("cpu")) == ALONE
    assert ALONE.is_first
    assert ALONE.any(True, torch.device("cpu"))
    assert not ALONE.any(False, torch.device("cpu"))


def test_a_batch_that_cannot_be_shared_is_refused(tiny: PretrainConfig) -> None:
    with pytest.raises(ValueError, match="a batch of 4 scenes cannot be shared evenly by 3 processes"):
        _check_ranks(tiny, Ranks(0, 3))


def test_scenes_in_memory_are_shared_by_the_processes_of_this_machine_alone(
    scenes: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Scenes, "in_memory", lambda self, processes: asked.append(processes) or self)
    drawn(scenes[0], 4, 0, torch.device("cpu"), Ranks(0, 16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    drawn(scenes[0], 4, 0, torch.device("cpu"), Ranks(0, 16))
    assert asked == [1, 8]
