"""Suites of one's own: files that are read, mistakes that are named, and what a command line changes."""

import re
import sys
from pathlib import Path

import pytest

from gqn_transfer.benchmarks.cells import Cell, Suite
from gqn_transfer.benchmarks.grids import grid
from gqn_transfer.benchmarks.overrides import Overrides, overridden
from gqn_transfer.benchmarks.suite_files import CELL_KEYS, GRID_KEYS, find_suite, suite_title
from gqn_transfer.benchmarks.suites import SUITES

DOCUMENT = Path(__file__).parents[1] / "docs/suites.md"
GRID = """
description = "mine"

[[grid]]
tasks = ["Reach-v0", "Grasp-v0"]
cameras = ["fixed"]
methods = { state = 1000, gqn-frozen = 2000 }
seeds = [0, 1]
family = "small"

[grid.options]
learning_rate = 1e-3
"""
CELL = """
[[cell]]
task = "Push-v0"
method = "pixels-aug"
algo = "sac"
camera = "moving"
encoder = ""
seed = 4
steps = 500
options = { views = 3 }
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_grids_and_cells_of_a_file(tmp_path: Path) -> None:
    suite = find_suite(written(tmp_path, GRID + CELL))
    assert suite.description == "mine"
    expected = grid(
        "mine", ["Reach-v0", "Grasp-v0"], ["fixed"], {"state": 1000, "gqn-frozen": 2000}, [0, 1], "small",
        learning_rate=1e-3,
    )  # fmt: skip
    one = Cell("mine", "Push-v0", "pixels-aug", "sac", "moving", "", 4, 500, (("views", 3),))
    assert suite.cells == (*expected, one)


def test_the_documents_example(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    cells = find_suite(written(tmp_path, block)).cells
    assert len(cells) == 2 * 2 * 3 + 1
    assert {dict(cell.options).get("head_width") for cell in cells[:-1]} == {512}


def test_a_list_in_a_python_file(tmp_path: Path) -> None:
    text = (
        "from gqn_transfer.benchmarks.grids import grid\n"
        "CELLS = grid('x', ['Reach-v0'], ['fixed'], {'state': 100}, [0])\n"
    )
    assert len(find_suite(written(tmp_path, text, "mine.py") + ":CELLS").cells) == 1
    with pytest.raises(ValueError, match="has no list 'GRID' of"):
        find_suite(str(tmp_path / "mine.py") + ":GRID")
    with pytest.raises(ValueError, match=r"nowhere\.py does not exist"):
        find_suite("nowhere.py:CELLS")


def test_a_python_file_may_define_what_it_likes(tmp_path: Path) -> None:
    """Dataclasses look themselves up among the modules."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from gqn_transfer.benchmarks.grids import grid\n"
        "@dataclass\nclass Plan:\n    steps: int\n"
        "CELLS = grid('x', ['Reach-v0'], ['fixed'], {'state': Plan(100).steps}, [0])\n"
    )
    for name in ("mine_with_a_class.py", "json.py"):
        assert len(find_suite(written(tmp_path, text, name) + ":CELLS").cells) == 1
    assert "dumps" in dir(sys.modules["json"]), "a library of the same name stays"


