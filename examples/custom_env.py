"""An environment that is not ours: scenes of it, an encoder trained on them, an agent that uses it.

python examples/custom_env.py FOLDER

A ball is to be rolled onto a red mark. Any MuJoCo model with a camera will do: what the encoder asks for is
an image and the camera's viewpoint, and for its training the same scene seen from several cameras.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")  # before MuJoCo is imported

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from gqn_transfer.agents.encoded_vec_env import EncodedVecEnv
from gqn_transfer.envs.cameras import CONVENTION, camera_viewpoint, viewpoint_of
from gqn_transfer.presets import PRESETS
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Scenes, finish, write_shard

SIZE, STEPS = 64, 40
WHERE = {"scene_centre": (0.0, 0.0, 0.1), "scene_radius": 0.6}
"""Metres: the middle of what views tell about, and how far from it, along each axis, things may be."""
WORLD = """
<mujoco>
  <visual><global offwidth="64" offheight="64"/><quality offsamples="0"/></visual>
  <worldbody>
    <light pos="0 0 3" castshadow="false"/>
    <geom type="plane" size="1 1 0.1" rgba="0.6 0.65 0.7 1"/>
    <camera name="eye" pos="0 -2 1.5" xyaxes="1 0 0 0 0.6 0.8" fovy="45"/>
    <body name="mark" mocap="true"><geom type="cylinder" size="0.15 0.005" rgba="0.8 0.1 0.1 1"/></body>
    <body name="ball">
      <joint name="x" type="slide" axis="1 0 0" damping="1"/>
      <joint name="y" type="slide" axis="0 1 0" damping="1"/>
      <geom type="sphere" pos="0 0 0.1" size="0.1" rgba="0.1 0.3 0.8 1" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><velocity joint="x" kv="10"/><velocity joint="y" kv="10"/></actuator>
</mujoco>
"""


class Ball(gymnasium.Env):
    """Pixels and viewpoint from the camera `eye`; actions are velocities, rewards minus the distance left."""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(WORLD)
        self.data, self.renderer = mujoco.MjData(self.model), mujoco.Renderer(self.model, SIZE, SIZE)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
                "viewpoint": spaces.Box(-np.inf, np.inf, (7,), np.float32),
            }
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.scatter(self.np_random)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 50)
        self.steps += 1
        left = float(np.linalg.norm(self.data.qpos - self.data.mocap_pos[0, :2]))
        return self.observe(), -left, False, self.steps == STEPS, {"is_success": left < 0.1}

    def scatter(self, rng: np.random.Generator) -> None:
        """Ball and mark anywhere."""
        self.data.qpos[:], self.data.mocap_pos[0, :2] = rng.uniform(-0.6, 0.6, (2, 2))
        mujoco.mj_forward(self.model, self.data)

    def observe(self, camera: Any = "eye") -> dict[str, np.ndarray]:
        self.renderer.update_scene(self.data, camera)
        return {"image": self.renderer.render(), "viewpoint": camera_viewpoint(self.data, "eye")}


def some_camera(rng: np.random.Generator) -> tuple[mujoco.MjvCamera, np.ndarray]:
    """A free camera on a half circle around the floor's centre, and its viewpoint."""
    camera = mujoco.MjvCamera()
    yaw, pitch, camera.distance = rng.uniform(0, np.pi), -rng.uniform(0.5, 0.9), 2.5
    camera.azimuth, camera.elevation = np.rad2deg(yaw), np.rad2deg(pitch)
    direction = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    return camera, viewpoint_of(-camera.distance * direction, direction)


def collect(folder: Path, scenes: int, views: int, rng: np.random.Generator) -> Scenes:
    """Random states, each seen by `views` random cameras, as `gqn-bench pretrain --scenes` reads them."""
    env, images, viewpoints, states = Ball(), [], [], []
    for _ in range(scenes):
        env.scatter(rng)
        seen = [(env.observe(camera)["image"], where) for camera, where in map(some_camera, [rng] * views)]
        images.append([image for image, _ in seen])
        viewpoints.append([where for _, where in seen])
        states.append(np.concatenate([env.data.qpos, [0.1], env.data.mocap_pos[0]]))
    labels = np.zeros((scenes, views, SIZE, SIZE))  # none: all pixels count the same
    write_shard(folder, 0, [np.array(images), np.array(viewpoints), labels, np.array(states)])
    columns = [
        f"{thing}_{axis}" for thing in ("hand", "target") for axis in "xyz"
    ]  # names that probes look for
    meta = {
        "recipe": {"scenes": "a ball and a mark"}, "camera_convention": CONVENTION, "state_columns": columns,
        "renderer": "MuJoCo", "versions": {"mujoco": mujoco.__version__},
    }  # fmt: skip
    return finish(folder, meta)


def main(folder: str, scenes: int = 2000, preset: str = "cpu-30min", steps: int = 20_000) -> PPO:
    """Collect, pretrain, learn."""
    place, rng = Path(folder), np.random.default_rng(0)
    train, test = (collect(place / split, scenes, 4, rng) for split in ("train", "test"))
    config = dataclasses.replace(PRESETS[preset], model=dataclasses.replace(PRESETS[preset].model, **WHERE))
    encoder = pretrain(config, train, test, place / "run").encoder  # as `gqn-bench pretrain` does
    venv = EncodedVecEnv(DummyVecEnv([Ball] * 4), encoder)
    return PPO("MultiInputPolicy", venv, n_steps=128, batch_size=128, seed=0, verbose=1).learn(steps)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
