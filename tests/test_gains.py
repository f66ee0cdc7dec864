"""Fits of the gain in the number of source tasks: each fits data of its own kind and no others'."""

import numpy as np
import pytest

from gqn_transfer.benchmarks.gains import Fit, fit_gains, gains_sentence, growth_sentence

COUNTS = np.array([0.0, 1.0, 2.0, 4.0])


def fits_of(means: np.ndarray, noise: float = 0.01, seeds: int = 5, seed: int = 0) -> dict[str, Fit]:
    rng = np.random.default_rng(seed)
    values = means[:, None] + noise * rng.normal(size=(len(means), seeds))
    return {fit.model: fit for fit in fit_gains(COUNTS[: len(means)], values, rng, 500)}


def test_no_effect_excludes_nothing() -> None:
    fits = fits_of(np.full(4, 0.3))
    assert not any(fit.excluded for fit in fits.values())
    assert fits["linear"].growth == pytest.approx(0, abs=0.01)
    assert gains_sentence(list(fits.values())).startswith("The data exclude no growth; constant, linear, exp")


def test_linear_growth_excludes_the_others() -> None:
    fits = fits_of(0.1 + 0.15 * COUNTS)
    assert [fits[name].excluded for name in ("constant", "linear", "exponential")] == [True, False, True]
    assert fits["linear"].start == pytest.approx(0.1, abs=0.02)
    assert fits["linear"].growth == pytest.approx(0.15, abs=0.01)
    assert growth_sentence(list(fits.values())).startswith("Fitted: 0.10 and +0.15 a task, or 0.")
    assert gains_sentence(list(fits.values())) == (
        "The data exclude constant and exponential growth; linear is left."
    )


def test_exponential_growth_excludes_the_others() -> None:
    fits = fits_of(0.05 * np.exp(0.7 * COUNTS))
    assert [fits[name].excluded for name in ("constant", "linear", "exponential")] == [True, True, False]
    assert fits["exponential"].growth == pytest.approx(0.7, abs=0.02)
    assert fits["exponential"].start == pytest.approx(0.05, abs=0.01)


def test_noise_keeps_all_of_them() -> None:
    assert not any(fit.excluded for fit in fits_of(0.1 + 0.02 * COUNTS, noise=0.3).values())


def test_a_true_model_is_excluded_about_as_seldom_as_promised() -> None:
    wrong = [fits_of(0.1 + 0.1 * COUNTS, noise=0.1, seed=seed)["linear"].excluded for seed in range(100)]
    assert 0 < np.mean(wrong) < 0.15


def test_what_cannot_be_tested_says_so() -> None:
    one_seed = fits_of(0.1 + 0.15 * COUNTS, seeds=1).values()
    assert all(np.isnan(fit.probability) for fit in one_seed)
    assert "Too few seeds" in gains_sentence(list(one_seed))
    two_counts = fits_of(np.array([0.1, 0.5]))
    assert two_counts["constant"].excluded
    assert np.isnan(two_counts["linear"].probability)
    assert gains_sentence(list(two_counts.values())) == (
        "The data exclude constant growth; linear, exponential are left."
    )


def test_equal_values_are_no_division_by_zero() -> None:
    fits = fit_gains(COUNTS, np.full((4, 3), 0.2), np.random.default_rng(0), 50)
    assert [fit.probability for fit in fits] == [1.0, 1.0, 1.0]


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"counts \(4,\) and values \(3, 2\)"):
        fit_gains(COUNTS, np.zeros((3, 2)), np.random.default_rng(0))
