"""A bare loop of physics and drawing: the floor under every environment."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import mujoco
import numpy as np

from gqn_transfer.envs.cameras import FIXED_CAMERA, WORKSPACE_CENTRE
from gqn_transfer.envs.registry import find_task
from gqn_transfer.envs.rendering import gl_context_class
from gqn_transfer.envs.setting import Setting

IMAGE_SIZE = 64
WARM_UP = 20
"""Steps before the clock starts: the driver compiles its shaders with the first images."""
EPISODES = 4
"""Start states and action sequences that a bare loop goes round."""
ALL_GEOMS = mujoco.mjtCatBit.mjCAT_ALL.value


class Cost(NamedTuple):
    """Seconds per control step."""

    physics: float
    drawing: float

    def images_per_second(self) -> float:
        """Of drawing alone."""
        return 1 / self.drawing

    def steps_per_second(self) -> float:
        """Of physics and drawing in turn: the floor of pixel steps."""
        return 1 / (self.physics + self.drawing)


class BareLoop:
    """MuJoCo's own calls and nothing else: `mj_step`, `mjv_updateScene`, `mjr_render`, `mjr_readPixels`.

    Episodes start where the task starts them and actions are uniform, as in the measured environments; the
    clock sees neither. It has a thread of its own, since what GL context is current is the thread's.
    """

    def __init__(
        self,
        task: str,
        model: mujoco.MjModel | None = None,
        image_size: int = IMAGE_SIZE,
        hulls: bool = False,
    ) -> None:
        setting, rng = Setting(find_task(task)), np.random.default_rng(0)
        self._model = model or setting.model
        self._data, drawn = mujoco.MjData(self._model), mujoco.MjData(setting.model)
        self._horizon, self._substeps, self._size = setting.task.horizon, setting.substeps, image_size
        self._starts = []
        for _ in range(EPISODES):
            setting.start(drawn, setting.model, rng)
            self._starts.append((drawn.qpos.copy(), drawn.mocap_pos.copy()))
        actions = rng.uniform(-1, 1, (EPISODES * self._horizon, *setting.action_space.shape))
        self._commands = setting.make_control().commands(actions, None)
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._option.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = hulls
        self._camera.lookat[:], self._camera.distance = WORKSPACE_CENTRE, FIXED_CAMERA.radius
        self._camera.azimuth = np.rad2deg(FIXED_CAMERA.yaw)
        self._camera.elevation = -np.rad2deg(FIXED_CAMERA.elevation)
        self._thread = ThreadPoolExecutor(1, "bare")
        self._thread.submit(self._open).result()
        self.cost(WARM_UP)

    def cost(self, steps: int) -> Cost:
        """Mean over `steps` control steps, from the start of an episode."""
        return self._thread.submit(self._run, steps).result()

    def close(self) -> None:
        """Give the GL context back and end the thread."""
        self._thread.submit(self._context.free).result()
        self._thread.submit(self._gl.free).result()
        self._thread.shutdown()

    def _open(self) -> None:
        self._gl = gl_context_class()(self._size, self._size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)

    def _run(self, steps: int) -> Cost:
        model, data, scene, context = self._model, self._data, self._scene, self._context
        rectangle = mujoco.MjrRect(0, 0, self._size, self._size)
        pixels, clock = np.empty((self._size, self._size, 3), np.uint8), time.perf_counter
        physics = drawing = 0.0
        for step in range(steps):
            if step % self._horizon == 0:
                mujoco.mj_resetData(model, data)
                data.qpos[:], data.mocap_pos[:] = self._starts[step // self._horizon % EPISODES]
            data.ctrl[:] = self._commands[step % len(self._commands)]
            began = clock()
            mujoco.mj_step(model, data, self._substeps)
            stepped = clock()
            mujoco.mjv_updateScene(model, data, self._option, None, self._camera, ALL_GEOMS, scene)
            mujoco.mjr_render(rectangle, scene, context)
            mujoco.mjr_readPixels(pixels, None, rectangle, context)
            physics, drawing = physics + stepped - began, drawing + clock() - stepped
        return Cost(physics / steps, drawing / steps)
