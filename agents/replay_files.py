"""A replay buffer on disk, in pieces: each save writes only what has come since the one before.

One piece a save, named by its content; a piece is dropped once all its rows have been overwritten in the
buffer. So raw pixels, gigabytes of them, cost a save no more than the images of its own steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.buffers import DictReplayBuffer

from gqn_transfer.checkpoint import fingerprint, read_tensors, write_tensors

from .refilling import Refilling

PIECES = "replay-*.safetensors"


class Piece(NamedTuple):
    """Consecutive rows of a buffer in one file. A row is a step of all environments."""

    mark: str
    """Fingerprint of its tensors."""
    rows: int


class KeptReplay(NamedTuple):
    """What of an agent's buffer lies on disk."""

    folder: Path
    pieces: tuple[Piece, ...]
    """Oldest first."""
    stored: int
    """Rows that the agent had put into its buffer by then, in all."""


def keep_replay(agent: Refilling, folder: Path) -> dict[str, Any]:
    """Write what `agent` has stored since it was last kept in `folder`, or all that its buffer holds if that
    is not there; return what `bring_back_replay` takes.

    What is no longer needed stays until `drop_pieces`: the record beside it still speaks of it.
    """
    buffer, earlier = agent.replay_buffer, agent.kept_replay
    if earlier is None or earlier.folder != folder or _missing(folder, earlier.pieces):
        earlier = KeptReplay(folder, (), agent.stored - buffer.size())
    rows = min(agent.stored - earlier.stored, buffer.size())
    pieces = earlier.pieces
    if rows:
        newest = _rows(buffer, buffer.pos, rows)
        tensors = {name: torch.from_numpy(values[newest]) for name, values in _arrays(buffer)}
        piece = Piece(fingerprint(tensors), rows)
        write_tensors(_path(folder, piece), tensors)
        pieces = _needed((*pieces, piece), buffer.size())
    agent.kept_replay = KeptReplay(folder, pieces, agent.stored)
    return {
        "pieces": [tuple(piece) for piece in pieces],
        "position": buffer.pos,
        "full": buffer.full,
        "learning_starts": agent.learning_starts,
    }


def bring_back_replay(agent: Refilling, folder: Path, kept: Mapping[str, Any]) -> None:
    """Fill the empty buffer of `agent` with what `keep_replay` wrote; CheckpointError for a piece that is
    missing or another."""
    buffer, pieces = agent.replay_buffer, _pieces(kept)
    end = kept["position"] - sum(piece.rows for piece in pieces)
    for piece in pieces:
        end += piece.rows
        tensors = read_tensors(_path(folder, piece), piece.mark)
        for name, values in _arrays(buffer):
            values[_rows(buffer, end, piece.rows)] = tensors[name].numpy()
    buffer.pos, buffer.full = kept["position"], kept["full"]
    agent.stored, agent.refill, agent.learning_starts = buffer.size(), 0, kept["learning_starts"]
    agent.kept_replay = KeptReplay(folder, pieces, agent.stored)


def missing_pieces(folder: Path, kept: Mapping[str, Any]) -> bool:
    """True if a file is not there that `bring_back_replay` would read."""
    return _missing(folder, _pieces(kept))


def drop_pieces(folder: Path, kept: Mapping[str, Any] | None) -> None:
    """Delete all pieces in `folder` but those that `kept` speaks of."""
    needed = {_path(folder, piece) for piece in _pieces(kept)} if kept else set()
    for path in set(folder.glob(PIECES)) - needed:
        path.unlink()


def _pieces(kept: Mapping[str, Any]) -> tuple[Piece, ...]:
    return tuple(Piece(*each) for each in kept["pieces"])


def _missing(folder: Path, pieces: tuple[Piece, ...]) -> bool:
    return not all(_path(folder, piece).exists() for piece in pieces)


def _needed(pieces: tuple[Piece, ...], held: int) -> tuple[Piece, ...]:
    """The newest pieces, as many as it takes to fill `held` rows."""
    while sum(piece.rows for piece in pieces[1:]) >= held:
        pieces = pieces[1:]
    return pieces


def _rows(buffer: DictReplayBuffer, end: int, count: int) -> np.ndarray:
    """Places of the `count` rows before `end`, oldest first."""
    return np.arange(end - count, end) % buffer.buffer_size


def _arrays(buffer: DictReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    """All that a buffer holds, by name; first axis is rows."""
    for part in ("observations", "next_observations"):
        for key, values in getattr(buffer, part).items():
            yield f"{part}.{key}", values
    for part in ("actions", "rewards", "dones", "timeouts"):
        yield part, getattr(buffer, part)


def _path(folder: Path, piece: Piece) -> Path:
    return folder / PIECES.replace("*", piece.mark)
