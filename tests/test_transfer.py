"""Transfer in the report: groups by their source tasks, figure, tables, and nothing where there is none."""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gqn_transfer.benchmarks import convergence, stages
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.contrasts import CONTRASTS, contrasts_of
from gqn_transfer.benchmarks.convergence import likeness_rows
from gqn_transfer.benchmarks.curves import CurveRow, append_row
from gqn_transfer.benchmarks.encoder_records import EncoderRecord, read_encoders
from gqn_transfer.benchmarks.findings import findings_of
from gqn_transfer.benchmarks.grids import grid
from gqn_transfer.benchmarks.groups import Panel, panels_of
from gqn_transfer.benchmarks.headlines import suite_headline
from gqn_transfer.benchmarks.protocol import Comparison
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.benchmarks.report import write_report
from gqn_transfer.benchmarks.size_figure import size_figure
from gqn_transfer.benchmarks.sizes import size_rows, sized
from gqn_transfer.benchmarks.sources import read_sources, source_rows, turn_rows
from gqn_transfer.benchmarks.stages import CORE, SEEDS, SOURCES, STEPS
from gqn_transfer.benchmarks.statistics import Estimate, Ratio
from gqn_transfer.benchmarks.summary import analyse
from gqn_transfer.benchmarks.transfer import WAYS, lines_of
from gqn_transfer.benchmarks.transfer_figure import transfer_figure
from gqn_transfer.benchmarks.transfer_suites import EQUAL_WIDTH, TRANSFER_SUITES
from gqn_transfer.benchmarks.transfer_summary import summarise_transfer
from gqn_transfer.benchmarks.tuned import tuned_settings
from gqn_transfer.files import write_json, write_text

BUDGET, EVERY = 100_000, 10_000


def reached(cell: Cell) -> int:
    """Steps after which a made-up agent succeeds."""
    if cell.method in ("state", "pixels", "pixels-aug"):
        return 20_000 if cell.method == "state" else BUDGET + 1
    tasks = 3 if "pose" in cell.encoder else 1 if "reach" in cell.encoder else 0
    late = 60_000 * ("blind" in cell.encoder) + 10_000 * (cell.seed == 31)
    return 60_000 - 10_000 * tasks + late


def suite(folder: Path, name: str) -> list[Panel]:
    write_cells(folder, TRANSFER_SUITES[name].cells)
    return panels_of(read_suite(folder))


def write_cells(folder: Path, cells: Iterable[Cell]) -> None:
    for cell in cells:
        place = folder / "cells" / cell.name
        write_json(place / "config.json", {"cell": cell.as_json})
        for steps in range(0, BUDGET + 1, EVERY):
            append_row(place / "curve.csv", CurveRow(steps, float(steps >= reached(cell)), 1.0, 0.0, 50, 1.0))
        write_json(place / "done.json", {"env_steps": BUDGET})


def test_groups_stand_by_their_source_tasks(tmp_path: Path) -> None:
    point, push = suite(tmp_path, "tasks-small")
    assert (point.task, push.task) == ("Point-v0", "Push-v0")
    taught, longer, blind, untaught = lines_of(point)
    assert (taught.way, taught.note, taught.counts) == ("taught", "", (0, 1, 3))
    assert (longer.way, longer.counts) == ("taught", (0, 1))
    assert longer.note == f"{3 * STEPS:,} steps"
    assert (blind.way, blind.counts) == ("blind", (0, 3))
    assert (untaught.way, untaught.counts) == ("untaught", (0, 3))
    assert taught.start is blind.start
    assert taught.start.cell.encoder == CORE
    medians = [float(np.median(group.times(0.5))) for _, group in taught.points]
    assert medians == [70_000, 60_000, 40_000]
    assert [len(group.finished) for _, group in taught.points] == [3, 3, 3]


