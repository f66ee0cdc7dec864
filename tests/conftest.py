"""Small stand-ins that many tests share: scenes without a renderer, an encoder, an environment."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gqn_transfer.checkpoint import CAMERA_CONVENTION
from gqn_transfer.encoder import Encoder, load_encoder
from gqn_transfer.model import GQNConfig
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.scenes import Batch, Scenes, finish, write_shard

COLUMNS = [f"{name}_{axis}" for name in ("hand", "target") for axis in "xyz"] + ["joint_1_sin", "joint_1_cos"]
META = {
    "recipe": {"scenes": "synthetic"},
    "camera_convention": CAMERA_CONVENTION,
    "state_columns": COLUMNS,
    "renderer": "none",
    "versions": {"numpy": np.__version__},
}
MODEL = GQNConfig(
    image_size=16, layers=2, hidden_channels=8, latent_channels=1, canvas_channels=8,
    condition_channels=8, latent_map=4, conditioning="points",
    representation="conv-small", representation_size=12,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def synthetic_scenes(count: int, views: int = 4, size: int = 16, seed: int = 0) -> Batch:
    """A square (the target) on a plain ground (the hand's position as a colour), moved by the camera."""
    rng = np.random.default_rng([seed, count, views])
    position, hand = rng.uniform(0, 1, (count, 3)), rng.uniform(0, 1, (count, 3))
    angle, yaw = rng.uniform(-np.pi, np.pi, count), rng.uniform(-0.5, 0.5, (count, views))
    images = np.empty((count, views, size, size, 3), np.uint8)
    labels = np.zeros((count, views, size, size), np.uint8)
    images[:] = (255 * hand)[:, None, None, None]
    for scene, view in np.ndindex(count, views):
        row = int(position[scene, 2] * (size - 5))
        column = int(np.clip(position[scene, 1] + 0.4 * yaw[scene, view], 0, 1) * (size - 5))
        images[scene, view, row : row + 5, column : column + 5] = (250, 250 * position[scene, 0], 0)
        labels[scene, view, row : row + 5, column : column + 5] = 2
    state = np.column_stack([hand, position, np.sin(angle), np.cos(angle)])
    where = np.broadcast_to([1.0, 0.0, 0.5], (count, views, 3)) + 0.1 * rng.standard_normal((count, views, 3))
    rest = [np.cos(yaw), np.sin(yaw), np.ones_like(yaw), np.zeros_like(yaw)]
    viewpoints = np.concatenate([where, np.stack(rest, 2)], 2)
    return Batch(images, viewpoints.astype(np.float32), labels, state.astype(np.float32))


@pytest.fixture(scope="session")
def scene_arrays() -> Callable[..., Batch]:
    """(count, views=4, size=16, seed=0) -> Batch."""
    return synthetic_scenes


def write_folder(
    folder: Path, shards: tuple[int, ...], meta: dict[str, Any] | None = None, **how: Any
) -> Scenes:
    for index, count in enumerate(shards):
        write_shard(folder, index, synthetic_scenes(count, seed=how.get("seed", 0) + index, **_shape(how)))
    return finish(folder, META | (meta or {}))


def _shape(how: dict[str, Any]) -> dict[str, int]:
    return {key: how[key] for key in ("views", "size") if key in how}


@pytest.fixture(scope="session")
def make_scenes_folder() -> Callable[..., Scenes]:
    """(folder, shards=(counts, ...), meta=None, views=4, size=16, seed=0) -> Scenes, written and opened."""
    return write_folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenes, Scenes]:
    """A training and a held-out folder of four views; leave them as they are."""
    root = tmp_path_factory.mktemp("scenes")
    return write_folder(root / "train", (40, 24)), write_folder(root / "test", (16,), seed=100)


@pytest.fixture(scope="session")
def tiny() -> PretrainConfig:
    """A run of ten steps, a few hundredths of a second each."""
    return PretrainConfig(model=MODEL, steps=10, batch=4)


