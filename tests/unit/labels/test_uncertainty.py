"""Intervals that hold what they promise, and weights that follow the observed area."""

import numpy as np
import pytest
from scipy import stats

from entropice_core.errors import SchemaError
from entropice_core.labels.uncertainty import (
    binomial_interval,
    density_interval,
    noise_note,
    poisson_interval,
    training_weights,
)


def test_the_poisson_interval_is_that_of_the_chi_squared_quantiles() -> None:
    n = np.arange(30.0)
    low, high = poisson_interval(n, 0.9)
    np.testing.assert_allclose(low[1:], stats.chi2.ppf(0.05, 2 * n[1:]) / 2, rtol=1e-10)
    np.testing.assert_allclose(high, stats.chi2.ppf(0.95, 2 * n + 2) / 2, rtol=1e-10)
    assert low[0] == 0.0 and np.isnan(poisson_interval([np.nan])).all()


def test_the_binomial_interval_is_that_of_scipy() -> None:
    for k, n in [(0, 4), (1, 4), (4, 4), (17, 40)]:
        expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        got = [float(bound[0]) for bound in binomial_interval([k], [n])]
        np.testing.assert_allclose(got, [expected.low, expected.high], atol=1e-12)
    assert np.isnan(binomial_interval([0], [0])).all()


@pytest.mark.parametrize("rate", [0.5, 3.0, 40.0])
def test_a_poisson_interval_holds_the_mean_at_least_as_often_as_promised(rate: float) -> None:
    counts = np.random.default_rng(1).poisson(rate, 4000)
    low, high = poisson_interval(counts)
    assert ((low <= rate) & (rate <= high)).mean() >= 0.945


def test_a_density_interval_holds_the_expected_density_of_slumps_of_different_sizes() -> None:
    rng = np.random.default_rng(2)
    mean, sigma, observed = 6.0, 0.8, 1e8
    count = rng.poisson(mean, 3000)
    sizes = np.exp(rng.normal(8.0, sigma, (3000, 40)))
    area = np.array([row[:n].sum() for row, n in zip(sizes, count, strict=True)])
    size, cv = np.exp(8.0 + sigma**2 / 2), np.sqrt(np.exp(sigma**2) - 1.0)
    low, high = density_interval(count.astype(float), area, np.full(3000, observed), size, cv)
    truth = mean * size / observed
    assert ((low <= truth) & (truth <= high)).mean() >= 0.93
    assert (low <= area / observed).all() and (area / observed <= high).all()


def test_twice_the_land_without_a_slump_halves_the_upper_bound() -> None:
    zeros = np.zeros(2)
    low, high = density_interval(zeros, zeros, np.array([1e8, 2e8]), 4000.0, 1.0)
    assert low.tolist() == [0.0, 0.0] and high[0] == pytest.approx(2.0 * high[1])


def test_an_unobserved_cell_has_no_interval_and_no_bound_passes_one() -> None:
    low, high = density_interval(
        np.array([np.nan, 1.0]), np.array([np.nan, 900.0]), np.array([0.0, 1000.0]), 900.0, 2.0
    )
    assert np.isnan(low[0]) and np.isnan(high[0])
    assert 0.0 <= low[1] <= 0.9 and high[1] == 1.0


def test_weights_have_the_mean_one_and_rise_with_the_area_but_not_with_the_finds() -> None:
    area = np.array([1e6, 1e7, 1e8])
    first, second = training_weights(area, [0, 0, 6]), training_weights(area, [6, 0, 0])
    np.testing.assert_array_equal(first, second)
    assert first.mean() == pytest.approx(1.0) and (np.diff(first) > 0).all()
    assert training_weights(area, [0, 0, 0]).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("area", [[1.0, 0.0], [1.0, np.nan], [[1.0]]])
def test_rows_without_an_observed_area_cannot_be_weighted(area: object) -> None:
    with pytest.raises(SchemaError, match="observed area above 0"):
        training_weights(area, [1.0])


def test_a_single_f1_is_told_without_a_range() -> None:
    assert "an F1 of 0.8: with equal precision and recall, 20 % of" in noise_note([0.8])
