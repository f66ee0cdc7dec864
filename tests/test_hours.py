"""Estimates of hours: of every method, more for more steps and for encoders, less on a faster machine."""

import statistics
from pathlib import Path

import pytest

from gqn_transfer.agents.methods import METHODS
from gqn_transfer.benchmarks import hours
from gqn_transfer.benchmarks.grids import grid
from gqn_transfer.benchmarks.suites import SUITES
from gqn_transfer.files import read_json


@pytest.fixture(autouse=True)
def as_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "speed", lambda: 1.0)
    monkeypatch.setattr(hours, "usable_cores", lambda: 2)


def test_every_method_has_a_pace() -> None:
    assert set(hours.PACES) == set(METHODS)


def test_quick_takes_what_it_took() -> None:
    assert hours.seconds_of(SUITES["quick"].cells) == pytest.approx(14 * 60, rel=0.15)


def test_raw_pixels_take_far_longer_from_a_replay_buffer() -> None:
    (ppo,) = grid("t", ["Reach-v0"], ["fixed"], {"pixels-aug": 1000}, [0])
    assert hours.pace_of(ppo._replace(algo="sac")) < 0.1 * hours.pace_of(ppo)
    frozen = ppo._replace(method="gqn-frozen")
    assert hours.pace_of(ppo._replace(algo="sac")) < hours.pace_of(frozen._replace(algo="td3"))


def test_oracle_takes_what_it_took() -> None:
    assert hours.seconds_of(SUITES["oracle"].cells) == pytest.approx(38 * 60, rel=0.2)


def test_methods_that_train_an_encoder_take_what_they_took() -> None:
    folder = Path(__file__).parent.parent / "docs" / "results" / "methods" / "cells"
    for method in ("pixels-gqn-arch", "gqn-finetune", "gqn-aux"):
        ended = [read_json(path) for path in folder.glob(f"*-{method}-ppo-seed*/done.json")]
        paces = [done["env_steps"] / done["wall_seconds"] for done in ended]
        assert hours.PACES[method] == pytest.approx(statistics.mean(paces), rel=0.1)


def test_encoders_of_a_suites_own_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = (hours.seconds_of(SUITES[name].cells) for name in ("quick", "from-scratch"))
    assert own - shipped == pytest.approx(0.75 * 3600 / 2, rel=0.05)
    assert hours.seconds_of(SUITES["from-scratch"].cells, {"reach-gqn", "reach-random"}) == shipped
    cells = grid("t", ["Reach-v0"], ["fixed"], {"state": 1000}, [0])
    slow = hours.seconds_of(cells)
    monkeypatch.setattr(hours, "speed", lambda: 4.0)
    assert hours.seconds_of(cells) == slow / 4


def test_fewer_workers_take_longer_and_more_than_cores_do_not_help() -> None:
    cells = SUITES["quick"].cells
    one, two, three = (hours.seconds_of(cells, workers=workers) for workers in (1, 2, 3))
    assert one == 2 * two == 2 * hours.seconds_of(cells)
    assert three == two
