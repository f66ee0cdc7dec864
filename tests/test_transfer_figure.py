"""Transfer in the report: groups by their source tasks, a figure, and nothing where there is none."""

from pathlib import Path

import numpy as np

from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.protocol import Panel, panels_of
from gqn_transfer.benchmarks.records import CurveRow, append_row, read_suite
from gqn_transfer.benchmarks.report import write_report
from gqn_transfer.benchmarks.stages import CORE
from gqn_transfer.benchmarks.transfer import WAYS, lines_of
from gqn_transfer.benchmarks.transfer_figure import transfer_figure
from gqn_transfer.benchmarks.transfer_suites import TRANSFER_SUITES
from gqn_transfer.files import write_json

BUDGET, EVERY = 100_000, 10_000


def reached(cell: Cell) -> int:
    """Steps after which a made-up agent succeeds."""
    if cell.method in ("state", "pixels"):
        return 20_000 if cell.method == "state" else BUDGET + 1
    tasks = 3 if "pose" in cell.encoder else 1 if "reach" in cell.encoder else 0
    blind = "blind" in cell.encoder
    return 60_000 - 10_000 * tasks + 60_000 * blind + 10_000 * (cell.seed == 31)


def suite(folder: Path, name: str) -> list[Panel]:
    for cell in TRANSFER_SUITES[name].cells:
        place = folder / "cells" / cell.name
        write_json(place / "config.json", {"cell": cell.as_json})
        for steps in range(0, BUDGET + 1, EVERY):
            append_row(place / "curve.csv", CurveRow(steps, float(steps >= reached(cell)), 1.0, 0.0, 50, 1.0))
        write_json(place / "done.json", {"env_steps": BUDGET})
    return panels_of(read_suite(folder))


def test_groups_stand_by_their_source_tasks(tmp_path: Path) -> None:
    point, push = suite(tmp_path, "tasks-small")
    assert (point.task, push.task) == ("Point-v0", "Push-v0")
    rendering, blind = lines_of(point)
    assert (rendering.way, rendering.counts) == (WAYS[0], (0, 1, 3))
    assert (blind.way, blind.counts) == (WAYS[1], (0, 3))
    assert rendering.groups[0] is blind.groups[0]
    assert rendering.groups[0].cell.encoder == CORE
    medians = [float(np.median(group.times(0.5))) for group in rendering.groups]
    assert medians == [70_000, 60_000, 40_000]
    assert [len(group.finished) for group in rendering.groups] == [3, 3, 3]


def test_controls_of_other_sizes_are_no_point_of_a_line(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tiers-small")
    encoder, tier = lines_of(point)
    assert (encoder.way, encoder.counts) == (WAYS[0], (0, 3))
    assert (tier.way, tier.counts) == (WAYS[2], (0, 1, 3))
    options = {
        group.cell.agent_options.get("head_depth") for line in (encoder, tier) for group in line.groups
    }
    assert options == {None}
    assert "several encoders" not in write_report(tmp_path).read_text()


def test_the_figure_shows_every_seed_and_what_is_censored(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tasks-small")
    figure = transfer_figure(point, np.random.default_rng(0))
    assert figure is not None
    left, right = figure.axes
    points = np.concatenate([each.get_offsets() for each in left.collections])
    assert len(points) == (3 + 2) * 3
    hollow = [each for each in left.collections if (each.get_facecolors()[:, :3] == 1).all(1).any()]
    assert len(hollow) == 1, "three tasks without rendering are not learned from within the budget"
    assert {text.get_text() for text in right.texts} >= {WAYS[0], WAYS[1], "pixels"}
    page = write_report(tmp_path)
    assert (page.parent / "point-v0-fixed-ppo-transfer.svg").exists()


def test_without_source_stages_there_is_no_figure(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tasks-small")
    groups = tuple(group for group in point.groups if "{seed}" not in group.cell.encoder)
    alone = Panel(point.task, point.camera, point.algo, point.randomize, groups, point.oracle)
    assert transfer_figure(alone, np.random.default_rng(0)) is None
