"""`Setting`: a task and the arguments that every environment takes; what single and vector ones share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import mujoco
import numpy as np
from gymnasium import spaces

from .cameras import CAMERA_PATHS, SECOND_CAMERA, CameraPose, camera_path
from .control import CONTROLS, Control
from .errors import check_choice
from .frames import Frame
from .kinematics import HOME
from .looks import RANDOMIZE, randomize_look
from .models import ARMS, kinematics_of, load_model
from .state import BOUND, STATE_COLUMNS, state_of
from .task import CONTROL_HZ, GOAL_SIZE, Bench, Task

FINGERS_AT_REST = 0.6
"""Radians: half open."""
HOME_NOISE = 0.15
"""Radians: each joint starts within this of `HOME`."""

Observation = dict[str, np.ndarray]


class Episode(NamedTuple):
    """What an episode draws at its start, beside the simulator's state."""

    plan: np.ndarray
    """float64 (P,): see `Task`."""
    cameras: Iterator[CameraPose]


class Judgement(NamedTuple):
    """One step of one episode, or of many."""

    reward: np.ndarray
    success: np.ndarray
    terms: dict[str, np.ndarray]
    streak: np.ndarray
    """Consecutive steps, up to now, for which the task's condition has held."""


@dataclass(frozen=True)
class Setting:
    """A task, and how it is seen, rewarded and controlled. ValueError for an argument that does not exist."""

    task: Task
    """What is to be done."""
    obs: str = "pixels"
    """pixels or state."""
    camera: str = "fixed"
    """fixed, moving (a smooth random walk on the dome) or jump (a new place at every step)."""
    reward: str = "dense"
    """dense or sparse (1 while the task's success holds)."""
    control: str = "joint_velocity"
    """joint_velocity or cartesian."""
    image_size: int = 64
    """Pixels, square."""
    randomize: str = "none"
    """Looks: none, colors or full."""
    arm: str = "primitive"
    """primitive or mesh."""
    second_camera: bool = False
    """A static second view: its image follows the first in the channels, its viewpoint the first one's."""

    def __post_init__(self) -> None:
        check_choice("obs", self.obs, ("pixels", "state"))
        check_choice("camera", self.camera, tuple(CAMERA_PATHS))
        check_choice("reward", self.reward, ("dense", "sparse"))
        check_choice("control", self.control, tuple(CONTROLS))
        check_choice(f"for {type(self.task).__name__} control", self.control, self.task.controls)
        check_choice("randomize", self.randomize, RANDOMIZE)
        check_choice("arm", self.arm, ARMS)
        if self.image_size not in range(8, 1025):
            raise ValueError(f"image_size={self.image_size!r}: expected 8 to 1024 pixels")

    @property
    def model(self) -> mujoco.MjModel:
        """The shared model: copy it before changing its look."""
        return load_model(self.task.scene, self.arm)

    @property
    def substeps(self) -> int:
        """Physics steps per control step."""
        return round(1 / CONTROL_HZ / self.model.opt.timestep)

    def make_control(self) -> Control:
        """What turns this setting's actions into servo commands."""
        return CONTROLS[self.control](self.model)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (CONTROLS[self.control].action_size,), np.float32)

    @property
    def observation_space(self) -> spaces.Dict:
        goal = spaces.Box(-BOUND, BOUND, (GOAL_SIZE,), np.float32)
        if self.obs == "state":
            state = spaces.Box(-BOUND, BOUND, (len(STATE_COLUMNS),), np.float32)
            return spaces.Dict({"goal": goal, "state": state})
        views = 2 if self.second_camera else 1
        image = spaces.Box(0, 255, (self.image_size, self.image_size, 3 * views), np.uint8)
        viewpoint = spaces.Box(-BOUND, BOUND, (7 * views,), np.float32)
        return spaces.Dict({"goal": goal, "image": image, "viewpoint": viewpoint})

    def cameras_with(self, poses: Sequence[CameraPose]) -> list[Sequence[CameraPose]]:
        """The cameras of each view: `poses`, one an episode, and the second camera where there is one."""
        return [poses, [SECOND_CAMERA] * len(poses)] if self.second_camera else [poses]

    def start(self, data: mujoco.MjData, look: mujoco.MjModel, rng: np.random.Generator) -> Episode:
        """Put `data` at the start of an episode and paint `look`. Looks and cameras have their own streams,
        so that the same seed gives the same goals whatever looks on."""
        mujoco.mj_resetData(self.model, data)
        looks, cameras = (np.random.default_rng(seed) for seed in rng.integers(2**63, size=2))
        data.qpos[:6] = HOME + rng.uniform(-HOME_NOISE, HOME_NOISE, 6)
        data.qpos[6:9] = FINGERS_AT_REST
        plan = self.task.place(Bench(data, kinematics_of(self.task.scene, self.arm)), rng)
        placed = data.qpos.copy(), data.mocap_pos.copy()
        mujoco.mj_resetData(self.model, data)  # a task may have simulated: nothing but positions stays
        data.qpos[:], data.mocap_pos[:] = placed
        randomize_look(look, looks, self.randomize)
        return Episode(plan, camera_path(self.camera, cameras))

    def judge(self, frame: Frame, plan: np.ndarray, streak: np.ndarray) -> Judgement:
        """Reward and success of a step; `streak` is the last judgement's, 0 at the start."""
        terms = self.task.reward_terms(frame, plan)
        streak = np.where(self.task.condition(frame, plan), streak + 1, 0)
        success = streak >= self.task.hold_steps
        if self.reward == "sparse":
            return Judgement(success.astype(np.float64), success, terms, streak)
        reward = sum(weight * terms[name] for name, weight in self.task.term_weights.items())
        return Judgement(np.asarray(reward), success, terms, streak)

    def observe_state(self, frame: Frame, plan: np.ndarray) -> Observation:
        """The observation of `obs="state"`."""
        return {"goal": self.task.goal(plan), "state": state_of(frame, self.task.turns_to_goal(frame, plan))}

    def observe_pixels(self, image: Any, viewpoint: Any, plan: np.ndarray) -> Observation:
        """The observation of `obs="pixels"`."""
        return {"goal": self.task.goal(plan), "image": image, "viewpoint": viewpoint}
