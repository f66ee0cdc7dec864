"""Claims: one owner at a time, left by the dead, given up by who was held up, whatever the clocks say."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gqn_transfer.benchmarks import claims
from gqn_transfer.benchmarks.claims import claimed, free_if_left, lock_of


def write_lock(place: Path, **changes: object) -> None:
    owner = {"token": "other", "machine": "elsewhere", "pid": 1, "started": "1", "count": 0} | changes
    lock_of(place).write_text(json.dumps(owner))


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path / "cell") as ours:
        assert ours
        with claimed(tmp_path / "cell") as again, claimed(tmp_path / "other") as other:
            assert (again, other) == (False, True)
        assert lock_of(tmp_path / "cell").exists()
    with claimed(tmp_path / "cell") as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "cell"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def hold(place: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with claimed(place):
        ready.set()
        time.sleep(60)


def test_what_a_killed_process_held_is_free_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "cell", ready))
    process.start()
    assert ready.wait(60)
    with claimed(tmp_path / "cell") as ours:
        assert not ours
    process.kill()
    process.join()
    with claimed(tmp_path / "cell") as ours:
        assert ours


def test_a_process_number_that_is_used_again_is_not_the_owner(tmp_path: Path) -> None:
    write_lock(tmp_path / "cell", machine=claims._machine(), pid=os.getpid(), started="long ago")
    with claimed(tmp_path / "cell") as ours:
        assert ours


def test_another_machines_claim_is_left_when_it_has_stood_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    place = tmp_path / "cell"
    write_lock(place)
    os.utime(lock_of(place), (1, 1))  # what other clocks say counts for nothing
    for count in range(3):
        with claimed(place) as ours:
            assert not ours
        now[0] += claims.STALE - 1
        write_lock(place, count=count + 1)
    with claimed(place) as ours:
        assert not ours
    now[0] += claims.STALE + 1
    with claimed(place) as ours:
        assert ours


def test_who_looks_again_and_again_frees_what_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    place = tmp_path / "cell"
    assert free_if_left(place)
    write_lock(place)
    assert not free_if_left(place)
    now[0] += claims.STALE + 1
    assert free_if_left(place)
    assert not lock_of(place).exists()


def test_a_torn_claim_is_left_when_it_has_stood_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    lock_of(tmp_path / "cell").write_text('{"tok')
    with claimed(tmp_path / "cell") as ours:
        assert not ours
    now[0] += claims.STALE + 1
    with claimed(tmp_path / "cell") as ours:
        assert ours


def test_a_new_claim_is_not_taken_for_the_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and our removal somebody else has removed it and claimed."""
    place = tmp_path / "cell"
    write_lock(place, machine=claims._machine(), pid=2**30)
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(claims.os, "rename", rename)
        write_lock(place, token="faster")
        rename(source, target)

    monkeypatch.setattr(claims.os, "rename", late)
    with claimed(place) as ours:
        assert not ours
    assert json.loads(lock_of(place).read_text())["token"] == "faster"
    assert [path.name for path in tmp_path.iterdir()] == ["cell.lock"]


def test_the_count_rises_and_who_lost_the_claim_ends(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from gqn_transfer.benchmarks import claims\n"
        "claims.BEAT = 0.05\n"
        f"with claims.claimed(Path({str(tmp_path / 'cell')!r})):\n    time.sleep(30)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    lock = lock_of(tmp_path / "cell")
    deadline = time.monotonic() + 60
    while not lock.exists() or json.loads(lock.read_text())["count"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    write_lock(tmp_path / "cell")
    assert process.wait(60) == claims.LOST
    assert json.loads(lock.read_text())["token"] == "other"


@pytest.mark.parametrize(("failures", "ends"), [(3, False), (10**9, True)])
def test_a_full_disk_is_outlived_unless_it_lasts(failures: int, ends: bool, tmp_path: Path) -> None:
    """Who cannot touch his claim ends before others may count it as left."""
    program = (
        "import errno, time; from pathlib import Path; from gqn_transfer.benchmarks import claims\n"
        "claims.BEAT, claims.STALE, calls, write = 0.05, 4.0, [], claims.write_text\n"
        "def failing(path, text):\n"
        "    calls.append(path)\n"
        f"    if 2 < len(calls) < 3 + {failures}: raise OSError(errno.ENOSPC, 'No space left')\n"
        "    write(path, text)\n"
        "claims.write_text = failing\n"
        f"with claims.claimed(Path({str(tmp_path / 'cell')!r})):\n    time.sleep(3.5)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (claims.LOST if ends else 0)
    assert ("cannot be touched" in done.stderr) == ends
