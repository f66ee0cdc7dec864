"""Aggregates over tasks: by hand, against scipy, and what undefined cases give."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from gqn_transfer.benchmarks.aggregates import (
    median_of_tasks,
    normalised,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from gqn_transfer.benchmarks.statistics import Estimate, estimate, interquartile_mean, sample_efficiency_curve


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def scores(seed: int, runs: int = 6, tasks: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, (runs, tasks)) / 10


def test_normalised_scores_put_random_at_0_and_the_oracle_at_1() -> None:
    found = normalised([[0.2, 5.0], [0.6, 10.0]], low=[0.2, 0.0], high=[0.6, 10.0])
    np.testing.assert_allclose(found, [[0, 0.5], [1, 1]])
    assert np.isnan(normalised([[0.5]], 0.4, 0.4)).all()


def test_the_gap_counts_nothing_above_1() -> None:
    assert float(optimality_gap(np.array([[0.5, 1.5]]))[0]) == pytest.approx(0.25)
    assert estimate(scores(0), optimality_gap, rng()).value == pytest.approx(1 - scores(0).mean())


def test_the_median_is_that_of_the_tasks_means() -> None:
    assert median_of_tasks([[0.0, 1.0, 0.2], [0.4, 0.0, 0.2]], rng()).value == pytest.approx(0.2)
    wide = median_of_tasks(scores(4), rng())
    assert wide.low < wide.value < wide.high


def rliable_reps(scores: np.ndarray, statistic: str) -> tuple[float, float, float]:
    """rliable's own value and interval, where it is installed."""
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    function = getattr(metrics, statistic)
    values, intervals = library.get_interval_estimates(
        {"ours": scores}, lambda x: np.array([function(x)]), reps=2000
    )
    return float(values["ours"][0]), *map(float, intervals["ours"][:, 0])


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("aggregate_iqm", lambda s: estimate(s, interquartile_mean, rng())),
        ("aggregate_mean", lambda s: estimate(s, np.mean, rng())),
        ("aggregate_median", lambda s: median_of_tasks(s, rng())),
        ("aggregate_optimality_gap", lambda s: estimate(s, optimality_gap, rng())),
    ],
)
def test_against_rliable(name: str, ours: Callable[[np.ndarray], Estimate]) -> None:
    values = scores(5, runs=8)
    theirs, found = rliable_reps(values, name), ours(values)
    assert found.value == pytest.approx(theirs[0])
    assert (found.low, found.high) == pytest.approx(theirs[1:], abs=0.03)


def test_profile_and_improvement_against_rliable() -> None:
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    one, other, levels = scores(5, runs=8), scores(6, runs=8), np.linspace(0, 1, 6)
    theirs, bands = library.create_performance_profile({"ours": one}, levels, reps=1000)
    found = performance_profile(one, levels, rng())
    np.testing.assert_allclose(found[0], theirs["ours"])
    np.testing.assert_allclose(found[1:], bands["ours"], atol=0.05)
    values, intervals = library.get_interval_estimates(
        {"pair": (one, other)}, metrics.probability_of_improvement, reps=2000
    )
    better = probability_of_improvement(one, other, rng())
    assert better.value == pytest.approx(float(values["pair"]))
    assert (better.low, better.high) == pytest.approx(intervals["pair"].ravel(), abs=0.03)


def test_curves_against_rliable() -> None:
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    runs = np.stack([scores(seed, runs=8) for seed in range(3)], axis=-1)  # (runs, tasks, evaluations)
    values, intervals = library.get_interval_estimates(
        {"ours": runs},
        lambda cube: np.array([metrics.aggregate_iqm(cube[..., k]) for k in range(cube.shape[-1])]),
        reps=2000,
    )
    middle, low, high = sample_efficiency_curve(runs, rng())
    np.testing.assert_allclose(middle, values["ours"])
    np.testing.assert_allclose(np.stack([low, high]), intervals["ours"], atol=0.03)


def test_a_profile_is_the_share_of_runs_above_each_level() -> None:
    profile = performance_profile([[0.1, 0.5], [0.5, 0.9]], [0.0, 0.1, 0.5, 0.9], rng())
    np.testing.assert_allclose(profile[0], [1, 0.75, 0.25, 0])
    wide = performance_profile(scores(1), np.linspace(0, 1, 11), rng())
    assert (wide[1] <= wide[0]).all()
    assert (wide[0] <= wide[2]).all()
    assert (np.diff(wide[0]) <= 0).all()


def test_improvement_is_scipys_u_over_its_largest_value() -> None:
    ours, theirs = scores(2), scores(3, runs=5)
    each = [mannwhitneyu(ours[:, task], theirs[:, task]).statistic / 30 for task in range(4)]
    found = probability_of_improvement(ours, theirs, rng())
    assert found.value == pytest.approx(np.mean(each))
    assert found.low < found.value < found.high


def test_improvement_over_oneself_is_a_half() -> None:
    assert probability_of_improvement(scores(2), scores(2), rng()).value == pytest.approx(0.5)
    better = probability_of_improvement(scores(2) + 2, scores(2), rng())
    assert better == (1.0, 1.0, 1.0)


def test_intervals_have_the_width_of_the_spread() -> None:
    """Against the deviation of the statistic over many draws of runs."""
    draw = np.random.default_rng(7)
    values = [
        probability_of_improvement(draw.normal(0.5, 1, (10, 1)), draw.normal(0, 1, (10, 1)), rng(), 2).value
        for _ in range(400)
    ]
    widths = [
        np.subtract(
            *probability_of_improvement(draw.normal(0.5, 1, (10, 1)), draw.normal(0, 1, (10, 1)), rng())[
                :0:-1
            ]
        )
        for _ in range(20)
    ]
    assert np.mean(widths) == pytest.approx(4 * np.std(values), rel=0.2)


def test_one_run_has_no_interval_and_nan_stays() -> None:
    alone = probability_of_improvement([[1.0]], [[0.0], [0.5]], rng())
    assert alone.value == 1
    assert math.isnan(alone.low)
    profile = performance_profile([[0.5]], [0.1], rng())
    assert profile[0] == 1
    assert np.isnan(profile[1:]).all()
    assert math.isnan(probability_of_improvement([[math.nan], [1.0]], [[0.0], [0.5]], rng()).value)
    assert np.isnan(performance_profile([[math.nan], [0.1]], [0.0], rng())).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="4 and 3 tasks: expected the same ones"):
        probability_of_improvement(scores(0), scores(0, tasks=3), rng())
    with pytest.raises(ValueError, match=r"scores have shape \(3,\), expected \(runs, tasks\)"):
        performance_profile([1, 2, 3], [0], rng())


def test_the_same_generator_gives_the_same_interval() -> None:
    one, other = (probability_of_improvement(scores(2), scores(3), rng()) for _ in range(2))
    assert one == other
