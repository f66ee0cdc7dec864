"""Every example and every block of Python in the README runs, on tiny settings."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gqn_transfer.benchmarks.cli import app
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.presets import PRESETS, preset_named
from gqn_transfer.pretrain import pretrain

README = Path(__file__).parent.parent / "README.md"
TRAINING = README.parent / "docs" / "training.md"
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


def test_three_lines(encoder: Path) -> None:
    agent = load("three_lines").main(str(encoder), steps=64)
    assert agent.num_timesteps == 64


def test_the_readmes_blocks(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(encoder.parent.parent)  # the README's "run" is a folder beside one
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    images, viewpoints = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 7)
    for block in blocks:
        names = {"images": images, "viewpoints": viewpoints}
        exec(
            block.replace("100_000", "1").replace("policy_kwargs=eyes", "policy_kwargs=eyes, n_steps=8"),
            names,
        )
    assert names["features"].shape == (2, PRESETS["tiny"].model.representation_size)


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


COMMAND = r"^(?:gqn-bench|torchrun .* -m gqn_transfer.benchmarks.cli) ([a-z-]+) (.+)$"


def test_the_guides_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(COMMAND, README.read_text() + TRAINING.read_text(), re.MULTILINE)
    assert len(found) > 5
    for command, rest in found:
        with pytest.raises(SystemExit):
            app.cli(prog="gqn-bench", args=[command, "--help"])
        known = capsys.readouterr().out
        assert all(f"{option} " in known for option in re.findall(r"--[a-z-]+", rest)), (command, rest)


def test_the_table_of_presets_is_whole() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", TRAINING.read_text(), re.M)) == set(PRESETS)


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
