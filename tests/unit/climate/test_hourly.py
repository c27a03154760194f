"""Day totals by the hourly definition, for both ways of accumulating."""

import numpy as np
import pandas as pd
import pytest

from entropice_core.climate.hourly import day_statistics, day_totals, find_shift, hourly_amounts
from entropice_core.errors import SourceError

HOURS = pd.date_range("2023-06-01T00:00", periods=24 * 4 + 1, freq="h")


def amounts(seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((HOURS.size, 3)) < 0.3, rng.gamma(1.0, 1.0, (HOURS.size, 3)), 0.0)


def since_midnight(per_hour):
    """Accumulate since 00 UTC as ERA5-Land does: the value at 00 UTC is the total of the day before."""
    total, running = np.zeros_like(per_hour), np.zeros(per_hour.shape[1])
    for i, hour in enumerate(HOURS.hour):
        running = per_hour[i] if hour == 1 else running + per_hour[i]
        total[i] = running
    return total


def test_the_hour_that_ends_at_midnight_belongs_to_the_day_before():
    values = np.zeros((HOURS.size, 1))
    values[24] = 5.0
    days, totals = day_totals(values, HOURS, "hour", "x.nc")
    assert [str(d.date()) for d in days] == ["2023-06-01", "2023-06-02", "2023-06-03", "2023-06-04"]
    assert totals.ravel().tolist() == [5.0, 0.0, 0.0, 0.0]


def test_both_ways_of_accumulating_give_the_same_days():
    per_hour = amounts()
    one, two = day_totals(per_hour, HOURS, "hour", "a"), day_totals(since_midnight(per_hour), HOURS, "day", "b")
    assert one[0].equals(two[0]) and len(one[0]) == 4
    np.testing.assert_allclose(one[1], two[1])
    np.testing.assert_allclose(two[1], since_midnight(per_hour)[24::24])


def test_an_accumulation_that_falls_within_a_day_is_refused_by_time_and_pixel():
    total = since_midnight(amounts())
    total[30, 2] -= 1.0 + total[30, 2]
    with pytest.raises(SourceError, match=r"falls within the day at 2023-06-02 06:00:00 in pixel 2"):
        hourly_amounts(total, HOURS, "day", "land.nc")
    with pytest.raises(SourceError, match=r"is negative at"):
        hourly_amounts(np.diff(total, axis=0, prepend=0.0), HOURS, "hour", "x.nc")


def test_falls_within_the_packing_are_set_to_zero_and_counted():
    total = since_midnight(amounts())
    still = np.flatnonzero((np.diff(total[:, 0]) == 0.0) & (HOURS.hour[1:] != 1))[0] + 1
    total[still:, 0][HOURS.hour[still:] == HOURS.hour[still]] -= 1e-7
    made, corrected = hourly_amounts(total, HOURS, "day", "x.nc")
    assert corrected >= 1 and np.nanmin(made) == 0.0


def test_missing_hours_are_refused():
    with pytest.raises(SourceError, match="is not hourly after 2023-06-01 05:00:00"):
        day_totals(np.delete(amounts(), 6, axis=0), HOURS.delete(6), "hour", "x.nc")


def test_days_that_are_not_whole_are_left_out():
    days, *_ = day_statistics(amounts(), HOURS, "x")
    assert len(days) == 4
    days, _ = day_totals(amounts()[3:], HOURS[3:], "hour", "x")
    assert str(days[0].date()) == "2023-06-02"


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_a_shift_of_a_day_is_found_in_both_directions(late):
    days = pd.date_range("2023-06-01", periods=20)
    rain = np.random.default_rng(1).gamma(0.3, 4.0, (20, 4))
    found = find_shift(days, np.roll(rain, late, axis=0), days[2:-2], rain[2:-2], "store")
    assert found.days_late == late and found.misfit[late] == 0.0 and found.compared == 14


def test_few_days_decide_nothing():
    days = pd.date_range("2023-06-01", periods=6)
    with pytest.raises(SourceError, match="at least 5 are needed"):
        find_shift(days, np.ones((6, 1)), days, np.ones((6, 1)), "store")
