"""How a scene looks: colours, lights and textures, drawn anew per episode or left as they are."""

from __future__ import annotations

import colorsys

import mujoco
import numpy as np

RANDOMIZE = ("none", "colors", "full")
"""`none`: the XML's look; `colors`: colours of target, room and arm; `full`: lights and textures too."""
ROOM_GEOMS = ("floor", "wall_front", "wall_back", "wall_left", "wall_right")
VIVID_GEOMS = ("target", "object")
"""What a task is about, with all of the same material: saturated colours, where the room's are pale."""
LOOK_FIELDS = ("geom_rgba", "geom_matid", "light_dir", "light_diffuse")
"""The fields of a model that a look lives in."""
TEXTURED_MATERIALS = ("checker", "stripes", "speckle")
MATERIAL_COLOUR = np.array([0.5, 0.5, 0.5, 1.0])
"""MuJoCo's default geom rgba: a geom that has it takes its material's colour."""


def randomize_look(model: mujoco.MjModel, rng: np.random.Generator, level: str) -> None:
    """Overwrite colours (and lights and textures for "full") of `model`, which no one else may share."""
    if level == "none":
        return
    for name in VIVID_GEOMS:
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name) >= 0:
            alike = np.flatnonzero(model.geom_matid == model.geom(name).matid)
            model.geom_rgba[alike, :3] = hsv(rng.random(), rng.uniform(0.75, 1.0), rng.uniform(0.7, 1.0))
    for name in ROOM_GEOMS:
        _paint(model, name, hsv(rng.random(), rng.uniform(0.0, 0.35), rng.uniform(0.45, 0.85)))
    _tint_arm(model, rng)
    if level == "full":
        _randomize_lights(model, rng)
        _randomize_textures(model, rng)


def read_look(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """A copy of what `randomize_look` may have changed in `model`."""
    return {field: getattr(model, field).copy() for field in LOOK_FIELDS}


def write_look(model: mujoco.MjModel, look: dict[str, np.ndarray]) -> None:
    """Give `model`, which no one else may share, a look that `read_look` copied."""
    for field, values in look.items():
        getattr(model, field)[:] = values


def visible_colour(model: mujoco.MjModel, geom: str) -> np.ndarray:
    """float32 (3,): the geom's own colour, its material's where it has none, zero where there is no geom."""
    if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, geom) < 0:
        return np.zeros(3, np.float32)
    view = model.geom(geom)
    rgba = model.mat_rgba[view.matid[0]] if np.allclose(view.rgba, MATERIAL_COLOUR) else view.rgba
    return rgba[:3].astype(np.float32)


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) red, green, blue in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _paint(model: mujoco.MjModel, geom: str, colour: np.ndarray) -> None:
    model.geom(geom).rgba[:3] = colour


def _tint_arm(model: mujoco.MjModel, rng: np.random.Generator) -> None:
    """Shift the arm's colours a little: its links and fingers must stay tellable apart."""
    for material in range(model.nmat):
        if model.mat(material).name.startswith(("arm_", "finger_")):
            shift = rng.uniform(-0.08, 0.08, 3)
            original = model.mat_rgba[material, :3] + shift
            for geom in np.flatnonzero(model.geom_matid == material):
                model.geom_rgba[geom, :3] = np.clip(original, 0.02, 1.0)


def _randomize_lights(model: mujoco.MjModel, rng: np.random.Generator) -> None:
    direction = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7), -1.0])
    model.light_dir[0] = direction / np.linalg.norm(direction)
    model.light_diffuse[0] = rng.uniform(0.35, 0.7) * rng.uniform(0.9, 1.0, 3)


def _randomize_textures(model: mujoco.MjModel, rng: np.random.Generator) -> None:
    for name in ROOM_GEOMS:
        materials = (name, *TEXTURED_MATERIALS)
        model.geom(name).matid = model.mat(materials[rng.integers(len(materials))]).id