def test_controls_of_other_sizes_are_no_point_of_a_line(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tiers-small")
    encoder, tier, untrained, longer = lines_of(point)
    assert (encoder.way, encoder.counts) == ("taught", (0, 3))
    assert (tier.way, tier.counts) == ("tier", (0, 1, 3))
    assert (longer.counts, longer.note) == ((0, 1), f"{3 * STEPS:,} steps")
    assert (untrained.counts, untrained.note) == ((0,), "untrained")
    options = {
        group.cell.agent_options.get("head_depth") for line in (encoder, tier) for _, group in line.points
    }
    assert options == {None}
    assert "several encoders" not in write_report(tmp_path).read_text()


def test_fine_tuned_new_tasks_are_lines_of_their_own(tmp_path: Path) -> None:
    wanted = [
        cell
        for cell in TRANSFER_SUITES["tasks"].cells
        if cell.task == "Push-v0" and cell.seed == 40 and "gqn" in cell.method
    ]
    write_cells(tmp_path, wanted)
    (panel,) = panels_of(read_suite(tmp_path))
    lines = lines_of(panel)
    names = [line.name for line in lines]
    assert len(names) == len(set(names)) == 7
    tuned = {line.name: line for line in lines}[f"{WAYS['taught']}, trained on"]
    assert tuned.counts == (0, 1, 2, 4, 5)
    assert {group.method for _, group in tuned.points} == {"gqn-finetune"}
    assert lines[0].counts == (0, 1, 2, 4, 5)
    assert {group.method for _, group in lines[0].points} == {"gqn-frozen"}


def test_tiers_say_what_sets_them_apart(tmp_path: Path) -> None:
    tiers = [cell for cell in TRANSFER_SUITES["tiers"].cells if cell.method == "gqn-tier2"]
    write_cells(tmp_path, (cell for cell in tiers if cell.task == "Point-v0" and cell.seed == 40))
    (panel,) = panels_of(read_suite(tmp_path))
    lines = lines_of(panel)
    notes = [line.note for line in lines]
    assert len(set(notes)) == len(notes)
    whole = {line.note: line.counts for line in lines[:2]}
    assert whole == dict.fromkeys(("Reach and Pose and Track", "Reach and Grasp and Press"), (1, 2, 3))
    parts = Counter(part for note in notes for part in note.split(", "))
    own = ["bottleneck 0.0001", "depth 4", "history 8", "size 32"]
    assert [parts[part] for part in own] == [2] * 4, "from tasks like the new one, and from others"
    assert parts["untrained"] == parts[f"{3 * STEPS:,} steps"] == 1


def test_the_figure_shows_every_seed_and_what_is_censored(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tasks-small")
    figure = transfer_figure(point, np.random.default_rng(0))
    assert figure is not None
    left, right = figure.axes
    points = np.concatenate([each.get_offsets() for each in left.collections])
    assert len(points) == (3 + 2 + 2 + 2) * 3
    hollow = [each for each in left.collections if (each.get_facecolors()[:, :3] == 1).all(1).any()]
    assert len(hollow) == 1, "three tasks without rendering are not learned from within the budget"
    names = {text.get_text().replace("\n", " ") for text in right.texts}
    assert names >= {WAYS["taught"], WAYS["blind"], "pixels-aug"}
    page = write_report(tmp_path)
    assert (page.parent / "point-v0-fixed-ppo-transfer.svg").exists()


@pytest.mark.parametrize("name", ["tasks-small", "tiers-small"])
def test_no_two_lines_of_the_figure_look_alike_and_each_stands_beside_its_name(
    name: str, tmp_path: Path
) -> None:
    point, _ = suite(tmp_path, name)
    figure = transfer_figure(point, np.random.default_rng(0))
    assert figure is not None
    names = [line.name for line in lines_of(point)]
    right = figure.axes[1]
    pieces = [line for line in right.lines if not line.get_clip_on()]
    heights = {text.get_text().replace("\n", " "): text.get_position()[1] for text in right.texts}
    assert len(pieces) == len(names) + 1, "and one of raw pixels"
    for name, piece in zip(names, pieces, strict=False):
        assert heights[name] == piece.get_ydata()[0]
    assert len({(str(piece.get_color()), str(piece._dash_pattern)) for piece in pieces}) == len(pieces)


def test_without_source_stages_there_is_no_figure(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tasks-small")
    groups = tuple(group for group in point.groups if "{seed}" not in group.cell.encoder)
    alone = Panel(point.task, point.camera, point.algo, point.randomize, groups, point.oracle)
    assert transfer_figure(alone, np.random.default_rng(0)) is None


def psnr(contexts: int, value: int) -> dict[str, str]:
    return {"figure": "prior_sample_psnr", "contexts": str(contexts), "value": str(value)}


def test_the_table_tells_what_source_tasks_are_worth(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tasks-small")
    names = [f"start-{CORE}", *(stages.Sources(SOURCES).stage(seed).name for seed in SEEDS)]
    known = [
        EncoderRecord(name, None, [], [], [psnr(1, 20), psnr(3, 25 + k)]) for k, name in enumerate(names)
    ]
    found = summarise_transfer(point, known, np.random.default_rng(0))
    assert found is not None
    rows = {(row["way"], row["sources"]): row for row in found.rows}
    assert len(rows) == len(found.rows) == 1 + 5
    assert rows[found.rows[0]["way"], "none"]["psnr"] == "25.00"
    assert rows[WAYS["taught"], "Reach, Grasp, Pose"]["psnr"] == "27.00"
    assert rows[WAYS["blind"], "Reach, Grasp, Pose"]["psnr"] == ""
    three = rows[WAYS["taught"], "Reach, Grasp, Pose"]
    assert three["source_steps"] == str(3 * STEPS)
    assert three["steps_to_threshold_median"] == "40000"
    assert three["ratio_vs_start"].startswith("1.8x")  # 70,000 over 40,000
    assert three["ratio_with_source_steps"].startswith("0.13x")  # 70,000 over 40,000 and those of the sources
    longer = rows[f"{WAYS['taught']}, {3 * STEPS:,} steps", "Reach"]
    assert longer["source_steps"] == three["source_steps"]
    (growth,) = found.growth
    assert growth.startswith(WAYS["taught"])
    assert "exclude constant" in growth


def test_the_headline_compares_all_source_tasks_with_none(tmp_path: Path) -> None:
    """Also where another arm, here one task alone, looks better."""
    point, _ = suite(tmp_path, "tasks-small")
    main = analyse(point, np.random.default_rng(0)).main
    assert main is not None
    assert "reach-grasp-pose" in main.method.cell.encoder
    assert "blind" not in main.method.cell.encoder
    assert main.baseline.cell.encoder == CORE
    page = write_report(tmp_path)
    text = page.read_text()
    assert "Fewer interactions than their controls (gqn-frozen (jaco-core" in text
    assert "3 seeds: of two equal methods one in 17 comparisons would say the same" in text
    assert "What tasks learned before it are worth" in text
    table = (page.parent / "transfer.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * (1 + 5)


def test_sources_are_told_beside_what_each_learns_alone(tmp_path: Path) -> None:
    for seed, success in ((30, 0.4), (31, 0.6)):
        stage = stages.Sources(SOURCES).stage(seed)
        place = tmp_path / "encoders" / stage.name
        facts = {"versions": {"revision": f"of-seed-{seed}", "torch": "2.13"}}
        write_json(place / "config.json", {"source": dataclasses.asdict(stage)} | facts)
        for task in SOURCES:
            append_row(place / f"{task}.csv", CurveRow(0, 0.0, 1.0, 0.0, 50, 1.0))
            append_row(place / f"{task}.csv", CurveRow(STEPS, success, 1.0, 0.0, 50, 1.0))
        (place / "gradients.csv").write_text(
            f"steps,mean_cosine,share_of_conflicts,rendering_cosine\n{STEPS},0.1,0.3,0.2\n"
        )
        write_json(place / "done.json", {"steps": STEPS})
    stopped = stages.Sources(SOURCES).stage(32)
    place = tmp_path / "encoders" / stopped.name
    write_json(place / "config.json", {"source": dataclasses.asdict(stopped)})
    for task in SOURCES:  # has no say: it has not ended
        append_row(place / f"{task}.csv", CurveRow(0, 0.0, 1.0, 0.0, 50, 1.0))
    (alone,) = grid("s", ["Reach-v0"], ["fixed"], {"gqn-finetune": STEPS}, [30])
    cell = alone._replace(encoder=CORE)
    other = cell._replace(steps=2 * STEPS, seed=31)
    for each, success in ((cell, 0.8), (other, 0.1), (cell._replace(task="Pose-v0"), 0.1)):
        place = tmp_path / "cells" / each.name
        write_json(place / "config.json", {"cell": each.as_json})
        append_row(place / "curve.csv", CurveRow(each.steps, success, 1.0, 0.0, 50, 1.0))
        write_json(place / "done.json", {"env_steps": each.steps})
    rows = source_rows(read_sources(tmp_path), panels_of(read_suite(tmp_path)))
    assert [(row["task"], row["success"]) for row in rows] == [(task, "0.500") for task in SOURCES]
    assert [row["alone"] for row in rows] == ["0.800", "", "0.100"]
    assert [row["share"] for row in rows] == ["0.62", "", ""]
    assert [row["sound"] for row in rows] == ["no", "", "not learned alone"]
    assert rows[0]["stage"] == stages.Sources(SOURCES).pattern.removesuffix("-seed{seed}")
    assert (rows[0]["seeds"], rows[0]["mean_cosine"], rows[0]["conflicts"]) == ("2", "0.10", "0.30")
    page = write_report(tmp_path)
    assert "Source tasks" in page.read_text()
    assert (page.parent / "sources.csv").exists()
    assert "2 different values</small>of-seed-30<br>of-seed-31" in page.read_text(), "stages of two revisions"


def test_sources_alone_are_not_waited_for_in_the_headline(tmp_path: Path) -> None:
    """Nothing stands beside them that they could be compared with."""
    for name in ("tasks-small", "sources-small"):
        write_cells(tmp_path, TRANSFER_SUITES[name].cells)
    found = findings_of(tmp_path)
    assert len(found.analyses) == 2 + 3
    assert "not measured" not in found.headline
    assert found.headline.startswith("Fewer interactions")


def test_what_is_forgotten_is_told(tmp_path: Path) -> None:
    suite(tmp_path, "tasks-small")
    for seed in (30, 31):
        stage = stages.Sources(SOURCES[:2], "in turn").stage(seed)
        place = tmp_path / "encoders" / stage.name
        write_json(place / "config.json", {"source": dataclasses.asdict(stage)})
        for steps, scores in ((STEPS, (0.8,)), (2 * STEPS, (0.2 + 0.2 * (seed - 30), 0.6))):
            for task, score in zip(SOURCES, scores, strict=False):
                append_row(place / f"{task}.csv", CurveRow(steps, score, 1.0, 0.0, 50, 1.0))
    rows = {(row["after"], row["task"]): row["success"] for row in turn_rows(read_sources(tmp_path))}
    reach, grasp = SOURCES[:2]
    assert rows == {(reach, reach): "0.800", (grasp, reach): "0.300", (grasp, grasp): "0.600"}
    page = write_report(tmp_path)
    assert "Tasks learned one after another" in page.read_text()
    assert len((page.parent / "turns.csv").read_text().splitlines()) == 1 + 3


def test_sizes_are_drawn_and_told_with_what_they_cost(tmp_path: Path) -> None:
    point, reach = suite(tmp_path, "sizes-small")
    assert [(one.size, one.sources) for one in sized(point)] == [(32, 0), (256, 0), (1024, 0)]
    for size in (32, 256, 1024):
        for seed in SEEDS:
            place = tmp_path / "encoders" / f"reach-point-r{size}-seed{seed}"
            write_text(place / "training.csv", f"step,seconds,test_mse_1\n5000,{1200 + seed},0.00{size}\n")
            probes = "probe,quantity,unit,median_error,r2\nmlp,hand,m,0.05,0.9\nridge,hand,m,0.10,0.9\n"
            write_text(place / "probes.csv", probes)
    rows = size_rows(point, read_encoders(tmp_path), np.random.default_rng(0))
    assert [row["size"] for row in rows] == ["32", "256", "1024"]
    parameters = [int(row["parameters"]) for row in rows]
    assert parameters[0] < parameters[1] < parameters[2]
    assert rows[1]["pretraining_seconds"] == "1231"
    assert (rows[1]["held_out_mse"], rows[1]["hand_error"]) == ("0.00256", "0.050")
    figure = size_figure(reach, np.random.default_rng(0))
    assert figure is not None
    shown = np.concatenate([each.get_offsets() for each in figure.axes[0].collections])
    assert len(shown) == 3 * 3
    page = write_report(tmp_path)
    assert "What a larger code is worth, and costs" in page.read_text()
    assert (page.parent / "point-v0-fixed-ppo-sizes.svg").exists()
    assert len((page.parent / "sizes.csv").read_text().splitlines()) == 1 + 2 * 3


def test_where_sizes_are_not_compared_there_is_no_such_figure(tmp_path: Path) -> None:
    point, _ = suite(tmp_path / "tiers", "tiers-small")
    assert sized(point) == []
    assert size_figure(point, np.random.default_rng(0)) is None
    cells = TRANSFER_SUITES["sizes-small"].cells
    write_cells(tmp_path / "two", (cell for cell in cells if "r1024" not in cell.encoder))
    assert all(sized(panel) == [] for panel in panels_of(read_suite(tmp_path / "two")))


def test_a_report_without_stages_has_no_such_tables(tmp_path: Path) -> None:
    for cell in TRANSFER_SUITES["sizes-small"].cells:
        place = tmp_path / "cells" / cell.name
        write_json(place / "config.json", {"cell": cell.as_json})
        append_row(place / "curve.csv", CurveRow(BUDGET, 0.5, 1.0, 0.0, 50, 1.0))
        write_json(place / "done.json", {"env_steps": BUDGET})
    page = write_report(tmp_path)
    assert not any((page.parent / name).exists() for name in ("transfer.csv", "sources.csv", "turns.csv"))
    assert "What tasks learned before it" not in page.read_text()


@pytest.mark.parametrize("name", ["tasks-small", "sizes-small", "tiers-small"])
def test_every_contrast_has_both_its_sides_in_the_suite(name: str, tmp_path: Path) -> None:
    for panel in suite(tmp_path, name):
        found = contrasts_of(panel, np.random.default_rng(0))
        assert len(found) == len(CONTRASTS[name](panel.task)) >= 2
        assert all(one is not None and one.method is not one.baseline for _, one in found)
        assert all(one is not None and one.ratio.pairs == 3 for _, one in found)


@pytest.mark.parametrize("name", ["tasks", "sizes", "tiers"])
def test_so_it_has_in_the_full_suites(name: str) -> None:
    cells = TRANSFER_SUITES[name].cells
    for task in dict.fromkeys(cell.task for cell in cells):
        known = {(c.method, c.encoder, *sorted(c.agent_options.items())) for c in cells if c.task == task}
        for _, *sides in CONTRASTS[name](task):
            for method, encoder, changed in sides:
                options = tuned_settings(method) | dict(changed)
                assert (method, encoder, *sorted(options.items())) in known, (task, encoder)


def test_no_other_pair_makes_the_headline_while_the_first_is_not_finished(tmp_path: Path) -> None:
    cells = [c for c in TRANSFER_SUITES["tasks-small"].cells if c.encoder != stages.Sources(SOURCES).pattern]
    write_cells(tmp_path, cells)
    point, _ = panels_of(read_suite(tmp_path))
    found = analyse(point, np.random.default_rng(0))
    assert found.main is None
    assert [question for question, one in found.contrasts if one] == ["one source task or none"]


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        (2, "(2 seeds: of two equal methods one in 5 comparisons would say the same)"),
        (3, "(3 seeds: of two equal methods one in 17"),
    ],
)
def test_few_seeds_are_doubted_where_something_is_claimed(seeds: int, says: str, tmp_path: Path) -> None:
    cells = TRANSFER_SUITES["tasks-small"].cells
    write_cells(tmp_path / "some", [cell for cell in cells if cell.seed < SEEDS[0] + seeds])
    mains = [analyse(one, np.random.default_rng(0)).main for one in panels_of(read_suite(tmp_path / "some"))]
    assert (says in suite_headline(mains)) == any(one is not None and one.ratio.low > 1 for one in mains)


def compared(pairs: int, low: float) -> Comparison:
    """Of a frozen GQN with raw pixels, on so many pairs of seeds."""
    method, baseline = (SimpleNamespace(method=name, label=name) for name in ("gqn-frozen", "pixels"))
    found = Ratio("estimate", 5.0, low, 9.0, pairs)
    return Comparison(method, baseline, found, found, Estimate(0.5, 0.4, 0.6))  # type: ignore[arg-type]


def test_a_pair_alone_neither_counts_nor_casts_doubt_on_other_settings() -> None:
    one, four, five = compared(1, float("nan")), compared(4, 2.0), compared(5, 2.0)
    start = "Clearly fewer interactions than the strongest raw-pixel baseline here (pixels): "
    assert suite_headline([five, one]) == f"{start}gqn-frozen in 1 of 1 settings (1 not measured yet)."
    assert suite_headline([five, compared(3, 0.5)]) == f"{start}gqn-frozen in 1 of 2 settings."
    assert "(4 seeds: of two equal methods one in 30 comparisons would say the same)" in suite_headline(
        [four]
    )
    assert (
        suite_headline([one]) == "No comparison yet: none of 1 settings has two seeds of all that it takes."
    )


def test_a_tiers_headline_is_against_heads_of_its_size(tmp_path: Path) -> None:
    point, _ = suite(tmp_path, "tiers-small")
    main = analyse(point, np.random.default_rng(0)).main
    assert main is not None
    assert (main.method.method, main.baseline.method) == ("gqn-tier2", "gqn-frozen")
    assert main.baseline.cell.agent_options["head_width"] == EQUAL_WIDTH
    page = write_report(tmp_path)
    assert "a tier or heads with as many weights" in page.read_text()
    rows = (page.parent / "contrasts.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 5


def test_how_alike_encoders_have_become_is_told_kind_by_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    hand = rng.normal(size=(400, 3)).astype(np.float32)
    target = np.where(np.arange(400)[:, None] % 2, rng.normal(size=(400, 3)), 0).astype(np.float32)
    told = np.column_stack([hand, target, rng.normal(size=(400, 2))])
    turned, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    codes = {"a-seed30": told, "a-seed31": told @ turned, "b-seed30": rng.normal(size=(400, 8))}
    for name, values in codes.items():
        (tmp_path / "encoders" / name).mkdir(parents=True)
        place = tmp_path / "encoders" / name / "codes.npz"
        np.savez(place, codes=values.astype(np.float16), hand=hand, target=target)
    rows = {(row["one"], row["other"]): row for row in likeness_rows(tmp_path)}
    assert {pair: row["pairs"] for pair, row in rows.items()} == {("a", "a"): "1", ("a", "b"): "1"}
    assert float(rows["a", "a"]["cka"]) > 0.99, "turned codes are alike"
    assert float(rows["a", "a"]["hand"]) < 0.9, "but not in the same numbers"
    assert float(rows["a", "b"]["cka"]) < 0.1
    for name in ("b-seed31", "c-seed30", "c-seed31"):
        shutil.copytree(tmp_path / "encoders" / "b-seed30", tmp_path / "encoders" / name)
    monkeypatch.setattr(convergence, "MOST_PAIRS", 5)
    pairs = {(row["one"], row["other"]): row["pairs"] for row in likeness_rows(tmp_path)}
    assert len(pairs) == 6, "where they are many, every two kinds are still compared"
    assert set(pairs.values()) == {"1"}
    for name in ("b-seed31", "c-seed30", "c-seed31"):
        shutil.rmtree(tmp_path / "encoders" / name)
    place = tmp_path / "encoders" / "other-scenes-seed30"
    place.mkdir()
    np.savez(place / "codes.npz", codes=told.astype(np.float16), hand=hand[::-1], target=target)
    assert len(likeness_rows(tmp_path)) == len(rows), "codes of other views are not compared"
    (tmp_path / "encoders" / "likeness.csv").write_text("one,other\nthis,that\n")
    assert len(likeness_rows(tmp_path)) == len(rows), "codes that are there have the say"
    for path in (tmp_path / "encoders").glob("*/codes.npz"):
        path.unlink()
    assert likeness_rows(tmp_path) == [{"one": "this", "other": "that"}]
