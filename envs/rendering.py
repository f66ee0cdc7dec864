"""One small renderer per thread: MuJoCo's classic OpenGL, headless, straight into a given array."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
import threading
from typing import Any

import mujoco
import numpy as np

from .cameras import WORKSPACE_CENTRE, CameraPose

LABEL_BACKGROUND, LABEL_ARM, LABEL_TARGET, LABEL_SHADOW, LABEL_FINGERS = 0, 1, 2, 3, 4
LABELS = ("background", "arm", "target", "shadow", "fingers")
SHADOW = "shadow_"
"""First part of the name of a geom that is drawn on the floor under something."""
FINGER = "b_finger"
"""First part of the names of the fingers' bodies."""
BACKENDS = ("egl", "osmesa", "glfw")
NO_GL = (
    "No OpenGL for headless rendering was found (tried {tried}). On Debian or Ubuntu:\n"
    "    apt-get install -y libegl1 libgl1-mesa-dri libopengl0      (or: libosmesa6)\n"
    "or choose a backend that this machine has: MUJOCO_GL=egl|osmesa|glfw"
)


class NoOpenGLError(RuntimeError):
    """No GL backend works here; the message names the packages to install."""


class Renderer:
    """Draws square images of any model compiled from the same XML as `model`, in the thread that made it.

    The GL context holds the meshes and textures of `model`; colours, lights and poses are read from the
    model and data of each call, so that many environments share one renderer. Close a renderer before you
    let go of it: the garbage collector may free its GL objects in the context of another.
    """

    def __init__(self, model: mujoco.MjModel, image_size: int) -> None:
        largest = model.vis.global_.offwidth
        if not 1 <= image_size <= largest:
            raise ValueError(f"image_size={image_size!r}: expected 1 to {largest} pixels")
        self.image_size = image_size
        try:
            self._gl = gl_context_class()(image_size, image_size)
            self._make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except (ImportError, AttributeError, OSError, mujoco.FatalError) as error:
            raise NoOpenGLError(NO_GL.format(tried=f"{backend()}: {error}")) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.lookat[:] = WORKSPACE_CENTRE
        self._rectangle = mujoco.MjrRect(0, 0, image_size, image_size)
        self._buffer = np.empty((image_size, image_size, 3), np.uint8)
        self._shadows = shadow_casters(model)

    def image(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: CameraPose, out: np.ndarray | None = None
    ) -> np.ndarray:
        """uint8 (H, W, 3): what `camera` sees; written into `out` when it is given."""
        self._draw(model, data, camera)
        out = np.empty_like(self._buffer) if out is None else out
        out[...] = self._buffer[::-1]  # OpenGL's first row is the bottom one
        return out

    def labels(self, model: mujoco.MjModel, data: mujoco.MjData, camera: CameraPose) -> np.ndarray:
        """uint8 (H, W): indices of `LABELS`, by the renderer's segmentation."""
        flags = self._scene.flags
        flags[_SEGMENT] = flags[_ID_COLOUR] = 1
        self._draw(model, data, camera)
        flags[_SEGMENT] = flags[_ID_COLOUR] = 0
        table, of_geom = np.zeros(256, np.uint8), geom_labels(model)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            table[geom.segid + 1] = of_geom[geom.objid]
        return table[self._buffer[::-1, :, 0]]  # fewer than 255 geoms: one colour channel holds the id

    def close(self) -> None:
        """Give the GL context back; call it in the thread that made the renderer."""
        self._make_current()
        self._context.free()
        self._gl.free()
        _drawn_by.last = None

    def _draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: CameraPose) -> None:
        self._make_current()
        for shadow, where, caster in self._shadows:
            data.geom_xpos[shadow, :2] = getattr(data, where)[caster, :2]
        view = self._camera
        view.azimuth, view.elevation = np.rad2deg(camera.yaw), -np.rad2deg(camera.elevation)
        view.distance = camera.radius
        mujoco.mjv_updateScene(model, data, self._option, None, view, _ALL, self._scene)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(self._buffer, None, self._rectangle, self._context)

    def _make_current(self) -> None:
        if getattr(_drawn_by, "last", None) is not self:  # switching costs, and one size is the rule
            self._gl.make_current()
            _drawn_by.last = self


