"""The suites of the three hypotheses: what they compare is what they say."""

from collections import Counter

import pytest

from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.knobs import Knobs
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.benchmarks import artefacts
from gqn_transfer.benchmarks.artefacts import Recipe, SourceRecipe
from gqn_transfer.benchmarks.cells import Cell, Suite
from gqn_transfer.benchmarks.stages import (
    ALL_SOURCES,
    CORE,
    FULL,
    HELD_OUT,
    PATTERNS,
    SEEDS,
    SMALL,
    SOURCES,
    TIER,
    Sources,
)
from gqn_transfer.benchmarks.transfer_suites import EQUAL_WIDTH, FULL_SUITES, SMALL_SUITES, TRANSFER_SUITES
from gqn_transfer.encoder import Encoder, load_encoder, tiered
from gqn_transfer.envs.vector import ArmVectorEnv
from gqn_transfer.tier import Tier


def test_new_tasks_are_none_of_the_sources() -> None:
    assert not set(HELD_OUT) & set(SOURCES)
    for suite in ("tasks-small", "tiers-small"):
        assert {cell.task for cell in TRANSFER_SUITES[suite].cells} == set(HELD_OUT)


def test_sources_are_measured_alone_for_as_long_as_in_their_stage() -> None:
    cells = TRANSFER_SUITES["sources-small"].cells
    assert {cell.task for cell in cells} == set(SOURCES)
    together = Sources(SOURCES).stage(SEEDS[0])
    for cell in cells:
        assert cell.steps == together.steps
        defaults = {  # the stage writes them out
            "encoder_rate": Knobs.encoder_rate, "warm_up": Knobs.warm_up, "n_steps": 125,
        }  # fmt: skip
        assert defaults | cell.agent_options == dict(together.settings)
        assert (cell.method, cell.encoder) == ("gqn-finetune", together.encoder)


@pytest.mark.parametrize("suite", ["tasks-small", "sizes-small", "tiers-small"])
def test_every_arm_runs_on_every_task_with_every_seed(suite: str) -> None:
    cells = TRANSFER_SUITES[suite].cells
    arms = Counter((cell.method, cell.encoder, cell.options) for cell in cells)
    assert set(arms.values()) == {2 * 3}
    assert len({cell.steps for cell in cells}) == 1
    assert {"state", "pixels"} <= {cell.method for cell in cells}


@pytest.mark.parametrize("suites", [SMALL_SUITES, FULL_SUITES], ids=["small", "full"])
def test_a_cell_of_several_suites_runs_once_in_their_folder(suites: dict[str, Suite]) -> None:
    cells = [cell for suite in suites.values() for cell in suite.cells]
    apart = {cell.name for cell in cells}
    assert len(apart) == len({cell._replace(suite="") for cell in cells}) < len(cells)
    for name, suite in suites.items():
        assert any(cell.suite == name for cell in suite.cells), "by which its contrasts are found"


def test_a_seed_has_a_stage_of_its_own_and_all_share_what_it_is() -> None:
    """The same start where sizes are not compared; no stage is made that no cell names."""
    cells = [
        cell
        for name, suite in TRANSFER_SUITES.items()
        for cell in suite.cells
        if "{seed}" in cell.encoder and name != "sizes-small"
    ]
    assert cells
    for cell in cells:
        stage = recipe_of(cell).stage
        assert stage.seed == cell.seed
        assert stage.encoder == CORE or cell.suite == "sizes"
        assert (stage.tier is not None) == (cell.method == "gqn-tier2")
    assert {cell.encoder for cell in cells} == set(PATTERNS)


