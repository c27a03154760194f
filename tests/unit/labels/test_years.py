import datetime

import numpy as np
import pandas as pd
import pytest

from entropice_core.config import YearOf
from entropice_core.errors import SourceError
from entropice_core.labels.years import find_occurrences, parse_years, year_in_name


@pytest.mark.parametrize(
    ("value", "year"),
    [
        (2018, 2018),
        (2018.0, 2018),
        ("2018", 2018),
        (" 2018 ", 2018),
        ("2018-07-03", 2018),
        ("2018-07-03T10:20:30Z", 2018),
        ("2018-07-03 10:20:30", 2018),
        ("2018/7/3", 2018),
        ("2018.07.03", 2018),
        ("20180703", 2018),
        (20180703, 2018),
        (20180703.0, 2018),
        (20181001.0, 2019),
        ("20181001.0", 2019),
        (20180703.5, None),
        ("201811", None),
        (datetime.date(2018, 7, 3), 2018),
        (pd.Timestamp("2018-07-03", tz="UTC"), 2018),
        ("2018-09-30", 2018),
        ("2018-10-01", 2019),
        ("2018-02-30", None),
        ("2018-07-03,2019-08-01", None),
        ("summer 2018", None),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_the_arctic_year_of_a_date_begins_on_the_first_of_october(value: object, year: int | None) -> None:
    got = parse_years(pd.Series([value]))[0]
    assert np.isnan(got) if year is None else got == year


def test_a_column_of_time_stamps_with_gaps_keeps_its_gaps() -> None:
    got = parse_years(pd.Series(pd.to_datetime(["2019-08-01", None, "2019-12-31"])))
    np.testing.assert_array_equal(got, [2019.0, np.nan, 2020.0])


@pytest.mark.parametrize(("name", "pattern"), [("scene.shp", r"_(\d{4})-"), ("scene_12.shp", r"_(\d+)")])
def test_a_file_name_without_a_year_is_an_error_and_not_a_dropped_file(name: str, pattern: str) -> None:
    with pytest.raises(SourceError, match=r"finds no year of four digits in the name 'scene"):
        year_in_name(name, pattern, "inventories.x")


@pytest.mark.parametrize(
    ("name", "year"), [("a_2013-09-30_x.shp", 2013), ("a_2013-10-01_x.shp", 2014), ("a_2013_x.shp", 2013)]
)
def test_a_month_in_the_file_name_tells_the_arctic_year(name: str, year: int) -> None:
    assert year_in_name(name, r"_(\d{4})(?:-(\d{2})-\d{2})?_", "x") == year


def test_a_second_group_that_is_no_month_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"finds '13' in the name 'a_2013-13_x\.shp', which is no month"):
        year_in_name("a_2013-13_x.shp", r"_(\d{4})-(\d{2})_", "x")


def test_a_column_per_year_gives_a_feature_for_each_year_with_area() -> None:
    frame = pd.DataFrame({"Area_2018_": [0.09, 0.0, None], "Area_2019_": [0.18, 0.9, -1.0]})
    config = YearOf(column_per_year="Area_{year}_", unit="ha")
    found = find_occurrences(frame, "x", config, np.full(3, np.nan), [2018, 2019, 2020], "x")
    kept = found.sieve.is_kept
    assert found.row[kept].tolist() == [0, 0, 1]
    assert found.year[kept].tolist() == [2018, 2019, 2019]
    np.testing.assert_allclose(found.area_m2[kept], [900.0, 1800.0, 9000.0])
    assert found.sieve.counts() == {"zero_area": 1, "no_area": 1, "not_active_in_year": 1}
    assert found.years == (2018, 2019)


def test_a_template_that_fits_no_column_names_the_nearest_column() -> None:
    config = YearOf(column_per_year="Aera_{year}_")
    with pytest.raises(SourceError, match="did you mean 'Area_2018_'"):
        find_occurrences(pd.DataFrame({"Area_2018_": [1.0]}), "x", config, np.full(1, np.nan), [2018], "x")


def test_columns_of_other_years_than_the_studys_are_no_error() -> None:
    config = YearOf(column_per_year="Area_{year}_")
    found = find_occurrences(pd.DataFrame({"Area_2001_": [1.0]}), "x", config, np.full(1, np.nan), [2018], "x")
    assert found.row.size == 0 and found.years == ()


def test_whole_number_dates_with_a_gap_keep_their_years() -> None:
    got = parse_years(pd.Series([20180703, None, 20191101]))
    np.testing.assert_array_equal(got, [2018.0, np.nan, 2020.0])
