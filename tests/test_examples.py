"""Every example and every block of Python in the README runs, on tiny settings."""

import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console

from gqn_transfer.benchmarks.cells import Suite
from gqn_transfer.benchmarks.cli import app
from gqn_transfer.benchmarks.engine import run_suite
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.benchmarks.suites import SUITES, with_encoder
from gqn_transfer.benchmarks.transfer_suites import TRANSFER_SUITES
from gqn_transfer.files import read_json
from gqn_transfer.presets import PRESETS, preset_named
from gqn_transfer.pretrain import pretrain

README = Path(__file__).parent.parent / "README.md"
TRAINING = README.parent / "docs" / "training.md"
TRANSFER = README.parent / "docs" / "transfer.md"
EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    train, test = make_scenes(ScenesConfig(scenes=8, test_scenes=8, views=4), folder / "scenes", workers=1)
    return pretrain(PRESETS["tiny"], train, test, folder / "run").encoder


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_sb3_three_lines(encoder: Path, mode: str) -> None:
    agent = load("sb3_three_lines").main(str(encoder), mode, steps=64)
    assert agent.num_timesteps == 64


def test_custom_agent(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("custom_agent").main(str(encoder), steps=400)
    assert re.fullmatch(r" *400 steps, mean reward \d\.\d+\n", capsys.readouterr().out)


def test_custom_env(tmp_path: Path) -> None:
    """In a process of its own: MuJoCo chooses how it renders when it is first imported."""
    code = """
import sys, custom_env
agent = custom_env.main(sys.argv[1], scenes=8, preset="tiny", steps=512)
print(*sorted(agent.observation_space.spaces), agent.num_timesteps)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "representation viewpoint 512"
    model = read_json(tmp_path / "run/encoder/checkpoint.json")["config"]["model"]
    assert (model["scene_centre"], model["scene_radius"]) == ([0.0, 0.0, 0.1], 0.6)


def test_your_own_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    load("your_own_encoder").main(steps=2000)
    assert capsys.readouterr().out == "2000 steps from features (64,)\n"


def test_a_suite_runs_with_your_own_encoder(tmp_path: Path) -> None:
    suite = with_encoder(SUITES["smoke"], f"{EXAMPLES / 'your_own_encoder.py'}:make_encoder")
    cells = tuple(cell for cell in suite.cells if cell.method == "gqn-frozen")
    progress = run_suite(Suite("its own eyes", cells), tmp_path, console=Console(file=io.StringIO()))
    assert progress.count("done") == len(cells)
    (record,) = read_suite(tmp_path)
    assert record.done is not None
    assert len(record.done["encoder_fingerprint"]) == 16
    assert record.done["pretraining_frames"] == 0


def test_the_readmes_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 4
    images, viewpoints = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 7)
    names: dict[str, Any] = {"images": images, "viewpoints": viewpoints}
    for block in blocks:
        small = block.replace("100_000", "8").replace("policy_kwargs=eyes", "policy_kwargs=eyes, n_steps=8")
        exec(small.replace("seed=0", "seed=0, n_steps=4, batch_size=16"), names)
    assert names["features"].shape == (2, 256)
    assert names["agent"].recipe.method == "gqn-frozen"


def test_the_blocks_of_the_training_guide(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(encoder.parent.parent)
    guide = TRAINING.read_text()
    (python,), (toml,) = (
        re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL) for kind in ("python", "toml")
    )
    names: dict[str, Any] = {}
    exec(python, names)
    assert "heads.colour.read.weight" in names["objective"].state_dict()
    (tmp_path / "mine.toml").write_text(toml)
    mine = preset_named(str(tmp_path / "mine.toml"))
    assert (mine.steps, mine.model.representation, mine.prior_only) == (20_000, "pyramid", 0.9)


def test_the_block_of_the_transfer_guide() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TRANSFER.read_text(), re.DOTALL)
    short = block.replace("200_000", "8").replace("100_000", "8").replace("(task, 8)", "(task, 1)")
    names: dict[str, Any] = {}
    exec(short.replace('"Point-v0", 8', '"Point-v0", 1').replace("seed=0", "seed=0, n_steps=4"), names)
    assert len(names["agent"].policy.heads) == 3


def test_the_suites_of_the_transfer_guide_exist() -> None:
    table = re.findall(r"^\| .* \| `([\w-]+)` \| `([\w-]+)` \|$", TRANSFER.read_text(), re.MULTILINE)
    assert {name for row in table for name in row} | {"sources-small"} == set(TRANSFER_SUITES)


COMMAND = r"^(?:gqn-bench|torchrun .* -m gqn_transfer.benchmarks.cli) ([a-z-]+) (.+)$"


def test_the_guides_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    guides = (
        README,
        *sorted(README.parent.glob("docs/*.md")),
        *sorted(README.parent.glob("docs/clusters/*.md")),
    )
    found = re.findall(COMMAND, "".join(guide.read_text() for guide in guides), re.M)
    assert len(found) > 15
    for command, rest in found:
        with pytest.raises(SystemExit):
            app.cli(prog="gqn-bench", args=[command, "--help"])
        known = capsys.readouterr().out
        assert all(f"{option} " in known for option in re.findall(r"--[a-z.-]+", rest)), (command, rest)


def test_the_table_of_presets_is_whole() -> None:
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", TRAINING.read_text(), re.M)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set(PRESETS)


def test_the_readmes_commands_exist() -> None:
    named = set(re.findall(r"gqn-bench ([a-z]+)", README.read_text()))
    assert named
    help_text = subprocess.run(
        [sys.executable, "-c", "from gqn_transfer.benchmarks.cli import main; main()", "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(name in help_text for name in named)


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
