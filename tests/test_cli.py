"""The command as people type it: help, errors that name the cure, and a small run of each stage."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gqn_transfer.benchmarks import cli, engine, report  # noqa: F401  nobody could not import them

QUICK = Path(__file__).parents[1] / "docs/results/quick"

COMMANDS = (
    "doctor", "gallery", "scenes", "scenes-from-tfrecords", "pretrain", "evaluate", "source", "list", "run",
    "status", "film", "export", "import", "tune", "report",
)  # fmt: skip


def gqn_bench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from gqn_transfer.benchmarks.cli import main; main()"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # two would wait for each other where cores are busy
    return subprocess.run(
        [*program, *arguments], capture_output=True, text=True, cwd=cwd, check=False, env=one_thread
    )


@pytest.fixture(autouse=True)
def _memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ever in the process of the tests, where commands run too."""
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)


def test_help_lists_every_command() -> None:
    done = gqn_bench("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_threads_spin_briefly_unless_told() -> None:
    """Set before torch's threads begin, or it would come too late."""
    code = (
        "import os, sys; from gqn_transfer.benchmarks import cli; cli.app.cli = lambda **_: "
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT']); cli.main()"
    )
    for given, expected in ({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"):
        command = [sys.executable, "-c", code]
        environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"} | given
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.split() == ["False", expected]


def test_the_module_is_the_command_too() -> None:
    """`torchrun -m` starts it so."""
    module = [sys.executable, "-m", "gqn_transfer.benchmarks.cli", "--help"]
    done = subprocess.run(module, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "quik"), "unknown suite 'quik'; known: smoke, quick"),
        (("report", "nowhere"), "No folder nowhere"),
        (
            ("pretrain", "--scenes", "nowhere", "--out", "x", "--preset", "huge"),
            "unknown preset 'huge'; known: tiny",
        ),
        (("pretrain", "--scenes", "nowhere", "--out", "x"), "does not exist: make it with `gqn-bench scenes"),
        (("evaluate", "jaco-tiny", "--scenes", "nowhere", "--out", "x"), "does not exist"),
        (("run", "smoke", "--engine", "ray", "--tensorboard"), "leave out --tensorboard or --engine ray"),
        (
            ("source", "--out", "x", "--scenes", "nowhere", "--tasks", "Reach-v0", "--tier-history", "8"),
            "are a tier's: give its length with --tier",
        ),
        (
            ("scenes", "--out", "x", "--camera", "behind"),
            "camera='behind': expected one of dome, held_out, fixed",
        ),
    ],
)
def test_a_mistake_is_one_message_that_names_the_cure(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = gqn_bench(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_no_number_is_one_message_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(**_: object) -> None:
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(cli.app, "cli", diverge)
    with pytest.raises(SystemExit, match="gqn-bench: the loss is nan"):
        cli.main()


def test_commands_keep_the_memory_that_they_free(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: done.append("kept"))
    monkeypatch.setattr(cli.app, "cli", lambda **_: done.append("run"))
    cli.main()
    assert done == ["kept", "run"]


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A suite's folder that may only be read, also by root, who becomes nobody meanwhile."""
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0  # pytest's own are closed to nobody
    shutil.copytree(QUICK, folder / "quick")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555)
    if root:
        os.seteuid(65534)
    yield folder / "quick"
    if root:
        os.seteuid(0)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("command", [("report",), ("run", "quick", "--out")])
def test_a_folder_that_may_only_be_read_stays_as_it_is(
    command: tuple[str, ...], read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(read_only.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["gqn-bench", *command, str(read_only)])
    with pytest.raises(SystemExit, match=r"denied.*: make it writable, or name another folder where"):
        cli.main()
    assert sorted(read_only.rglob("*")) == before


def test_a_report_beside_what_it_reports(tmp_path: Path) -> None:
    done = gqn_bench("report", str(QUICK), "--out", str(tmp_path / "there"))
    assert f"report: {tmp_path}/there/index.html" in done.stdout.replace("\n", ""), done.stderr
    assert {path.suffix for path in (tmp_path / "there").iterdir()} >= {".html", ".png", ".csv", ".tex"}


def test_stages_by_hand(tmp_path: Path) -> None:
    """scenes, pretrain in two calls, evaluate: as the README shows them."""
    scenes = ("scenes", "--out", "scenes", "--scenes", "24", "--test-scenes", "12", "--views", "4")
    assert gqn_bench(*scenes, cwd=tmp_path).returncode == 0
    pretrain = ("pretrain", "--scenes", "scenes", "--out", "run", "--preset", "tiny")
    stopped = gqn_bench(*pretrain, "--max-seconds", "0", cwd=tmp_path)
    assert "stopped at step 1" in stopped.stdout, stopped.stderr
    finished = gqn_bench(*pretrain, cwd=tmp_path)
    assert "encoder in run/encoder" in finished.stdout, finished.stderr
    evaluated = gqn_bench("evaluate", "run", "--scenes", "scenes", "--out", "figures", cwd=tmp_path)
    assert "target" in evaluated.stdout, evaluated.stderr
    assert (tmp_path / "figures/predictions.png").exists()


def test_list_and_doctor() -> None:
    assert "quick" in gqn_bench("list").stdout
    text = gqn_bench("doctor").stdout
    for word in ("rendering", "pixels steps/s", "bf16", "mujoco"):
        assert word in text
