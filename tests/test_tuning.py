"""`gqn-bench tune`: one space and budget for all, defaults first, the best marked, no trial run twice."""

import csv
import io
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gqn_transfer.agents.algorithms import ALGORITHMS
from gqn_transfer.agents.knobs import Knobs, knobs_of
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.benchmarks import tuning
from gqn_transfer.benchmarks.candidates import CONTESTS
from gqn_transfer.benchmarks.cell_files import cell_folder
from gqn_transfer.benchmarks.cells import AGENT_OPTIONS, Cell
from gqn_transfer.benchmarks.claims import claimed
from gqn_transfer.benchmarks.curves import CurveRow, append_row
from gqn_transfer.benchmarks.search_space import DEFAULTS, INHERITS, OWN, SHARED, TUNED, space_of
from gqn_transfer.benchmarks.trials import Trial, best_of
from gqn_transfer.benchmarks.tuning import TuneConfig, one_trial, search, worth
from gqn_transfer.files import write_json

RunAs = Callable[[Callable[[Cell], tuple[float, float]]], list[Cell]]


@pytest.fixture
def run_as(monkeypatch: pytest.MonkeyPatch) -> RunAs:
    """Let trials take no time: (cell -> success, mean return) stands in; the cells that were run."""

    def install(outcome: Callable[[Cell], tuple[float, float]]) -> list[Cell]:
        ran: list[Cell] = []

        def run_cell(cell: Cell, place: Path, *_: Any) -> None:
            ran.append(cell)
            place.mkdir(parents=True)
            score, returned = outcome(cell)
            append_row(place / "curve.csv", CurveRow(0, score, 0.0, 0.0, 50, 1.0))
            append_row(place / "curve.csv", CurveRow(1000, score, returned, 0.0, 50, 1.0))
            write_json(place / "done.json", {})

        monkeypatch.setattr(tuning, "run_cell", run_cell)
        monkeypatch.setattr(tuning, "ready", lambda *_: None)
        return ran

    return install


def trials_of(method: str, count: int, run: Any) -> list[Trial]:
    study, space, config = tuning._study(), space_of(method), TuneConfig()
    return [one_trial(study, method, number, space, config, run) for number in range(count)]


def test_the_first_trial_is_what_holds_without_tuning() -> None:
    seen: list[Cell] = []
    (first,) = trials_of("gqn-frozen", 1, lambda cell, _: (seen.append(cell) or 1.0, 0.5))
    assert first == Trial(0, {name: DEFAULTS[name] for name in SHARED}, 1.0, 0.5)
    options = (("evaluate_every", 20_000),)
    assert seen == [
        Cell("tune", "Reach-v0", "gqn-frozen", "ppo", "fixed", "jaco-small", 1000, 100_000, options)
    ]


def test_defaults_are_those_of_the_agents() -> None:
    known = dict(ALGORITHMS["ppo"].settings) | vars(Knobs())
    assert {name: known[name] for name in DEFAULTS} == dict(DEFAULTS)
    for space in (SHARED, *OWN.values()):
        assert all(DEFAULTS[name] in choices for name, choices in space.items())


def test_every_trial_has_a_seed_that_no_result_uses() -> None:
    seeds: list[int] = []
    trials_of("random-frozen", 4, lambda cell, _: (seeds.append(cell.seed) or 0.0, 0.0))
    assert seeds == [1000, 1001, 1002, 1003]


def test_the_search_is_the_same_again_and_finds_what_is_good() -> None:
    def run(cell: Cell, _: Any) -> tuple[float, float]:
        options = dict(cell.options)
        return float(options.get("views", 1)) - abs(options.get("learning_rate", 3e-4) - 1e-3), 0.0

    one, again = (trials_of("gqn-frozen", 12, run) for _ in range(2))
    assert one == again
    assert len({tuple(trial.settings.items()) for trial in one}) > 8
    assert max(one, key=lambda trial: trial.value).settings["views"] == 3


