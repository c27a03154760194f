"""The Arctic year of each feature: from a column of dates or years, from the file name, or from a column per year.

Arctic year Y runs from 1 October Y-1 to 30 September Y, so a date from October on belongs to the next year.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from entropice_core.config import YearOf
from entropice_core.errors import SourceError, nearest_hint
from entropice_core.labels.report import Sieve

SQUARE_METRES: dict[str, float] = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
FIRST_MONTH = 10
_YEAR = re.compile(r"^(\d{4})(?:\.0+)?$")
_DATE = re.compile(r"^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?$")
# A whole-number column with a gap is stored as floats, hence the .0.
_DIGITS = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:\.0+)?$")


@dataclass(frozen=True)
class Occurrences:
    """Features of one layer: which row in which year.

    ``row``: (n,) int64; ``year``: (n,) float64, NaN when unknown; ``area_m2``: (n,) float64, what the file says, NaN
    when it says nothing; ``sieve``: what is wrong with them; ``years``: the years that the layer speaks about;
    ``unread``: a value in which no year could be read, "" when there is none.
    """

    row: npt.NDArray[np.int64]
    year: npt.NDArray[np.float64]
    area_m2: npt.NDArray[np.float64]
    sieve: Sieve
    years: tuple[int, ...]
    unread: str = ""


def check_column(frame: pd.DataFrame, column: str, key: str, what: str) -> None:
    """Raise ``SourceError`` with the columns there are when one is missing."""
    if column not in frame.columns:
        names = [str(name) for name in frame.columns if name != "geometry"]
        raise SourceError(
            f"{what} has no column {column!r}, which {key} in the study TOML names; {nearest_hint(column, names)}."
        )


def find_occurrences(
    frame: pd.DataFrame, file_name: str, config: YearOf, areas: npt.NDArray[np.float64], years: list[int], what: str
) -> Occurrences:
    """Say in which years each row counts.

    Parameters
    ----------
    frame : the rows of one layer
    file_name : the name that ``config.file_name`` is matched with
    areas : (rows,) float64, m2, of the area column; NaN without one
    years : the years of the study
    what : how errors call the layer
    """
    if config.column_per_year is not None:
        return _per_year(frame, config.column_per_year, SQUARE_METRES[config.unit], years, what)
    unread = ""
    if config.file_name is not None:
        year = year_in_name(file_name, config.file_name, what)
        of_row, spoken_of = np.full(len(frame), float(year)), {year}
    else:
        column = str(config.column)
        if len(frame):
            check_column(frame, column, "year.column", what)
        of_row = parse_years(frame[column]) if len(frame) else np.empty(0)
        spoken_of = {int(year) for year in np.unique(of_row[np.isfinite(of_row)])}
        unread = _example(frame[column][~np.isfinite(of_row)]) if len(frame) else ""
    sieve = Sieve(len(frame))
    sieve.reject(~np.isfinite(of_row), "no_year")
    sieve.reject(~np.isin(of_row, years), "year_outside_study")
    return Occurrences(np.arange(len(frame)), of_row, areas, sieve, tuple(sorted(spoken_of)), unread)


def _example(values: "pd.Series[Any]") -> str:
    """Show one of the values, rather one that is there than a missing one."""
    there = values.dropna()
    return repr(there.tolist()[0]) if len(there) else "nothing" if len(values) else ""


def year_in_name(file_name: str, pattern: str, what: str) -> int:
    r"""Read the Arctic year from a file's name: the first group of the pattern is the year, the second the month.

    Without a second group the year is taken as it stands.

    >>> year_in_name("5370314_2013-07-27_RE1.shp", r"_(\d{4})-(\d{2})-\d{2}_", "the layer")
    2013
    >>> year_in_name("5370314_2013-10-02_RE1.shp", r"_(\d{4})-(\d{2})-\d{2}_", "the layer")
    2014
    """
    match = re.search(pattern, file_name)
    if match is None or not re.fullmatch(r"\d{4}", match.group(1) or ""):
        raise SourceError(
            f"{what}: the first group of year.file_name = {pattern!r} finds no year of four digits in the name "
            f"{file_name!r}; correct the expression, or exclude the file."
        )
    month = match.group(2) if match.re.groups > 1 else None
    if month is not None and not re.fullmatch(r"0?[1-9]|1[0-2]", month):
        raise SourceError(
            f"{what}: the second group of year.file_name = {pattern!r} finds {month!r} in the name {file_name!r}, "
            "which is no month from 1 to 12; correct the expression, and write (?:...) for a group that is no month."
        )
    return int(match.group(1)) + (month is not None and int(month) >= FIRST_MONTH)


def parse_years(values: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    """Give the Arctic year of each value, NaN where there is none: years, ISO dates, YYYYMMDD, time stamps.

    >>> parse_years(pd.Series(["2018", "2018-07-03", "20181001", "2018-13-01", "unknown", None])).tolist()
    [2018.0, 2018.0, 2019.0, nan, nan, nan]
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return _arctic(pd.DatetimeIndex(values))
    text = values.astype("string").str.strip()
    years: npt.NDArray[np.float64] = pd.to_numeric(text.str.extract(_YEAR.pattern)[0]).to_numpy(
        np.float64, na_value=np.nan
    )
    parts, digits = text.str.extract(_DATE.pattern), text.str.extract(_DIGITS.pattern)
    iso = parts[0] + "-" + parts[2].str.zfill(2) + "-" + parts[3].str.zfill(2)
    iso = iso.fillna(digits[0] + "-" + digits[1] + "-" + digits[2])
    dates = pd.DatetimeIndex(pd.to_datetime(iso, format="%Y-%m-%d", errors="coerce"))
    return np.where(np.isfinite(years), years, _arctic(dates))


def _arctic(dates: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    year = np.asarray(dates.year, dtype=np.float64)
    return year + (np.asarray(dates.month, dtype=np.float64) >= FIRST_MONTH)


def _per_year(frame: pd.DataFrame, template: str, to_m2: float, years: list[int], what: str) -> Occurrences:
    columns = {year: template.format(year=year) for year in years}
    found = [year for year in years if columns[year] in frame.columns]
    if not found and not any(_is_from(template, str(name)) for name in frame.columns):
        check_column(frame, columns[years[0]], "year.column_per_year", what)
    values = [pd.to_numeric(frame[columns[year]], errors="coerce").to_numpy(np.float64) for year in found]
    area = np.concatenate([np.empty(0), *values]) * to_m2
    sieve = Sieve(area.size)
    sieve.reject(~np.isfinite(area), "no_area")
    sieve.reject(area < 0.0, "zero_area")
    sieve.reject(area == 0.0, "not_active_in_year")
    row = np.tile(np.arange(len(frame)), len(found))
    return Occurrences(row, np.repeat(np.array(found, dtype=np.float64), len(frame)), area, sieve, tuple(found))


def _is_from(template: str, column: str) -> bool:
    before, _, after = template.partition("{year}")
    return re.fullmatch(re.escape(before) + r"\d{4}" + re.escape(after), column) is not None
