"""Cells on a Ray cluster. Each takes its files along and sends them back as they change: no disk is shared.

A node that is lost costs what its cells have done since their last evaluations: they go on elsewhere from
there. Encoders of a suite are trained where the command runs.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gqn_transfer.files import write_bytes, write_json

from .cells import Cell
from .claims import claimed
from .ray_options import RayOptions
from .run_cell import How, Source, run_cell
from .work import Outcome, cell_folder, finished, outcome_of

Files = dict[str, bytes]
"""Path inside a cell's folder -> content, in the order in which they have to be written."""
INTERVAL = 2.0
"""Seconds between two looks at what a cell has written."""
TRIES = 20
"""Nodes or workers that a cell may lose before it counts as failed."""
RECORD = "agent/agent.json"


class RayCells:
    """What the engine calls for each cell, from a thread of its own."""

    def __init__(self, options: RayOptions) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError("the engine `ray` needs Ray: pip install 'gqn-transfer[ray]'") from error
        self.ray = ray
        if not ray.is_initialized():
            ray.init(address=options.address, log_to_driver=False)
        resources: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus, "max_retries": 0}
        self.remote = ray.remote(**resources)(cell_elsewhere)
        total = ray.cluster_resources()
        slots = [total.get("CPU", 0) / options.cpus if options.cpus else float("inf")]
        slots += [total.get("GPU", 0) / options.gpus] if options.gpus else []
        self.slots = max(1, int(min(slots)))

    def __call__(self, cell: Cell, folder: Path, encoder: Source | None, how: How) -> Outcome:
        """As `work_on_cell`, elsewhere."""
        place = cell_folder(folder, cell)
        with claimed(place) as ours:
            if not ours:
                return Outcome.BUSY
            if not finished(place):
                self._drive(cell, place, encoder, how)
        return outcome_of(place)

    def _drive(self, cell: Cell, place: Path, encoder: Source | None, how: How) -> None:
        """Until the cell has ended, wherever it runs, and however many nodes it loses."""
        carried = pack_encoder(encoder) if isinstance(encoder, Path) else encoder
        lost: Exception | None = None
        for _ in range(TRIES):
            try:
                for news in self.remote.remote(tuple(cell), pack(place), carried, how):
                    unpack(self.ray.get(news), place)
                return
            except self.ray.exceptions.RayTaskError as error:
                write_json(place / "done.json", {"failed": str(error)})
                return
            except self.ray.exceptions.RayError as error:
                lost = error
        write_json(place / "done.json", {"failed": f"lost {TRIES} times, the last time by: {lost}"})


def cell_elsewhere(
    fields: tuple[Any, ...], files: Files, encoder: Files | str | None, how: How
) -> Iterator[Files]:
    """Run a cell in a folder of this machine; yield its files as they change, done.json last."""
    with tempfile.TemporaryDirectory() as folder:
        place, source = Path(folder, "cell"), Path(folder, "encoder")
        unpack(files, place)
        if isinstance(encoder, dict):
            unpack(encoder, source)
        given = source if isinstance(encoder, dict) else encoder
        work = threading.Thread(target=run_cell, args=(Cell(*fields), place, given, how))
        work.start()
        sent = dict(files)
        while work.is_alive():
            work.join(INTERVAL)
            yield from _news(place, sent)
        yield from _news(place, sent)


def _news(place: Path, sent: Files) -> Iterator[Files]:
    """What has changed since the last time; nothing if nothing has."""
    now = pack(place)
    changed = {name: content for name, content in now.items() if sent.get(name) != content}
    if changed:
        sent.update(changed)
        yield changed


def pack(place: Path) -> Files:
    """The files of a cell: what a record speaks of before the record."""
    names = ["config.json", "curve.csv", *_agent(place), "done.json"]
    return {name: (place / name).read_bytes() for name in names if (place / name).exists()}


def _agent(place: Path) -> list[str]:
    """Weights and record of the kept agent, none while they are being replaced."""
    try:
        weights = f"agent/{json.loads((place / RECORD).read_text())['weights']}"
    except (OSError, ValueError, KeyError):
        return []
    return [weights, RECORD] if (place / weights).exists() else []


def pack_encoder(folder: Path) -> Files:
    """The files of a checkpoint."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def unpack(files: Mapping[str, bytes], place: Path) -> None:
    """Write files one by one, each whole, in their order; older weights than the record's go."""
    for name, content in files.items():
        write_bytes(place / name, content)
    if RECORD in files:
        weights, _ = _agent(place)
        for path in (place / "agent").glob("weights-*"):
            if path != place / weights:
                path.unlink()