def test_a_trial_that_another_command_runs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "ready", lambda *_: None)
    cell = tuning.cell_of("gqn-frozen", 0, {name: DEFAULTS[name] for name in SHARED}, TuneConfig(1, 1000))
    with (
        claimed(cell_folder(tmp_path, cell)),
        pytest.raises(ValueError, match="another command runs the trial"),
    ):
        search_in(tmp_path, 1)


def test_the_best_settings_run_again_and_their_mean_decides(tmp_path: Path, run_as: RunAs) -> None:
    """The best single run here is luck: trial 3, whose settings are poor in their second run."""
    ran = run_as(lambda cell: ({1003: 0.9, 1001: 0.8, 1010: 0.8}.get(cell.seed, 0.1), 0.0))
    trials = search_in(tmp_path, 12)
    assert [cell.seed for cell in ran] == [*range(1000, 1012)]
    assert len({cell.options for cell in ran[9:]}) == 3
    assert [trials[9].settings, trials[10].settings] == [trials[3].settings, trials[1].settings]
    assert best_of(trials) is trials[10]
    (best,) = (row for row in csv.DictReader((tmp_path / "gqn-frozen.csv").open()) if row["best"])
    assert best["trial"] == "10"


def test_without_second_runs_the_best_value_decides() -> None:
    trials = [Trial(k, {"views": k}, value, 0.5) for k, value in enumerate((1.0, 3.0, 2.0))]
    assert best_of(trials) is trials[1]
    assert [settings["views"] for settings in tuning.ranked(trials)] == [1, 2, 0]


def test_spaces_hold_what_agents_take_and_two_things_of_their_own_at_most() -> None:
    for method in TUNED:
        own = OWN.get(method, {})
        assert len(own) <= 2
        assert space_of(method).keys() == SHARED.keys() | own.keys() <= set(AGENT_OPTIONS)
        knobs = {name for name in space_of(method) if name in vars(Knobs())}
        assert knobs <= set(knobs_of(METHODS[method]))


def test_every_method_is_tuned_or_inherits() -> None:
    """Of those tuned, one inherits nevertheless: nothing that it tried was told apart."""
    assert set(TUNED) | set(INHERITS) | set(CONTESTS) == set(METHODS)
    assert set(TUNED) & set(INHERITS) == {"random-frozen"}
    assert not set(CONTESTS) & set(INHERITS)
    assert set(INHERITS.values()) <= set(TUNED)


def test_worth_is_success_and_a_little_of_the_return(tmp_path: Path) -> None:
    for steps, score, value in ((0, 0.0, 1.0), (100, 0.2, 3.0), (400, 0.6, 5.0)):
        append_row(tmp_path / "curve.csv", CurveRow(steps, score, value, 0.0, 50, 1.0))
    success, returned = (100 * 0.1 + 300 * 0.4) / 400, (100 * 2 + 300 * 4) / 400
    assert worth(tmp_path) == (pytest.approx(success + 0.01 * returned), 0.6)
    write_json(tmp_path / "done.json", {"failed": "Traceback"})
    with pytest.raises(
        ValueError, match=r"failed, see its done\.json: mend it and run the same command again"
    ):
        worth(tmp_path)


def test_finished_trials_are_not_run_again(tmp_path: Path, run_as: RunAs) -> None:
    ran = run_as(lambda cell: (0.1, cell.seed / 1000))
    first = search_in(tmp_path, 3)
    assert len(ran) == 3
    again = search_in(tmp_path, 4)
    assert len(ran) == 4
    assert again[:3] == first
    rows = list(csv.DictReader((tmp_path / "gqn-frozen.csv").open()))
    assert [row["best"] for row in rows] == ["", "", "", "yes"]
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["learning_rate"] == "0.0003"


