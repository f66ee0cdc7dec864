"""The Jaco's own look: its meshes, read from an installed dm-control package, in place of the primitives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import mujoco

FOLDER = Path("third_party", "kinova", "meshes_decimated")
"""Inside the package dm_control, which is never imported: only its files are read."""
MESHES = {
    "b_base": ("base",),
    "b_1": ("shoulder",),
    "b_2": ("arm",),
    "b_3": ("forearm",),
    "b_4": ("wrist",),
    "b_5": ("wrist",),
    "hand": ("hand_3finger_main", "hand_3finger_insert"),
    **{f"b_finger_{finger}": ("finger_proximal",) for finger in (1, 2, 3)},
    **{f"b_finger_tip_{finger}": ("finger_distal",) for finger in (1, 2, 3)},
}
"""Body -> names of its STL files, which are in metres and in the body's own frame."""
UNDRAWN_GROUP = 3
"""A geom group that `MjvOption` does not show by default."""
NO_PACKAGE = "arm='mesh' reads the Jaco's meshes from dm-control: pip install 'gqn-transfer[mesh]'"
NO_FILE = "arm='mesh' needs {file}, which this dm-control lacks: pip install 'gqn-transfer[mesh]'"


class NoMeshesError(ImportError):
    """The package with the Jaco's meshes, or a file of it, is missing; the message says what to install."""


def dress_in_meshes(spec: mujoco.MjSpec) -> None:
    """Draw the Jaco's meshes where `spec` has the arm's primitives, which still carry mass and contacts."""
    folder = _package_folder() / FOLDER
    for name in sorted(set().union(*MESHES.values())):
        spec.add_mesh(name=name, file=str(_existing(folder / f"{name}.stl")))
    for body, meshes in MESHES.items():
        _dress(spec.body(body), meshes)


def _dress(body: mujoco.MjsBody, meshes: tuple[str, ...]) -> None:
    """Hide the body's one primitive, and show meshes of its colour."""
    (primitive,) = body.geoms
    primitive.group = UNDRAWN_GROUP
    for mesh in meshes:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=mesh,
            material=primitive.material,
            contype=0,
            conaffinity=0,
            mass=0,
        )


def _package_folder() -> Path:
    package = importlib.util.find_spec("dm_control")
    if package is None or package.origin is None:  # no origin: a folder of that name, not a package
        raise NoMeshesError(NO_PACKAGE)
    return Path(package.origin).parent


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise NoMeshesError(NO_FILE.format(file=file))
    return file
