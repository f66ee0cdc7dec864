"""The layout that pyproject.toml promises, the one-way direction of imports, and no unpickling.

The source checks are functions from (text, file) to a list of complaints, so that each can be shown
to have teeth on bad text before it is trusted on the real files.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePath

import pytest

import gqn_transfer

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
PACKAGES = {
    "gqn_transfer": "gqn_transfer",
    "envs": "gqn_transfer.envs",
    "agents": "gqn_transfer.agents",
    "benchmarks": "gqn_transfer.benchmarks",
}
"""Import name of each folder."""

MAY_IMPORT = {
    "gqn_transfer": {"gqn_transfer"},
    "envs": {"envs"},
    "agents": {"agents", "gqn_transfer"},
    "benchmarks": {"benchmarks", "agents", "envs", "gqn_transfer"},
}
MAY_NOT_IMPORT = {
    "gqn_transfer": {"mujoco", "gymnasium", "stable_baselines3", "dm_control"},
    "envs": {"torch", "stable_baselines3", "dm_control"},
    "agents": {"mujoco", "dm_control"},
    "benchmarks": {"dm_control"},
}
FOREIGN_FILES = {"benchmarks/peer_dm_control.py"}
"""Run by another interpreter, whose MuJoCo dm_control works with."""

UNPICKLERS = re.compile(
    r"(pickle|_pickle|cloudpickle|dill|joblib)\.(load|loads|Unpickler)"
    r"|stable_baselines3\..*(load_from_zip_file|load_from_pkl|(A2C|PPO|SAC|TD3|VecNormalize)\.load)"
)


def sources() -> list[Path]:
    return sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))


def imported_names(tree: ast.AST, package: str) -> Iterator[tuple[ast.AST, str, bool]]:
    """Every import at any depth: node, absolute dotted name, whether it was written relative.

    `from a import b` gives `a.b`, since b may be a module.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node, alias.name, False
            case ast.ImportFrom():
                base = [node.module] if node.module else []
                if node.level:
                    parents = package.split(".")
                    base = parents[: len(parents) - node.level + 1] + base
                for alias in node.names:
                    yield node, ".".join([*base, alias.name]), node.level > 0
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(function).split(".")[-1] in ("import_module", "__import__"):
                    yield node, name, False


def folder_of(name: str) -> str | None:
    """The folder that an imported name lies in, None for other people's packages."""
    top, _, rest = name.partition(".")
    second = rest.partition(".")[0]
    if top == "gqn_transfer":
        return second if second in PACKAGES and second != top else top
    return top if top in PACKAGES else None


def import_faults(text: str, file: str) -> list[str]:
    """Imports in `file` (a path from the root) that the layout forbids."""
    folder = PurePath(file).parts[0]
    faults = []
    for node, name, relative in imported_names(ast.parse(text), PACKAGES[folder]):
        target = folder_of(name)
        if target is None:
            if name.split(".")[0] in MAY_NOT_IMPORT[folder] and file not in FOREIGN_FILES:
                faults.append((node, f"{folder} may not import {name}"))
            if f"{name}.".startswith("matplotlib.pyplot."):
                faults.append((node, f"figures are made without {name}, which keeps them alive"))
        elif target not in MAY_IMPORT[folder]:
            faults.append((node, f"{folder} may not import {name}"))
        elif not name.startswith("gqn_transfer"):
            faults.append((node, f"{name} is imported as gqn_transfer.{name}"))
        elif relative and target != folder:
            faults.append((node, f"{name} is in another folder: import it by its full name"))
    return [f"{file}:{node.lineno}: {fault}" for node, fault in faults]


def local_names(tree: ast.AST) -> dict[str, str]:
    """What each name bound by an import stands for, where the two differ."""
    names = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {alias.asname: alias.name for alias in node.names if alias.asname}
            case ast.ImportFrom(level=0):
                names |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
    return names


def unpickling_faults(text: str, file: str) -> list[str]:
    """Reads that could run code from a file."""
    tree = ast.parse(text)
    stands_for = local_names(tree)
    faults = []
    safe = set()
    for node in ast.walk(tree):  # breadth first: a call comes before the name of its function
        match node:
            case ast.Call():
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if given.get("weights_only") == "True":
                    safe.add(node.func)
                if given.get("allow_pickle", "False") != "False":
                    faults.append((node, "allow_pickle"))
            case ast.Name() | ast.Attribute():
                head, dot, rest = ast.unparse(node).partition(".")
                name = stands_for.get(head, head) + dot + rest
                if UNPICKLERS.fullmatch(name):
                    faults.append((node, name))
                elif name == "torch.load" and node not in safe:
                    faults.append((node, "torch.load without weights_only=True"))
    return [f"{file}:{node.lineno}: unpickles: {fault}" for node, fault in faults]


