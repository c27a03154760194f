"""Anomalies, trends and extremes over years."""

import numpy as np
import pytest
from scipy.stats import theilslopes

from entropice_core.climate import history
from entropice_core.climate.history import Compared
from entropice_core.climate.indices import INDICES


def test_the_trend_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=(20, 7)).cumsum(axis=0)
    wanted = [theilslopes(values[:, i]).slope for i in range(7)]
    np.testing.assert_allclose(history.theil_sen(values), wanted, rtol=1e-12)


def test_cells_in_parts_give_the_same_trend(monkeypatch):
    values = np.random.default_rng(1).normal(size=(9, 25))
    whole = history.theil_sen(values)
    monkeypatch.setattr(history, "CELLS_AT_A_TIME", 7)
    np.testing.assert_array_equal(history.theil_sen(values), whole)


def test_a_missing_year_makes_trend_and_anomaly_missing_for_that_cell_only():
    values = np.arange(12.0).reshape(6, 2)
    values[2, 1] = np.nan
    assert history.theil_sen(values)[0] == 2.0 and np.isnan(history.theil_sen(values)[1])
    assert np.isnan(history.anomaly(values[-1], values)).tolist() == [False, True]
    assert np.isnan(history.highest(values)).tolist() == np.isnan(history.lowest(values)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("index", "how", "years", "name", "unit"),
    [
        ("t2m_year_mean_degC", "anomaly", "1991_2020", "t2m_year_mean_anomaly_1991_2020_K", "K"),
        ("t2m_year_mean_degC", "highest", "20a", "t2m_year_mean_highest_20a_degC", "degC"),
        ("rain_jja_sum_mm", "trend", "30a", "rain_jja_sum_trend_30a_mm_a1", "mm a-1"),
        ("thawing_n_factor_year_ratio_1", "trend", "20a", "thawing_n_factor_year_ratio_trend_20a_1_a1", "a-1"),
        ("swvl1_jja_mean_m3_m3", "anomaly", "1991_2020", "swvl1_jja_mean_anomaly_1991_2020_m3_m3", "m3 m-3"),
    ],
)
def test_names_carry_season_statistic_comparison_years_and_unit(index, how, years, name, unit):
    compared = Compared(INDICES[index], how, years)
    assert (compared.name, compared.unit) == (name, unit)
    assert years.replace("_", "-") in compared.long_name
