"""Reports of synthetic suites: complete, incomplete, one seed, failed; page and CSV agree."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gqn_transfer.benchmarks.axes import STYLES, spread
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.curves import CurveRow, RecordError, append_row
from gqn_transfer.benchmarks.figures import curve_figure
from gqn_transfer.benchmarks.findings import findings_of
from gqn_transfer.benchmarks.groups import METHOD_ORDER, panels_of
from gqn_transfer.benchmarks.headlines import panel_headline
from gqn_transfer.benchmarks.incidents import missing
from gqn_transfer.benchmarks.protocol import compare
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.benchmarks.report import print_summary, write_report
from gqn_transfer.benchmarks.statistics import Estimate
from gqn_transfer.benchmarks.tables import latex
from gqn_transfer.files import read_json, write_json

BUDGET, EVERY = 1000, 100
FAILURE = "Traceback (most recent call last):\n  in train\nRuntimeError: <b>out of memory</b>"


def write_cell(
    folder: Path, method: str, seed: int, reached: int | None, *, task: str = "Reach",
    encoder: str = "", top: float = 0.8, until: int = BUDGET, done: bool = True, failed: str = "",
    suite: str = "toy", **options: object,
) -> Cell:  # fmt: skip
    """A cell whose score jumps from 0 to `top` at `reached` steps, never if None."""
    cell = Cell(suite, task, method, "ppo", "fixed", encoder, seed, BUDGET, tuple(sorted(options.items())))
    place = folder / "cells" / cell.name
    place.mkdir(parents=True)
    config = {
        "cell": json.loads(cell.canonical_json),
        "versions": {"torch": "2.8.0", "git_revision": "1f3a9c2"},
        "command": "gqn-bench run toy",
        "machine": {"gl_renderer": "llvmpipe"},
    }
    write_json(place / "config.json", config)
    for steps in range(0, until + 1, EVERY):
        score = top if reached is not None and steps >= reached else 0.0
        append_row(place / "curve.csv", CurveRow(steps, score, 30 * score, 1.0, 50, steps / 10))
    if done:
        frames = 5000 if method.startswith("gqn-") else 0
        facts: dict[str, object] = {
            "wall_seconds": 100.0,
            "env_steps_per_second": 310.4,
            "pretraining_frames": frames,
        }
        if frames:
            facts["encoder_fingerprint"] = "f00dfeed"
        write_json(place / "done.json", facts | ({"failed": failed} if failed else {}))
    return cell


def complete_suite(folder: Path, seeds: int = 3) -> None:
    """Threshold 0.4: the mean of three (0, 0.8, 0.8) reaches it one evaluation after the jump."""
    for seed in range(seeds):
        write_cell(folder, "state", seed, 100)
        write_cell(folder, "pixels-aug", seed, 500 + 100 * seed)
        write_cell(folder, "pixels", seed, None)
        write_cell(folder, "gqn-frozen", seed, 100, encoder="conv")


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "report" / "summary.csv").open(newline="") as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def text_of(page: Path) -> str:
    """What a reader sees: no tags, no thousands separators, single spaces."""
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"(?<=\d),(?=\d{3})", "", text))


def test_complete_suite_has_the_numbers_of_the_protocol(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    page = write_report(tmp_path)
    assert page == tmp_path / "report" / "index.html"
    rows = rows_of(tmp_path)
    assert list(rows) == ["state", "pixels", "pixels-aug", "gqn-frozen"]
    ours, theirs = rows["gqn-frozen"], rows["pixels-aug"]
    assert (ours["threshold"], ours["final_score"], ours["seeds"]) == ("0.400", "0.800", "0;1;2")
    assert theirs["steps_to_threshold"] == "600;700;800"
    assert theirs["steps_to_threshold_median"] == "700"
    assert rows["pixels"]["steps_to_threshold"] == "censored;censored;censored"
    assert ours["ratio_vs_pixels-aug"] == "3.5x [3.0–4.0]"
    assert ours["ratio_vs_pixels"] == ">5.0x [5.0–∞]"
    assert rows["pixels"]["ratio_vs_pixels-aug"].startswith("<0.70x [0–")
    assert float(ours["area"]) == pytest.approx(0.8 * 0.95, abs=1e-3)
    assert ours["median_with_frames"] == "5200"
    assert (ours["encoder_fingerprint"], ours["command"]) == ("f00dfeed", "gqn-bench run toy")
    assert "3.5x fewer interactions than pixels-aug to reach 40 % success on Reach" in text_of(page)
    assert "incomplete" not in text_of(page)


def test_frames_are_added_to_the_steps_of_their_side(tmp_path: Path) -> None:
    """5,000 of the encoder's: 700 steps against 200 + 5,000, and 1,000 that were not enough."""
    complete_suite(tmp_path)
    (panel,) = panels_of(read_suite(tmp_path))
    groups = {group.label: group for group in panel.groups}
    for name, expected in (("pixels-aug", 700 / 5200), ("pixels", 1000 / 5200)):
        found = compare(panel, groups["gqn-frozen"], groups[name], np.random.default_rng(0))
        assert found is not None
        assert found.ratio_with_frames.value == pytest.approx(expected)


