"""Cells elsewhere: their files come back as they change, and a lost node costs none of them."""

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gqn_transfer.benchmarks import ray_engine, run_cell
from gqn_transfer.benchmarks.cell_files import cell_folder, failed, finished
from gqn_transfer.benchmarks.cells import Cell, Suite
from gqn_transfer.benchmarks.curves import read_curve
from gqn_transfer.benchmarks.engine import RunOptions, run_suite
from gqn_transfer.benchmarks.provenance import provenance
from gqn_transfer.benchmarks.ray_engine import cell_elsewhere, pack, pack_encoder, unpack
from gqn_transfer.benchmarks.ray_options import RayOptions
from gqn_transfer.benchmarks.run_cell import How
from gqn_transfer.benchmarks.work import Outcome, failure
from gqn_transfer.encoder import Encoder, load_encoder
from gqn_transfer.files import read_json, write_json
from gqn_transfer.tier import Tier, TierConfig, save_tier

CELL = Cell(
    "t", "Reach-v0", "state", "ppo", "fixed", "", 0, 1000,
    (("batch_size", 50), ("episodes", 2), ("evaluate_every", 250), ("num_envs", 2)),
)  # fmt: skip


def figures(place: Path) -> list[list[float]]:
    return [column.tolist() for column in read_curve(place / "curve.csv")[:-1]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole") / "cell"
    run_cell.run_cell(CELL, place, None)
    return place


def test_files_come_back_in_order_and_make_the_same_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "INTERVAL", 0.05)
    news = list(cell_elsewhere(tuple(CELL), {}, None, How()))
    assert len(news) > 1
    assert "done.json" not in news[0]
    for files in news:
        unpack(files, tmp_path)
        weights = [path.name for path in (tmp_path / "agent").glob("weights-*")]
        assert len(weights) <= 1
    assert figures(tmp_path) == figures(whole)
    assert finished(tmp_path)
    assert pack(tmp_path)["agent/agent.json"] == pack(whole)["agent/agent.json"]


def test_it_goes_on_elsewhere_from_what_came_back(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "INTERVAL", 0.05)
    for files in cell_elsewhere(tuple(CELL), {}, None, How()):
        if not (tmp_path / "agent/agent.json").exists():  # what comes after that is lost
            unpack(files, tmp_path)
    for files in cell_elsewhere(tuple(CELL), pack(tmp_path), None, How()):
        unpack(files, tmp_path)
    assert figures(tmp_path) == figures(whole)
    assert read_json(tmp_path / "config.json")["resumed_at"]


def test_an_agent_whose_weights_are_being_replaced_is_not_sent(whole: Path, tmp_path: Path) -> None:
    unpack(pack(whole), tmp_path)
    (weights,) = (tmp_path / "agent").glob("weights-*")
    weights.unlink()
    assert set(pack(tmp_path)) == {"config.json", "curve.csv", "done.json"}


def test_an_agent_that_is_saved_between_two_looks_is_sent_whole_or_not_at_all(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that was read is the one that travels, with the weights that it names."""
    unpack(pack(whole), tmp_path)
    read = ray_engine._file

    def saved_meanwhile(place: Path, name: str) -> dict[str, bytes]:
        found = read(place, name)
        if name == ray_engine.RECORD:
            (weights,) = (place / "agent").glob("weights-*")
            weights.rename(weights.with_name("weights-new.safetensors"))
            write_json(place / name, {"weights": "weights-new.safetensors"})
        return found

    monkeypatch.setattr(ray_engine, "_file", saved_meanwhile)
    assert set(pack(tmp_path)) == {"config.json", "curve.csv", "done.json"}


def test_what_goes_wrong_around_a_cell_is_not_taken_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(ray_engine, "run_cell", full)
    monkeypatch.setattr(ray_engine, "INTERVAL", 0.05)
    with pytest.raises(OSError, match="No space left"):
        list(cell_elsewhere(tuple(CELL), {}, None, How()))


def test_a_node_with_other_versions_is_refused() -> None:
    facts = provenance()
    facts["versions"] = facts["versions"] | {"mujoco": "1.2.3", "revision": "another, of the same sources"}
    with pytest.raises(ValueError, match=r"this node has mujoco \S+ instead of 1\.2\.3: install"):
        list(cell_elsewhere(tuple(CELL), {}, None, How(provenance=facts)))


def test_the_machine_is_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "INTERVAL", 0.05)
    facts = provenance() | {"machine": {"processor": "the driver's"}, "command": "gqn-bench run"}
    for files in cell_elsewhere(tuple(CELL._replace(steps=250)), {}, None, How(provenance=facts)):
        unpack(files, tmp_path)
    config = read_json(tmp_path / "config.json")
    assert config["machine"] == provenance()["machine"]
    assert config["command"] == "gqn-bench run"


def test_a_tier_travels_with_what_it_stands_on(encoder: Encoder, trained_run: Path, tmp_path: Path) -> None:
    tier = Tier(encoder.features_dim, TierConfig(size=4))
    save_tier(tmp_path / "tier", trained_run / "encoder", tier, {}, {"frames": 7})
    unpack(pack_encoder(tmp_path / "tier"), tmp_path / "elsewhere")
    assert load_encoder(tmp_path / "elsewhere").fingerprint == load_encoder(tmp_path / "tier").fingerprint


class StoppedElsewhere(ray_engine.RayCells):
    """A cluster whose cells stop before their first evaluation."""

    def __init__(self) -> None:
        self.remote = SimpleNamespace(remote=lambda *_: iter(()))
        self.running, self.is_cancelled = {}, False
        self.ray = SimpleNamespace(exceptions=SimpleNamespace(RayError=OSError))


def test_a_cell_that_is_tried_again_and_stopped_has_not_failed(tmp_path: Path) -> None:
    place = cell_folder(tmp_path, CELL)
    write_json(place / "done.json", {"failed": "a traceback"})
    assert StoppedElsewhere()(CELL, tmp_path, None, How(failure=failure(place))) is Outcome.STOPPED
    assert not failed(place)


def test_without_ray_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"the engine `ray` needs Ray: pip install 'gqn-transfer\[ray\]'"):
        ray_engine.RayCells(RayOptions())


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of a head without processors and two nodes of one each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_node_is_lost_and_no_cell(cluster: Any, whole: Path, tmp_path: Path) -> None:
    made, nodes = cluster
    cells = tuple(CELL._replace(seed=seed, steps=4000) for seed in range(5))

    def lose_a_node() -> None:
        while len(list(tmp_path.glob("cells/*/agent/agent.json"))) < len(nodes):  # a cell of each node
            time.sleep(0.2)
        made.remove_node(nodes[0], allow_graceful=False)

    threading.Thread(target=lose_a_node, daemon=True).start()
    options = RunOptions(ray=RayOptions(address=made.address))
    shown = io.StringIO()
    progress = run_suite(Suite("five", cells), tmp_path, options, Console(file=shown, width=200))
    assert progress.count("done") == 5
    for cell in cells:
        assert shown.getvalue().count(f"{cell.name} ") == 1, "a cell ended twice"
    resumed = [read_json(cell_folder(tmp_path, cell) / "config.json").get("resumed_at") for cell in cells]
    assert any(resumed)
    for cell in cells:
        assert read_curve(cell_folder(tmp_path, cell) / "curve.csv").steps.tolist() == list(
            range(0, 4001, 250)
        )
