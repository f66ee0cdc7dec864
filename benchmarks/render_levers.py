"""What moves the floor under every environment, the bare loop of physics and drawing.

`throughput --levers` prints the table. As a module of its own this prints the default scene's cost as JSON:
GL reads MUJOCO_GL and LP_NUM_THREADS once per process, so those levers need fresh ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from statistics import median
from typing import NamedTuple

import mujoco
import numpy as np
import tyro
from rich.table import Table

from gqn_transfer.envs.cameras import WORKSPACE_CENTRE
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.rendering import SHADOW

from .bare_loop import IMAGE_SIZE, BareLoop, Cost

Edit = Callable[[mujoco.MjSpec], None]


class Lever(NamedTuple):
    """One row: what is changed in the scene's specification, or in how it is drawn."""

    name: str
    edit: Edit | None = None
    image_size: int = IMAGE_SIZE
    """Pixels, square."""
    hulls: bool = False
    """Draw the convex hulls of meshes."""


def edited_model(scene: str, edit: Edit | None = None) -> mujoco.MjModel:
    """`assets/<scene>` with one edit, compiled."""
    with resources.as_file(resources.files("gqn_transfer.envs") / "assets") as folder:
        spec = mujoco.MjSpec.from_file(str(folder / scene))
    if edit is not None:
        edit(spec)
    return spec.compile()


def set_quality(spec: mujoco.MjSpec, **quality: int) -> None:
    """Fields of <visual><quality>."""
    for name, value in quality.items():
        setattr(spec.visual.quality, name, value)


def delete_geoms(spec: mujoco.MjSpec, prefix: str) -> None:
    """Remove the geoms whose names begin with `prefix`."""
    for geom in [geom for geom in spec.geoms if geom.name.startswith(prefix)]:
        spec.delete(geom)


def texture_floor(spec: mujoco.MjSpec) -> None:
    """A checker on the floor."""
    spec.geom("floor").material = "checker"


def cast_shadows(spec: mujoco.MjSpec, shadowsize: int) -> None:
    """A shadow map of `shadowsize` squared texels, seen from above: a map reaches from its light onwards."""
    light = spec.light("key")
    light.castshadow, light.pos = True, WORKSPACE_CENTRE - 2 * np.asarray(light.dir)
    set_quality(spec, shadowsize=shadowsize)


def use_meshes(spec: mujoco.MjSpec) -> None:
    """The Jaco's own meshes. ImportError without the package that has them."""
    from gqn_transfer.envs.meshes import dress_in_meshes

    dress_in_meshes(spec)


def use_hulls(spec: mujoco.MjSpec, vertices: int = 16) -> None:
    """Meshes with hulls of at most `vertices`; only what could touch something gets a hull."""
    use_meshes(spec)
    for mesh in spec.meshes:
        mesh.maxhullvert = vertices
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
            geom.contype = 1 << 20  # a bit that no geom answers to


DEFAULT = Lever("default scene")
LEVERS = (
    DEFAULT,
    *(Lever(f"{n} slices", partial(set_quality, numslices=n)) for n in (4, 8, 10, 12, 28)),
    *(Lever(f"{n} stacks", partial(set_quality, numstacks=n)) for n in (4, 16)),
    Lever("1 quad a box side", partial(set_quality, numquads=1)),
    Lever("no walls", partial(delete_geoms, prefix="wall_")),
    Lever("textured floor", texture_floor),
    Lever("no blob shadows", partial(delete_geoms, prefix=SHADOW)),
    *(Lever(f"shadow map of {n}", partial(cast_shadows, shadowsize=n)) for n in (256, 4096)),
    Lever("multisampling 4", partial(set_quality, offsamples=4)),
    Lever("mesh arm", use_meshes),
    Lever("mesh arm as hulls", use_hulls, hulls=True),
    *(Lever(f"{n} pixels", image_size=n) for n in (84, 128)),
)
PROCESSES = (("egl", "0"), ("egl", "1"), ("egl", "2"), ("osmesa", "0"))
"""(MUJOCO_GL, LP_NUM_THREADS) of the rows that need a fresh process."""


def lever_table(task: str, steps: int, rounds: int) -> Table:
    """Median over rounds of every lever, each `steps` control steps long; shares are taken within a round."""
    loops = {lever.name: open_loop(lever, task) for lever in LEVERS}
    costs: dict[str, list[Cost | None]] = {}
    for _ in range(rounds):
        for name, loop in loops.items():
            costs.setdefault(name, []).append(loop.cost(steps) if loop else None)
        for backend, threads in PROCESSES:
            name = f"{backend.upper()}, LP_NUM_THREADS={threads}"
            costs.setdefault(name, []).append(cost_in_process(task, steps, backend, threads))
    for loop in filter(None, loops.values()):
        loop.close()
    table = Table("lever", "images/s", "of default", "floor steps/s", "of default")
    table.title = f"What moves the floor, {IMAGE_SIZE} pixels"
    for name, found in costs.items():
        table.add_row(name, *cells(found, costs[DEFAULT.name]))
    return table


def open_loop(lever: Lever, task: str) -> BareLoop | None:
    """The bare loop of the edited scene; None without the package that it takes."""
    try:
        model = edited_model(find_task(task).scene, lever.edit)
    except ImportError:
        return None
    return BareLoop(task, model, lever.image_size, lever.hulls)


def cost_in_process(task: str, steps: int, backend: str, threads: str) -> Cost | None:
    """The default scene's cost in a fresh process; None where that GL is missing."""
    command = [sys.executable, "-m", "gqn_transfer.benchmarks.render_levers"]
    environment = os.environ | {"MUJOCO_GL": backend, "LP_NUM_THREADS": threads}
    environment.pop("PYOPENGL_PLATFORM", None)  # set for this process's backend
    done = subprocess.run(
        [*command, "--task", task, "--steps", str(steps)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if done.returncode else Cost(*json.loads(done.stdout.splitlines()[-1]))


def cells(found: Sequence[Cost | None], default: Sequence[Cost | None]) -> list[str]:
    """Images and steps per second, each with its share of the default scene's."""
    pairs = [(cost, base) for cost, base in zip(found, default, strict=True) if cost and base]
    if not pairs:
        return ["not installed"]
    texts = []
    for rate in (Cost.images_per_second, Cost.steps_per_second):
        rates, bases = zip(*((rate(cost), rate(base)) for cost, base in pairs), strict=True)
        texts += [f"{median(rates):,.0f}", f"{paired_ratio(rates, bases):.2f}"]
    return texts


def paired_ratio(rates: Sequence[float], bases: Sequence[float]) -> float:
    """Median over rounds of rate / base: what slows a whole round down cancels."""
    return median(rate / base for rate, base in zip(rates, bases, strict=True))


def main(task: str = "Reach-v0", steps: int = 500) -> None:
    """Print [physics, drawing] of the default scene, in seconds per control step."""
    print(json.dumps(BareLoop(task).cost(steps)))


if __name__ == "__main__":
    tyro.cli(main)
