"""Every example runs, on tiny settings."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes

from gqn_transfer.presets import PRESETS
from gqn_transfer.pretrain import pretrain

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
    return pretrain(PRESETS["smoke"], train, test, folder / "run").encoder


def test_three_lines(encoder: Path) -> None:
    agent = load("three_lines").main(str(encoder), steps=64)
    assert agent.num_timesteps == 64


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
