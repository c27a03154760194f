"""A year of daily fields in NetCDF files, as ``entropice fetch era5`` lays them down.

Below the folder of a year each result has a folder of its own whose name, and whose receipt, say which statistic of
the day it holds; the variables of a result may be split among files as the service likes. Of two results with the same
variable, statistic and month the one that was fetched last counts.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyproj import CRS

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.field_file import FieldFile, open_fields
from entropice_core.climate.quantities import QUANTITIES, Daily, Float32
from entropice_core.errors import SourceError
from entropice_core.features.layout import RasterLayout
from entropice_core.fetch.calendar import month_key
from entropice_core.fetch.plan import MIDNIGHT
from entropice_core.fetch.receipts import RECEIPT, read_receipt

BAND_BYTES = 400_000_000
"""Bytes of one field of a year that are in memory at a time; a formula needs up to three fields."""
SUMMARY = "year.json"
_STATISTIC = re.compile(rf"_(mean|min|max|sum|{MIDNIGHT})_[0-9a-f]{{8}}$")


class DailyYear(Protocol):
    """Daily fields of one Arctic year on one grid.

    ``where`` names the source in errors, ``fields`` what it has, ``steps`` how many a field has (days of the year),
    ``layout`` its pixels, ``provisional_months`` the months (``2025-08``) whose values may still change.
    """

    where: str
    steps: int
    layout: RasterLayout
    fields: frozenset[Daily]
    provisional_months: tuple[str, ...]

    def units(self, field: Daily) -> str:
        """Unit of a field as the source states it."""
        ...

    def bands(self) -> list[slice]:
        """Rows of the layout to read at a time, aligned to how they are stored."""
        ...

    def read(self, field: Daily, rows: slice, out: Float32) -> None:
        """Put values of some rows as stored into ``out`` : (steps, rows, columns), in the layout's order."""
        ...