@pytest.fixture(scope="session")
def trained_run(
    tmp_path_factory: pytest.TempPathFactory, scenes: tuple[Scenes, Scenes], tiny: PretrainConfig
) -> Path:
    """The folder of a finished run; leave it as it is."""
    folder = tmp_path_factory.mktemp("run")
    pretrain(dataclasses.replace(tiny, steps=5), *scenes, folder, device="cpu", precision="fp32")
    return folder


@pytest.fixture
def busy_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training writes a log row every third step, a checkpoint after every step."""
    monkeypatch.setattr("gqn_transfer.training.LOG_EVERY", 3)
    monkeypatch.setattr("gqn_transfer.training.CHECKPOINT_SECONDS", -1.0)


class FakeArm(gymnasium.Env):
    """Noise to look at, a point that the action moves; it ends by truncation after `horizon` steps."""

    def __init__(
        self,
        obs: str = "pixels",
        image_size: int = 16,
        horizon: int = 4,
        success_at: int = -1,
        views: int = 1,
    ) -> None:
        self.horizon, self.success_at = horizon, success_at
        box = spaces.Box(-np.inf, np.inf, (5,), np.float32)
        views = {
            "image": spaces.Box(0, 255, (image_size, image_size, 3 * views), np.uint8),
            "viewpoint": spaces.Box(-np.inf, np.inf, (7 * views,), np.float32),
            "goal": spaces.Box(-np.inf, np.inf, (12,), np.float32),
        }
        self.observation_space = spaces.Dict(views if obs == "pixels" else {"state": box})
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.time, self.place = 0, self.np_random.uniform(-1, 1, 2)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.time += 1
        self.place = np.clip(self.place + 0.2 * action, -1, 1)
        reached = self.time == self.success_at
        reward = 1 - float(np.abs(self.place).sum())
        info = {"is_success": reached, "success": reached}
        return self._observe(), reward, False, self.time >= self.horizon, info

    def _observe(self) -> dict[str, np.ndarray]:
        seen = {}
        for key, space in self.observation_space.spaces.items():
            if key == "image":
                seen[key] = self.np_random.integers(0, 256, space.shape, np.uint8)
            else:
                noise = self.np_random.standard_normal(space.shape).astype(np.float32)
                noise[:2] = self.place
                seen[key] = noise
        return seen


@pytest.fixture(scope="session")
def fake_arm() -> type[FakeArm]:
    """The environment's class: (obs="pixels", image_size=16, horizon=4, success_at=-1)."""
    return FakeArm


@pytest.fixture
def encoder(trained_run: Path) -> Encoder:
    """A trained encoder of 16x16 images and codes of 12 numbers; the test's own."""
    return load_encoder(trained_run)


@pytest.fixture
def make_venv(fake_arm: type[FakeArm]) -> Callable[..., VecEnv]:
    """(count=2, **arguments of `FakeArm`) -> that many in a seeded `VecEnv`."""

    def make(count: int = 2, **how: Any) -> VecEnv:
        venv = DummyVecEnv([lambda: fake_arm(**how)] * count)
        venv.seed(0)
        return venv

    return make


@pytest.fixture(scope="module")
def short_probes() -> Iterator[None]:
    """A hundredth of the MLP's steps: what probes read is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gqn_transfer.probes.fit_mlp.__defaults__", (None, 30))
        yield


def projected(viewpoints: np.ndarray, points: np.ndarray, image_size: int) -> np.ndarray:
    """Column and row in pixels (N, 2) of points (N, 3), each in its own view (N, 7)."""
    position, (cos_yaw, sin_yaw, cos_pitch, sin_pitch) = viewpoints[:, :3], viewpoints[:, 3:].T
    forward = np.stack([cos_pitch * cos_yaw, cos_pitch * sin_yaw, sin_pitch], axis=1)
    right = np.stack([sin_yaw, -cos_yaw, 0 * cos_yaw], axis=1)
    down = -np.cross(right, forward)
    depth, across, below = (((points - position) * axis).sum(axis=1) for axis in (forward, right, down))
    return image_size / 2 * (1 + np.stack([across, below], axis=1) / depth[:, None] / np.tan(np.pi / 8))


@pytest.fixture(scope="session")
def project() -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    """(viewpoints (N, 7), points (N, 3), image_size) -> column and row (N, 2)."""
    return projected