def test_page_contains_what_the_csv_has(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    text = text_of(write_report(tmp_path))
    shown = ("final_score", "final_score_low", "area", "steps_to_threshold_median", "budget",
             "ratio_vs_pixels", "ratio_vs_pixels-aug", "env_steps_per_second", "finished",
             "encoder_fingerprint", "command", "threshold")  # fmt: skip
    for row in rows_of(tmp_path).values():
        for key in shown:
            assert row[key].replace(">", "&gt;").replace("<", "&lt;") in text, (row["label"], key)
    for fact in ("2.8.0", "1f3a9c2", "llvmpipe", "not reached in 1000 steps"):
        assert fact in text


def test_page_is_self_contained_and_reproducible(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    page = write_report(tmp_path)
    html = page.read_text()
    assert not re.search(r"https?:|src=\"(?!data:)|<link|@import|url\((?!#)|<script .|<metadata", html)
    assert html.count("<svg") == 4  # success, return, success with frames, profile
    assert {path.suffix for path in page.parent.iterdir()} == {
        ".html",
        ".png",
        ".svg",
        ".csv",
        ".json",
        ".tex",
    }
    files = {path: path.read_bytes() for path in page.parent.iterdir()}
    assert write_report(tmp_path).read_text() == html
    assert {path: path.read_bytes() for path in page.parent.iterdir()} == files


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


def in_chromium(page: Path) -> tuple[str, str]:
    """The page's DOM after its scripts have run, and what the browser logged."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_complaint_and_hides_a_method(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    page = write_report(tmp_path)
    click = "<script>document.querySelector('.methods [data-method=pixels]').click()</script></body>"
    page.write_text(page.read_text().replace("</body>", click))
    dom, log = in_chromium(page)
    assert "CONSOLE" not in log
    parts = re.findall(r'class="series" data-method="([^"]+)"( style="display: none;")?', dom)
    assert {method for method, hidden in parts if hidden} == {"pixels"}
    assert {method for method, hidden in parts if not hidden} == {"state", "pixels-aug", "gqn-frozen"}


def several_tasks(folder: Path, seeds: int = 3) -> None:
    """On each task the oracle ends at 0.8; the GQN's agent at 0.8 and 0.4, pixels at 0.4 and 0."""
    for task, ours, theirs in (("Reach", 0.8, 0.4), ("Grasp", 0.4, 0.0)):
        for seed in range(seeds):
            write_cell(folder, "state", seed, 100, task=task)
            write_cell(folder, "gqn-frozen", seed, 100, task=task, top=ours, encoder="conv")
            write_cell(folder, "pixels-aug", seed, 500, task=task, top=theirs)
    write_cell(folder, "random-frozen", 0, 100, task="Reach", encoder="random")


def test_an_encoder_that_ships_is_shown_where_it_was_used(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    assert "jaco-small" not in text_of(write_report(tmp_path))
    write_cell(tmp_path, "gqn-finetune", 0, 100, encoder="jaco-small")
    page = write_report(tmp_path)
    assert "0.046 m (R² 0.96)" in text_of(page)  # hand, by ridge
    assert page.read_text().count("data:image/png;base64,") == 1


def test_all_tasks_together(tmp_path: Path) -> None:
    several_tasks(tmp_path)
    text = text_of(write_report(tmp_path))
    assert "All 2 tasks, fixed camera" in text
    assert "gqn-frozen 0.75 (0.75–0.75)" in text
    assert "Seeds a task: 3 of pixels-aug, 3 of gqn-frozen." in text
    assert "Left out, since a task has no finished seed: random-frozen." in text
    assert "gqn-frozen 1.00 (1.00–1.00)" in text  # beats pixels on both tasks
    (group,) = json.loads((tmp_path / "report/summary.json").read_text())["together"]
    assert group["tasks"] == ["Grasp", "Reach"]
    ours, theirs = group["standings"][::-1]
    assert ours["method"] == "gqn-frozen"
    np.testing.assert_allclose(ours["scores"], [[0.5, 1.0]] * 3)
    assert theirs["gap"]["value"] == pytest.approx(0.75)
    assert group["improvements"] == {"gqn-frozen vs pixels-aug": {"value": 1.0, "low": 1.0, "high": 1.0}}
    assert (tmp_path / "report/together-fixed-ppo-profile.svg").exists()


def test_tasks_with_encoders_and_evaluations_of_their_own_stand_together(tmp_path: Path) -> None:
    """Evaluations are further apart where budgets are larger, and each task's encoder is its family's."""
    for task, encoder, every in (("Reach", "small", 100), ("Grasp", "core", 200)):
        for seed in range(3):
            write_cell(tmp_path, "state", seed, 100, task=task)
            write_cell(tmp_path, "pixels-aug", seed, None, task=task, evaluate_every=every)
            write_cell(tmp_path, "gqn-frozen", seed, 100, task=task, encoder=encoder, evaluate_every=every)
    write_report(tmp_path)
    (group,) = json.loads((tmp_path / "report/summary.json").read_text())["together"]
    assert group["tasks"] == ["Grasp", "Reach"]
    assert {one["method"] for one in group["standings"]} == {"pixels-aug", "gqn-frozen"}
    for task, every in (("Reach", 100), ("Grasp", 200)):
        for seed, width in ((0, 128), (0, 512)):
            write_cell(
                tmp_path,
                "ae-frozen",
                seed,
                width,
                task=task,
                encoder="ae",
                evaluate_every=every,
                head_width=width,
            )
    write_report(tmp_path)
    (group,) = json.loads((tmp_path / "report/summary.json").read_text())["together"]
    assert "ae-frozen" in {one["method"] for one in group["standings"]}, "the better of two settings"


def test_tables_of_a_report_before_are_removed(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "transfer.csv").write_text("of another suite")
    write_report(tmp_path)
    assert not (tmp_path / "report" / "transfer.csv").exists()


def test_one_task_has_profiles_too_after_its_curves(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    text = text_of(write_report(tmp_path))
    assert text.index("Of the oracle's score on Reach, fixed camera") > text.index(
        "fewer interactions than each"
    )
    assert "gqn-frozen 1.00 (1.00–1.00)" in text  # beats pixels


def test_a_task_just_begun_does_not_hide_the_others(tmp_path: Path) -> None:
    several_tasks(tmp_path)
    for method in ("state", "pixels-aug", "gqn-frozen"):
        write_cell(tmp_path, method, 0, None if method == "pixels-aug" else 100, task="Push",
                   done=method != "pixels-aug")  # fmt: skip
    text = text_of(write_report(tmp_path))
    assert "2 of 3 tasks, fixed camera" in text
    assert "Not all methods have finished Push." in text


def test_a_method_with_one_seed_costs_the_others_no_interval(tmp_path: Path) -> None:
    several_tasks(tmp_path)
    for task in ("Reach", "Grasp"):
        write_cell(tmp_path, "gqn-finetune", 0, 100, task=task)
    text = text_of(write_report(tmp_path))
    assert "3 of gqn-frozen, 1 of gqn-finetune." in text
    assert "gqn-frozen 0.75 (0.75–0.75)" in text


def test_frames_of_pretraining_move_the_curve(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_report(tmp_path)
    text = (tmp_path / "report/reach-fixed-ppo-success-with-frames.svg").read_text()
    assert "environment steps and frames rendered for the eyes" in text
    panel = panels_of(read_suite(tmp_path))[0]
    axes = curve_figure(panel, "success", np.random.default_rng(0), with_frames=True).axes[0]
    starts = sorted(line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) > 5)
    assert starts == [0, 0, 0, 5000]


def test_suites_may_share_a_folder(tmp_path: Path) -> None:
    """The same oracle in two of them counts once; another result of the same run is refused."""
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "state", seed, 100, suite="other")
        write_cell(tmp_path, "gqn-finetune", seed, 300, suite="other")
    text = text_of(write_report(tmp_path))
    assert list(rows_of(tmp_path)) == [
        "state",
        "pixels",
        "pixels-aug",
        "gqn-frozen",
        "gqn-finetune",
    ]
    assert rows_of(tmp_path)["state"]["seeds"] == "0;1;2"
    assert "Suite other, toy" in text
    write_cell(tmp_path, "gqn-finetune", 3, 300, suite="other")
    write_cell(tmp_path, "gqn-finetune", 3, None, suite="another", failed=FAILURE, until=300)
    write_report(tmp_path)
    assert rows_of(tmp_path)["gqn-finetune"]["seeds"] == "0;1;2;3", "what ended counts, not what failed"
    write_cell(tmp_path, "gqn-frozen", 0, 800, suite="other", encoder="conv")
    with pytest.raises(RecordError, match="are the same run in two suites, with other results: keep one"):
        write_report(tmp_path)


def test_random_looks_are_a_comparison_of_their_own(tmp_path: Path) -> None:
    """Their own oracle sets their threshold; the same method is not one with two settings."""
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "state", seed, 100, top=0.6, randomize="full")
        write_cell(tmp_path, "gqn-frozen", seed, 300, randomize="full", encoder="conv")
    plain, full = panels_of(read_suite(tmp_path))
    assert (plain.threshold, full.threshold) == (pytest.approx(0.4), pytest.approx(0.3))
    assert full.title == "Reach, fixed camera, random colours, lights and textures"
    assert [group.label for group in full.groups] == ["state", "gqn-frozen"]
    write_report(tmp_path)
    assert (tmp_path / "report/reach-fixed-full-ppo-success.svg").exists()


def test_areas_are_compared_over_the_steps_that_both_ran(tmp_path: Path) -> None:
    for seed in range(3):
        write_cell(tmp_path, "state", seed, 100)
        write_cell(tmp_path, "pixels", seed, 300, until=2000)
        write_cell(tmp_path, "gqn-frozen", seed, 300)
    panel = panels_of(read_suite(tmp_path))[0]
    _, baseline, method = panel.groups
    found = compare(panel, method, baseline, np.random.default_rng(0))
    assert found is not None
    assert found.area.value == pytest.approx(0)
    assert baseline.areas[0] > method.areas[0]


def test_the_best_setting_speaks_for_a_method(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "gqn-frozen", seed, 900, encoder="a-slow-one")
        write_cell(tmp_path, "state", seed, 500, top=0.4, encoder="a-poor-one")
    panel = panels_of(read_suite(tmp_path))[0]
    assert panel.threshold == pytest.approx(0.4)
    assert "gqn-frozen (conv) needs 3.5x fewer" in text_of(write_report(tmp_path))


def test_the_summary_of_several_settings_counts_by_method(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "state", seed, 100, task="Push")
        write_cell(tmp_path, "pixels-aug", seed, 500, task="Push")
        write_cell(tmp_path, "gqn-finetune", seed, 500, task="Push")
    text = text_of(write_report(tmp_path))
    assert "raw-pixel baseline here (pixels-aug): gqn-finetune in 0 of 1, gqn-frozen in 1 of 1" in text


def test_ratios_are_numbers_for_other_programs(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_report(tmp_path)
    found = json.loads((tmp_path / "report/summary.json").read_text())["comparisons"]
    pairs = {(one["method"], one["baseline"]): one for one in found}
    ours = pairs["gqn-frozen", "pixels-aug"]["ratio"]
    assert (ours["kind"], ours["value"], ours["low"], ours["pairs"]) == ("estimate", 3.5, 3.0, 3)
    assert pairs["gqn-frozen", "pixels"]["ratio"]["high"] is None


def test_a_group_that_has_failed_does_not_look_as_if_it_ran(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_cell(tmp_path, "ae-frozen", 0, 100, until=300, failed=FAILURE)
    write_cell(tmp_path, "gqn-aux", 0, 100, until=300, done=False)
    write_report(tmp_path)
    text = (tmp_path / "report/reach-fixed-ppo-success.svg").read_text()
    assert "ae-frozen (failed)" in text
    assert "gqn-aux (running)" in text


def test_settings_of_the_agents_are_told(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    tuned = {"n_epochs": 5, "shift": 0, "evaluate_every": 100}
    for record in read_suite(tmp_path):
        if record.cell.method == "pixels-aug":
            place = tmp_path / "cells" / record.cell.name
            cell = record.cell._replace(options=tuple(sorted(tuned.items())))
            write_json(place / "config.json", {"cell": cell.as_json})
            place.rename(place.with_name(cell.name))
    text = text_of(write_report(tmp_path))
    assert "pixels-aug n epochs 5, shift 0 " in text
    assert "state, pixels, gqn-frozen the defaults" in text


def test_every_setting_of_a_method_is_drawn(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_report(tmp_path)
    assert not list(tmp_path.glob("report/*-settings.svg"))
    for setting, reached in (("conv-wide", 300), ("conv-deep", None)):
        for seed in range(3):
            write_cell(tmp_path, "gqn-frozen", seed, reached, encoder=setting)
    text = text_of(write_report(tmp_path))
    (path,) = tmp_path.glob("report/*-settings.svg")
    assert "gqn-frozen, 3 settings" in path.read_text()
    assert "pixels, " not in path.read_text()
    assert "gqn-frozen (conv-deep)" in text


def test_latex(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_cell(tmp_path, "random-frozen", 0, None, encoder="50%_of_it")
    write_report(tmp_path)
    text = (tmp_path / "report/table.tex").read_text()
    assert r"gqn-frozen & 0.800 (0.800--0.800) & 200 & 0.760 (0.760--0.760) & 3 of 3 \\" in text
    assert r"\multicolumn{5}{l}{\textit{Reach, fixed camera, PPO}} \\" in text
    assert text.count("\\toprule") == text.count("\\bottomrule") == 1
    assert latex("50%_of #1 & 2–3") == r"50\%\_of \#1 \& 2--3"


def test_incomplete_suite_says_what_is_missing(tmp_path: Path) -> None:
    write_cell(tmp_path, "state", 0, 100)
    write_cell(tmp_path, "gqn-frozen", 0, 100)
    write_cell(tmp_path, "gqn-frozen", 1, 100)
    write_cell(tmp_path, "pixels-aug", 0, None, until=200, done=False)
    text = text_of(write_report(tmp_path))
    assert "incomplete: 3 of 6 cells are finished, 1 are running" in text
    assert "2 not started" in text
    assert "Reach, fixed camera: state, seed 1" in text
    assert "no seed of a raw-pixel baseline" in text
    assert "last evaluation: 200 steps" in text
    assert rows_of(tmp_path)["pixels-aug"]["final_score"] == ""


def test_suite_without_an_oracle_or_any_finished_cell_renders(tmp_path: Path) -> None:
    write_cell(tmp_path, "pixels", 0, None, until=100, done=False)
    assert "no threshold" in text_of(write_report(tmp_path))


def test_planned_cells_come_from_suite_json(tmp_path: Path) -> None:
    present = write_cell(tmp_path, "state", 0, 100)
    absent = present._replace(seed=9)
    info = {"cells": [json.loads(cell.canonical_json) for cell in (present, absent)]}
    assert missing(read_suite(tmp_path), info) == [absent.name]
    assert missing(read_suite(tmp_path), {"cells": [present.name]}) == []


def test_one_seed_has_numbers_and_no_interval(tmp_path: Path) -> None:
    complete_suite(tmp_path, seeds=1)
    text = text_of(write_report(tmp_path))
    row = rows_of(tmp_path)["gqn-frozen"]
    assert (row["final_score"], row["final_score_low"]) == ("0.800", "")
    assert row["ratio_vs_pixels-aug"] == "3.0x"
    assert "(no interval, 1 seed)" in text


def test_failed_cell_is_listed_and_left_out_on_both_sides(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_cell(tmp_path, "gqn-frozen", 3, 100, until=300, failed=FAILURE, encoder="conv")
    write_cell(tmp_path, "pixels-aug", 3, 100)
    page = write_report(tmp_path)
    row = rows_of(tmp_path)["gqn-frozen"]
    assert (row["failed_seeds"], row["finished"]) == ("3", "3 of 4")
    assert row["ratio_vs_pixels-aug"].startswith("3.5x")
    assert "1 failed seed left out" in text_of(page)
    assert "RuntimeError: &lt;b&gt;out of memory" in page.read_text()  # escaped


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (
            100,
            None,
            "gqn-frozen reaches 40 % success on Reach, fixed camera and the median seed of pixels does",
        ),
        (None, 400, "pixels does: more than 2.0x as many interactions"),
        (None, None, "Neither gqn-frozen nor pixels reaches 40 % success"),
        (300, 300, "about as many interactions as pixels"),
        (700, 300, "gqn-frozen is slower: it needs 2.0x as many interactions"),
    ],
)
def test_headlines_are_honest(tmp_path: Path, ours: int | None, theirs: int | None, expected: str) -> None:
    for seed in range(3):
        write_cell(tmp_path, "state", seed, 100)
        write_cell(tmp_path, "pixels", seed, theirs)
        write_cell(tmp_path, "gqn-frozen", seed, ours)
    panel = panels_of(read_suite(tmp_path))[0]
    _, baseline, method = panel.groups
    headline = panel_headline(panel, compare(panel, method, baseline, np.random.default_rng(0)))
    assert expected in headline
    assert ("area under the curve" in headline) == (ours is None or theirs is None)


def test_headline_speaks_of_the_strongest_baseline_and_the_first_method(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "gqn-tier2", seed, 0)
        write_cell(tmp_path, "pixels-gqn-arch", seed, 300)
    assert "gqn-frozen needs 2.0x fewer interactions than pixels-gqn-arch" in text_of(write_report(tmp_path))


def test_intervals_do_not_depend_on_what_else_has_run(tmp_path: Path) -> None:
    for seed in range(7):
        write_cell(tmp_path, "state", seed, 100)
        write_cell(tmp_path, "pixels-aug", seed, 900 - 37 * seed**2 % 500)
        write_cell(tmp_path, "gqn-frozen", seed, 100 + 53 * seed**2 % 700, encoder="conv")

    def found() -> tuple[dict[str, str], Estimate]:
        (analysis,) = findings_of(tmp_path).analyses
        row = next(row for row in analysis.rows if row["method"] == "gqn-frozen")
        area = analysis.comparisons["gqn-frozen", "pixels-aug"].area
        return {key: value for key, value in row.items() if "ae-frozen" not in key}, area

    before = found()
    for seed in range(7):
        write_cell(tmp_path, "ae-frozen", seed, 300 + 100 * seed, encoder="ae")
    assert found() == before


def test_cells_that_were_not_computed_alike_are_told(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    assert "several precisions" not in text_of(write_report(tmp_path))
    for path in tmp_path.glob("cells/*/config.json"):
        config = read_json(path)
        fast = "no" if config["cell"]["method"] == "pixels" and config["cell"]["seed"] == 1 else "yes"
        write_json(path, config | {"machine": {"bf16": fast}, "versions": {"sources": "abc"}})
    text = text_of(write_report(tmp_path))
    assert "several precisions" in text
    assert "bf16 no, yes; the fewest: pixels 1" in text
    assert "code of several versions" not in text


def test_a_baseline_that_has_just_begun_does_not_decide(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    before = text_of(write_report(tmp_path))
    write_cell(tmp_path, "pixels-gqn-arch", 0, 0)  # it succeeds at once
    text = text_of(write_report(tmp_path))
    assert "pixels-gqn-arch" not in before
    headline = re.search(r"gqn-frozen needs 3.5x fewer interactions than pixels-aug [^;]*?seeds\)", before)
    assert headline
    assert f"{headline[0]}; without all seeds yet: pixels-gqn-arch." in text


def test_encoders_of_one_method_are_rows_of_their_own(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    for seed in range(3):
        write_cell(tmp_path, "gqn-frozen", seed, 300, encoder="some/folder/conv-64")
    write_report(tmp_path)
    assert {"gqn-frozen (conv)", "gqn-frozen (conv-64)"} < set(rows_of(tmp_path))


def test_several_tasks_share_a_page(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    write_cell(tmp_path, "pixels", 0, None, task="Push")
    text = text_of(write_report(tmp_path))
    assert "gqn-frozen in 1 of 1 settings (1 not measured yet)" in text
    assert (tmp_path / "report" / "push-fixed-ppo-return.png").stat().st_size > 5000


def test_encoder_section_shows_picture_and_probes(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    place = tmp_path / "encoders" / "conv"
    place.mkdir(parents=True)
    (place / "predictions.png").write_bytes(b"not looked into")
    header = "probe,quantity,unit,median_error,r2\n"
    rows = "ridge,target,m,0.2125,0.51\nmlp,target,m,0.1381,0.66\nmlp,joint_1,rad,0.2000,0.30\n"
    (place / "probes.csv").write_text(header + rows)
    page = write_report(tmp_path)
    assert page.read_text().count("data:image/png;base64,") == 1
    assert "target 0.212 m (R² 0.51) 0.138 m (R² 0.66)" in text_of(page)
    assert "joint 1 – 0.200 rad (R² 0.30)" in text_of(page)


def test_terminal_summary(tmp_path: Path) -> None:
    complete_suite(tmp_path)
    console = Console(file=io.StringIO(), width=140)
    print_summary(findings_of(tmp_path), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "gqn-frozen needs 3.5x fewer interactions than pixels-aug" in shown
    assert "censored" in shown


def test_every_method_has_its_own_look() -> None:
    assert tuple(STYLES) == METHOD_ORDER
    assert len(set(STYLES.values())) == len({style.color for style in STYLES.values()}) == 11


def test_labels_are_pushed_apart_and_keep_their_order() -> None:
    placed = spread(np.array([0.5, 0.52, 0.1, 0.5, 0.99]), np.full(5, 0.08))
    assert np.diff(np.sort(placed)).min() >= 0.08 - 1e-9
    assert placed[2] == pytest.approx(0.1)
    assert placed[0] < placed[3] < placed[1] < placed[4] <= 1
    tall = spread(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.2, 0.1]))
    assert np.diff(tall).tolist() == pytest.approx([0.15, 0.15])