class DailyFiles:
    """The daily fields below the folder of one Arctic year."""

    def __init__(self, folder: Path, calendar: ArcticCalendar) -> None:
        self.folder, self.calendar, self.where, self.steps = folder, calendar, str(folder), calendar.n_days
        self._places: dict[Daily, dict[str, tuple[FieldFile, str, int]]] = {}
        provisional: dict[tuple[Daily, str], bool] = {}
        for path, statistic, marked in _results(folder):
            self._scan(path, statistic, marked, provisional)
        self.fields = frozenset(self._places)
        if not self.fields:
            raise SourceError(f"{folder} has no daily field that is known; fetch it: entropice fetch era5.")
        self._check_days()
        self.layout = self._common_layout()
        self.provisional_months = tuple(sorted({month for (_, month), marked in provisional.items() if marked}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing stays open."""

    def _scan(self, path: Path, statistic: str, marked: set[str], provisional: dict[tuple[Daily, str], bool]) -> None:
        file = open_fields(path)
        # ERA5-Land accumulates since 00 UTC: what stands there is the total of the day that ended.
        is_midnight = statistic == MIDNIGHT
        days = (file.times - pd.Timedelta(1 if is_midnight else 0, "D")).strftime("%Y-%m-%d")
        for name in file.units:
            field = field_of(name, "sum" if is_midnight else statistic)
            if field is None:
                continue
            places = self._places.setdefault(field, {})
            for i, day in enumerate(days):
                places[day] = (file, name, i)
            provisional |= {(field, month): month in marked for month in {day[:7] for day in days}}

    def _check_days(self) -> None:
        """Every field must have every day of the year, 29 February included; days of other years are not looked at."""
        wanted = list(self.calendar.days.strftime("%Y-%m-%d"))
        for (short, statistic), places in sorted(self._places.items()):
            lacking = [day for day in wanted if day not in places]
            if lacking:
                named = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
                raise SourceError(
                    f"{self.folder} has {len(wanted) - len(lacking)} of the {len(wanted)} days of {short} ({statistic} "
                    f"of the day) of Arctic year {self.calendar.year}; missing: {named}. Fetch the year again."
                )

    def _common_layout(self) -> RasterLayout:
        files = {file.path: file for places in self._places.values() for file, _, _ in places.values()}
        first, *others = files.values()
        for file in others:
            for name in ("latitude", "longitude"):
                if not np.array_equal(getattr(file, name), getattr(first, name)):
                    raise SourceError(
                        f"{file.path} has other {name}s than {first.path} or in another order: remove one of the two "
                        "results and fetch the year again."
                    )
        return layout_of(first)

    def units(self, field: Daily) -> str:
        """Unit of a field; all its files must state one."""
        found = {file.units[name] for file, name, _ in self._places[field].values()}
        if len(found) > 1:
            raise SourceError(f"{self.folder} has {field[0]} in several units ({', '.join(sorted(found))}).")
        return found.pop()

    def bands(self) -> list[slice]:
        """Rows that fill the allowed memory: one band for ERA5 north of 50 N, several for ERA5-Land."""
        rows, columns = self.layout.shape
        height = max(1, BAND_BYTES // (4 * columns * self.calendar.n_days))
        return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]

    def read(self, field: Daily, rows: slice, out: Float32) -> None:
        """Read some rows of a field, file by file, as stored."""
        order = self.layout.y.order[rows]
        for file, name, positions, steps in self._by_file(field):
            whole = isinstance(as_slice(positions), slice) and steps == list(range(len(file.times)))
            if whole and self._is_in_order(order):
                target = out[positions[0] : positions[-1] + 1]
                if file.read_into(name, slice(int(order[0]), int(order[-1]) + 1), target):
                    continue
            out[as_slice(positions)] = self._part(file, name, steps, order)

    def _is_in_order(self, order: npt.NDArray[np.int64]) -> bool:
        """Tell whether rows and columns lie in the file as in the layout."""
        n_columns = self.layout.x.order.size
        rows_follow = np.array_equal(order, np.arange(order[0], order[0] + order.size))
        return rows_follow and np.array_equal(self.layout.x.order, np.arange(n_columns))

    def _by_file(self, field: Daily) -> list[tuple[FieldFile, str, list[int], list[int]]]:
        """Positions in the year and steps in the file of each file of a field."""
        parts: dict[tuple[Path, str], tuple[FieldFile, str, list[int], list[int]]] = {}
        for position, day in enumerate(self.calendar.days.strftime("%Y-%m-%d")):
            file, name, step = self._places[field][day]
            _, _, positions, steps = parts.setdefault((file.path, name), (file, name, [], []))
            positions.append(position)
            steps.append(step)
        return list(parts.values())

    def _part(self, file: FieldFile, name: str, steps: list[int], order: npt.NDArray[np.int64]) -> Float32:
        south, north = int(order.min()), int(order.max()) + 1
        values = file.read(name, slice(steps[0], steps[-1] + 1), slice(south, north))
        # Slices instead of lists wherever the order allows: a list copies 300 MB of a field once more.
        values = values[as_slice([step - steps[0] for step in steps])][:, as_slice((order - south).tolist())]
        return values[:, :, as_slice(self.layout.x.order.tolist())]


def as_slice(positions: list[int]) -> slice | list[int]:
    """Write positions that follow each other as a slice.

    >>> as_slice([3, 4, 5]), as_slice([2, 1, 0]), as_slice([0, 2])
    (slice(3, 6, None), slice(2, None, -1), [0, 2])
    """
    first, last, n = positions[0], positions[-1], len(positions)
    if positions == list(range(first, first + n)):
        return slice(first, first + n)
    if positions == list(range(first, first - n, -1)):
        return slice(first, last - 1 if last > 0 else None, -1)
    return positions


def field_of(name: str, statistic: str) -> Daily | None:
    """Give the field of a variable in a file, None for what is not known or has no such statistic.

    >>> field_of("t2m", "mean"), field_of("mx2t", "max"), field_of("tp", "mean"), field_of("z", "mean")
    (('t2m', 'mean'), ('t2m', 'max'), None, None)
    """
    short = {"mx2t": "t2m", "mn2t": "t2m"}.get(name, name)
    quantity = QUANTITIES.get(short)
    return (short, statistic) if quantity is not None and statistic in quantity.statistics else None


def layout_of(file: FieldFile) -> RasterLayout:
    """Pixels of a file."""
    return RasterLayout.from_centres(file.longitude, file.latitude, CRS("EPSG:4326"))


def result_files(folder: Path) -> list[Path]:
    """NetCDF files and receipts of a year's results, and its summary, sorted; nothing is opened."""
    found = [p for result in _result_folders(folder) for name in ("*.nc", RECEIPT) for p in result.glob(name)]
    return sorted([*found, *([folder / SUMMARY] if found and (folder / SUMMARY).is_file() else [])])


def _result_folders(folder: Path) -> list[Path]:
    """Folders of the results that the year's summary names; all where there is none, as of files put there by hand.

    Results of another area stay beside those of the newest fetch, which the summary is of.
    """
    found = sorted(p for p in folder.glob("[0-9]*") if p.is_dir())
    try:
        named = set(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["results"])
    except FileNotFoundError:
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{folder / SUMMARY} is no summary of a year ({error}); fetch the year again.") from error
    lacking = named - {p.name for p in found}
    if lacking:
        raise SourceError(f"{folder} lacks the results {', '.join(sorted(lacking)[:3])}; fetch the year again.")
    return [p for p in found if p.name in named]


def _results(folder: Path) -> Iterator[tuple[Path, str, set[str]]]:
    """Files, statistic and provisional months of each result, the oldest first."""
    found = []
    for result in _result_folders(folder):
        files = sorted(result.glob("*.nc"))
        if not (result / RECEIPT).is_file():
            match = _STATISTIC.search(result.name)
            if match is None:
                raise SourceError(
                    f"{result} has no {RECEIPT} and no name such as 2020_10_mean_1f0c9a2b, so the statistic of its "
                    "days is not known: rename it or fetch it."
                )
            found.append(("", result.name, files, match.group(1), set[str]()))
            continue
        receipt = read_receipt(result)
        months = {month_key(month) for month in receipt.provisional()}
        found.append((receipt.fetched, result.name, files, receipt.request.statistic, months))
    for _, _, files, statistic, months in sorted(found, key=lambda each: each[:2]):
        for path in files:
            yield path, statistic, months
