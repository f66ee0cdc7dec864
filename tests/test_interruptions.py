"""Ctrl-C and kill -9 in every stage of `gqn-bench run`: the same command goes on and loses nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gqn_transfer.benchmarks.records import read_suite

RUN = [sys.executable, "-c", "from gqn_transfer.benchmarks.cli import main; main()", "run", "smoke", "--out"]
STAGES = {
    "scenes": "scenes/smoke/config.json",
    "pretraining": "encoders/smoke-gqn",
    "cells": "cells/*/curve.csv",
}
"""Stage -> file whose appearance says that it has begun."""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_goes_on(stage: str, how: signal.Signals, tmp_path: Path) -> None:
    command = [*RUN, str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path, STAGES[stage], process)
    os.killpg(process.pid, how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    if how == signal.SIGINT:
        assert "the same command" in errors.splitlines()[-1], errors
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/done.json")}
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert all(record.status == "done" for record in read_suite(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "the run ended before the stage began"
        time.sleep(0.02)