def run_python(program: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("check", [import_faults, unpickling_faults])
def test_sources_keep_the_rules(check):
    files = sources()
    assert {path.relative_to(ROOT).parts[0] for path in files} == set(PACKAGES)
    faults = [fault for path in files for fault in check(path.read_text(), str(path.relative_to(ROOT)))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("agents/bad.py", "import gqn_transfer.envs"),
        ("agents/bad.py", "from gqn_transfer import envs"),
        ("agents/bad.py", "from gqn_transfer.envs.cameras import ring"),
        ("agents/bad.py", "from .. import benchmarks"),
        ("agents/bad.py", "from ..envs import cameras"),
        ("agents/bad.py", "def late():\n    from ..benchmarks.records import read"),
        ("agents/bad.py", "from ..model import GQN"),
        ("agents/bad.py", "import mujoco"),
        ("agents/bad.py", "importlib.import_module('gqn_transfer.envs')"),
        ("envs/bad.py", "import envs.cameras"),
        ("envs/bad.py", "from gqn_transfer import __version__"),
        ("envs/bad.py", "from ..model import GQN"),
        ("envs/bad.py", "if TYPE_CHECKING:\n    import torch.nn as nn"),
        ("envs/bad.py", "from stable_baselines3.common import vec_env"),
        ("gqn_transfer/bad.py", "from . import agents"),
        ("gqn_transfer/bad.py", "from .benchmarks.cli import main"),
        ("gqn_transfer/bad.py", "class Lazy:\n    def load(self):\n        import mujoco"),
        ("benchmarks/bad.py", "from matplotlib import pyplot"),
        ("benchmarks/bad.py", "import matplotlib.pyplot as plt"),
        ("benchmarks/bad.py", "from matplotlib.pyplot import subplots"),
    ],
)
def test_import_check_reports(file, text):
    assert import_faults(text, file), text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("agents/good.py", "from gqn_transfer import load_encoder"),
        ("agents/good.py", "from .config import METHODS\nimport torch"),
        ("benchmarks/good.py", "from gqn_transfer.envs import ENV_IDS\nimport mujoco"),
        ("envs/good.py", "from . import cameras\nimport mujoco, gymnasium"),
        ("gqn_transfer/good.py", "import torch\nfrom .model import GQN"),
    ],
)
def test_import_check_accepts(file, text):
    assert not import_faults(text, file)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.load(file)",
        "import cloudpickle as cp\ncp.loads(text)",
        "from pickle import Unpickler as U\nU(file)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load\nreader = load",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "from stable_baselines3 import PPO\nPPO.load(path)",
    ],
)
def test_unpickling_check_reports(text):
    assert unpickling_faults(text, "agents/bad.py"), text


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path)\nnp.load(path, mmap_mode='r', allow_pickle=False)",
        "import json\njson.load(file)",
    ],
)
def test_unpickling_check_accepts(text):
    assert not unpickling_faults(text, "agents/good.py")


def test_pyproject_lists_the_folders():
    assert SETUPTOOLS["package-dir"] == {name: folder for folder, name in PACKAGES.items()}
    assert set(SETUPTOOLS["packages"]) == set(PACKAGES.values())
    elsewhere = {"tests", "examples"}
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - elsewhere
    assert found == set(PACKAGES)
    nested = [str(path) for path in sources() if path.parent.parent != ROOT]
    assert not nested, f"no sub-packages in the mapped folders: {nested}"


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_data_file_is_packaged(folder):
    files = [
        path.relative_to(ROOT / folder)
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    globs = SETUPTOOLS["package-data"].get(PACKAGES[folder], [])
    left_out = [str(file) for file in files if not any(file.match(glob) for glob in globs)]
    assert not left_out, f"add these to package-data in pyproject.toml: {left_out}"


@pytest.mark.parametrize("folder", ["envs", "agents", "benchmarks"])
def test_bare_folder_import_names_the_cure(folder):
    done = run_python(f"import {folder}", cwd=ROOT)
    assert done.returncode != 0
    assert f"ImportError: import gqn_transfer.{folder}" in done.stderr


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        (
            "import gqn_transfer",
            {"torch", "stable_baselines3", "mujoco", "gymnasium", "matplotlib"},
        ),
        ("import gqn_transfer.envs", {"torch", "stable_baselines3", "matplotlib"}),
    ],
)
def test_import_stays_light_and_silent(program, absent, tmp_path):
    done = run_python(f"{program}; import sys; print(*sys.modules)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not absent & set(done.stdout.split())


def test_entry_points_resolve():
    project = PYPROJECT["project"]
    declared = {("console_scripts", *item) for item in project["scripts"].items()}
    for group, entries in project.get("entry-points", {}).items():
        declared |= {(group, *item) for item in entries.items()}
    installed = metadata.distribution("gqn-transfer").entry_points
    found = {(entry.group, entry.name, entry.value) for entry in installed}
    assert found == declared, "the installed package is older than pyproject.toml: make setup"
    for entry in installed:
        assert callable(entry.load()), entry


def test_version_has_one_source():
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "gqn_transfer.__version__"}
    literals = [
        str(path.relative_to(ROOT))
        for path in sources()
        if re.search(r"^__version__\b.*=", path.read_text(), re.MULTILINE)
    ]
    assert literals == ["gqn_transfer/__init__.py"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gqn_transfer.__version__)


def test_public_names_exist():
    missing = []
    for path in sources():
        if path.name == "__main__.py":
            continue
        name = f"{PACKAGES[path.parent.name]}.{path.stem}".removesuffix(".__init__")
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [])
        missing += [f"{name}.{entry}" for entry in public if not hasattr(module, entry)]
        missing += [f"{name}.{entry} twice" for entry in set(public) if public.count(entry) > 1]
    assert not missing
