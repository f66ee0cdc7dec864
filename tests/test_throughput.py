"""The throughput script: every row appears, ratios mean what they say, levers do what they are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from gqn_transfer.benchmarks import bare_loop, peer_dm_control, render_levers, throughput
from gqn_transfer.benchmarks.bare_loop import BareLoop, Cost
from gqn_transfer.benchmarks.render_levers import LEVERS, cells, edited_model, paired_ratio
from gqn_transfer.benchmarks.throughput import BARE, SINGLE, VECTOR, Row, share_of_floor, speedup
from gqn_transfer.envs import rendering

REPORT = {
    "task": "reach_site_vision",
    "versions": {"dm-control": "1.0.50", "mujoco": "3.17.0"},
    "settings": [
        {"name": "as shipped", "image_size": 84, "steps_per_second": 12.5},
        {"name": "no shadows", "image_size": 64, "steps_per_second": 200.0},
    ],
}


def lines(table: Table) -> list[list[str]]:
    """The table's body as it is printed wide, one list of cells per row."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    body = [line for line in capture.get().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in body]


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# The script.


def test_a_small_run_prints_every_row_and_how_to_get_a_peer() -> None:
    command = [sys.executable, "-m", "gqn_transfer.benchmarks.throughput", "--steps", "1", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--image-size", "16", "--envs", "1", "2"],
        env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:5]] for line in done.stdout.splitlines() if "│" in line
    ]
    vector = [[VECTOR, obs, n, w] for obs in ("state", "pixels") for n in "12" for w in "12"]
    single = [[SINGLE, obs, "1", "1"] for obs in ("state", "pixels")]
    assert sorted(rows) == sorted([[BARE, "pixels", "1", "1"], *single, *vector])
    assert throughput.NO_PEER in done.stdout
    assert "MuJoCo 4" in done.stdout


def test_the_floor_of_workers_is_as_many_bare_loops() -> None:
    row = Row(VECTOR, envs=16, workers=2)
    rates = {Row(BARE): [100.0, 200.0, 400.0], row: [150.0, 320.0, 680.0]}
    assert share_of_floor(rates, row) == pytest.approx(0.8)  # 0.75, 0.80, 0.85


def test_an_episode_has_no_floor_of_two_workers() -> None:
    row = Row(VECTOR, envs=1, workers=2)
    assert share_of_floor({Row(BARE): [100.0], row: [90.0]}, row) == pytest.approx(0.9)


def test_speedup_is_over_one_worker_in_the_same_round() -> None:
    two, one = Row(VECTOR, envs=4, workers=2), Row(VECTOR, envs=4, workers=1)
    assert speedup({one: [100.0, 50.0, 10.0], two: [190.0, 98.0, 18.0]}, two) == pytest.approx(1.9)


def test_a_slow_round_slows_both_sides_of_a_ratio() -> None:
    assert paired_ratio([80.0, 8.0, 80.0], [100.0, 10.0, 100.0]) == pytest.approx(0.8)


def test_tables_show_ratios_where_they_mean_something() -> None:
    rows = throughput.main_rows(64, [4])
    rates = {row: [200.0 if row.workers == 2 else 100.0] for row in rows}
    shown = {tuple(cells[:4]): cells[4:] for cells in lines(throughput.main_table(rates, "Reach-v0"))}
    assert shown[BARE, "pixels", "1", "1"] == ["100 ±0%", "", ""]
    assert shown[VECTOR, "state", "4", "2"] == ["200 ±0%", "", "2.00"]
    assert shown[VECTOR, "pixels", "4", "2"] == ["200 ±0%", "1.00", "2.00"]


def test_the_first_round_warms_up_and_rows_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def open_meter(row, *_):
        def meter() -> float:
            order.append(row.kind)
            return float(len(order))

        return meter

    monkeypatch.setattr(throughput, "open_meter", open_meter)
    rates = throughput.measure([Row(BARE), Row(SINGLE), Row(BARE)], "Reach-v0", 1, 2)
    assert order == [BARE, SINGLE] * 3
    assert rates == {Row(BARE): [3.0, 5.0], Row(SINGLE): [4.0, 6.0]}


def test_resets_are_timed_as_they_occur() -> None:
    class Episodes:
        """Episodes of three steps."""

        action_space = np.zeros(7)
        steps = resets = 0

        def step(self, _):
            self.steps += 1
            return {}, 0.0, False, self.steps % 3 == 0, {}

        def reset(self):
            self.resets += 1

    env = Episodes()
    assert throughput.seconds_alone(env, 9) > 0
    assert (env.steps, env.resets) == (9, 3)


# The peer.


def test_a_peers_report_becomes_rows_at_equal_image_size() -> None:
    rates = {}
    for size, (alone, together) in {84: (500.0, 1000.0), 64: (800.0, 1600.0)}.items():
        rates |= dict(zip(throughput.peer_rows(size), ([alone], [together]), strict=True))
    table = throughput.peer_table(REPORT, rates, "Reach-v0")
    assert lines(table) == [
        ["as shipped", "84", "12.5", "500", "40.0", "1,000", "80.0"],
        ["no shadows", "64", "200.0", "800", "4.0", "1,600", "8.0"],
    ]
    assert "mujoco 3.17.0" in str(table.title)


