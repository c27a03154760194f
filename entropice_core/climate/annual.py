"""The indices of one Arctic year on the pixels of the native grid, kept for all grids and levels.

Fields are read band by band (rows that fill 400 MB) and variable by variable, at most three at a time, so that memory
does not grow with the number of variables, years or cells. What comes out is a hundredth of what was read, serves
every grid, and is therefore kept: a folder of its own for each year and state of its files, named by their checksums.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pyproj import CRS

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyYear
from entropice_core.climate.indices import SPECS, Index
from entropice_core.climate.quantities import Daily, Float32, check_values, missing_pixels, to_unit
from entropice_core.errors import SourceError
from entropice_core.features.kept import mark_used
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Bool, Float64

VERSION = "1"

POINTS_AT_A_TIME = 2048  # a year of a field: 3 MB
FIELDS_IN_MEMORY = 3


class Computes(Protocol):
    """What makes some indices from some fields: a row of the table of daily or of monthly indices."""

    @property
    def needs(self) -> tuple[Daily, ...]:
        """Fields that are needed."""
        ...

    @property
    def indices(self) -> list[Index]:
        """Indices that come out."""
        ...

    def compute(self, calendar: ArcticCalendar, *fields: Any) -> list[Float64]:
        """Fields (steps, points) -> one (points,) an index."""
        ...


@dataclass(frozen=True)
class AnnualMaps:
    """Indices of one year on pixels.

    ``values`` : (indices, pixels) float32, NaN where the source has no value; on the disk when it was kept.
    ``counts`` : by field, what was read, missing and corrected.
    """

    year: int
    layout: RasterLayout
    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    provisional_months: tuple[str, ...]
    counts: dict[str, dict[str, int]]

    def rows(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Values of some indices: (names, pixels)."""
        return self.values[[self.names.index(name) for name in names]]


@dataclass
class _Fields:
    """Fields of one band in our units, checked; the last three that were asked for stay.

    ``memory`` is used again and again: pages that are new to a process cost more than the bytes that fill them.
    """

    source: DailyYear
    rows: slice
    counts: dict[str, dict[str, int]]
    memory: list[Float32]
    kept: "OrderedDict[Daily, tuple[Float32, Bool, Float32]]" = field(default_factory=OrderedDict)

    def get(self, needs: Iterable[Daily]) -> tuple[list[Float32], Bool]:
        """Fields (days, points) and the pixels at which any of them is missing (points,)."""
        found = []
        for need in needs:
            if need not in self.kept:
                while not self.memory:
                    self.memory.append(self.kept.popitem(last=False)[1][2])
                self.kept[need] = self._read(need, self.memory.pop())
            self.kept.move_to_end(need)
            found.append(self.kept[need])
        return [values for values, _, _ in found], np.logical_or.reduce([missing for _, missing, _ in found])

    def free(self) -> list[Float32]:
        """Hand the memory back."""
        return self.memory + [buffer for _, _, buffer in self.kept.values()]

    def _read(self, need: Daily, buffer: Float32) -> tuple[Float32, Bool, Float32]:
        shape = self.source.steps, self.rows.stop - self.rows.start, self.source.layout.x.size
        out = buffer[: shape[0] * shape[1] * shape[2]].reshape(shape)
        self.source.read(need, self.rows, out)
        values = to_unit(out.reshape(len(out), -1), need[0], self.source.units(need), self.source.where)
        zeroed = check_values(values, need[0], self.source.where)
        missing = missing_pixels({need: values}, self.source.where)
        blank = {"pixels": 0, "masked_missing": 0, "used": 0, "days_set_to_zero": 0}
        counts = self.counts.setdefault(f"{need[0]} {need[1]}", blank)
        counts["pixels"] += missing.size
        counts["masked_missing"] += int(missing.sum())
        counts["used"] += int((~missing).sum())
        counts["days_set_to_zero"] += zeroed
        return values, missing, buffer


def possible(fields: Iterable[Daily], specs: Sequence[Computes]) -> list[Computes]:
    """Rows of the table whose fields are all there."""
    held = set(fields)
    return [spec for spec in specs if held.issuperset(spec.needs)]


