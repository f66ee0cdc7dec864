"""What a result was made with: versions, machine, renderer, command, revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import shlex
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gqn_transfer.envs.rendering import renderer_line
from gqn_transfer.limits import usable_cores
from gqn_transfer.precision import has_fast_bf16

LIBRARIES = ("gqn-transfer", "torch", "mujoco", "gymnasium", "stable-baselines3", "numpy", "safetensors")

DECISIVE = (
    "gqn_transfer", "gqn_transfer.envs", "gqn_transfer.agents", "gqn_transfer.benchmarks.run_cell",
    "gqn_transfer.benchmarks.evaluation",
)  # fmt: skip
"""Packages and modules whose code decides what a cell gives."""
STAGES = tuple(f"gqn_transfer.benchmarks.source_{part}" for part in ("config", "encoder", "stage"))
"""Modules that decide, beside those, what a source stage gives."""


def provenance() -> dict[str, Any]:
    """Command, revision, versions and machine of this process."""
    code = {"sources": sources_digest(), "stages": sources_digest(STAGES)}
    return {
        "command": command_line(),
        "versions": library_versions() | {"revision": git_revision()} | code,
        "machine": machine() | {"renderer": renderer_line()},
    }


def library_versions() -> dict[str, str]:
    """Name -> version of Python and of the libraries that results depend on."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in LIBRARIES
    }


def machine() -> dict[str, str]:
    """Processor, cores, whether it computes in bf16, and operating system, without the host's name."""
    return {
        "processor": _processor(),
        "cores": str(usable_cores()),
        "bf16": "yes" if has_fast_bf16(torch.device("cpu")) else "no",
        "system": f"{platform.system()} {platform.machine()}",
    }


def command_line() -> str:
    """The command that is running, as one would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def sources_digest(packages: Sequence[str] = ()) -> str:
    """16 hex digits of the code that decides what a cell gives, and of the arm's files; not of the code that
    reports it. packages: instead of `DECISIVE`."""
    digest = hashlib.sha256()
    for package in packages or DECISIVE:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        place = Path(spec.origin)
        parts = sorted(place.parent.glob("*.py")) if place.name == "__init__.py" else [place]
        for path in [*parts, *sorted(place.parent.glob("assets/*.xml"))]:
            digest.update(f"{package} {path.name} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def changes(before: Mapping[str, str], now: Mapping[str, str], beside: Collection[str] = ()) -> list[str]:
    """Names of what has another version now; the revision aside, which changes with every commit, and what
    stands in `beside`."""
    compared = {*before, *now} - {"revision", *beside}
    return [name for name in sorted(compared) if before.get(name) != now.get(name)]


def git_revision() -> str:
    """Short revision of the checkout this package was installed from, "+changes" if dirty, or ""."""
    try:
        return _git("rev-parse", "--short", "HEAD") + (
            "+changes" if _git("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    here = Path(__file__).resolve().parent
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
