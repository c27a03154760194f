"""What may be asked for: data sets, their keys, variables and months; of real catalogue files where they are given.

The real files are of 2023 and of the former store: months by name, formats of old. Their years end with 2022; a later
month is allowed as its like of the last years is, up to the newest month of the service.
"""

import json
from calendar import month_name, monthrange
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.servers.cds.fields import FIELDS, LAND_FIELDS, as_list

MONTHLY = "reanalysis-era5-single-levels-monthly-means"
DAILY = "derived-era5-single-levels-daily-statistics"
LAND_MONTHLY = "reanalysis-era5-land-monthly-means"
LAND_DAILY = "derived-era5-land-daily-statistics"
LAND_HOURLY = "reanalysis-era5-land"
_FORM = {"variable", "year", "month", "area"}
_FILES = {"data_format", "download_format"}
_STATISTIC = {"day", "daily_statistic", "time_zone", "frequency"}
DATASETS: dict[str, set[str]] = {
    MONTHLY: _FORM | _FILES | {"product_type", "time"},
    DAILY: _FORM | _STATISTIC | {"product_type"},
    LAND_MONTHLY: _FORM | _FILES | {"product_type", "time"},
    LAND_DAILY: _FORM | _STATISTIC,
    LAND_HOURLY: _FORM | _FILES | {"day", "time"},
}
"""The keys that a request may have."""
STATISTICS = ("daily_mean", "daily_minimum", "daily_maximum", "daily_sum")
_INVALID = "Request has not produced a valid combination of values, please check your selection"
_NAMES = {name.lower(): f"{number:02d}" for number, name in enumerate(month_name) if name}
_LAST_REAL_YEAR = 2022
Month = tuple[int, int]


class Catalogue:
    """Variables and months of every data set."""

    def __init__(self, protocols: Path | None) -> None:
        self.variables = {"era5": set(FIELDS), "era5-land": set(LAND_FIELDS)}
        self.rows: dict[str, list[dict[str, list[str]]]] = {}
        if protocols is not None:
            rows = _read(protocols, "reanalysis-era5-single-levels")
            self.variables["era5"] = {v for r in rows if "reanalysis" in r["product_type"] for v in r["variable"]}
            self.rows = {name: _read(protocols, name) for name in (LAND_HOURLY, LAND_MONTHLY)}
            self.rows[LAND_DAILY] = self.rows[LAND_HOURLY]
            self.variables["era5-land"] = {v for row in self.rows[LAND_MONTHLY] for v in row["variable"]}

    def invalid(self, process: str, inputs: dict[str, Any], newest: Month) -> str | None:
        """Say why a request is refused."""
        if extra := set(inputs) - DATASETS[process]:
            return f"{_INVALID}: {sorted(extra)}"
        known = self.variables["era5-land" if "-land" in process else "era5"]
        months = [f"{m:02d}" for m in range(1, 13)]
        for name, allowed in (("variable", known), ("month", months)):
            for value in as_list(inputs.get(name, [])):
                if value not in allowed:
                    return f"{_INVALID}: {value}"
        return self._invalid_statistic(process, inputs) or self._invalid_time(process, inputs, newest)

    def _invalid_statistic(self, process: str, inputs: dict[str, Any]) -> str | None:
        if process not in (DAILY, LAND_DAILY):
            return None
        if any(len(as_list(inputs.get(k, []))) != 1 for k in ("daily_statistic", "time_zone")):
            return "Multiple daily statistic values in a single request is not supported."
        statistic = as_list(inputs["daily_statistic"])[0]
        return None if statistic in STATISTICS else f"unknown daily statistic {statistic}"

    def _invalid_time(self, process: str, inputs: dict[str, Any], newest: Month) -> str | None:
        first = 1950 if "-land" in process else 1940
        for year, month in _months(inputs):
            if not (first, 1) <= (year, month) <= newest:
                return f"{_INVALID}: {year}-{month:02d}"
            if not self._in_rows(process, inputs, year, month):
                return f"{_INVALID}: {inputs['variable']} of {year}-{month:02d}"
        return None

    def _in_rows(self, process: str, inputs: dict[str, Any], year: int, month: int) -> bool:
        """Look whether the real constraints allow every field of a month."""
        if process not in self.rows:
            return True
        like = min(year, _LAST_REAL_YEAR if monthrange(year, 2)[1] == 28 else 2020)
        rows = [r for r in self.rows[process] if str(like) in r["year"] and f"{month:02d}" in r["month"]]
        last = monthrange(year, month)[1]
        days = [d for d in as_list(inputs.get("day", [])) if int(d) <= last] or ["-"]
        return all(
            any(
                variable in row["variable"] and (day == "-" or day in row["day"]) and time in row["time"]
                for row in rows
            )
            for variable in as_list(inputs["variable"])
            for day in days
            for time in as_list(inputs.get("time", "00:00"))
        )

    def constraints(self, process: str, inputs: dict[str, Any], newest: Month) -> dict[str, list[str]]:
        """Say what may be chosen when this much is."""
        first = 1950 if "-land" in process else 1940
        years = [str(y) for y in range(first, newest[0] + 1)]
        chosen = [int(y) for y in as_list(inputs.get("year", []))] or [first]
        last = newest[1] if min(chosen) >= newest[0] else 12
        known = self.variables["era5-land" if "-land" in process else "era5"]
        return {"variable": sorted(known), "year": years, "month": [f"{m:02d}" for m in range(1, last + 1)]}


def _read(protocols: Path, name: str) -> list[dict[str, list[str]]]:
    rows: list[dict[str, list[str]]] = json.loads((protocols / name / "constraints.json").read_text())
    return [{**row, "month": [_NAMES.get(m, m) for m in row["month"]]} for row in rows]


def _months(inputs: dict[str, Any]) -> list[Month]:
    return [(int(y), int(m)) for y in as_list(inputs.get("year", [])) for m in as_list(inputs.get("month", []))]


def now() -> str:
    """The time, as the service writes it."""
    return datetime.now(UTC).isoformat()
