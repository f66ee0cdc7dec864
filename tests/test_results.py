"""The committed results say what the READMEs and the pages say of them."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.benchmarks.findings import findings_of
from gqn_transfer.benchmarks.groups import Panel, panels_of
from gqn_transfer.benchmarks.records import read_suite
from gqn_transfer.benchmarks.statistics import estimate, steps_to_threshold
from gqn_transfer.benchmarks.suites import SUITES
from gqn_transfer.encoder import available_encoders
from gqn_transfer.envs.registry import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ORACLE = read_suite(ROOT / "docs/results/oracle")
QUICK = read_suite(ROOT / "docs/results/quick")
SOLVED = 0.9
"""Success of an agent that sees the state, on every task."""


def steps_until_solved(task: str) -> list[float]:
    """Of each seed: the first evaluation at which the mean of three consecutive scores is high enough."""
    records = [record for record in ORACLE if record.cell.task == task]
    return [steps_to_threshold(record.steps, record.score, SOLVED) for record in records]


def test_the_oracle_ran_as_its_suite_says() -> None:
    assert {record.cell for record in ORACLE} == set(SUITES["oracle"].cells)
    assert all(record.status == "done" for record in ORACLE)


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_is_solved_from_the_state_by_every_seed(task: str) -> None:
    found = steps_until_solved(task)
    assert len(found) == 3
    assert np.isfinite(found).all()


@pytest.mark.parametrize("task", list(TASKS))
def test_the_readme_tells_the_steps(task: str) -> None:
    row = re.search(rf"^\| `gqn_transfer/{task}` \|.*\| ([\d,]+) \|$", README, re.M)
    assert row, f"no row of {task} in the README's table of tasks"
    assert int(row[1].replace(",", "")) == int(np.median(steps_until_solved(task)))


def test_quick_ran_as_its_suite_says() -> None:
    assert {record.cell for record in QUICK} == set(SUITES["quick"].cells)
    assert all(record.status == "done" for record in QUICK)


@pytest.mark.parametrize("figure", ["areas", "final_scores"])
def test_another_machine_found_the_same(figure: str) -> None:
    """Of every method the intervals overlap."""
    (here,), (there,) = panels_of(QUICK), panels_of(read_suite(ROOT / "docs/results/quick-intel"))
    assert [group.cell for group in here.groups] == [group.cell for group in there.groups]
    for groups in zip(here.groups, there.groups, strict=True):
        one, other = (estimate(getattr(group, figure), np.mean, np.random.default_rng(0)) for group in groups)
        assert one.low <= other.high, groups[0].label
        assert other.low <= one.high, groups[0].label


RAW_PIXELS = read_suite(ROOT / "docs/results/raw-pixels-a")
PANELS = panels_of(RAW_PIXELS)
PAGE = (ROOT / "docs/results/raw-pixels.md").read_text()


def test_cells_of_the_comparison_are_those_of_its_suite_and_whole() -> None:
    assert {record.cell for record in RAW_PIXELS} <= set(SUITES["raw-pixels-a"].cells)
    assert all(record.status == "done" for record in RAW_PIXELS)
    for panel in PANELS:
        seeds = [{record.cell.seed for record in group.records} for group in panel.groups]
        assert all(found == seeds[0] for found in seeds), f"{panel.title}: every method on the same seeds"


def section_of(panel: Panel) -> str:
    """What the page says of one task and camera."""
    title = re.escape(panel.title.replace("-v0", ""))
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert section, f"no section of {panel.title} on the page"
    return section[1]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.slug)
def test_the_page_tells_what_the_comparison_found(panel: Panel) -> None:
    section = section_of(panel)
    for group in panel.groups:
        row = re.search(rf"^\| `{group.method}`[^|]* \| (.+) \| (.+) \| ([\d.]+) \|$", section, re.M)
        assert row, f"no row of {group.method} in the section of {panel.title}"
        times = group.times(panel.threshold)
        steps = ", ".join(f"{time:,.0f}" if np.isfinite(time) else "never" for time in times)
        if not np.isfinite(times).any():
            steps = f"not in {group.budget:,.0f}"
        scores = ", ".join(f"{score:.2f}" for score in group.final_scores)
        assert row.groups() == (scores, steps, f"{group.areas.mean():.3f}")


def in_words(row: dict[str, str]) -> tuple[str, str, str]:
    """Final score, steps to the threshold and area of a report's row, as the tables of READMEs write them."""
    final, area = (
        f"{float(row[name]):.3f} ({float(row[f'{name}_low']):.3f}–{float(row[f'{name}_high']):.3f})"
        for name in ("final_score", "area")
    )
    median = row["steps_to_threshold_median"]
    steps = f"{int(median):,}" if median.isdigit() else f"not in {int(row['budget']):,}"
    return final, steps, area


