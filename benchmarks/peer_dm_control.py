"""Steps per second of dm_control's `reach_site_vision`, by an interpreter of its own.

dm_control does not run with MuJoCo 4, hence no import of ours: PYTHON -I peer_dm_control.py prints one line
of JSON, which `throughput` reads. Steps as its users take them, with resets at their share of an episode.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from typing import Any, NamedTuple

TASK = "reach_site_vision"
RESETS = 2
"""Timed resets per setting; they cost as much as many steps, since dm_control compiles the model anew."""


class PeerSetting(NamedTuple):
    """One way to draw the peer's observation."""

    name: str
    image_size: int
    """Pixels, square."""
    plain: bool
    """No shadows, no reflections, no multisampling."""


SETTINGS = (
    PeerSetting("as shipped", 84, plain=False),
    PeerSetting("no shadows, reflections, multisampling", 84, plain=True),
    PeerSetting("no shadows, reflections, multisampling", 64, plain=True),
)


def main(steps: int) -> None:
    """Time `steps` steps of each setting; print {"versions": ..., "settings": [...]}."""
    report = {
        "task": TASK,
        "versions": {name: importlib.metadata.version(name) for name in ("dm-control", "mujoco")},
        "settings": [measure(setting, steps) for setting in SETTINGS],
    }
    print(json.dumps(report))


def load(setting: PeerSetting) -> Any:
    """The task's environment, drawn as `setting` says."""
    from dm_control import manipulation  # type: ignore[import-untyped]

    env = manipulation.load(TASK, seed=0)
    for camera in env.task.task_observables.values():
        if hasattr(camera, "height"):
            camera.configure(height=setting.image_size, width=setting.image_size)
    if setting.plain:
        make_plain(env.task.root_entity.mjcf_model)
    return env


def make_plain(world: Any) -> None:
    """Turn the expensive passes off in an MJCF tree, before it is compiled."""
    world.visual.quality.shadowsize = world.visual.quality.offsamples = 0
    for light in world.find_all("light"):
        light.castshadow = False
    for material in world.find_all("material"):
        material.reflectance = 0


def measure(setting: PeerSetting, steps: int) -> dict[str, Any]:
    """Seconds per step and per reset, and steps per second over a whole episode of both."""
    import numpy as np

    env = load(setting)
    action = env.action_spec()
    rng = np.random.default_rng(0)
    actions = rng.uniform(action.minimum, action.maximum, (steps, *action.shape))
    check_image(env.reset().observation, setting)
    env.step(actions[0])
    started = time.perf_counter()
    for _ in range(RESETS):
        env.reset()
    reset_seconds = (time.perf_counter() - started) / RESETS
    started = time.perf_counter()
    for row in actions:
        env.step(row)  # an episode that ends is reset by the call after it
    step_seconds = (time.perf_counter() - started) / steps
    return setting._asdict() | {
        "step_seconds": step_seconds,
        "reset_seconds": reset_seconds,
        "steps_per_second": 1 / (step_seconds + reset_seconds / horizon(env)),
        "substeps": round(env.control_timestep() / env.physics.timestep()),
    }


def check_image(observation: Any, setting: PeerSetting) -> None:
    """ValueError unless there is an image of the size that the figures are reported for."""
    sizes = [image.shape[-3:-1] for image in observation.values() if image.dtype.kind == "u"]
    if sizes != [(setting.image_size, setting.image_size)]:
        raise ValueError(f"images of {sizes}: expected one of {setting.image_size} pixels")


def horizon(env: Any) -> int:
    """Steps per episode."""
    return round(env._time_limit / env.control_timestep())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="timed steps per setting")
    main(parser.parse_args().steps)
