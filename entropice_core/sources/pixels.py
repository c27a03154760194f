"""What an opened raster file offers, and how stored numbers become physical values.

Order of the steps: nodata and fill values are masked on the stored numbers, then the file's own packing (scale_factor,
add_offset) is undone, then the declared scale and offset are applied, then the valid range is checked.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from entropice_core.config import BandConfig
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Bool, Float64, Int64


@dataclass(frozen=True)
class StoredBand:
    """What a file says about a band.

    ``steps``: number of layers (1, or the length of the dimension that ``along`` names).
    ``fills``: stored numbers that mean missing. ``scale`` and ``offset``: the file's packing.
    ``months``: month of the year (1-12) of each layer, empty where the dimension is no time axis.
    """

    steps: int
    unit: str = ""
    long_name: str = ""
    fills: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    months: tuple[int, ...] = ()


class RasterFile(Protocol):
    """An opened raster file. ``days``: days of its time axis as ISO text, sorted; empty when it has none."""

    path: Path
    layout: RasterLayout
    notes: list[str]
    days: list[str]

    def __enter__(self) -> Self:
        """Open."""
        ...

    def __exit__(self, *error: object) -> None:
        """Close."""
        ...

    def describe(self, band: BandConfig) -> StoredBand:
        """Find a band; ``ConfigError`` lists what the file has."""
        ...

    def read(self, band: BandConfig, start: int, stop: int) -> tuple[npt.NDArray[Any], Bool | None]:
        """Stored numbers of rows of the layout: (steps, rows, columns), and a mask of missing ones if there is one."""
        ...


@dataclass
class MaskCounts:
    """How many pixels of one layer were looked at, and why some were masked."""

    pixels: Int64
    nodata: Int64
    not_finite: Int64
    outside_valid_range: Int64

    @classmethod
    def zeros(cls, steps: int) -> "MaskCounts":
        """Start counting."""
        pixels, nodata, not_finite, outside = np.zeros((4, steps), dtype=np.int64)
        return cls(pixels, nodata, not_finite, outside)

    def used(self) -> Int64:
        """Pixels that were left over: (steps,)."""
        return self.pixels - self.nodata - self.not_finite - self.outside_valid_range

    def as_dict(self, step: int) -> dict[str, int]:
        """Counts of one layer in plain numbers."""
        return {
            "pixels": int(self.pixels[step]),
            "masked_nodata": int(self.nodata[step]),
            "masked_nan": int(self.not_finite[step]),
            "masked_outside_valid_range": int(self.outside_valid_range[step]),
            "used": int(self.used()[step]),
        }


def check_numbers(where: str, band: BandConfig) -> None:
    """Raise ``ConfigError`` for a declared number that is NaN or infinite: no recipe can hold it."""
    if band.nodata is not None and not math.isfinite(band.nodata):
        raise ConfigError(
            f"{where}: nodata is {band.nodata}, but must be a finite number: leave it out for NaN, which is always "
            "missing, and write a finite number into the file for infinity."
        )
    for key, values in (("valid_range", band.valid_range), ("scale", (band.scale,)), ("offset", (band.offset,))):
        if not all(map(math.isfinite, values)):
            raise ConfigError(
                f"{where}: {key} is {', '.join(map(str, values))}, but must be finite: give what the quantity can be, "
                "so that undeclared nodata and wrong units are found."
            )


def decode(
    stored: npt.NDArray[Any], missing: Bool | None, band: BandConfig, meta: StoredBand, counts: MaskCounts, where: str
) -> Float64:
    """Turn stored numbers into physical values, NaN where masked, and count: (steps, pixels) -> (steps, pixels).

    Raises
    ------
    SourceError
        For an infinite value: no instrument measures one, so the file is damaged or marks
        nodata in a way that is not read.
    """
    nodata = np.zeros(stored.shape, dtype=bool) if missing is None else missing.copy()
    for fill in (*meta.fills, *([] if band.nodata is None else [band.nodata])):
        nodata |= _equals(stored, fill)
    values = stored.astype(np.float64)
    is_nan = np.isnan(values) & ~nodata
    infinite = np.isinf(values) & ~nodata
    if infinite.any():
        raise SourceError(
            f"{where}, band {band.name!r}: {int(infinite.sum())} of {infinite.size} pixels are infinite; "
            "write a finite number or NaN in their place."
        )
    values = (values * meta.scale + meta.offset) * band.scale + band.offset
    low, high = band.valid_range
    outside = ~nodata & ~is_nan & ~((values >= low) & (values <= high))
    for total, mask in ((counts.nodata, nodata), (counts.not_finite, is_nan), (counts.outside_valid_range, outside)):
        total += mask.sum(axis=1)
    counts.pixels += stored.shape[1]
    return np.where(nodata | is_nan | outside, np.nan, values)


def _equals(stored: npt.NDArray[Any], fill: float) -> Bool:
    """Compare in the stored type: -3.4028235e38 of a float32 file is not that number in float64."""
    if np.isnan(fill):
        return np.isnan(stored) if stored.dtype.kind == "f" else np.zeros(stored.shape, dtype=bool)
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            same: Bool = stored == stored.dtype.type(fill)
        return same
    return np.asarray(stored == fill, dtype=bool)
