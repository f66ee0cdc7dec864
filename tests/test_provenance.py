"""What is said of the code: another digest for what decides results, the same for all else."""

import sys
from pathlib import Path

import pytest

from gqn_transfer.benchmarks import provenance


def test_the_digest_is_of_what_decides_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "decides"
    (package / "assets").mkdir(parents=True)
    for name in ("__init__.py", "arm.py", "report.md", "assets/arm.xml"):
        (package / name).write_text("1")
    (tmp_path / "alone.py").write_text("1")
    (tmp_path / "beside.py").write_text("1")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(provenance, "DECISIVE", ("decides", "alone"))
    before = provenance.sources_digest()
    for name in ("decides/report.md", "beside.py"):
        (tmp_path / name).write_text("2")
        assert provenance.sources_digest() == before
    for name in ("decides/arm.py", "decides/assets/arm.xml", "alone.py"):
        (tmp_path / name).write_text("2")
        assert provenance.sources_digest() != before
        before = provenance.sources_digest()


def test_what_decides_exists() -> None:
    versions = provenance.provenance()["versions"]
    assert len(versions["sources"]) == len(versions["stages"]) == 16
    assert versions["sources"] != versions["stages"]
    assert set(provenance.DECISIVE) >= {"gqn_transfer", "gqn_transfer.envs", "gqn_transfer.agents"}
