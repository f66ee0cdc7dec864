"""Suites are data: unique cells, stable names, checked keys."""

import json

import numpy as np
import pytest

import gqn_transfer.envs as envs
from gqn_transfer.agents.algorithms import ALGORITHMS
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.benchmarks.artefacts import ENCODERS, SCENES, Recipe, SourceRecipe, recipe_of
from gqn_transfer.benchmarks.cells import OPTION_KEYS, Cell, Suite
from gqn_transfer.benchmarks.grids import FAMILIES, grid
from gqn_transfer.benchmarks.groups import panels_of
from gqn_transfer.benchmarks.raw_pixels_suites import ORACLE_BUDGETS, RAW_PIXELS_BUDGETS
from gqn_transfer.benchmarks.records import CellRecord
from gqn_transfer.benchmarks.run_cell import make_venv
from gqn_transfer.benchmarks.suites import SUITES, suite_named, with_encoder
from gqn_transfer.checkpoint import read_record
from gqn_transfer.encoder import available_encoders, find_checkpoint, load_encoder
from gqn_transfer.envs.cameras import CAMERA_PATHS
from gqn_transfer.envs.rendering import LABEL_ARM, LABEL_FINGERS, LABEL_TARGET
from gqn_transfer.presets import PRESETS

CELLS = [cell for suite in SUITES.values() for cell in suite.cells]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell_can_be_built(cell: Cell) -> None:
    assert cell.task in envs.TASKS
    assert cell.camera in CAMERA_PATHS
    assert cell.algo in ALGORITHMS
    assert METHODS[cell.method].needs_encoder == bool(cell.encoder)
    name = cell.encoder_name
    assert not name or name in available_encoders() or recipe_of(name) is not None
    assert {key for key, _ in cell.options} <= set(OPTION_KEYS)
    assert (cell.seed >= 1000) == (cell.suite in ("settings", "pilot")), "no result has seeds from 1000 on"


@pytest.mark.parametrize("suite", SUITES)
def test_labels_tell_all_groups_of_a_panel_apart(suite: str) -> None:
    """Tables and comparisons go by them."""
    nothing = np.empty(0)
    records = [CellRecord(cell, nothing, nothing, nothing, nothing, {}, None) for cell in SUITES[suite].cells]
    for panel in panels_of(records):
        labels = [group.label for group in panel.groups]
        assert len(set(labels)) == len(labels)
        if suite == "sizes":  # clear without digest and seed
            assert "gqn-frozen (jaco-core-r32-reach-grasp-pose-press-160k)" in labels


def test_names_are_unique_and_change_with_every_field() -> None:
    assert len({cell.name for cell in CELLS}) == len(set(CELLS))
    cell = CELLS[0]
    changed = [
        cell._replace(suite="other"),
        cell._replace(steps=cell.steps + 1),
        cell._replace(encoder="other"),
        cell._replace(options=(("episodes", 7),)),
    ]
    assert len({cell.name, *(other.name for other in changed)}) == 5


def test_a_name_does_not_depend_on_the_run() -> None:
    cell = Cell("quick", "Reach-v0", "gqn-frozen", "ppo", "fixed", "reach-gqn", 0, 100_000)
    assert cell.name == "reach-v0-fixed-gqn-frozen-ppo-seed0-5a85e5ed"


def test_cells_survive_json() -> None:
    cell = CELLS[0]._replace(options=(("episodes", 7), ("num_envs", 3)))
    assert Cell.from_json(json.loads(cell.canonical_json)) == cell


def test_recipes_name_what_exists() -> None:
    named = {cell.encoder_name for cell in CELLS if cell.encoder} - {*available_encoders()}
    for name in {*ENCODERS, *named}:
        recipe = recipe_of(name if name not in available_encoders() else f"{name}-seed1")
        assert recipe is not None
        assert recipe.scenes in SCENES
        if isinstance(recipe, SourceRecipe):
            assert set(recipe.stage.tasks) <= set(envs.TASKS)
            start = ENCODERS[recipe.stage.encoder]
            assert SCENES[recipe.scenes].tasks == SCENES[start.scenes].tasks, "rendering goes on as before"
            continue
        preset = PRESETS[recipe.preset]
        assert preset.views_needed <= SCENES[recipe.scenes].views
        assert preset.model.image_size == SCENES[recipe.scenes].image_size