_SEGMENT, _ID_COLOUR = mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR
_ALL = mujoco.mjtCatBit.mjCAT_ALL.value
_drawn_by = threading.local()
_renderers: dict[tuple[int, int, int, int], Renderer] = {}


def renderer_for(model: mujoco.MjModel, image_size: int) -> Renderer:
    """This thread's renderer for models of this XML at this image size, made on first use."""
    key = (os.getpid(), threading.get_ident(), model.signature, image_size)  # GL survives no fork
    if key not in _renderers:
        _renderers[key] = Renderer(model, image_size)
    return _renderers[key]


def close_renderers() -> None:
    """Close what `renderer_for` made in this thread: for threads that are about to end."""
    mine = [key for key in list(_renderers) if key[:2] == (os.getpid(), threading.get_ident())]
    for key in mine:
        _renderers.pop(key).close()


def geom_labels(model: mujoco.MjModel) -> np.ndarray:
    """uint8 (ngeom,): arm for what hangs on the base, but for its fingers, target for other named bodies,
    shadow, background."""
    roots = [model.body(model.body_rootid[body]).name for body in model.geom_bodyid]
    kinds = {"world": LABEL_BACKGROUND, "b_base": LABEL_ARM}
    labels = np.array([kinds.get(root, LABEL_TARGET) for root in roots], np.uint8)
    of_body = np.array([model.body(body).name.startswith(FINGER) for body in model.geom_bodyid])
    labels[of_body] = LABEL_FINGERS
    labels[[shadow for shadow, _, _ in shadow_casters(model)]] = LABEL_SHADOW
    return labels


def shadow_casters(model: mujoco.MjModel) -> list[tuple[int, str, int]]:
    """(shadow geom, field of MjData, row of it): `shadow_NAME` lies under the site or body called NAME."""
    found = []
    for geom in range(model.ngeom):
        name = model.geom(geom).name
        if name.startswith(SHADOW):
            caster = name.removeprefix(SHADOW)
            site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, caster)
            row = (geom, "site_xpos", site) if site >= 0 else (geom, "xpos", model.body(caster).id)
            found.append(row)
    return found


def describe_renderer() -> dict[str, str]:
    """{"backend", "renderer", "version"} of this process's GL; starts it if need be."""
    import OpenGL.GL as GL

    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    renderer_for(model, 8)._make_current()
    text = {"renderer": GL.GL_RENDERER, "version": GL.GL_VERSION}
    return {"backend": backend()} | {key: GL.glGetString(name).decode() for key, name in text.items()}


def renderer_line() -> str:
    """One line for people: which backend draws, with what."""
    facts = describe_renderer()
    return f"{facts['backend'].upper()}: {facts['renderer']}, OpenGL {facts['version']}"


@functools.cache
def backend() -> str:
    """The GL backend in use: `MUJOCO_GL` if set, else the first of EGL and OSMesa that works here."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked in BACKENDS:
        return asked
    if asked:
        raise NoOpenGLError(f"MUJOCO_GL={asked!r} is not a backend; known: {', '.join(BACKENDS)}")
    for name, works in (("egl", _egl_has_a_device), ("osmesa", _osmesa_loads)):
        if works():
            return name
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return "glfw"
    raise NoOpenGLError(NO_GL.format(tried="EGL, OSMesa"))


def _egl_has_a_device() -> bool:
    """True if a driver answers: the library alone loads without one, and fails later."""
    try:
        library = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    library.eglGetProcAddress.restype = ctypes.c_void_p
    address = library.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address)
    count = ctypes.c_int(0)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


def _osmesa_loads() -> bool:
    for name in ("libOSMesa.so.8", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def gl_context_class() -> Any:
    """MuJoCo's context class for `backend()`. llvmpipe draws 64x64 twice as fast without its own threads."""
    os.environ.setdefault("LP_NUM_THREADS", "0")
    name = backend()
    os.environ["MUJOCO_GL"] = name
    return importlib.import_module(f"mujoco.{name}").GLContext
