"""Batches for training: from memory-mapped shards a step ahead, or from the device's own memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from .objectives import SceneTensors, tensors
from .ranks import ALONE, Ranks, processes_here
from .scenes import Batch, Scenes

RESIDENT_SHARE = 0.6
"""Of a GPU's free memory that scenes may take."""


class Source(Protocol):
    """Where the scenes of a training step come from: the same step, the same scenes."""

    def batch(self, step: int) -> Batch | SceneTensors:
        """The scenes of one step, as arrays or as tensors."""
        ...

    def frames(self, steps: int) -> int:
        """Images rendered for the first `steps` steps, all ranks together."""
        ...


class DrawnScenes:
    """Scenes drawn with replacement from a folder; of each batch, the rank's part."""

    def __init__(self, scenes: Scenes, batch: int, seed: int, ranks: Ranks = ALONE) -> None:
        self.scenes, self.size, self.seed, self.ranks = scenes, batch, seed, ranks

    def batch(self, step: int) -> Batch | SceneTensors:
        return self.scenes.gather(self.indices(step))

    def frames(self, steps: int) -> int:
        return len(self.scenes) * int(self.scenes.meta["views"])

    def indices(self, step: int) -> np.ndarray:
        """Of this rank's scenes in one step."""
        whole = step_rng(self.seed, step, "batch").integers(len(self.scenes), size=self.size)
        return whole[self.ranks.part(self.size)]


class ResidentScenes(DrawnScenes):
    """The same, from tensors that lie on the device as a whole."""

    def __init__(
        self, scenes: Scenes, batch: int, seed: int, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        super().__init__(scenes, batch, seed, ranks)
        self.device = device
        self.all = _as_a_whole(scenes, device)

    def batch(self, step: int) -> SceneTensors:
        index = torch.from_numpy(self.indices(step)).to(self.device)
        return SceneTensors(*(values[index] for values in self.all))


def _as_a_whole(scenes: Scenes, device: torch.device) -> SceneTensors:
    """All scenes on the device, copied shard by shard into their place: twice would be too much for it."""
    whole: SceneTensors | None = None
    start = 0
    for shard in scenes.shards:
        part = tensors(Batch(*map(np.array, shard)), device)
        if whole is None:
            whole = SceneTensors(*(one.new_empty((len(scenes), *one.shape[1:])) for one in part))
        end = start + len(part[0])
        for values, one in zip(whole, part, strict=True):
            values[start:end] = one
        start = end
    assert whole is not None
    return whole


def drawn(scenes: Scenes, batch: int, seed: int, device: torch.device, ranks: Ranks = ALONE) -> DrawnScenes:
    """Resident where the scenes fit into a GPU, else from memory or disk."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if scenes.nbytes < RESIDENT_SHARE * free:
            return ResidentScenes(scenes, batch, seed, device, ranks)
    return DrawnScenes(scenes.in_memory(processes_here()), batch, seed, ranks)


class Loader:
    """Batches of consecutive steps, read one ahead in a thread; knows how long training waited for them."""

    def __init__(self, source: Source, first_step: int, steps: int) -> None:
        self.source, self.first_step, self.steps = source, first_step, steps
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch | SceneTensors]:
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.source.batch, self.first_step)
            for step in range(self.first_step, self.steps):
                started = time.perf_counter()
                batch = ahead.result()
                self.waited += time.perf_counter() - started
                if step + 1 < self.steps:
                    ahead = reader.submit(self.source.batch, step + 1)
                yield batch


def step_rng(seed: int, step: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose ("batch", "noise" or "scenes") in one step."""
    return np.random.default_rng([seed, step, ("batch", "noise", "scenes").index(purpose)])