def test_the_peer_runs_under_its_interpreter_with_its_own_gl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LP_NUM_THREADS", "7")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    (tmp_path / "report").write_text(json.dumps(REPORT))
    text = f'echo "$@" "$MUJOCO_GL" "$LP_NUM_THREADS." > {tmp_path}/seen; cat {tmp_path}/report'
    assert throughput.run_peer(program(tmp_path / "python", text)) == REPORT
    seen = (tmp_path / "seen").read_text()
    assert seen.split() == ["-I", str(throughput.PEER_SCRIPT), "egl", "."]
    assert throughput.peer_sizes(REPORT) == [64, 84]


def test_a_peer_that_fails_says_how_to_make_one(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "echo no module named dm_control >&2; exit 1")
    with pytest.raises(SystemExit, match=r"(?s)no module named dm_control.*pip install dm-control"):
        throughput.run_peer(python)


def test_the_peers_figures_are_of_the_image_size_that_they_name() -> None:
    setting = peer_dm_control.PeerSetting("small", 64, plain=True)
    joints = np.zeros((1, 6))
    peer_dm_control.check_image({"camera": np.zeros((1, 64, 64, 3), np.uint8), "joints": joints}, setting)
    with pytest.raises(ValueError, match="expected one of 64"):
        peer_dm_control.check_image({"camera": np.zeros((84, 84, 3), np.uint8), "joints": joints}, setting)


# The bare loop and its levers.


def test_a_bare_loop_moves_the_arm_and_times_both_halves() -> None:
    loop = BareLoop("Reach-v0", image_size=16)
    start = loop._starts[0][0].copy()
    cost = loop.cost(8)
    moved = np.abs(loop._data.qpos - start)
    loop.close()
    assert min(cost) > 0
    assert cost.steps_per_second() == pytest.approx(1 / sum(cost))
    assert moved[:6].max() > 0.05


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("28 slices", "vis.quality.numslices", 28),
        ("4 stacks", "vis.quality.numstacks", 4),
        ("1 quad a box side", "vis.quality.numquads", 1),
        ("shadow map of 256", "vis.quality.shadowsize", 256),
        ("multisampling 4", "vis.quality.offsamples", 4),
    ],
)
def test_a_lever_changes_the_quality_it_names(name: str, field: str, value: int) -> None:
    found: object = edited_model("reach.xml", lever(name).edit)
    for part in field.split("."):
        found = getattr(found, part)
    assert found == value


def lever(name: str) -> render_levers.Lever:
    return next(lever for lever in LEVERS if lever.name == name)


@pytest.mark.parametrize(("name", "gone"), [("no walls", "wall_"), ("no blob shadows", "shadow_")])
def test_a_lever_removes_the_geoms_it_names(name: str, gone: str) -> None:
    before, after = (geom_names(edited_model("reach.xml", edit)) for edit in (None, lever(name).edit))
    assert before - after == {geom for geom in before if geom.startswith(gone)} != set()
    assert after <= before


def geom_names(model: mujoco.MjModel) -> set[str]:
    return {model.geom(index).name for index in range(model.ngeom)}


def test_only_shadow_levers_cast_shadows() -> None:
    casting = {name for name in ("default scene", "shadow map of 256") if cast(edited(name))}
    assert casting == {"shadow map of 256"}
    assert edited("textured floor").geom("floor").matid != edited("default scene").geom("floor").matid


def edited(name: str) -> mujoco.MjModel:
    return edited_model("reach.xml", lever(name).edit)


def cast(model: mujoco.MjModel) -> bool:
    return bool(model.light_castshadow.any())


def test_every_lever_has_a_row_and_a_missing_gl_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    here = rendering.backend()
    monkeypatch.setattr(render_levers, "PROCESSES", ((here, "1"), ("nothing", "0")))
    monkeypatch.setattr(bare_loop, "WARM_UP", 1)
    rows = {cells[0]: cells[1:] for cells in lines(render_levers.lever_table("Reach-v0", 1, 1))}
    processes = [f"{here.upper()}, LP_NUM_THREADS=1", "NOTHING, LP_NUM_THREADS=0"]
    assert list(rows) == [*(lever.name for lever in LEVERS), *processes]
    assert rows[processes[1]] == ["not installed", "", "", ""]
    assert rows["default scene"][1::2] == ["1.00", "1.00"]
    assert all(float(rows[name][1]) > 0 for name in ("no walls", "128 pixels", processes[0]))


def test_shares_are_of_the_default_scene_in_the_same_round() -> None:
    default, found = [Cost(0.1, 0.1), Cost(0.2, 0.2)], [Cost(0.1, 0.4), Cost(0.2, 0.8)]
    assert cells(found, default) == ["2", "0.25", "2", "0.40"]
    assert cells([None, None], default) == ["not installed"]


def test_a_missing_package_is_a_lever_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(spec: mujoco.MjSpec) -> None:
        raise ImportError("pip install it")

    assert render_levers.open_loop(render_levers.Lever("meshes", absent), "Reach-v0") is None