def test_encoders_of_things_weigh_fingers_as_targets() -> None:
    trained = [one for one in ENCODERS.values() if isinstance(one, Recipe) and PRESETS[one.preset].steps]
    of_things = [one for one in trained if one.scenes in ("core-200k", "all-200k")]
    assert len(of_things) > 6
    for recipe in of_things:
        weights = PRESETS[recipe.preset].label_weights
        assert weights[LABEL_FINGERS] == weights[LABEL_TARGET] > weights[LABEL_ARM]


@pytest.mark.parametrize(("suite", "encoder"), [("quick", "jaco-small"), ("from-scratch", "reach-gqn")])
def test_quick_and_from_scratch_compare_what_they_promise(suite: str, encoder: str) -> None:
    cells = SUITES[suite].cells
    assert {cell.method for cell in cells} == {"state", "pixels", "random-frozen", "gqn-frozen"}
    assert len({cell.steps for cell in cells}) == 1, "equal budgets, so that areas compare"
    assert len({cell.seed for cell in cells}) == 3
    assert {cell.encoder for cell in cells if cell.method == "gqn-frozen"} == {encoder}


def test_quick_makes_no_encoder() -> None:
    assert {recipe_of(cell.encoder) for cell in SUITES["quick"].cells if cell.encoder} == {None}


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(ValueError, match=r"unknown suite 'quik'; known: smoke, quick"):
        suite_named("quik")
    with pytest.raises(ValueError, match=r"unknown options num_env; known: .*num_envs"):
        grid("x", ["Reach-v0"], ["fixed"], {"state": 1}, [0], num_env=2)


def test_tiers_of_the_comparison_hold_all_tasks_once() -> None:
    cells = [cell for tier in "abc" for cell in SUITES[f"raw-pixels-{tier}"].cells]
    settings = [(cell.task, cell.camera, cell.method, cell.seed) for cell in cells]
    assert {cell.task for cell in cells} == set(envs.TASKS)
    trained = [(*cell[1:5], cell.seed, cell.options) for cell in cells if cell.method != "state"]
    assert len(set(trained)) == len(trained), "no agent is trained twice"
    for cell in cells:
        pixels = RAW_PIXELS_BUDGETS[cell.task, cell.camera]
        assert cell.steps == (ORACLE_BUDGETS[cell.task] if cell.method == "state" else pixels)
        assert cell.steps // cell.run_options["evaluate_every"] in range(10, 80)
        assert cell.run_options["evaluate_every"] == 10_000 or cell.steps >= 800_000
    reach = {cell.method for cell in cells if (cell.task, cell.camera) == ("Reach-v0", "fixed")}
    assert reach == set(METHODS) - {"gqn-tier2"}
    for cell in cells:  # the strongest raw pixels that are known are in every panel
        assert (cell.task, cell.camera, "pixels") in {setting[:3] for setting in settings}


def test_frozen_encoders_have_seen_what_their_tasks_show() -> None:
    """Those that ship say in their record which tasks' scenes they were trained on."""
    cells = [cell for tier in "abc" for cell in SUITES[f"raw-pixels-{tier}"].cells]
    for cell in [*cells, *SUITES["pilot"].cells]:
        if cell.method == "gqn-frozen":
            recipe = recipe_of(cell.encoder)
            seen = shipped_tasks(cell.encoder) if recipe is None else SCENES[recipe.scenes].tasks
            assert cell.task in seen, f"{cell.encoder} on {cell.task}"


