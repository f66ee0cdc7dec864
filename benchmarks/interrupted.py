"""Interrupted cells: what they keep while they run, and how they go on from there, bit for bit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from gqn_transfer.agents.resuming import can_resume, load_training, save_training
from gqn_transfer.agents.saving import RECORD
from gqn_transfer.encoder import Encoder
from gqn_transfer.files import read_json, write_json

from .cell_files import CONFIG, CURVE, DONE
from .curves import RecordError, read_curve, rewind_curve
from .provenance import changes

AGENT = "agent"
"""Folder inside a cell's: its agent at the last evaluation."""


def keep(agent: BaseAlgorithm, folder: Path, has_ended: bool = False) -> None:
    """Save the agent of the cell in `folder`, just evaluated."""
    save_training(agent, folder / AGENT, has_ended)


def begin(folder: Path, config: dict[str, Any]) -> bool:
    """Prepare a cell's folder: True if it goes on; otherwise nothing is left of earlier tries.

    It goes on where the same cell, run by the same code and libraries, has kept an agent.
    """
    if (folder / AGENT / RECORD).exists():
        obstacle = _obstacle(folder, config)
        if not obstacle:
            (folder / DONE).unlink(missing_ok=True)  # of a try that failed
            for half_written in folder.rglob(".*.tmp"):  # by a try that was killed
                half_written.unlink()
            return True
        print(f"{folder.name} starts anew: {obstacle}", file=sys.stderr, flush=True)
    if folder.exists():
        shutil.rmtree(folder)
    write_json(folder / CONFIG, config)
    return False


def _obstacle(folder: Path, config: dict[str, Any]) -> str:
    """Why the agent that is kept in `folder` cannot go on; "" if it can."""
    earlier, steps = _read(folder / CONFIG), _read(folder / AGENT / RECORD).get("steps")
    changed = changes(earlier.get("versions", {}), config["versions"], beside={"stages"})
    if earlier.get("cell") != config["cell"]:
        return "its folder is another cell's"
    if changed:
        return f"what was kept is of other {', '.join(changed)}"
    before, now = (one.get("machine", {}).get("bf16") for one in (earlier, config))
    if before != now:
        return "what was kept was computed in another precision"
    try:
        known = steps in read_curve(folder / CURVE, allow_torn=True).steps
    except (OSError, RecordError):
        known = False
    if not known:
        return f"its curve lacks the evaluation at {steps} steps, where the agent stands"
    return "" if can_resume(folder / AGENT) else "files of its replay buffer are missing"


def _read(path: Path) -> dict[str, Any]:
    """A JSON file, {} if it is none."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        return {}


def go_on(folder: Path, venv: VecEnv, encoder: Encoder | None) -> tuple[BaseAlgorithm, float]:
    """The agent where it stood, and the seconds it had run; its curve is cut back to there."""
    agent = load_training(folder / AGENT, venv, encoder)
    seconds = rewind_curve(folder / CURVE, agent.num_timesteps)
    config = read_json(folder / CONFIG)
    resumed_at = [*config.get("resumed_at", []), agent.num_timesteps]
    write_json(folder / CONFIG, config | {"resumed_at": resumed_at})
    return agent, seconds
