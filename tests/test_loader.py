"""Batches: the same scenes from disk, memory and device, in order, a step ahead."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gqn_transfer.loader import DrawnScenes, Loader, ResidentScenes, drawn, step_rng
from gqn_transfer.ranks import Ranks
from gqn_transfer.scenes import Batch, Scenes

Pair = tuple[Scenes, Scenes]
CPU = torch.device("cpu")


def test_resident_scenes_are_the_drawn_ones(scenes: Pair) -> None:
    from_disk, resident = DrawnScenes(scenes[0], 6, 3), ResidentScenes(scenes[0], 6, 3, CPU)
    for step in range(5):
        for ours, theirs in zip(from_disk.batch(step), resident.batch(step), strict=True):
            np.testing.assert_array_equal(ours, theirs.numpy())


def test_ranks_share_one_draw(scenes: Pair) -> None:
    whole = DrawnScenes(scenes[0], 6, 3).indices(4)
    parts = [DrawnScenes(scenes[0], 6, 3, Ranks(rank, 3)).indices(4) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_every_scene_is_drawn(scenes: Pair) -> None:
    source = DrawnScenes(scenes[0], 16, 0)
    assert {index for step in range(60) for index in source.indices(step)} == set(range(64))


def test_on_a_cpu_scenes_come_from_memory(scenes: Pair) -> None:
    source = drawn(scenes[0], 4, 0, CPU)
    assert type(source) is DrawnScenes
    assert not isinstance(source.scenes.shards[0].images, np.memmap)


@pytest.mark.parametrize(("seconds", "waits"), [(0.05, True), (0.0, False)])
def test_the_loader_knows_how_long_training_waited(
    scene_arrays: Callable[..., Batch], seconds: float, waits: bool
) -> None:
    class Slow:
        def batch(self, step: int) -> Batch:
            time.sleep(seconds)
            asked.append(step)
            return scene_arrays(2, seed=step)

        def frames(self, steps: int) -> int:
            return 0

    asked: list[int] = []
    loader = Loader(Slow(), 3, 8)
    states = [batch.state for batch in loader]
    np.testing.assert_array_equal(states, [scene_arrays(2, seed=step).state for step in range(3, 8)])
    assert (loader.waited > 0.15) == waits
    assert asked == [3, 4, 5, 6, 7]  # each step once


def test_generators_differ_by_seed_step_and_purpose() -> None:
    keys = [(0, 0, "noise"), (1, 0, "noise"), (0, 1, "noise"), (0, 0, "batch"), (0, 0, "scenes")]
    assert len({int(step_rng(*key).integers(2**62)) for key in keys}) == 5
