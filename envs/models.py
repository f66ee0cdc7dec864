"""Compiled models, one per process and scene; copy one before changing it."""

from __future__ import annotations

import functools
from importlib import resources

import mujoco

from .kinematics import Kinematics

ARMS = ("primitive", "mesh")
"""`primitive`: simple shapes; `mesh`: the Jaco's own, read from an installed dm-control package."""


@functools.cache
def load_model(scene: str, arm: str = "primitive") -> mujoco.MjModel:
    """The compiled model of `assets/<scene>`, shared by everything in this process."""
    with resources.as_file(resources.files("gqn_transfer.envs") / "assets") as folder:
        spec = mujoco.MjSpec.from_file(str(folder / scene))
    if arm == "mesh":
        from .meshes import dress_in_meshes

        dress_in_meshes(spec)
    return spec.compile()


@functools.cache
def kinematics_of(scene: str, arm: str = "primitive") -> Kinematics:
    """The solver for the same model; its data are scratch, for one thread at a time."""
    return Kinematics(load_model(scene, arm))