@pytest.mark.parametrize("kind", ["taught", "tier"])
@pytest.mark.parametrize("count", [3, 4])
def test_one_task_for_as_many_steps_makes_as_many_updates(kind: str, count: int) -> None:
    def updates(sources: Sources) -> tuple[int, float]:
        stage = sources.stage(0)
        settings = dict(stage.settings)
        tasks, rollout = len(stage.tasks), settings["n_steps"] * stage.num_envs
        assert (stage.steps * tasks) % (rollout * tasks) == 0, "whole rollouts"
        assert rollout % settings["batch_size"] == 0, "whole batches"
        passes = stage.steps // rollout * settings["n_epochs"]
        warm_up = settings.get("warm_up", 0) / settings["batch_size"]
        return passes * (rollout // settings["batch_size"]), warm_up

    several = Sources(ALL_SOURCES[:count], kind)
    one = Sources(ALL_SOURCES[:1], kind, steps=count * several.steps, batches=count)
    assert updates(one) == updates(several)


def test_stages_and_sizes_are_made_from_any_seed() -> None:
    """So that pilots have seeds that no result has, and a result more seeds than were planned."""
    stage = artefacts.recipe_of(Sources(SOURCES).stage(1000).name)
    assert isinstance(stage, SourceRecipe)
    assert stage.stage == Sources(SOURCES).stage(1000)
    cells = TRANSFER_SUITES["sizes-small"].cells
    pretrained = {artefacts.recipe_of(cell.encoder_name) for cell in cells if cell.method == "gqn-frozen"}
    assert {one.seed for one in pretrained if isinstance(one, Recipe)} == set(SEEDS)
    assert len(pretrained) == 3 * 3
    assert artefacts.recipe_of("jaco-core-seed1000") == Recipe("core-200k", "cpu-2h-things", 1000)
    assert artefacts.recipe_of("nothing-seed3") is None


def test_an_encoder_that_ships_is_not_made_again() -> None:
    assert artefacts.recipe_of("jaco-small") is None


def recipe_of(cell: Cell) -> SourceRecipe:
    recipe = artefacts.recipe_of(cell.encoder_name)
    assert isinstance(recipe, SourceRecipe)
    return recipe


@pytest.mark.parametrize("suite", ["tasks-small", "tiers-small", "tasks", "sizes", "tiers"])
def test_no_new_task_has_been_a_source(suite: str) -> None:
    cells = [cell for cell in TRANSFER_SUITES[suite].cells if "{seed}" in cell.encoder]
    assert cells
    assert all(cell.task not in recipe_of(cell).stage.tasks for cell in cells)


def test_each_of_six_tasks_is_held_out_once() -> None:
    cells = TRANSFER_SUITES["tasks"].cells
    assert {cell.task for cell in cells} == set(ALL_SOURCES)
    for task in ALL_SOURCES:
        taught = [
            recipe_of(cell).stage
            for cell in cells
            if cell.task == task and cell.method == "gqn-frozen" and "{seed}" in cell.encoder
        ]
        plain = [one for one in taught if one.rendering and one.teach and not one.in_turn]
        assert {len(one.tasks) for one in plain} == {1, 2, 4, 5}


def test_stages_differ_by_name_where_they_differ() -> None:
    for rows in (SMALL, FULL):
        assert len({row.pattern for row in rows}) == len(rows)
    assert Sources(()).pattern == CORE
    assert Sources(SOURCES).stage(7).name == Sources(SOURCES).pattern.replace("{seed}", "7")


def weights(cell: Cell, encoder: Encoder) -> int:
    """That the agent of a cell trains, those of its tier included."""
    arms = as_sb3(ArmVectorEnv(cell.task, 2))
    agent = make_agent(cell.method, arms, encoder=encoder, seed=0, device="cpu", **cell.agent_options)
    arms.close()
    count = sum(one.numel() for one in agent.policy.parameters() if one.requires_grad)
    return count + (sum(one.numel() for one in Tier(256, TIER).parameters()) if "tier" in cell.method else 0)


def test_heads_without_a_tier_have_as_many_weights_as_those_with_one() -> None:
    cells = [cell for cell in TRANSFER_SUITES["tiers-small"].cells if cell.task == "Point-v0"]
    wide = next(cell for cell in cells if dict(cell.options).get("head_width") == EQUAL_WIDTH)
    tier = next(cell for cell in cells if cell.method == "gqn-tier2")
    base = load_encoder("jaco-small")  # of the same sizes
    counts = weights(wide, load_encoder("jaco-small")), weights(tier, tiered(base, Tier(256, TIER)))
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
