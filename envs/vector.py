"""`ArmVectorEnv`: many arms at one task, as a Gymnasium vector environment."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch

from .arm import PICTURE_SIZE
from .bookmarks import Bookmark, EpisodeLog
from .cameras import FIXED_CAMERA, CameraPose
from .control import checked_actions
from .errors import check_choice
from .frames import Frame, FrameReader
from .registry import find_task
from .render_pool import RenderPool, View
from .scene_views import Moment, SceneViews, moment_of, scene_views
from .setting import Judgement, Observation, Setting
from .task import CONTROL_HZ, Task

POSITIONS_CURRENT = int(mujoco.mjtStage.mjSTAGE_POS)
"""Stage that `Batch.step` computes at the new state: where things are."""
NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
BOUND_FIELDS = (
    "qpos",
    "qvel",
    "ctrl",
    "actuator_force",
    "mocap_pos",
    "xpos",
    "xmat",
    "site_xpos",
    "site_xmat",
)


class ArmVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """`num_envs` episodes of one task in step: the same as that many `ArmEnv`s, and faster.

    Physics runs in `mujoco.batch.Batch`, images are drawn straight into one array; both on `workers`
    threads, which the interpreter's lock does not hold up (docs/decisions/0007-vector-environment.md).
    Same seeds, same trajectories as `ArmEnv`'s, bit for bit in state, at any number of workers.

    Observations, actions and other arguments: as `ArmEnv`, with a leading axis. An episode that ends is
    reset in the same step: `final_obs` and `final_info` in the infos tell how it ended.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }

    def __init__(
        self,
        task: str | Task,
        num_envs: int = 1,
        workers: int = 1,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        if num_envs < 1 or workers < 1:
            raise ValueError(f"num_envs={num_envs!r}, workers={workers!r}: expected at least 1")
        self.setting = Setting(find_task(task), **arguments)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = self.setting.observation_space
        self.single_action_space = self.setting.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._model = self.setting.model
        self._looks = [self._own_look() for _ in range(num_envs)]
        workers = min(workers, num_envs)
        self._batch = Batch(self._model, num_envs, workers)
        self._fields = SimpleNamespace(**{name: self._batch.bind(name) for name in BOUND_FIELDS})
        self._pool = RenderPool(self._model, workers)
        self._reader, self._control = FrameReader.of(self._model), self.setting.make_control()
        self._scratch = mujoco.MjData(self._model)
        self._rngs = [seeding.np_random(None)[0] for _ in range(num_envs)]
        self._log = EpisodeLog(num_envs)
        self._cameras: list[Iterator[CameraPose]] = []
        self._poses = [FIXED_CAMERA] * num_envs
        self._plans = np.zeros((num_envs, 0))
        self._steps, self._streaks = np.zeros(num_envs, int), np.zeros(num_envs, int)

    @property
    def task(self) -> Task:
        """What is to be done."""
        return self.setting.task

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        seeds = [seed + k for k in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds: expected one for each of {self.num_envs} environments")
        for index, given in enumerate(seeds or ()):
            if given is not None:
                self._rngs[index] = seeding.np_random(given)[0]
        self._cameras = [iter(())] * self.num_envs
        self._start(np.arange(self.num_envs))
        judgement = self._judge()
        self._streaks = judgement.streak
        return self._observe(np.arange(self.num_envs)), self._info(judgement)

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if not self._cameras:
            raise ResetNeeded("step before the first reset")
        actions = checked_actions(np.asarray(actions), (self.num_envs, self._control.action_size))
        self._log.add(actions)
        self._fields.ctrl[:] = self._control.commands(actions, self._jacobian())
        self._steps += 1
        self._move_targets(np.arange(self.num_envs))
        self._batch.step(nstep=self.setting.substeps, stage=POSITIONS_CURRENT)
        self._poses = [next(cameras) for cameras in self._cameras]
        judgement = self._judge()
        self._streaks = judgement.streak
        observation, info = self._observe(np.arange(self.num_envs)), self._info(judgement)
        ended = self._steps >= self.task.horizon
        if ended.any():
            observation, info = self._begin_again(np.flatnonzero(ended), observation, info)
        return observation, judgement.reward, np.zeros(self.num_envs, bool), ended, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """uint8 (480, 480, 3) of each episode, for people."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(self._images(np.arange(self.num_envs), PICTURE_SIZE, self._poses))

    def moment(self) -> dict[str, np.ndarray]:
        """What the episodes show now, (N, …) by name: `scene_views` comes back to it."""
        return moment_of(self._fields, self._looks, self.setting.randomize != "none")

    def scene_views(self, count: int, rng: np.random.Generator, moment: Moment | None = None) -> SceneViews:
        """Every episode as it is now, or was at a `moment`, seen by `count` training cameras each, drawn anew
        from `rng`."""
        shown = self.moment() if moment is None else moment
        return scene_views(shown, self._looks, self._pool, count, self.setting.image_size, rng)

    def bookmark(self) -> Bookmark:
        """Where the episodes are: `begin_as`, a reset without a seed and the actions lead there again."""
        return self._log.bookmark(self._control.action_size)

    def begin_as(self, generators: Sequence[dict[str, Any]]) -> None:
        """Let the next reset begin the episodes of a bookmark."""
        for rng, state in zip(self._rngs, generators, strict=True):
            rng.bit_generator.state = state

    def seen_from(self, camera: CameraPose) -> np.ndarray:
        """uint8 (N, H, W, 3): every episode as it is now, from a camera."""
        rows = np.arange(self.num_envs)
        return self._images(rows, self.setting.image_size, [camera] * self.num_envs)

    def close_extras(self, **_: Any) -> None:
        """End the threads and give their GL contexts back."""
        self._pool.close()

    # Episodes.

    def _start(self, which: np.ndarray) -> None:
        """Begin new episodes in the rows `which`."""
        self._batch.reset(which, stage=NO_STAGE)
        for row in which:
            self._log.begin(row, self._rngs[row])
            episode = self.setting.start(self._scratch, self._looks[row], self._rngs[row])
            self._fields.qpos[row] = self._scratch.qpos
            self._fields.mocap_pos[row] = self._scratch.mocap_pos
            if self._plans.shape[1] != episode.plan.size:
                self._plans = np.zeros((self.num_envs, episode.plan.size))
            self._plans[row], self._cameras[row] = episode.plan, episode.cameras
            self._poses[row] = next(episode.cameras)
        self._steps[which] = self._streaks[which] = 0
        self._move_targets(which)
        self._batch.forward(which)

    def _begin_again(
        self, which: np.ndarray, observation: Observation, info: dict[str, Any]
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the rows `which`; what they ended with goes into the infos."""
        finals = np.full(self.num_envs, None, object)
        for row in which:
            finals[row] = {key: values[row].copy() for key, values in observation.items()}
        self._start(which)
        for key, values in self._observe(which).items():
            observation[key][which] = values
        judgement = self._judge()
        self._streaks[which] = judgement.streak[which]
        ended = np.isin(np.arange(self.num_envs), which)
        started = self._info(judgement)
        final_info = _masked(info, ended)
        ends = {"final_obs": finals, "_final_obs": ended, "final_info": final_info, "_final_info": ended}
        return observation, _merged(info, started, ended) | ends

    def _move_targets(self, which: np.ndarray) -> None:
        positions = self.task.target_at(self._plans[which], self._steps[which])
        if positions is not None:
            self._fields.mocap_pos[which, self._reader.target] = positions

    def _judge(self) -> Judgement:
        return self.setting.judge(self._reader.read(self._fields), self._plans, self._streaks)

    def _jacobian(self) -> np.ndarray | None:
        """(N, 6, 6): translation and rotation of the hands by the arms' joints."""
        if not self._control.needs_jacobian:
            return None
        site = self._reader.hand
        body = int(self._model.site_bodyid[site])
        moves, turns = self._batch.jac(body, self._fields.site_xpos[:, site])
        return np.concatenate([moves, turns], 1)[:, :, :6]

    # What is seen.

    def _info(self, judgement: Judgement) -> dict[str, Any]:
        everyone = np.ones(self.num_envs, bool)
        success, terms = judgement.success, judgement.terms
        named = terms | {f"_{name}": everyone for name in terms}
        info = {"success": success, "is_success": success.copy(), "reward_terms": named}
        return info | {f"_{key}": everyone for key in info}

    def _observe(self, which: np.ndarray) -> Observation:
        plans = self._plans[which]
        if self.setting.obs == "state":
            frame = self._reader.read(self._fields)
            return self.setting.observe_state(Frame(*(part[which] for part in frame)), plans)
        cameras = self.setting.cameras_with(self._poses)
        images = [self._images(which, self.setting.image_size, poses) for poses in cameras]
        viewpoints = [np.stack([poses[row].viewpoint for row in which]) for poses in cameras]
        return self.setting.observe_pixels(np.concatenate(images, -1), np.concatenate(viewpoints, -1), plans)

    def _images(self, which: np.ndarray, image_size: int, poses: Sequence[CameraPose]) -> np.ndarray:
        """uint8 (rows, H, W, 3): each row of `which` from its own of `poses` (N)."""
        fields = self._fields
        views = [View(self._looks[row], fields.qpos[row], fields.mocap_pos[row], poses[row]) for row in which]
        return self._pool.images(views, image_size)

    def _own_look(self) -> mujoco.MjModel:
        """The shared model, or a copy where looks change."""
        return self._model if self.setting.randomize == "none" else copy.copy(self._model)


def _masked(info: dict[str, Any], ended: np.ndarray) -> dict[str, Any]:
    """`info` whose masks hold only where `ended` (N,)."""
    masked = {}
    for key, value in info.items():
        masked[key] = _masked(value, ended) if isinstance(value, dict) else value.copy()
        if key.startswith("_"):
            masked[key] = masked[key] & ended
    return masked


def _merged(info: dict[str, Any], started: dict[str, Any], ended: np.ndarray) -> dict[str, Any]:
    """`started` where `ended` (N,), `info` elsewhere."""
    return {
        key: _merged(value, started[key], ended)
        if isinstance(value, dict)
        else np.where(ended, started[key], value)
        for key, value in info.items()
    }
