"""Whatever stops a training run, the same command goes on from the last good checkpoint, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gqn_transfer.checkpoint import load_tensors, read_record
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes

Pair = tuple[Scenes, Scenes]


def run(config: PretrainConfig, scenes: Pair, folder: Path) -> None:
    assert pretrain(config, *scenes, folder, device="cpu", precision="fp32").finished


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: the system refuses the write, as it does without space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("busy_log")
def test_without_space_the_last_good_checkpoint_stays(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path
) -> None:
    config, folder = dataclasses.replace(tiny, steps=5), tmp_path / "parts"
    run(config, scenes, tmp_path / "whole")
    pretrain(config, *scenes, folder, device="cpu", precision="fp32", max_seconds=0)
    message = r"parts cannot be written \(.*[Ff]ile too large.*\). What was saved there before is whole: make"
    with full_disk(2**14), pytest.raises(OSError, match=message):
        run(config, scenes, folder)
    assert read_record(folder / "training")["step"] == 1
    assert not list(folder.glob("**/.*tmp"))
    run(config, scenes, folder)
    ours, theirs = (load_tensors(each / "encoder") for each in (folder, tmp_path / "whole"))
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)


@pytest.mark.usefixtures("busy_log")
def test_a_row_that_was_cut_short_is_forgotten(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    run(tiny, scenes, tmp_path / "whole")
    pretrain(tiny, *scenes, tmp_path / "parts", device="cpu", precision="fp32", max_seconds=0)
    whole, parts = (tmp_path / name / "training.csv" for name in ("whole", "parts"))
    header, *_ = whole.read_text().splitlines()
    parts.write_text(f"{header}\n1")  # the beginning of "10,..."
    run(tiny, scenes, tmp_path / "parts")
    steps = [[line.split(",")[0] for line in each.read_text().splitlines()] for each in (whole, parts)]
    assert steps[0] == steps[1]


SCRIPT = """
import json, sys, time
from pathlib import Path
import torch
from gqn_transfer import training as loop
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS, loop.LOG_EVERY = -1.0, 2
update = loop.Run._update
def slow(self, losses, batch):
    time.sleep(0.02)
    return update(self, losses, batch)
loop.Run._update = slow
config, train, test, folder = json.loads(sys.argv[1])
scenes = Scenes.open(train), Scenes.open(test)
pretrain(PretrainConfig.from_dict(config), *scenes, Path(folder), device="cpu", precision="fp32")
"""
TWO_RANKS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[sys.executable], TWO_RANKS], ids=["alone", "two ranks"])
def test_kills_at_random_moments_change_nothing(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, launcher: list[str]
) -> None:
    config = dataclasses.replace(tiny, steps=60)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    chance = random.Random(0)

    def start(folder: Path) -> subprocess.Popen[bytes]:
        where = [str(scenes[0].folder), str(scenes[1].folder), str(folder)]
        command = [*launcher, str(script), json.dumps([config.to_dict(), *where])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, start_new_session=True, env=environment, stderr=subprocess.DEVNULL)

    def step(folder: Path) -> int:
        whole = (folder / "training" / "checkpoint.json").exists()
        return int(read_record(folder / "training")["step"]) if whole else 0

    assert start(tmp_path / "whole").wait(300) == 0
    parts, stopped_at = tmp_path / "parts", [0]
    while not (parts / "encoder").exists() and len(stopped_at) < 6:
        process = start(parts)
        while step(parts) == stopped_at[-1] and process.poll() is None:
            time.sleep(0.005)  # until it takes steps of its own
        time.sleep(chance.uniform(0, 0.6))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        stopped_at.append(step(parts))
    assert len({at for at in stopped_at if 0 < at < config.steps}) > 1, stopped_at
    assert start(parts).wait(300) == 0
    for part in ("training", "encoder"):
        ours, theirs = load_tensors(tmp_path / "whole" / part), load_tensors(parts / part)
        assert ours.keys() == theirs.keys()
        assert all(bool((ours[name] == theirs[name]).all()) for name in ours), (part, stopped_at)