def compute_maps(
    source: DailyYear,
    calendar: ArcticCalendar,
    specs: Sequence[Computes],
    out: npt.NDArray[np.float32],
) -> dict[str, dict[str, int]]:
    """Compute the indices of a year into ``out`` : (indices, pixels) float32; return the counts of what was read."""
    counts: dict[str, dict[str, int]] = {}
    columns, bands = source.layout.x.size, source.bands()
    largest = source.steps * columns * max(rows.stop - rows.start for rows in bands)
    most = min(FIELDS_IN_MEMORY, max(1, len(source.fields)))
    memory = [np.empty(largest, dtype=np.float32) for _ in range(most)]
    for rows in bands:
        fields = _Fields(source, rows, counts, memory)
        first = 0
        for spec in specs:
            values, missing = fields.get(spec.needs)
            target = out[first : first + len(spec.indices), rows.start * columns : rows.stop * columns]
            _compute_blocks(spec, calendar, values, missing, target)
            first += len(spec.indices)
        memory = fields.free()
    return counts


def _compute_blocks(
    spec: Computes,
    calendar: ArcticCalendar,
    values: list[Float32],
    missing: Bool,
    out: npt.NDArray[np.float32],
) -> None:
    """Compute some thousand points at a time: what formulae make on the way stays in the processor's cache."""
    for start in range(0, missing.size, POINTS_AT_A_TIME):
        block = slice(start, start + POINTS_AT_A_TIME)
        if missing[block].all():
            out[:, block] = np.nan
            continue
        results = spec.compute(calendar, *(field[:, block] for field in values))
        for i, result in enumerate(results):
            out[i, block] = np.where(missing[block], np.nan, result)


def annual_maps(
    source: DailyYear, calendar: ArcticCalendar, specs: Sequence[Computes] = SPECS, folder: Path | None = None
) -> AnnualMaps:
    """Compute the indices that a year's fields allow, in memory or into ``folder``, which appears whole or not at all.

    Raises
    ------
    SourceError
        When no index can be made, or a field is damaged, incomplete or has impossible values.
    """
    made = possible(source.fields, specs)
    if not made:
        have = ", ".join(f"{short} {statistic}" for short, statistic in sorted(source.fields)) or "nothing"
        raise SourceError(f"{source.where} has {have}, of which no climate index can be made; fetch more variables.")
    names = tuple(index.name for spec in made for index in spec.indices)
    shape = (len(names), source.layout.x.size * source.layout.y.size)
    if folder is None:
        values = np.empty(shape, dtype=np.float32)
        counts = compute_maps(source, calendar, made, values)
        return AnnualMaps(calendar.year, source.layout, names, values, source.provisional_months, counts)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    part.mkdir(parents=True)
    try:
        mapped = np.lib.format.open_memmap(part / "maps.npy", mode="w+", dtype=np.float32, shape=shape)
        counts = compute_maps(source, calendar, made, mapped)
        mapped.flush()
        del mapped
        _describe(part, AnnualMaps(calendar.year, source.layout, names, np.empty(0, np.float32),
                                   source.provisional_months, counts))  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    kept = read_maps(folder)
    if kept is None:
        raise SourceError(f"{folder} was written and cannot be read back: the disk is full or failing.")
    return kept


def read_maps(folder: Path) -> AnnualMaps | None:
    """Read kept indices without loading them; None when there are none, or they are not what was written."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if _digest(folder / "maps.npy") != about["sha256"]:
            return None
        values = np.load(folder / "maps.npy", mmap_mode="r", allow_pickle=False)
        mark_used(folder)
        lon, lat = (np.asarray(about[name], dtype=np.float64) for name in ("longitude", "latitude"))
        layout = RasterLayout.from_centres(lon, lat, CRS("EPSG:4326"))
        return AnnualMaps(
            int(about["year"]), layout, tuple(about["names"]), values, tuple(about["provisional"]), about["counts"]
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _describe(folder: Path, maps: AnnualMaps) -> None:
    about = {
        "year": maps.year,
        "names": maps.names,
        "provisional": maps.provisional_months,
        "counts": maps.counts,
        "longitude": maps.layout.x.centre.tolist(),
        "latitude": _centres_north_first(maps.layout),
        "sha256": _digest(folder / "maps.npy"),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _centres_north_first(layout: RasterLayout) -> list[float]:
    """Latitudes of the rows; the row at the pole is half a pixel whose centre in the file is the pole itself."""
    low, high = layout.y.low, layout.y.high
    step = float(np.median(high - low))
    centre = np.where(high >= 90.0, np.minimum(low + step / 2.0, 90.0), (low + high) / 2.0)
    return [float(each) for each in np.round(centre, 9)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
