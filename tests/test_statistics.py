"""Closed forms, known answers and the wording of bounds; the bootstrap's coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gqn_transfer.benchmarks.statistics import (
    area_under_curve,
    estimate,
    interquartile_mean,
    paired_difference,
    ratio,
    sample_efficiency_curve,
    steps_to_threshold,
    stratified_bootstrap,
    two_digits,
)

INF = math.inf


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5, 1), (10, 3), (7, 2)])
def test_interquartile_mean_is_the_trimmed_mean(shape: tuple[int, ...]) -> None:
    trim_mean = pytest.importorskip("scipy.stats").trim_mean
    scores = generator().normal(size=shape)
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores.ravel(), 0.25))


def test_interquartile_mean_ignores_outliers_and_never_hides_nan() -> None:
    assert interquartile_mean([-1e9, 1.0, 3.0, 1e9]) == 2.0
    assert np.isnan(interquartile_mean([0.0, 1.0, 2.0, np.nan]))
    rows = interquartile_mean(np.array([[0.0, 1, 3, 9], [0, np.nan, 1, 2]]), axis=1)
    np.testing.assert_array_equal(rows, [2.0, np.nan])
    with pytest.raises(ValueError, match="at least one"):
        interquartile_mean([])


def test_bootstrap_depends_on_the_generator_alone() -> None:
    scores = generator().random((6, 2))
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    first = stratified_bootstrap(scores, np.mean, generator(3))
    assert first == stratified_bootstrap(scores, np.mean, generator(3))
    assert first != stratified_bootstrap(scores, np.mean, generator(4))


def test_bootstrap_resamples_within_a_task() -> None:
    """Tasks that differ and runs that do not leave no spread; mixing the tasks would."""
    scores = np.tile([0.1, 0.5, 0.9], (5, 1))
    low, high = stratified_bootstrap(scores, np.mean, generator())
    assert (low, high) == pytest.approx((0.5, 0.5))


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng, hits, trials = generator(), 0, 300
    for _ in range(trials):
        low, high = stratified_bootstrap(rng.normal(0.4, 0.1, (20, 2)), np.mean, rng, 400)
        hits += low <= 0.4 <= high
    assert 0.89 <= hits / trials <= 0.985


@pytest.mark.parametrize(("seeds", "missed"), [(3, 0.26), (5, 0.16)])
def test_of_few_seeds_it_misses_as_often_as_the_protocol_says(seeds: int, missed: float) -> None:
    rng = np.random.default_rng(0)
    found = [paired_difference(*rng.normal(size=(2, seeds)), rng, 500) for _ in range(600)]
    assert np.mean([not one.low <= 0 <= one.high for one in found]) == pytest.approx(missed, abs=0.05)


def test_one_run_and_nan_have_no_interval() -> None:
    assert estimate([0.7], np.mean, generator()) == pytest.approx((0.7, INF - INF, INF - INF), nan_ok=True)
    assert all(math.isnan(end) for end in stratified_bootstrap([0.1, np.nan], np.mean, generator()))
    assert all(math.isnan(number) for number in estimate([], np.mean, generator()))


def test_sample_efficiency_curve_is_the_estimate_at_each_evaluation() -> None:
    scores = generator().random((8, 2, 5))
    curve = sample_efficiency_curve(scores, generator(1))
    assert curve.shape == (3, 5)
    np.testing.assert_allclose(curve[0], [interquartile_mean(scores[:, :, i]) for i in range(5)])
    assert (curve[1] <= curve[0]).all()
    assert (curve[0] <= curve[2]).all()
    assert np.isnan(sample_efficiency_curve(scores[:1], generator())[1:]).all()
    with pytest.raises(ValueError, match="runs, tasks, evaluations"):
        sample_efficiency_curve(scores[0], generator())


@pytest.mark.parametrize(
    ("steps", "scores", "expected"),
    [
        ([0, 100], [0.0, 1.0], 0.5),
        ([0, 50, 100], [0.4, 0.4, 0.4], 0.4),
        ([0, 10, 100], [0.0, 1.0, 1.0], 0.95),  # uneven spacing counts by length
        ([50, 100], [1.0, 1.0], 0.75),  # no evaluation at step 0: it starts there at 0
        ([0], [0.3], 0.3),
    ],
)
def test_area_under_curve(steps: list[int], scores: list[float], expected: float) -> None:
    assert area_under_curve(steps, scores) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.0, 0.9, 0.0, 0.0, 0.1], INF),  # touches once, the mean of three does not
        ([0.0, 0.5, 0.5, 0.5, 0.0, 0.0], 400),
        ([0.0, 0.2, 0.5, 0.8, 0.0, 0.0], 400),  # the mean counts, not each of the three
        ([0.5, 0.5, 0.5, 0.0, 0.0, 0.0], 300),
        ([0.0, 0.0, 0.0, 0.5, 0.5, 0.49], INF),
        ([0.0, 0.0, 0.0, 0.5, 0.5, 0.5], 600),
        ([0.5, np.nan, 0.5, 0.5, 0.5, 0.5], 500),  # a window with nan does not reach
        ([1.0, 1.0], INF),
    ],
)
def test_steps_to_threshold(scores: list[float], expected: float) -> None:
    steps = 100 * np.arange(1, len(scores) + 1)
    assert steps_to_threshold(steps, scores, 0.5) == expected


def test_rounding_does_not_decide_a_threshold() -> None:
    scores = [0.4, 0.48, 0.5]
    assert np.mean(scores) < 0.46
    assert steps_to_threshold([1, 2, 3], scores, 0.46) == 3


def test_unequal_lengths_are_refused_with_the_shapes() -> None:
    for call in (
        lambda: area_under_curve([1, 2], [0.5]),
        lambda: steps_to_threshold([1, 2], [0.5], 0.5),
        lambda: ratio([1.0, 2.0], [1.0], (9, 9), generator()),
    ):
        with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
            call()


def test_ratio_of_medians_and_its_paired_interval() -> None:
    method = np.array([100.0, 200, 300, 400, 500])
    found = ratio(4 * method, method, (9000, 9000), generator())
    # Only a paired bootstrap keeps a constant factor constant.
    assert (found.kind, found.value, found.low, found.high) == ("estimate", 4, 4, 4)
    assert found.text == "4.0x"
    again = ratio([300.0, 800, 500], [100.0, 200, 400], (900, 900), generator(5))
    assert again.value == 2.5
    assert again.low < 2.5 < again.high
    assert again == ratio([300.0, 800, 500], [100.0, 200, 400], (900, 900), generator(5))


def test_censoring_gives_bounds() -> None:
    few, many = [100.0, 200.0, 300.0], [INF, INF, 500.0]
    at_least = ratio(many, few, (800, 800), generator())
    assert (at_least.kind, at_least.value, at_least.text) == ("at_least", 4.0, ">4.0x")
    assert at_least.high == INF
    assert at_least.interval_text.endswith("–∞")
    at_most = ratio(few, many, (800, 800), generator())
    assert (at_most.kind, at_most.value, at_most.text) == ("at_most", 0.25, "<0.25x")
    assert at_most.low == 0
    neither = ratio(many, many, (800, 800), generator())
    assert (neither.kind, neither.text) == ("not_reached", "not reached")
    assert math.isnan(neither.value)


def test_bounds_use_the_budget_of_the_censored_side() -> None:
    assert ratio([INF], [100.0], (800, 200), generator()).value == 8
    assert ratio([100.0], [INF], (800, 200), generator()).value == 0.5


def test_one_censored_seed_leaves_the_median_and_opens_the_interval() -> None:
    found = ratio([400.0, 500.0, INF], [100.0, 100.0, 100.0], (600, 600), generator())
    assert (found.kind, found.value, found.high) == ("estimate", 5, INF)
    assert found.low == 4


def test_one_pair_has_no_interval_and_no_pair_no_ratio() -> None:
    one = ratio([200.0], [100.0], (900, 900), generator())
    assert (one.text, one.interval_text) == ("2.0x", "")
    assert ratio([], [], (math.nan, math.nan), generator()).text == "no common seed"


def test_an_even_number_of_seeds_with_half_of_them_censored_is_censored() -> None:
    assert ratio([100.0, INF], [50.0, 50.0], (200, 200), generator()).kind == "at_least"


@pytest.mark.parametrize(
    ("baseline", "method", "budgets", "text"),
    [
        ([110.0, 120.0, INF, INF], [50.0] * 4, (400, 400), ">5.2x"),  # the median is (120 + 400) / 2 at least
        ([100.0, 100.0], [100.0, INF], (200, 200), "<0.67x"),  # and here (100 + 200) / 2
        ([INF, INF], [50.0, 50.0], (200, 200), ">4.0x"),
    ],
)
def test_bounds_hold_whatever_the_censored_seeds_would_have_taken(
    baseline: list[float], method: list[float], budgets: tuple[float, float], text: str
) -> None:
    found = ratio(baseline, method, budgets, generator())
    assert found.text == text
    for late in (1.01, 1.3, 20.0):
        times = [
            np.where(np.isinf(side), late * budget, side)
            for side, budget in zip((baseline, method), budgets, strict=True)
        ]
        truth = np.median(times[0]) / np.median(times[1])
        assert truth >= found.value if found.kind == "at_least" else truth <= found.value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (4.0, "at_least", "4.0"),
        (4.19, "at_least", "4.1"),
        (4.11, "at_most", "4.2"),
        (0.5, "at_most", "0.50"),
        (0.481, "estimate", "0.48"),
        (12.4, "estimate", "12"),
        (0.0, "at_least", "0"),
    ],
)
def test_two_digits_round_bounds_outwards(value: float, kind: str, text: str) -> None:
    assert two_digits(value, kind) == text


def test_paired_difference_removes_what_pairs_share() -> None:
    base = generator().random(6)
    assert paired_difference(base + 0.2, base, generator()) == pytest.approx((0.2, 0.2, 0.2))
