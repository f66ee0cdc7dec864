"""Films of final agents: the task, what the agent sees, and what its code says of the scene elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from gqn_transfer.agents.build import observe
from gqn_transfer.agents.eyes import encode_views
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.agents.saving import RECORD, load_agent
from gqn_transfer.checkpoint import CheckpointError
from gqn_transfer.encoder import Encoder, load_encoder, load_gqn
from gqn_transfer.envs.cameras import SECOND_CAMERA
from gqn_transfer.files import write_atomic
from gqn_transfer.model import GQN

from .animation import save_animation
from .cell_files import cell_folder
from .cells import Cell
from .curves import RecordError
from .evaluation import first_seed
from .interrupted import AGENT
from .records import CellRecord, film_path, read_suite
from .run_cell import make_venv

SEEN = "the task; what the agent sees"
DRAWN = "; the scene from a camera that it does not have; the same, drawn from the agent's own code"
BY_ITS_START = ", which it has trained on, by the generator of before"
"""Captions of a film: without and with a GQN that draws; where it is that of a fine-tuned encoder's start."""


class Film(NamedTuple):
    """An episode of a final agent."""

    caption: str
    """What the pictures of a frame show; the file says it too."""
    frames: list[tuple[np.ndarray, ...]]
    """uint8 (H, W, 3) each."""


def write_films(folder: Path, methods: Sequence[str] = ()) -> list[Path]:
    """Write FOLDER/films/*.gif: of cells that differ in their seeds the first finished with a kept agent."""
    torch.set_num_threads(1)  # as the cell had
    records = [one for one in read_suite(folder) if one.status == "done" and _kept(folder, one)]
    chosen: dict[Path, CellRecord] = {}
    for record in records:
        cell = record.cell
        if METHODS[cell.method].observation == "pixels" and (not methods or cell.method in methods):
            chosen.setdefault(film_path(folder, cell), record)
    if not chosen:
        raise RecordError(f"{folder} has no finished cell of such a method whose agent was kept")
    return [_write(folder, record) for record in chosen.values()]


def _kept(folder: Path, record: CellRecord) -> bool:
    return (cell_folder(folder, record.cell) / AGENT / RECORD).exists()


def _write(folder: Path, record: CellRecord) -> Path:
    film = film_of(folder, record)
    path = film_path(folder, record.cell)
    write_atomic(path, functools.partial(save_animation, film.frames, comment=film.caption))
    return path


def film_of(folder: Path, record: CellRecord) -> Film:
    """The agent's first evaluation episode."""
    cell, source = record.cell, _source(folder, record.cell.encoder_name)
    encoder = load_encoder(source) if METHODS[cell.method].needs_encoder else None
    training = make_venv(cell, cell.run_options["num_envs"])
    agent = load_agent(cell_folder(folder, cell) / AGENT, training, encoder)
    watched = Watched(make_venv(cell, 1, render_mode="rgb_array"))
    venv = observe(cell.method, watched, encoder, **cell.seen_as)
    return play(agent, venv, watched, _artist(agent, cell, source, encoder), cell.seed)


@dataclass(frozen=True)
class Artist:
    """Draws the scene from the code that an agent acts on."""

    gqn: GQN
    encoder: Encoder
    """Whose code it is, and on what scale the agent has it."""
    caption: str = DRAWN

    @torch.no_grad()
    def draw(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """What the GQN predicts for the second camera from one observation of the agent: uint8 (H, W, 3)."""
        if "representation" in observation:
            code = torch.from_numpy(observation["representation"]).float()
        else:
            images = torch.from_numpy(observation["image"]).permute(0, 3, 1, 2)
            code = encode_views(self.encoder, images, torch.from_numpy(observation["viewpoint"]))
        std, mean = self.encoder.feature_std, self.encoder.feature_mean
        raw = code.to(std.device) * std + mean  # of several views the mean
        device = next(self.gqn.parameters()).device
        query = torch.from_numpy(SECOND_CAMERA.viewpoint)[None].float().to(device)
        r = raw.unflatten(1, self.encoder.code_shape).to(device)
        image = self.gqn.predict(r, query, sample=False)[0].clamp(0, 1)
        return (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _artist(agent: BaseAlgorithm, cell: Cell, source: Path | str, encoder: Encoder | None) -> Artist | None:
    """What draws from the agent's code; None where no generator belongs to it."""
    row = METHODS[cell.method]
    if row.auxiliary:
        return Artist(agent.auxiliary.model.eval(), _own_encoder(agent))  # type: ignore[attr-defined]
    gqn = _generator(source) if row.needs_weights and row.trained_by == "gqn" else None
    if gqn is None or encoder is None:
        return None
    if row.trains_eyes:
        return Artist(gqn, _own_encoder(agent), DRAWN + BY_ITS_START)
    return Artist(gqn, encoder)


def _own_encoder(agent: BaseAlgorithm) -> Encoder:
    """The encoder that the agent has trained."""
    return agent.policy.features_extractor.eyes.encoder  # type: ignore[union-attr, return-value]


class Watched(VecEnvWrapper):
    """Keeps what is seen before any encoder replaces it."""

    def reset(self) -> VecEnvObs:
        self.seen = self.venv.reset()
        return self.seen

    def step_wait(self) -> VecEnvStepReturn:
        self.seen, rewards, dones, infos = self.venv.step_wait()
        return self.seen, rewards, dones, infos


def play(agent: BaseAlgorithm, venv: VecEnv, watched: Watched, artist: Artist | None, seed: int) -> Film:
    """One deterministic episode, from the first start of the cell's evaluations."""
    venv.seed(first_seed(seed))
    observations, done, frames = venv.reset(), False, []
    while not done:
        assert isinstance(observations, dict)
        frames.append(_frame(watched, artist, observations))
        actions, _ = agent.predict(observations, deterministic=True)
        observations, _, dones, _ = venv.step(actions)
        done = bool(dones[0])
    return Film(SEEN if artist is None else SEEN + artist.caption, frames)


def _frame(
    watched: Watched, artist: Artist | None, observations: dict[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    assert isinstance(watched.seen, dict)
    image, picture = watched.seen["image"][0, ..., :3], watched.get_images()[0]
    assert picture is not None
    if artist is None:
        return picture, image
    (truth,) = watched.env_method("seen_from", SECOND_CAMERA, indices=[0])
    return picture, image, truth[0], artist.draw(observations)


def _source(folder: Path, encoder: str) -> Path | str:
    """Where the encoder of a cell is: one of the suite's own, or wherever its name says."""
    own = folder / "encoders" / encoder
    return own if encoder and own.is_dir() else encoder


def _generator(source: Path | str) -> GQN | None:
    try:
        return load_gqn(source)
    except CheckpointError:
        return None  # an encoder without one, or of the user's own
