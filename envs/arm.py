"""`ArmEnv`: the arm, its control, its cameras and its observations; a task adds goal, terms and success."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from importlib import resources
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

from .cameras import CAMERA_PATHS, CameraPose, camera_path
from .errors import check_choice
from .kinematics import HAND_SITE, HOME
from .looks import RANDOMIZE, randomize_look, read_look, write_look
from .rendering import renderer_for
from .state import STATE_COLUMNS, read_state

CONTROL_HZ = 10
GOAL_SIZE = 12
BOUND = 10.0
"""Bound of every float observation: metres, radians per second, sines and cosines stay well inside."""
FINGERS_AT_REST = 0.6
"""Radians: half open."""
HOME_NOISE = 0.15
"""Radians: each joint starts within this of `HOME`."""

Observation = dict[str, np.ndarray]


class ArmEnv(gymnasium.Env[Observation, np.ndarray]):
    """A Jaco arm in a room, driven by joint velocities at 10 Hz with the arm's true limits.

    Action: Box(-1, 1, (7,)): the six joints' velocities and one for the three fingers, as shares of the
    limits. Episodes end by truncation at `horizon` only.

    Observation, `obs="pixels"`: image uint8 (H, W, 3); viewpoint float32 (7,), see `cameras`; goal
    float32 (12,), zero where the task has none. Never joint angles. `obs="state"`: state float32
    (33,), see `state.STATE_COLUMNS`, and the same goal.

    `info`: `success` and `is_success` (the task's condition at this step) and `reward_terms`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012
    scene: ClassVar[str]
    """XML file in `assets/`."""
    horizon: ClassVar[int]
    """Steps per episode."""
    term_weights: ClassVar[dict[str, float]]
    """Weight of each of `reward_terms`; they sum to 1, so the dense reward lies in [0, 1]."""

    def __init__(
        self,
        obs: str = "pixels",
        camera: str = "fixed",
        reward: str = "dense",
        control: str = "joint_velocity",
        image_size: int = 64,
        randomize: str = "none",
        render_mode: str | None = None,
    ) -> None:
        check_choice("obs", obs, ("pixels", "state"))
        check_choice("camera", camera, tuple(CAMERA_PATHS))
        check_choice("reward", reward, ("dense", "sparse"))
        check_choice("control", control, ("joint_velocity",))
        check_choice("randomize", randomize, RANDOMIZE)
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        if image_size not in range(8, 1025):
            raise ValueError(f"image_size={image_size!r}: expected 8 to 1024 pixels")
        self.obs, self.camera, self.reward = obs, camera, reward
        self.image_size, self.randomize, self.render_mode = image_size, randomize, render_mode
        self.model = self._own_model()
        self.data = mujoco.MjData(self.model)
        self._hand = self.model.site(HAND_SITE).id
        self._substeps = round(1 / CONTROL_HZ / self.model.opt.timestep)
        self._control_scale = self.model.actuator_ctrlrange[:, 1].copy()
        self._cameras: Iterator[CameraPose]
        self._pose: CameraPose
        self._step = 0
        self.action_space = spaces.Box(-1.0, 1.0, (7,), np.float32)
        self.observation_space = self._make_observation_space()  # type: ignore[assignment]

    # What a task fills in.

    def place_task(self, rng: np.random.Generator) -> None:
        """Put the task's objects in place for one episode; the arm is at its start already."""
        raise NotImplementedError

    def reward_terms(self) -> dict[str, float]:
        """Named terms, each in [0, 1]: the keys of `term_weights`."""
        raise NotImplementedError

    def succeeds(self) -> bool:
        """The task's condition, now."""
        raise NotImplementedError

    def goal(self) -> np.ndarray:
        """float32 (12,): what the agent is told beyond the image; zero for most tasks."""
        return np.zeros(GOAL_SIZE, np.float32)

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        rng = self.np_random
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:6] = HOME + rng.uniform(-HOME_NOISE, HOME_NOISE, 6)
        self.data.qpos[6:9] = FINGERS_AT_REST
        self.place_task(rng)
        randomize_look(self.model, rng, self.randomize)
        mujoco.mj_forward(self.model, self.data)  # after the look: it turns the lights
        self._cameras = camera_path(self.camera, rng)
        self._pose = next(self._cameras)
        self._step = 0
        return self._observe(), self._info(self.reward_terms())

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._apply(np.asarray(action))
        mujoco.mj_step(self.model, self.data, self._substeps)
        mujoco.mj_kinematics(self.model, self.data)  # mj_step leaves positions one substep behind
        self._pose = next(self._cameras)
        self._step += 1
        terms = self.reward_terms()
        info = self._info(terms)
        truncated = self._step >= self.horizon
        return self._observe(), self._reward(terms, info["success"]), False, truncated, info

    def render(self) -> np.ndarray | None:
        """uint8 (480, 480, 3) from the camera of the last observation, for people."""
        if self.render_mode != "rgb_array":
            return None
        return renderer_for(self.model, 480).image(self.model, self.data, self._pose)

    # Pickling and copying, also in the middle of an episode.

    def __getstate__(self) -> dict[str, Any]:
        """The look stands for the model: a pickled model loses the signature that `renderer_for` needs."""
        return self.__dict__ | {"model": read_look(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.model = self._own_model()
        if self.randomize != "none":
            write_look(self.model, state["model"])

    def _own_model(self) -> mujoco.MjModel:
        """The shared model, or a copy where looks change."""
        shared = load_model(self.scene)
        return shared if self.randomize == "none" else copy.copy(shared)

    # What tasks may use.

    @property
    def hand_position(self) -> np.ndarray:
        """(3,) metres."""
        return self.data.site_xpos[self._hand]

    @property
    def target_position(self) -> np.ndarray:
        """(3,) metres."""
        return self.data.mocap_pos[0]

    # The rest.

    def _apply(self, action: np.ndarray) -> None:
        if action.shape != (7,):
            raise ValueError(f"action of shape {action.shape}: expected (7,), six joints and the fingers")
        if not np.isfinite(action).all():
            raise ValueError(f"action {action} holds NaN or infinity: check the agent's update")
        command = np.clip(action, -1.0, 1.0)
        self.data.ctrl[:6] = command[:6] * self._control_scale[:6]
        self.data.ctrl[6:9] = command[6] * self._control_scale[6:9]

    def _reward(self, terms: dict[str, float], success: bool) -> float:
        if self.reward == "sparse":
            return float(success)
        return sum(self.term_weights[name] * value for name, value in terms.items())

    def _info(self, terms: dict[str, float]) -> dict[str, Any]:
        success = bool(self.succeeds())
        return {"success": success, "is_success": success, "reward_terms": terms}

    def _observe(self) -> Observation:
        if self.obs == "state":
            return {"goal": self.goal(), "state": read_state(self.model, self.data)}
        renderer = renderer_for(self.model, self.image_size)
        image = renderer.image(self.model, self.data, self._pose)
        return {"goal": self.goal(), "image": image, "viewpoint": self._pose.viewpoint}

    def _make_observation_space(self) -> spaces.Dict:
        goal = spaces.Box(-BOUND, BOUND, (GOAL_SIZE,), np.float32)
        if self.obs == "state":
            state = spaces.Box(-BOUND, BOUND, (len(STATE_COLUMNS),), np.float32)
            return spaces.Dict({"goal": goal, "state": state})
        image = spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8)
        viewpoint = spaces.Box(-BOUND, BOUND, (7,), np.float32)
        return spaces.Dict({"goal": goal, "image": image, "viewpoint": viewpoint})


@functools.cache
def load_model(scene: str) -> mujoco.MjModel:
    """The compiled model of `assets/<scene>`, one per process; copy it before changing it."""
    with resources.as_file(resources.files("gqn_transfer.envs") / "assets") as folder:
        return mujoco.MjModel.from_xml_path(str(folder / scene))