def shipped_tasks(name: str) -> list[str]:
    """Records from before scenes had several tasks name none: Reach was all there was."""
    return list(read_record(find_checkpoint(name))["scenes"]["recipe"].get("tasks", ["Reach-v0"]))


def test_the_comparison_in_random_looks_and_with_another_algorithm() -> None:
    full = SUITES["raw-pixels-full"].cells
    assert {cell.run_options["randomize"] for cell in full} == {"full"}
    assert {cell.encoder for cell in full} == {"", *FAMILIES["256"].values()}
    assert {SCENES[ENCODERS[name].scenes].randomize for name in FAMILIES["256"].values()} == {"full"}
    sac = SUITES["raw-pixels-sac"].cells
    assert {(cell.method, cell.algo) for cell in sac} == {
        (method, "sac") for method in ("state", "pixels-aug", "gqn-frozen")
    }


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        SUITES["mine"] = SUITES["smoke"]  # type: ignore[index]


def test_another_encoder_replaces_the_gqns() -> None:
    ours = with_encoder(SUITES["quick"], "mine.py:make")
    for before, after in zip(SUITES["quick"].cells, ours.cells, strict=True):
        assert after.encoder == ("mine.py:make" if before.method == "gqn-frozen" else before.encoder)
        assert (after.name == before.name) == (before.method != "gqn-frozen")


def test_the_architectures_control_gets_the_encoder_too() -> None:
    methods = dict.fromkeys(["pixels-gqn-arch", "random-frozen"], 1)
    cells = grid("t", ["Reach-v0"], ["fixed"], methods, [0], "small")
    arch, random = with_encoder(Suite("t", cells), "mine").cells
    assert (arch.encoder, random.encoder) == ("mine", cells[1].encoder)


def test_a_network_of_ones_own_takes_no_place_where_it_would_have_to_be_made_anew() -> None:
    methods = dict.fromkeys(["pixels-gqn-arch", "gqn-aux", "gqn-finetune"], 1)
    cells = grid("t", ["Reach-v0"], ["fixed"], methods, [0], "small")
    ours = with_encoder(Suite("t", cells), "mine.py:make").cells
    assert [cell.encoder for cell in ours] == ["jaco-small", "jaco-small", "mine.py:make"]


def test_a_suite_that_compares_encoders_takes_none_of_ones_own() -> None:
    with pytest.raises(ValueError, match="this suite compares encoders: leave --encoder out"):
        with_encoder(SUITES["sizes-small"], "mine")


def test_tuned_settings_are_those_of_ppo() -> None:
    with pytest.raises(ValueError, match="tuned settings are those of ppo, not of sac"):
        grid("t", ["Reach-v0"], ["fixed"], {"state": 1}, [0], tuned=True, algo="sac")


def test_options_go_to_the_run_or_to_the_agent() -> None:
    options = (("episodes", 7), ("learning_rate", 1e-3), ("randomize", "full"), ("views", 3))
    cell = CELLS[0]._replace(options=options)
    assert cell.run_options["episodes"] == 7
    assert cell.run_options["num_envs"] == 16
    assert cell.agent_options == {"learning_rate": 1e-3, "views": 3}
    assert cell.seen_as == {"views": 3}
    (look,) = make_venv(cell, 1).get_attr("setting", [0])
    assert (look.randomize, look.camera) == ("full", cell.camera)


def test_families_name_encoders_of_one_architecture() -> None:
    for family in FAMILIES.values():
        models = {PRESETS[ENCODERS[name].preset].model for name in family.values() if name in ENCODERS}
        models |= {load_encoder(name).config for name in family.values() if name not in ENCODERS}
        eyes = {(model.representation, model.representation_size, model.image_size) for model in models}
        assert len(eyes) == 1
    with pytest.raises(ValueError, match=r"family 'smoke' has no encoder trained by 'ae', .*it has gqn"):
        grid("x", ["Reach-v0"], ["fixed"], {"ae-frozen": 1}, [0], family="smoke")
