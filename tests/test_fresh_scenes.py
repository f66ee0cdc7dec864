"""Endless scenes: a step's scenes depend on seed and step alone, and training on them resumes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.benchmarks.fresh_scenes import FreshScenes, fresh_scenes, render_step
from gqn_transfer.benchmarks.scene_factory import ScenesConfig, make_scenes
from gqn_transfer.checkpoint import load_tensors, read_record
from gqn_transfer.presets import PRESETS, PretrainConfig
from gqn_transfer.pretrain import pretrain
from gqn_transfer.ranks import ALONE, Ranks
from gqn_transfer.scenes import Batch, Scenes, ScenesError

Pair = tuple[Scenes, Scenes]
CONFIG = dataclasses.replace(PRESETS["tiny"], steps=6, batch=4, max_contexts=2)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    recipe = ScenesConfig(scenes=12, test_scenes=8, views=4)
    return make_scenes(recipe, tmp_path_factory.mktemp("scenes"), workers=1)


def test_steps_come_in_order_whoever_renders_them(rendered: Pair) -> None:
    recipe = ScenesConfig(views=3)
    with fresh_scenes(rendered[0], CONFIG, workers=2) as source:
        assert isinstance(source, FreshScenes)
        found = [source.batch(step) for step in range(2, 6)]
    for step, batch in zip(range(2, 6), found, strict=True):
        assert batch.images.shape == (4, 3, 64, 64, 3)
        for ours, theirs in zip(batch, render_step(recipe, CONFIG.seed, step, 4, ALONE), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert len({batch.state.tobytes() for batch in found}) == 4


def test_ranks_and_seeds_see_other_scenes() -> None:
    recipe = ScenesConfig(views=1)
    states = [
        render_step(recipe, seed, 0, 4, ranks).state
        for seed, ranks in ((0, ALONE), (1, ALONE), (0, Ranks(0, 2)), (0, Ranks(1, 2)))
    ]
    assert [len(state) for state in states] == [4, 4, 2, 2]
    rows = {row.tobytes() for state in states[1:] for row in state}
    assert len(rows) == 8


def test_training_on_them_resumes(rendered: Pair, tmp_path: Path) -> None:
    def train(folder: Path, config: PretrainConfig = CONFIG, **how: float) -> bool:
        with fresh_scenes(rendered[0], config, workers=1) as source:
            where = {"source": source, "device": "cpu", "precision": "fp32"}
            return pretrain(config, *rendered, folder, **where, **how).finished

    assert train(tmp_path / "whole")
    assert not train(tmp_path / "parts", max_seconds=0)
    assert train(tmp_path / "parts")
    whole, parts = (load_tensors(tmp_path / name / "encoder") for name in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    rendered_for_it = 6 * 4 * CONFIG.views_needed  # and not the folder's
    assert read_record(tmp_path / "whole" / "encoder")["frames"] == rendered_for_it


def test_without_workers_the_folder_is_the_source(rendered: Pair) -> None:
    with fresh_scenes(rendered[0], CONFIG, workers=0) as source:
        assert source is None


def test_scenes_of_another_origin_cannot_be_rendered_anew(scenes: Pair) -> None:
    with (
        pytest.raises(ScenesError, match="was not rendered by this program"),
        fresh_scenes(scenes[0], CONFIG, workers=1),
    ):
        pass


def test_a_batch_is_a_batch() -> None:
    assert isinstance(render_step(ScenesConfig(views=1), 0, 0, 2, ALONE), Batch)