def test_names_are_those_of_the_table() -> None:
    assert find_suite("quick") is SUITES["quick"]
    assert [suite_title(name) for name in ("quick", "a/mine.toml", "a/mine.py:CELLS")] == [
        "quick",
        "mine",
        "mine",
    ]
    with pytest.raises(ValueError, match=r"unknown suite 'quik'; known: smoke, .*or one of your own"):
        find_suite("quik")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[grids]]", "unknown keys grids; known: description, grid, cell"),
        (
            GRID.replace("seeds", "seed"),
            rf"unknown keys of a \[\[grid\]\] seed; known: {', '.join(GRID_KEYS)}",
        ),
        (GRID.replace("learning_rate", "lr"), "unknown options lr; known: episodes"),
        (GRID.replace("Reach-v0", "Reech-v0"), "unknown task Reech-v0; known: Reach-v0"),
        (GRID.replace("fixed", "side"), "unknown camera side; known: fixed, moving, jump"),
        (GRID.replace("gqn-frozen", "gqn"), "unknown method 'gqn'; known: state"),
        (GRID.replace('"small"', '"smal"'), "unknown family 'smal'; known: smoke"),
        (GRID.replace('tasks = ["Reach-v0", "Grasp-v0"]', ""), "missing 1 required .*'tasks'"),
        (CELL.replace("steps = 500", ""), "are not the fields of a cell"),
        (CELL.replace("500", '"500"'), "steps='500': expected a whole number, at least 1"),
        (CELL.replace("500", "0"), "steps=0: expected a whole number, at least 1"),
        (CELL.replace("seed = 4", "seed = true"), "seed=True: expected a whole number"),
        (CELL.replace("views = 3", "views = [1, 2]"), r"option views=\[1, 2\]: expected one value like 1"),
        (CELL.replace("views = 3", 'num_envs = "4"'), "option num_envs='4': expected one value like 16"),
        (
            CELL.replace('encoder = ""', 'encoder = "jaco-small"'),
            "'pixels-aug' has no encoder, 'jaco-small' was",
        ),
        (CELL.replace('"pixels-aug"', '"gqn-frozen"'), "method 'gqn-frozen' needs an encoder"),
        (CELL.replace("task", "tsk"), rf"unknown keys of a \[\[cell\]\] tsk; known: {', '.join(CELL_KEYS)}"),
        (CELL.replace("pixels-aug", "gqn-aux"), "'gqn-aux' does not go with algorithm 'sac'"),
        (CELL.replace("views = 3", "view = 3"), "unknown options view; known: episodes"),
        (CELL.replace("views = 3", 'randomize = "all"'), "unknown randomize all; known: none, colors, full"),
        (CELL.replace("views = 3", "evaluate_every = 0"), "option evaluate_every=0: expected at least 1"),
        (CELL.replace("views = 3", "views = 0"), "views=0: expected at least 1"),
        (CELL.replace("views = 3", "half = true"), "method 'pixels-aug' has no half; it has views"),
        (CELL.replace("views = 3", "half = 1"), "option half=1: expected one value like False"),
        (GRID.replace("learning_rate", "views"), "method 'state' has no views"),
        (
            GRID.replace("{ state = 1000, gqn-frozen = 2000 }", '["state"]'),
            r"methods=\['state'\]: expected a table, as in methods = { state",
        ),
        (
            CELL.replace("{ views = 3 }", "[]"),
            r"options=\[\]: expected a table, as in options = { head_width = 512 }",
        ),
        (CELL + CELL, "the same cell is listed twice"),
        ("description = 'none'", r"has no cells: give it a \[\[grid\]\]"),
        ("grid = ", r"mine\.toml: Invalid value"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        find_suite(written(tmp_path, text))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml: .*No such file"):
        find_suite("nowhere.toml")


SUITE = Suite(
    "two", grid("two", ["Reach-v0", "Grasp-v0"], ["fixed"], {"state": 100, "pixels": 200}, [0, 1])
)  # fmt: skip


def test_overrides_keep_what_they_do_not_name() -> None:
    assert overridden(SUITE, Overrides()) == SUITE
    few = overridden(SUITE, Overrides(tasks=("Grasp-v0",), methods=("pixels",))).cells
    assert few == tuple(c for c in SUITE.cells if (c.task, c.method) == ("Grasp-v0", "pixels"))
    assert {cell.steps for cell in overridden(SUITE, Overrides(steps=7)).cells} == {7}
    budgets = Suite("two", (*SUITE.cells, *(cell._replace(steps=900) for cell in SUITE.cells)))
    assert overridden(budgets, Overrides(steps=7)) == overridden(SUITE, Overrides(steps=7))
    other = overridden(SUITE, Overrides(seeds=(5, 6, 7, 5))).cells
    assert len(other) == 4 * 3
    assert {cell.seed for cell in other} == {5, 6, 7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("Push-v0",)}, "the suite has no task Push-v0; it has Reach-v0, Grasp-v0"),
        ({"methods": ("gqn",)}, "the suite has no method gqn; it has state, pixels"),
        ({"cameras": ("moving",)}, "the suite has no camera moving; it has fixed"),
        ({"steps": 0}, "steps=0: expected at least 1"),
    ],
)
def test_what_is_not_in_the_suite_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overridden(SUITE, Overrides(**changes))
