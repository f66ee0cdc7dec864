"""Suites of your own: a TOML file of grids and cells, or a list of cells in a Python file."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gqn_transfer.agents.knobs import Knobs, split
from gqn_transfer.agents.methods import combination
from gqn_transfer.choices import refuse_unknown
from gqn_transfer.envs.cameras import CAMERA_PATHS
from gqn_transfer.envs.looks import RANDOMIZE
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.modules import module_of

from .cells import OPTION_KEYS, RUN_OPTIONS, Cell, Suite
from .grids import grid
from .search_space import DEFAULTS
from .suites import suite_named

FILE_KEYS = ("description", "grid", "cell")
"""Of a suite's file: a line for people, and tables of cells."""
SWITCHES = {field.name: field.default for field in fields(Knobs) if isinstance(field.default, bool)}
"""Settings of agents that are on or off."""
GRID_KEYS = (
    *(name for name in inspect.signature(grid).parameters if name not in ("suite", "options")), "options"
)  # fmt: skip
EXAMPLES = {"methods": "methods = { state = 100_000 }", "options": "options = { head_width = 512 }"}
"""What is a table of names and values."""
CELL_KEYS = tuple(name for name in Cell._fields if name != "suite")


def find_suite(name: str) -> Suite:
    """The suite of a name of `SUITES`, of a TOML file, or of FILE.py:NAME, a list of `Cell`s."""
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _checked(Suite(f"cells of {name}", tuple(_list_in(Path(path), attribute))), name)
    return _checked(_read_toml(Path(name)), name) if name.endswith(".toml") else suite_named(name)


def suite_title(name: str) -> str:
    """What its folder is called: the name, or that of its file."""
    return Path(name.rpartition(":")[0] or name).stem


def _read_toml(path: Path) -> Suite:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    _refuse_unknown(path, "keys", content, FILE_KEYS)
    for table in (*content.get("grid", []), *content.get("cell", [])):
        for key in ("methods", "options"):
            if not isinstance(table.get(key, {}), Mapping):
                raise ValueError(f"{path}: {key}={table[key]!r}: expected a table, as in {EXAMPLES[key]}")
    cells: list[Cell] = []
    for table in content.get("grid", []):
        _refuse_unknown(path, "keys of a [[grid]]", table, GRID_KEYS)
        cells += _built(path, lambda table=table: _grid_of(path, table))
    for table in content.get("cell", []):
        _refuse_unknown(path, "keys of a [[cell]]", table, CELL_KEYS)
        cells.append(
            _built(path, lambda table=table: Cell.from_json({"suite": path.stem, "options": {}} | table))
        )
    return Suite(content.get("description", str(path)), tuple(cells))


def _grid_of(path: Path, table: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The cells of one [[grid]]."""
    named = {key: value for key, value in table.items() if key != "options"}
    return grid(path.stem, **named, **table.get("options", {}))


def _built(path: Path, make: Any) -> Any:
    try:
        return make()
    except TypeError as error:  # a key is missing, or of another type
        raise ValueError(f"{path}: {error}") from error


def _list_in(path: Path, attribute: str) -> Iterable[Cell]:
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    cells = getattr(module_of(path), attribute, None)
    if not isinstance(cells, list | tuple) or not all(isinstance(cell, Cell) for cell in cells):
        raise ValueError(f"{path} has no list {attribute!r} of gqn_transfer.benchmarks.cells.Cell")
    return cells


def _checked(suite: Suite, name: str) -> Suite:
    """The suite, if each of its cells can be run; ValueError names the first that cannot."""
    if not suite.cells:
        raise ValueError(f"{name} has no cells: give it a [[grid]] or a [[cell]]")
    for cell in suite.cells:
        _refuse_other_types(name, cell)
    if len(set(suite.cells)) < len(suite.cells):
        raise ValueError(f"{name}: the same cell is listed twice")
    for cell in suite.cells:
        _refuse_unknown(name, "options", dict(cell.options), OPTION_KEYS)
        _refuse_unknown(name, "task", [cell.task], tuple(TASKS))
        _refuse_unknown(name, "camera", [cell.camera], tuple(CAMERA_PATHS))
        _refuse_unknown(name, "randomize", [cell.run_options["randomize"]], RANDOMIZE)
        _refuse_settings(name, cell)
        if combination(cell.method, cell.algo).needs_encoder != bool(cell.encoder):
            needs = "needs an encoder" if not cell.encoder else f"has no encoder, {cell.encoder!r} was given"
            raise ValueError(f"{name}: method {cell.method!r} {needs}")
    return suite


def _refuse_settings(where: str, cell: Cell) -> None:
    """ValueError for what its method's agents do not have, or not in such a size."""
    try:
        split(cell.method, cell.agent_options)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for key, value in cell.run_options.items():
        if type(value) is int and value < 1:
            raise ValueError(f"{where}: option {key}={value}: expected at least 1")


def _refuse_other_types(where: str, cell: Cell) -> None:
    """ValueError if a field or an option is not of the kind that it has to be."""
    for field in ("suite", "task", "method", "algo", "camera", "encoder"):
        if not isinstance(getattr(cell, field), str):
            raise ValueError(f"{where}: {field}={getattr(cell, field)!r}: expected text")
    for field, least in (("seed", 0), ("steps", 1)):
        value = getattr(cell, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{where}: {field}={value!r}: expected a whole number, at least {least}")
    for key, value in cell.options:
        wanted = type(_example(key)) if key in RUN_OPTIONS or key in SWITCHES else (int, float, str)
        if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
            raise ValueError(f"{where}: option {key}={value!r}: expected one value like {_example(key)!r}")


def _example(key: str) -> Any:
    return RUN_OPTIONS.get(key, SWITCHES.get(key, DEFAULTS.get(key, 1)))


def _refuse_unknown(
    where: Path | str, what: str, found: Iterable[str] | Mapping[str, Any], known: tuple[str, ...]
) -> None:
    try:
        refuse_unknown(found, known, what)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