@pytest.mark.parametrize(
    ("page", "suite"), [("README.md", "raw-pixels-a"), ("docs/results/README.md", "quick")]
)
def test_tables_tell_what_was_found(page: str, suite: str) -> None:
    analyses = findings_of(ROOT / "docs/results" / suite).analyses
    analysis = next(one for one in analyses if one.panel.camera == "fixed")
    for found in analysis.rows:
        row = re.search(
            rf"^\| `{found['method']}`[^|]* \| (.+) \| (.+) \| (.+) \|$", (ROOT / page).read_text(), re.M
        )
        assert row, f"no row of {found['method']} in the table of {page}"
        assert row.groups() == in_words(found)


METHODS = read_suite(ROOT / "docs/results/methods")


@pytest.mark.parametrize("panel", panels_of(METHODS), ids=lambda panel: panel.slug)
def test_the_page_of_all_methods_tells_what_was_found(panel: Panel) -> None:
    page = (ROOT / "docs/results/methods.md").read_text()
    table = re.search(rf"^\| eyes, {panel.camera} camera \|.*?\n\n", page, re.M | re.S)
    assert table, f"no table of the {panel.camera} camera"
    for group in panel.groups:
        row = re.search(
            rf"^\| `{group.method}` \| ([\d.]+) \(.*\) \| (.+) \| ([\d.]+) \(.*\) \| ([\d,]+) \|$",
            table[0],
            re.M,
        )
        assert row, f"no row of {group.method} in the table of {panel.title}"
        times = group.times(panel.threshold)
        steps = ", ".join(f"{time:,.0f}" for time in times)
        if not np.isfinite(times).any():
            steps = f"not in {group.budget:,.0f}"
        assert row.groups()[:3] == (f"{group.final_scores.mean():.3f}", steps, f"{group.areas.mean():.3f}")


def errors_in_words(figures: dict[tuple[str, str, str], float], checkpoint: str, probe: str) -> str:
    """Of hand, target and object, as far as they were measured."""
    found = [figures.get((checkpoint, f"probe_{probe}", what)) for what in ("hand", "target", "object")]
    return ", ".join(f"{100 * error:.1f}" for error in found if error is not None) + " cm"


@pytest.mark.parametrize("name", available_encoders())
def test_the_page_of_encoders_tells_what_their_evaluations_found(name: str) -> None:
    with (ROOT / "docs/results" / name / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    figures = {
        (row["checkpoint"], row["figure"].removesuffix("_median_error"), row["part"]): float(row["value"])
        for row in rows
        if row["contexts"] == "1"
    }
    page = (ROOT / "docs/results/encoders.md").read_text()
    places = " | ".join(errors_in_words(figures, name, probe) for probe in ("mlp", "ridge"))
    joint, ratio = figures[name, "probe_mlp", "joint_6"], figures[name, "view_distance_ratio", "code"]
    assert f"| `{name}` | {places} | {joint:.2f} rad | {ratio:.2f} |\n" in page
    guess = errors_in_words(figures, "chance", "guess")
    assert (
        f"| without looking | {guess} | | {figures['chance', 'probe_guess', 'joint_6']:.2f} rad | 1 |\n"
        in page
    )