def test_a_table_answers_where_its_cells_are_gone(tmp_path: Path, run_as: RunAs) -> None:
    ran = run_as(lambda cell: (0.25, cell.seed / 1000))
    first = search_in(tmp_path, 8)
    shutil.rmtree(tmp_path / "cells")
    again = search_in(tmp_path, 8)
    assert [cell.seed for cell in ran] == [*range(1000, 1008)]
    for one, other in zip(first, again, strict=True):
        assert (one.number, one.settings, one.success) == (other.number, other.settings, other.success)
        assert other.value == pytest.approx(one.value, abs=1e-6)
    table = tmp_path / "gqn-frozen.csv"
    table.write_text(table.read_text().replace("0.0003", "0.0002", 1))  # other settings answer nothing
    search_in(tmp_path, 1)
    assert ran[-1].seed == 1000
    assert len(tuning.read_trials(table)) == 8


def test_a_table_of_another_search_answers_nothing(tmp_path: Path, run_as: RunAs) -> None:
    run_as(lambda cell: (0.1, 1.0))
    search_in(tmp_path, 2)
    with pytest.raises(
        ValueError, match=r"another search: steps 1000, now 2000; .*camera 'fixed', now 'moving'"
    ):
        search("gqn-frozen", tmp_path, TuneConfig(trials=2, steps=2000, camera="moving"), {})
    (tmp_path / "gqn-frozen.json").unlink()
    with pytest.raises(ValueError, match="does not say how it was made"):
        search_in(tmp_path, 2)


def search_in(folder: Path, trials: int) -> list[Trial]:
    return search("gqn-frozen", folder, TuneConfig(trials=trials, steps=1000), {})


def test_what_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"pixels, sac: not tuned; pixels-aug, gqn-frozen, .*from the nearest"
    ):
        tuning.tune(["sac", "pixels", "gqn-frozen"], Path("nowhere"), TuneConfig())
    with pytest.raises(
        ValueError, match=r"family 'smoke' has no encoder trained by 'ae', which .* it has gqn"
    ):
        tuning.tune(["ae-frozen"], Path("nowhere"), TuneConfig(family="smoke"))
    for wrong in ({"trials": 0}, {"evaluations": 0}, {"steps": 4}):
        with pytest.raises(ValueError, match="expected at least one trial, and as many steps as evaluations"):
            TuneConfig(**wrong)


def test_the_table_reads_as_csv() -> None:
    trials = [Trial(k, {"views": k}, value, 0.5) for k, value in enumerate((1.0, 3.0, 2.0))]
    rows = list(csv.reader(io.StringIO(tuning.as_csv(trials, ["views"]))))
    assert rows[0] == ["trial", "views", "value", "last_success", "best"]
    assert rows[2] == ["1", "1", "3.000000", "0.500", "yes"]


def test_scenes_are_rendered_once_and_before_the_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def render(name: str, folder: Path) -> bool:
        done.append(name)
        return len(done) > 1  # another command is at it at first

    monkeypatch.setattr(tuning, "render_scenes", render)
    monkeypatch.setattr(tuning, "worker_pool", lambda *_, **__: ThreadPoolExecutor(1))
    monkeypatch.setattr(tuning, "search", lambda method, *_: done.append(method))
    tuning.tune(["gqn-frozen", "pixels-aug"], Path("nowhere"), TuneConfig(family="reach"))
    assert done == ["reach-gqn", "reach-gqn", "gqn-frozen", "pixels-aug"]


def test_a_search_that_ends_early_lets_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def search_each(method: str, *_: Any) -> None:
        searched.append(method)
        if method == "ae-frozen":
            raise ValueError("its cell failed")

    monkeypatch.setattr(tuning, "worker_pool", lambda *_, **__: ThreadPoolExecutor(1))
    monkeypatch.setattr(tuning, "search", search_each)
    with pytest.raises(ValueError, match=r"^ae-frozen: its cell failed$"):
        tuning.tune(["ae-frozen", "gqn-frozen"], Path("nowhere"), TuneConfig())
    assert searched == ["ae-frozen", "gqn-frozen"]
