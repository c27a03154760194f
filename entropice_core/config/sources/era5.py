"""The kinds ``era5_daily``, ``era5_monthly`` and ``era5_history``: climate indices of ERA5 and ERA5-Land."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Years, check_template
from entropice_core.config.sources.base import SourceBase

# What values an index can have, by the unit at the end of its name; comparisons of years are not in it.
_RANGES = {
    "_count_d": (0.0, 366.0),
    "_day_d": (1.0, 366.0),
    "_length_d": (0.0, 366.0),
    "_degC": (-105.0, 90.0),
    "_sum_K_d": (0.0, 30_000.0),
    "_sum_K_month": (0.0, 500.0),
    "_m3_m3": (-0.01, 1.0),
}
_COMPARED = ("_anomaly_", "_trend_")


class Era5Base(SourceBase):
    """What the three kinds share.

    ``indices``: names of climate indices, or patterns such as ``t2m_*``; all that the variables allow when none is
    named. The table of all is in docs/era5.md.
    """

    indices: tuple[str, ...] = ()

    @property
    def is_yearly(self) -> bool:
        """Climate differs from year to year."""
        return True

    def bounds_of(self, feature: str) -> tuple[float, float]:
        """Give the range of an index by its unit.

        >>> Era5MonthlyConfig(kind="era5_monthly", title="t").bounds_of("t2m_jja_mean_degC")
        (-105.0, 90.0)
        """
        if any(word in feature for word in _COMPARED):
            return -math.inf, math.inf
        return next((span for end, span in _RANGES.items() if feature.endswith(end)), (-math.inf, math.inf))


class Era5DaysBase(Era5Base):
    """Where daily fields are: files of ``entropice fetch era5 --product daily``, or a Zarr store.

    With ``{year}`` the path is the folder of a year's results; without, it is a Zarr store, as a folder below
    ``{data}`` or an address. A store at an address has no checksums: ``snapshot`` names its state (a date, say), and a
    new name reads it anew. ``days_late`` = 1 is for stores whose day totals stand under the next day; ``hourly`` names
    a NetCDF file of hourly values of some pixels by which that is checked, accumulated per hour as in ERA5, or since
    00 UTC (``day``) as in ERA5-Land.
    """

    path: str = "{data}/era5/daily/{year}"
    snapshot: str = ""
    days_late: Literal[0, 1] = 0
    hourly: str | None = None
    hourly_accumulates_per: Literal["hour", "day"] = "hour"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_template("path", self.path, ("data", "year"))
        check_template("hourly", self.hourly or "", ("data",))
        if self.is_address and not self.snapshot:
            raise ValueError("path is an address, which has no checksums: name its state, such as snapshot = '2026-11'")
        if "{year}" in self.path and (self.days_late or self.hourly or self.is_address):
            raise ValueError("days_late, hourly and addresses are for Zarr stores, whose path has no {year}")
        return self

    @property
    def is_address(self) -> bool:
        """True for a store that is not on this machine."""
        return self.path.startswith(("http://", "https://"))


class Era5DailyConfig(Era5DaysBase):
    """Indices of daily fields."""

    kind: Literal["era5_daily"]


class Era5MonthlyConfig(Era5Base):
    """Indices of monthly means: small, and degree days are only approximate."""

    kind: Literal["era5_monthly"]
    path: str = "{data}/era5/era5_monthly_{year}.nc"

    @model_validator(mode="after")
    def _path_is_a_template(self) -> Self:
        check_template("path", self.path, ("data", "year"))
        if "{year}" not in self.path:
            raise ValueError(f"path {self.path!r} must hold {{year}}: there is a file a year")
        return self


class Era5HistoryConfig(Era5DaysBase):
    """How a year compares with others: anomaly from a climatology, trend and extremes of the last years.

    ``climatology``: Arctic years of the mean. When skill is validated in time, they should end before the years held
    out. ``last_years``: length of the window of trend and extremes, which ends with the year itself. All these years
    must have been fetched.
    """

    kind: Literal["era5_history"]
    climatology: Years
    last_years: int = Field(default=20, ge=5, le=100)
    compare: Annotated[tuple[Literal["anomaly", "trend", "highest", "lowest"], ...], Field(min_length=1)] = (
        "anomaly",
        "trend",
        "highest",
        "lowest",
    )
    indices: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "t2m_year_mean_degC",
        "t2m_jja_mean_degC",
        "t2m_djf_mean_degC",
        "thawing_degree_days_year_sum_K_d",
        "freezing_degree_days_year_sum_K_d",
        "thaw_season_year_length_d",
        "precipitation_year_sum_mm",
        "rain_jja_sum_mm",
        "rx5day_year_max_mm",
        "swe_year_max_mm",
    )
