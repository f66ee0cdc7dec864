"""Tuned settings reach the methods that were tuned and those that inherit, as far as they have them."""

from pathlib import Path

import numpy as np
import pytest

from gqn_transfer.agents.knobs import split
from gqn_transfer.agents.methods import METHODS
from gqn_transfer.benchmarks.candidates import CONTESTS, LARGE_BATCHES, SMALL_STEPS
from gqn_transfer.benchmarks.cells import AGENT_OPTIONS, Cell
from gqn_transfer.benchmarks.grids import encoder_for
from gqn_transfer.benchmarks.search_space import DEFAULTS, INHERITS, TUNED, space_of
from gqn_transfer.benchmarks.suites import SUITES
from gqn_transfer.benchmarks.trials import Trial, as_csv, best_of, read_trials
from gqn_transfer.benchmarks.tuned import FOLDER, tuned_settings
from gqn_transfer.benchmarks.tuning import TuneConfig, cell_of, worth
from gqn_transfer.encoder import available_encoders, load_encoder
from gqn_transfer.files import read_json, write_text

RESULTS = Path(__file__).parents[1] / "docs/results"
TRAIN_AN_ENCODER = ("pixels-gqn-arch", "gqn-finetune", "gqn-aux")


RUNNABLE = list(METHODS)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for method in TUNED:
        space = space_of(method)
        trials = [
            Trial(0, {name: choices[0] for name, choices in space.items()}, 1.0, 0.0),
            Trial(1, {name: choices[-1] for name, choices in space.items()}, 2.0, 0.1),
        ]
        write_text(tmp_path / f"{method}.csv", as_csv(trials, list(space)))
    return tmp_path


def test_the_best_trial_is_taken_where_it_differs_from_the_defaults(tables: Path) -> None:
    assert tuned_settings("gqn-frozen", tables) == {
        "learning_rate": 1e-3, "batch_size": 500, "n_epochs": 20, "ent_coef": 3e-3, "gae_lambda": 0.98,
        "views": 3,
    }  # fmt: skip


@pytest.mark.parametrize("method", RUNNABLE)
def test_every_method_takes_what_it_won_found_or_inherits(method: str, tables: Path) -> None:
    settings, source = tuned_settings(method, tables), INHERITS.get(method, method)
    if source in CONTESTS:
        assert settings == dict(CONTESTS[source].rows[0])
    else:
        assert settings["learning_rate"] == 1e-3
    assert ("views" in settings) == (method not in ("state", *TRAIN_AN_ENCODER))
    assert set(settings) <= set(AGENT_OPTIONS)
    split(method, settings)  # refuses what the method does not have


def test_nothing_tuned_nothing_changed(tmp_path: Path) -> None:
    assert tuned_settings("gqn-frozen", tmp_path) == {}


@pytest.mark.parametrize("method", CONTESTS)
def test_the_first_row_of_a_contest_has_won_it(method: str) -> None:
    """By the value of a trial, mean over its seeds, of the committed runs."""
    contest, cells = CONTESTS[method], [c for c in SUITES["settings"].cells if c.method == method]
    values = [
        np.mean([worth(RESULTS / "settings/cells" / cell.name)[0] for cell in row])
        for row in batched_by(cells, len(contest.rows))
    ]
    assert len(values) == len(contest.rows)
    assert values[0] == max(values)


@pytest.mark.parametrize(("row", "table"), [(LARGE_BATCHES, "pixels-aug"), (SMALL_STEPS, "gqn-frozen")])
def test_what_contests_take_from_the_search_is_what_it_chose(row: dict, table: str) -> None:
    found = best_of(list(read_trials(FOLDER / f"{table}.csv").values())).settings
    assert dict(row) == {
        name: value for name, value in found.items() if value != DEFAULTS[name] and name != "shift"
    }


def batched_by(cells: list[Cell], rows: int) -> list[list[Cell]]:
    """Cells in the order of seeds, then rows -> those of each row."""
    return [cells[row::rows] for row in range(rows)]


@pytest.mark.parametrize("method", TUNED)
def test_the_tables_that_ship_hold_a_whole_search(method: str) -> None:
    """Twelve trials within the space, the untuned settings first; the best one is marked."""
    path, space = FOLDER / f"{method}.csv", space_of(method)
    trials = read_trials(path)
    assert list(trials) == list(range(TuneConfig().trials))
    assert trials[0].settings == {name: DEFAULTS[name] for name in space}
    for trial in trials.values():
        assert all(trial.settings[name] in choices for name, choices in space.items())
    assert path.read_text() == as_csv(list(trials.values()), list(space))


@pytest.mark.parametrize("method", TUNED)
def test_the_tables_follow_from_the_committed_trials(method: str) -> None:
    for number, trial in read_trials(FOLDER / f"{method}.csv").items():
        place = RESULTS / "tune/cells" / cell_of(method, number, trial.settings, TuneConfig()).name
        assert worth(place) == pytest.approx((trial.value, trial.success), abs=1e-6)


@pytest.mark.parametrize("method", TUNED)
def test_the_tables_are_of_the_encoders_that_ship(method: str) -> None:
    """An encoder that changes asks for another search."""
    found = read_json(FOLDER / f"{method}.json")
    name = encoder_for(method, TuneConfig().family)
    ships = name in available_encoders() and name != "reach-random"  # kept as its seed
    assert not ships or found["search"]["encoder_fingerprint"] == load_encoder(name).fingerprint
    assert {"command", "machine", "versions"} <= set(found)


def test_suites_take_what_was_found() -> None:
    cells = {cell.method: cell for cell in SUITES["methods"].cells}
    for method, cell in cells.items():
        assert cell.agent_options == tuned_settings(method)
    assert any(cell.agent_options for cell in cells.values())
