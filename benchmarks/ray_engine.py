"""Cells on a Ray cluster. Each takes its files along and sends them back as they change: no disk is shared.

A node that is lost costs what its cells have done since their last evaluations: they go on elsewhere from
there. Encoders of a suite are trained where the command runs.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from gqn_transfer.files import write_bytes, write_json

from .cell_files import CONFIG, CURVE, DONE, cell_folder
from .cells import Cell
from .claims import claimed
from .provenance import changes, provenance
from .ray_options import RayOptions
from .run_cell import How, Source, run_cell
from .work import Outcome, is_to_do, outcome_of

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
        self.running: dict[Path, Any] = {}
        self.is_cancelled = False

    def cancel(self) -> None:
        """End what runs; the next command goes on from what has come back."""
        self.is_cancelled = True
        for stream in list(self.running.values()):
            self.ray.cancel(stream, force=True)

    def __call__(self, cell: Cell, folder: Path, encoder: Source | None, how: How) -> Outcome:
        """As `work_on_cell`, elsewhere."""
        place = cell_folder(folder, cell)
        with claimed(place) as ours:
            if not ours:
                return Outcome.BUSY
            if is_to_do(place, how):
                self._drive(cell, place, encoder, how)
        return outcome_of(place)

    def _drive(self, cell: Cell, place: Path, encoder: Source | None, how: How) -> None:
        """Until the cell has ended, wherever it runs, and however many nodes it loses."""
        (place / DONE).unlink(missing_ok=True)  # of a failure before: a node sends no deletions
        carried = pack_encoder(encoder) if isinstance(encoder, Path) else encoder
        until = math.inf if how.seconds is None else time.monotonic() + how.seconds
        lost: Exception | None = None
        for _ in range(TRIES):
            left = None if how.seconds is None else max(0.0, until - time.monotonic())
            try:
                stream = self.remote.remote(tuple(cell), pack(place), carried, replace(how, seconds=left))
                self.running[place] = stream
                for news in stream:
                    unpack(self.ray.get(news), place)
                return
            except self.ray.exceptions.RayError as error:
                if self.is_cancelled:
                    return
                if isinstance(error, self.ray.exceptions.RayTaskError):
                    write_json(place / DONE, {"failed": str(error)})
                    return
                lost = error
            finally:
                self.running.pop(place, None)
        write_json(place / DONE, {"failed": f"lost {TRIES} times, the last time by: {lost}"})


def cell_elsewhere(
    fields: tuple[Any, ...], files: Files, encoder: Files | str | None, how: How
) -> Iterator[Files]:
    """Run a cell in a folder of this machine; yield its files as they change, done.json last.

    ValueError if this machine has other versions than the one that the command runs on.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        place, source = Path(folder, "cell"), Path(folder, "encoder")
        unpack(files, place)
        if isinstance(encoder, dict):
            unpack(encoder, source)
        given = source if isinstance(encoder, dict) else encoder
        here = replace(how, provenance=_measured_here(how.provenance))
        work = thread.submit(run_cell, Cell(*fields), place, given, here)
        sent = dict(files)
        while not work.done():
            wait([work], INTERVAL)
            yield from _news(place, sent)
        work.result()
        yield from _news(place, sent)


def _measured_here(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the driver says of the command, and what is true of this machine."""
    own = provenance()
    ours, theirs = own["versions"], facts.get("versions", own["versions"])
    differing = [f"{name} {ours.get(name)} instead of {theirs.get(name)}" for name in changes(theirs, ours)]
    if differing:
        raise ValueError(f"this node has {', '.join(differing)}: install what the command's machine has")
    return {**facts, "versions": theirs, "machine": own["machine"]}


def _news(place: Path, sent: Files) -> Iterator[Files]:
    """What has changed since the last time; nothing if nothing has."""
    now = pack(place)
    changed = {name: content for name, content in now.items() if sent.get(name) != content}
    if changed:
        sent.update(changed)
        yield changed


def pack(place: Path) -> Files:
    """The files of a cell: what a record speaks of before the record."""
    done, agent = _file(place, DONE), _agent(place)  # read first: what they speak of is there then
    return _file(place, CONFIG) | _file(place, CURVE) | agent | done


def _agent(place: Path) -> Files:
    """Weights and record of the kept agent, nothing while they are being replaced."""
    record = _file(place, RECORD)
    weights = _file(place, _weights(record)) if record else {}
    return weights | record if weights else {}


def _weights(files: Files) -> str:
    """Where the weights lie that a record speaks of."""
    return f"agent/{json.loads(files[RECORD])['weights']}"


def _file(place: Path, name: str) -> Files:
    try:
        return {name: (place / name).read_bytes()}
    except FileNotFoundError:
        return {}


def pack_encoder(folder: Path) -> Files:
    """The files of a checkpoint, with those of what a tier stands on."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def unpack(files: Mapping[str, bytes], place: Path) -> None:
    """Write files one by one, each whole, in their order; older weights than the record's go."""
    for name, content in files.items():
        write_bytes(place / name, content)
    if RECORD in files:
        for path in (place / "agent").glob("weights-*"):
            if path != place / _weights(dict(files)):
                path.unlink()
