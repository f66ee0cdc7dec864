"""What an installed wheel must do. Run by `make wheel` outside the checkout; pytest ignores it."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import torch

import gqn_transfer
from gqn_transfer.encoder import load_encoder


def main() -> None:
    origin = Path(gqn_transfer.__file__)
    assert origin.is_relative_to(sys.prefix), f"not the installed package: {origin}"

    modules = [found.name for found in pkgutil.walk_packages(gqn_transfer.__path__, "gqn_transfer.")]
    for package in ("envs", "agents", "benchmarks"):
        assert f"gqn_transfer.{package}" in modules, f"gqn_transfer.{package} is not installed"
    for module in modules:
        if not module.endswith(".__main__"):
            importlib.import_module(module)

    command = Path(sys.executable).with_name("gqn-bench")
    helped = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0, helped.stderr
    assert "report" in helped.stdout, helped.stdout

    env = gymnasium.make("gqn_transfer/Reach-v0", obs="pixels")
    observation, _ = env.reset(seed=0)
    observation, *_ = env.step(env.action_space.sample())
    assert observation["image"].std() > 0, "the image is blank"
    assert env.observation_space.contains(observation)
    env.close()

    encoder = load_encoder("jaco-small")
    code = encoder(torch.from_numpy(observation["image"]).permute(2, 0, 1)[None], torch.zeros(1, 7))
    assert code.shape == (1, encoder.features_dim), "the encoder that ships does not encode"
    print(f"the wheel works: {len(modules)} modules, {command.name}, one pixel step, one code")


if __name__ == "__main__":
    main()
