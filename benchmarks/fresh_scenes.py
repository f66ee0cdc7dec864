"""Endless scenes: every batch is rendered anew, by worker processes ahead of the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from gqn_transfer.envs.scenes import sample_scenes
from gqn_transfer.loader import Source, step_rng
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.ranks import ALONE, Ranks
from gqn_transfer.scenes import Batch, Scenes, ScenesError

from .processes import worker_pool
from .scene_factory import ScenesConfig

AHEAD = 4
"""Batches that each worker is asked for before they are needed."""


class FreshScenes:
    """The scenes of step k are drawn with the generator of step k, whoever renders them and when."""

    def __init__(
        self,
        recipe: ScenesConfig,
        config: PretrainConfig,
        pool: ProcessPoolExecutor,
        workers: int,
        ranks: Ranks,
    ) -> None:
        self.recipe, self.config, self.pool, self.ranks = recipe, config, pool, ranks
        self.ahead = AHEAD * workers
        self.asked: dict[int, Future[Batch]] = {}

    def batch(self, step: int) -> Batch:
        for later in range(step, min(step + self.ahead, self.config.steps)):
            if later not in self.asked:
                job = (self.recipe, self.config.seed, later, self.config.batch, self.ranks)
                self.asked[later] = self.pool.submit(render_step, *job)
        return self.asked.pop(step).result()

    def frames(self, steps: int) -> int:
        return steps * self.config.batch * self.recipe.views


def render_step(recipe: ScenesConfig, seed: int, step: int, batch: int, ranks: Ranks) -> Batch:
    """A rank's part of the scenes of one step; each rank draws from a generator of its own."""
    rng = step_rng(seed, step, "scenes").spawn(ranks.size)[ranks.rank]
    return Batch(*sample_scenes(batch // ranks.size, recipe.views, rng, *recipe.how))


@contextmanager
def fresh_scenes(
    scenes: Scenes, config: PretrainConfig, workers: int, ranks: Ranks = ALONE
) -> Iterator[Source | None]:
    """A source of new scenes like those in the folder, with as many views as training asks for.

    None without workers: the folder itself is then the source.
    """
    if not workers:
        yield None
        return
    recipe = _recipe(scenes, config)
    with worker_pool(workers, workers) as pool:
        yield FreshScenes(recipe, config, pool, workers, ranks)


def _recipe(scenes: Scenes, config: PretrainConfig) -> ScenesConfig:
    try:
        recipe = ScenesConfig(**scenes.meta["recipe"])
    except TypeError as error:
        raise ScenesError(
            f"{scenes.folder} was not rendered by this program: it cannot be rendered anew"
        ) from error
    return dataclasses.replace(recipe, views=config.views_needed)
