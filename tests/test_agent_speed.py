"""The speed of agents: what is timed is what happens, and rows that cannot be are refused by name."""

import time

import pytest

from gqn_transfer.agents.methods import METHODS
from gqn_transfer.benchmarks import agent_speed
from gqn_transfer.benchmarks.agent_speed import INSIDE, Speed, cells_of, goes_with, main, measure, time_calls


def test_a_frozen_method_spends_its_time_on_what_it_does() -> None:
    found = measure("gqn-frozen", "ppo", "jaco-small", steps=400)
    assert found.render_bound > found.steps_per_second > 0
    assert all(found.shares[part] > 0 for part in ("environment", "encoding", "update"))
    assert sum(found.shares.values()) < 1
    assert found.updates_per_second > 0


def test_the_oracle_encodes_nothing() -> None:
    found = measure("state", "a2c", "jaco-small", steps=512)
    assert found.shares["encoding"] == 0
    assert found.shares["update"] > 0


def test_the_encoder_inside_sb3s_extractor_is_another_row() -> None:
    assert goes_with(INSIDE, "sac")
    assert not goes_with("gqn-aux", "sac")
    agent = agent_speed.build(INSIDE, "ppo", "jaco-small", _pixels())
    assert "image" in agent.observation_space.spaces
    assert type(agent.policy.features_extractor.eyes).__name__ == "FrozenEyes"


def _pixels():
    return agent_speed.as_sb3(agent_speed.ArmVectorEnv("Reach-v0", 2))


def test_a_call_adds_its_seconds_to_its_part() -> None:
    class Sleeper:
        def sleep(self, seconds: float) -> str:
            time.sleep(seconds)
            return "slept"

    sleeper, spent = Sleeper(), {"rest": 1.0}
    time_calls(sleeper, "sleep", "rest", spent)
    assert sleeper.sleep(0.02) == "slept"
    assert 1.02 <= spent["rest"] < 1.5


def test_a_rows_text() -> None:
    shares = {"environment": 0.5, "encoding": 0.25, "update": 0.15}
    text = cells_of(Speed(1000.0, 2000.0, shares, 123.4, 2**30))
    assert text == ("1,000", "0.50", "50%", "25%", "15%", "10%", "123.4", "1.00 GiB")


def test_figures_stand_below_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    main(methods=("state",), algos=("a2c",), steps=64)
    heading, row = capsys.readouterr().out.splitlines()
    assert row.split()[:2] == ["state", "a2c"]
    for name in ("algorithm", "of render-bound", "peak memory"):
        assert row[heading.index(name) - 1] == " " != row[heading.index(name)]


def test_unknown_rows_are_named() -> None:
    with pytest.raises(SystemExit, match=f"unknown: pixel, dqn; known: {', '.join(METHODS)}"):
        main(methods=("pixel",), algos=("dqn",))
