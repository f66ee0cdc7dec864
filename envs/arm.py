"""`ArmEnv`: one arm, one task, as a Gymnasium environment."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
import numpy as np

from .cameras import CameraPose
from .control import checked_actions
from .errors import check_choice
from .frames import Frame, FrameReader
from .kinematics import HAND_SITE
from .looks import read_look, write_look
from .registry import find_task
from .rendering import renderer_for
from .setting import Judgement, Observation, Setting
from .task import CONTROL_HZ, Task

PICTURE_SIZE = 480
"""Pixels of `render`, which is for people."""


class ArmEnv(gymnasium.Env[Observation, np.ndarray]):
    """A Jaco arm in a room, controlled at 10 Hz with the arm's true speed and torque limits.

    Action: `control="joint_velocity"`: Box(-1, 1, (7,)), the six joints' velocities and one for the three
    fingers, as shares of the limits; `control="cartesian"`: Box(-1, 1, (4,)), the hand's velocity and the
    fingers. Episodes end by truncation at the task's horizon only.

    Observation, `obs="pixels"`: image uint8 (H, W, 3); viewpoint float32 (7,), see `cameras`; goal
    float32 (12,), zero where the task has none. Never joint angles. With `second_camera=True` two views:
    (H, W, 6) and (14,). `obs="state"`: state float32
    (60,), see `state.STATE_COLUMNS`, and the same goal.

    `info`: `success` and `is_success` (the task's condition has held for its `hold_steps`, this step
    included) and `reward_terms`.
    Other arguments: see `Setting`. `task` is a name of `TASKS` or a `Task` of your own.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012

    def __init__(self, task: str | Task, render_mode: str | None = None, **arguments: Any) -> None:
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.setting = Setting(find_task(task), **arguments)
        self.render_mode = render_mode
        self.model = self._own_model()
        self.data = mujoco.MjData(self.model)
        self.action_space = self.setting.action_space
        self.observation_space = self.setting.observation_space  # type: ignore[assignment]
        self._reader = FrameReader.of(self.model)
        self._control = self.setting.make_control()
        self._substeps = self.setting.substeps
        self._plan: np.ndarray
        self._cameras: Iterator[CameraPose]
        self._pose: CameraPose
        self.steps, self._streak = 0, np.zeros((), int)

    @property
    def task(self) -> Task:
        """What is to be done."""
        return self.setting.task

    @property
    def frame(self) -> Frame:
        """The state as the task sees it, now."""
        return self._reader.read(self.data)

    @property
    def plan(self) -> np.ndarray:
        """float64 (P,): what this episode drew, see `Task`."""
        return self._plan

    @property
    def pose(self) -> CameraPose:
        """The camera of the last observation."""
        return self._pose

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._plan, self._cameras = self.setting.start(self.data, self.model, self.np_random)
        self.steps, self._streak = 0, np.zeros((), int)
        self._move_target()
        mujoco.mj_forward(self.model, self.data)  # after the look: it turns the lights
        self._pose = next(self._cameras)
        return self._observe(), self._info(self._judge())

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        actions = checked_actions(np.asarray(action), (self._control.action_size,))
        self.data.ctrl[:] = self._control.commands(actions, self._jacobian())
        self.steps += 1
        self._move_target()
        mujoco.mj_step(self.model, self.data, self._substeps)
        mujoco.mj_kinematics(self.model, self.data)  # mj_step leaves positions one substep behind
        self._pose = next(self._cameras)
        judgement = self._judge()
        truncated = self.steps >= self.task.horizon
        return self._observe(), float(judgement.reward), False, truncated, self._info(judgement)

    def render(self) -> np.ndarray | None:
        """uint8 (480, 480, 3) from the camera of the last observation, for people."""
        if self.render_mode != "rgb_array":
            return None
        return renderer_for(self.model, PICTURE_SIZE).image(self.model, self.data, self._pose)

    # Pickling and copying, also in the middle of an episode.

    def __getstate__(self) -> dict[str, Any]:
        """The look stands for the model: a pickled model loses the signature that `renderer_for` needs."""
        return self.__dict__ | {"model": read_look(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.model = self._own_model()
        if self.setting.randomize != "none":
            write_look(self.model, state["model"])

    def _own_model(self) -> mujoco.MjModel:
        """The shared model, or a copy where looks change."""
        shared = self.setting.model
        return shared if self.setting.randomize == "none" else copy.copy(shared)

    # The rest.

    def _move_target(self) -> None:
        position = self.task.target_at(self._plan, np.asarray(self.steps))
        if position is not None:
            self.data.mocap_pos[self._reader.target] = position

    def _judge(self) -> Judgement:
        judgement = self.setting.judge(self.frame, self._plan, self._streak)
        self._streak = judgement.streak
        return judgement

    def _jacobian(self) -> np.ndarray | None:
        """(6, 6): translation and rotation of the hand by the arm's joints."""
        if not self._control.needs_jacobian:
            return None
        mujoco.mj_comPos(self.model, self.data)
        moves, turns = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, moves, turns, self.model.site(HAND_SITE).id)
        return np.concatenate([moves, turns])[:, :6]

    def _info(self, judgement: Judgement) -> dict[str, Any]:
        success = bool(judgement.success)
        terms = {name: float(value) for name, value in judgement.terms.items()}
        return {"success": success, "is_success": success, "reward_terms": terms}

    def _observe(self) -> Observation:
        if self.setting.obs == "state":
            return self.setting.observe_state(self.frame, self._plan)
        renderer = renderer_for(self.model, self.setting.image_size)
        poses = [pose for (pose,) in self.setting.cameras_with([self._pose])]
        images = [renderer.image(self.model, self.data, pose) for pose in poses]
        viewpoints = [pose.viewpoint for pose in poses]
        return self.setting.observe_pixels(np.concatenate(images, -1), np.concatenate(viewpoints), self._plan)
