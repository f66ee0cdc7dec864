"""Frames that agents meet in a task, from good to random ones: to judge an encoder by, never to train it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arm import ArmEnv
from .experts import EXPERTS, Expert
from .rendering import renderer_for
from .scenes import SceneArrays, empty_scenes
from .state import scene_state

EVERY = 4
"""A frame is kept at one step in so many: neighbours are nearly the same."""
SMOOTHNESS = 0.8
"""Share of a random action that is the last step's: an arm that only trembles stays where it starts."""


def sample_rollouts(
    task: str,
    frames: int,
    rng: np.random.Generator,
    columns: int,
    camera: str = "fixed",
    image_size: int = 64,
    randomize: str = "none",
) -> SceneArrays:
    """`frames` of one view each, from episodes of `task` between the scripted expert's and a random agent's.

    columns: how many of the state's, see `scenes.scene_columns`. Same generator state, same frames.
    """
    env = ArmEnv(task, obs="state", camera=camera, image_size=image_size, randomize=randomize)
    renderer, arrays = renderer_for(env.model, image_size), empty_scenes(frames, 1, image_size, columns)
    played = _play(env, EXPERTS[task], rng)
    for images, viewpoints, labels, state in zip(*arrays, strict=True):
        next(played)
        images[0] = renderer.image(env.model, env.data, env.pose)
        viewpoints[0] = env.pose.viewpoint
        labels[0] = renderer.labels(env.model, env.data, env.pose)
        state[:] = scene_state(env.frame, env.model, columns)
    return arrays


def _play(env: ArmEnv, expert: Expert, rng: np.random.Generator) -> Iterator[None]:
    """Endless episodes, each with a skill from 0 (random) to 1 (the expert), stopped at each frame."""
    while True:
        env.reset(seed=int(rng.integers(2**31)))
        skill, noise, ended = rng.random(), np.zeros(7), False
        while not ended:
            if env.steps % EVERY == 0:
                yield
            noise = SMOOTHNESS * noise + (1 - SMOOTHNESS) * rng.uniform(-3.0, 3.0, 7)
            action = skill * expert(env) + (1 - skill) * noise
            _, _, _, ended, _ = env.step(np.clip(action, -1.0, 1.0))
