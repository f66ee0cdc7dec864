"""Probes: they read what is there, nothing from noise, and count in metres and radians."""

import functools

import numpy as np
import pytest
import torch

from gqn_transfer import probes
from gqn_transfer.probes import (
    Coded,
    ProbeRow,
    constants,
    errors,
    fit_mlp,
    fit_ridge,
    guess,
    probe,
    quantities,
    r2,
)
from gqn_transfer.state_columns import Standardised

COLUMNS = [f"{name}_{axis}" for name in ("hand", "target") for axis in "xyz"] + ["joint_1_sin", "joint_1_cos"]


def states(count: int, seed: int = 0) -> np.ndarray:
    """Positions around (1, 2, 3, ...) metres with a spread of 0.1, and one angle."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi, np.pi, count)
    positions = np.arange(1, 7) + 0.1 * rng.standard_normal((count, 6))
    return np.column_stack([positions, np.sin(angle), np.cos(angle)]).astype(np.float32)


def linear_codes(state: np.ndarray) -> torch.Tensor:
    mixing = np.random.default_rng(9).standard_normal((8, 20))
    return torch.from_numpy((state @ mixing + 5).astype(np.float32))


def noise(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 20, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def read() -> dict[tuple[str, str], ProbeRow]:
    train, test = states(400), states(200, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "fit_mlp", functools.partial(fit_mlp, steps=400))
        rows = probe(Coded(linear_codes(train), train), [Coded(linear_codes(test), test)], COLUMNS)[0]
    return {(row.probe, row.quantity): row for row in rows}


def test_rows(read: dict) -> None:
    assert list(read) == [(p, q) for p in ("ridge", "mlp") for q in ("hand", "target", "joint_1")]
    assert [row.unit for row in read.values()] == ["m", "m", "rad"] * 2


def test_ridge_reads_a_linear_quantity(read: dict) -> None:
    for quantity in ("hand", "target", "joint_1"):
        assert read["ridge", quantity].median_error < 0.01
        assert read["ridge", quantity].r2 > 0.995


def test_mlp_reads_it_too(read: dict) -> None:
    for quantity in ("hand", "target", "joint_1"):
        assert read["mlp", quantity].median_error < 0.05
        assert read["mlp", quantity].r2 > 0.9


def test_noise_says_nothing() -> None:
    targets = Standardised(states(2000))
    predicted = targets.undo(fit_ridge(noise(2000, 0), targets.values, noise(1000, 1)))
    for row in errors("ridge", predicted, states(1000, seed=1), COLUMNS):
        assert abs(row.r2) < 0.05
        expected = np.pi / 2 if row.unit == "rad" else 0.154  # a guess; the median radius of 3 x 0.1 m
        assert row.median_error == pytest.approx(expected, rel=0.15)


def test_only_training_scenes_set_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "fit_mlp", lambda *inputs: fit_ridge(*inputs[:3], inputs[4]))
    train, test = states(100), states(50, seed=1)
    moved = linear_codes(test) + 100
    steady = probe(Coded(linear_codes(train), train), [Coded(linear_codes(test), test)], COLUMNS)[0]
    shifted = probe(Coded(linear_codes(train), train), [Coded(moved, test)], COLUMNS)[0]
    assert shifted[0].median_error > 10 * steady[0].median_error


def test_errors_are_metres_in_three_dimensions() -> None:
    state = states(5)
    predicted = state.copy()
    predicted[:, 0] += 0.03
    predicted[:, 2] -= 0.04
    rows = {row.quantity: row for row in errors("p", predicted, state, COLUMNS)}
    assert rows["hand"].median_error == pytest.approx(0.05, abs=1e-5)
    assert (rows["target"].median_error, rows["target"].r2) == (0, 1)


def test_error_is_the_median() -> None:
    state = states(5)
    predicted = state.copy()
    predicted[:, 3] += [0, 0, 0.01, 5, 9]
    assert errors("p", predicted, state, COLUMNS)[1].median_error == pytest.approx(0.01, abs=1e-5)


@pytest.mark.parametrize("true", [-3.1, -1.0, 0.0, 2.0, 3.1])
@pytest.mark.parametrize("offset", [0.1, -0.3, 3.0])
def test_angles_wrap(true: float, offset: float) -> None:
    state = np.tile(states(1), (3, 1))
    predicted = state.copy()
    state[:, 6:] = np.sin(true), np.cos(true)
    predicted[:, 6:] = 0.5 * np.array([np.sin(true + offset), np.cos(true + offset)])  # length is no matter
    state[0, 6:] = predicted[0, 6:] = 0.6, 0.8  # a joint that never moves has no row
    joint = errors("p", predicted, state, COLUMNS)[-1]
    assert (joint.quantity, joint.unit) == ("joint_1", "rad")
    assert joint.median_error == pytest.approx(abs(offset), abs=1e-4)


def test_columns_are_found_by_name() -> None:
    state = states(6)
    order = np.random.default_rng(0).permutation(8)
    predicted = state + np.linspace(0, 0.1, 8, dtype=np.float32)
    plain = errors("p", predicted, state, COLUMNS)
    assert errors("p", predicted[:, order], state[:, order], [COLUMNS[k] for k in order]) == plain


def test_r2_of_the_mean_is_zero() -> None:
    state = states(50)
    mean = np.tile(state.mean(0), (50, 1))
    assert r2(mean, state, [0, 1, 2]) == pytest.approx(0, abs=1e-5)
    assert r2(state, state, [0]) == 1


def test_standardised_and_back() -> None:
    state = states(30)
    state[:, 4] = 2.5  # a constant column
    scaled = Standardised(state)
    assert scaled.values.isfinite().all()
    torch.testing.assert_close(scaled.values[:, :4].mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    np.testing.assert_allclose(scaled.undo(scaled.values), state, atol=1e-5)


def test_mlp_depends_on_its_seed_alone() -> None:
    inputs, targets = noise(50, 0), torch.from_numpy(states(50))
    torch.manual_seed(1)
    a = fit_mlp(inputs, targets, inputs, seed=0, steps=5)
    state = torch.get_rng_state()
    b, c = (fit_mlp(inputs, targets, inputs, seed=seed, steps=5) for seed in (0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(state, torch.get_rng_state())


COLOURED = [*COLUMNS, "target_red", "target_green", "target_blue"]


def coloured(count: int, seed: int = 0) -> np.ndarray:
    colours = np.random.default_rng([seed, 1]).uniform(0, 1, (count, 3))
    return np.column_stack([states(count, seed), colours]).astype(np.float32)


def test_colours_are_probed_in_their_own_units() -> None:
    state = coloured(40)
    predicted = state.copy()
    predicted[:, 8:] += [0.03, 0.0, -0.04]
    row = errors("p", predicted, state, COLOURED)[-1]
    assert row[1:3] == ("target_colour", "rgb")
    assert row.median_error == pytest.approx(0.05, abs=1e-5)
    assert row.r2 == pytest.approx(1 - 0.0025 / (3 / 12), abs=0.01)


def test_constant_columns_have_no_error_and_no_r2() -> None:
    state = coloured(40)
    state[:, 8:] = 0.8, 0.1, 0.1
    noise = np.random.default_rng(0).normal(0, 0.01, state.shape).astype(np.float32)
    assert constants(state, COLOURED) == ["target_colour"]
    assert constants(coloured(40), COLOURED) == []
    assert [row.quantity for row in errors("p", state + noise, state, COLOURED)] == [
        "hand", "target", "joint_1",
    ]  # fmt: skip


def test_one_moving_column_is_enough() -> None:
    state = coloured(40)
    state[:, [3, 4]] = 0.5  # the target moves up and down only
    assert constants(state, COLOURED) == []


def test_quantities_are_those_that_have_all_their_columns() -> None:
    assert [one.name for one in quantities(COLOURED)] == ["hand", "target", "joint_1", "target_colour"]
    assert [one.name for one in quantities(["target_x", "target_y", "target_red", "hand_axis_x"])] == []


def test_guessing_is_the_training_mean_for_every_scene() -> None:
    train, test = coloured(4000), coloured(1000, seed=1)
    rows = {row.quantity: row for row in guess(train, test, COLOURED)}
    distances = np.linalg.norm(test[:, 3:6] - train[:, 3:6].mean(0), axis=1)
    assert rows["target"].median_error == pytest.approx(np.median(distances), abs=1e-4)
    assert all(row.probe == "guess" and abs(row.r2) < 0.02 for row in rows.values())


def test_scenes_without_a_thing_do_not_count_for_it() -> None:
    columns = [f"{thing}_{axis}" for thing in ("hand", "object") for axis in "xyz"]
    state = np.random.default_rng(0).uniform(1, 2, (40, 6)).astype(np.float32)
    state[::2, 3:] = 0
    predicted = state + 0.1
    predicted[::2, 3:] = 99
    hand, thing = errors("mlp", predicted, state, columns)
    assert hand.median_error == pytest.approx(thing.median_error, abs=1e-4) == pytest.approx(0.173, abs=1e-3)
    assert thing.r2 > 0.8
    state[:, 3:] = 0
    assert [row.quantity for row in errors("mlp", predicted, state, columns)] == ["hand"]


def test_probes_are_fitted_on_what_scenes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three quarters of the scenes have no target: what is read of the others' is as good as without them."""
    monkeypatch.setattr(probes, "fit_mlp", functools.partial(fit_mlp, steps=400))
    train, test = states(1000), states(200, seed=1)
    codes = linear_codes(train), linear_codes(test)
    lacking = train.copy()
    lacking[:750, 3:6] = 0
    found = probe(Coded(codes[0], lacking), [Coded(codes[1], test)], COLUMNS)[0]
    rows = {(row.probe, row.quantity): row for row in found}
    assert rows["ridge", "target"].r2 > 0.99
    assert rows["mlp", "target"].r2 > 0.8
    assert rows["ridge", "hand"].r2 > 0.99
    few = probe(Coded(codes[0][750:], train[750:]), [Coded(codes[1], test)], COLUMNS)[0]
    assert rows["ridge", "target"].median_error == pytest.approx(few[1].median_error, rel=0.2)
    (chance,) = [row for row in guess(lacking, test, COLUMNS) if row.quantity == "target"]
    assert chance.median_error == pytest.approx(guess(train[750:], test, COLUMNS)[1].median_error, rel=1e-3)
