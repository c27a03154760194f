"""The ``raster`` kind: GeoTIFF, NetCDF or Zarr files, described band by band."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Strict, check_template
from entropice_core.config.sources.base import SourceBase

STEP_KEYS = ("index", "month")
STEP = r"\{(?:index|month)[^}]*\}"
"""What stands in a band's name for the step along a dimension."""


class BandConfig(Strict):
    """One quantity of a raster source.

    ``select`` is a band number (GeoTIFF, from 1) or a variable name (NetCDF, Zarr). ``along`` names an extra
    dimension (month, say): each step becomes a band, and ``name`` holds ``{index}`` (from 1) or ``{index:02d}``, or
    along a time axis ``{month:02d}``, the month of the year (01 is January, wherever the file begins).
    ``unit`` and ``valid_range`` are declared because files lie; values outside are masked and counted.
    ``scale`` and ``offset`` are applied to the stored values before the range is checked.
    """

    name: str
    select: str | int
    unit: str
    long_name: str = ""
    along: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float]
    nodata: float | None = None
    statistics: Annotated[tuple[Literal["mean", "std", "min", "max", "range"], ...], Field(min_length=1)] = ("mean",)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_template("the band name", self.name, STEP_KEYS)
        is_stepwise = re.search(STEP, self.name) is not None
        if self.along is not None and not is_stepwise:
            raise ValueError(
                f"band {self.name!r} runs along {self.along!r}: its name must hold {{index}}, or {{month}} for dates"
            )
        if self.along is None and "{month" in self.name:
            raise ValueError(f"band {self.name!r} holds {{month}}: say along which time axis (along = 'valid_time')")
        if self.valid_range[0] >= self.valid_range[1]:
            raise ValueError(
                f"valid_range {self.valid_range} of band {self.name!r} must be (low, high) with low < high"
            )
        return self


class RasterConfig(SourceBase):
    """Files described band by band. With ``{year}`` in ``path`` there is a file a year, otherwise the source is static.

    ``crs`` is declared only where the file has none.
    """

    kind: Literal["raster"]
    path: str
    bands: Annotated[tuple[BandConfig, ...], Field(min_length=1)]
    crs: str | None = None

    @model_validator(mode="after")
    def _path_is_a_template(self) -> Self:
        check_template("path", self.path, ("data", "year"))
        return self

    @property
    def is_yearly(self) -> bool:
        """True when there is a file for each year."""
        return "{year" in self.path

    def bounds_of(self, feature: str) -> tuple[float, float]:
        """Give the range in which the values of a feature can lie; without end for one that no band declares.

        >>> band = BandConfig(name="t_{index:02d}", select="t", unit="K", along="month", valid_range=(200.0, 330.0),
        ...                   statistics=("mean", "std"))
        >>> climate = RasterConfig(kind="raster", title="climate", path="{data}/t.nc", bands=(band,))
        >>> climate.bounds_of("t_07_mean"), climate.bounds_of("t_07_std")
        ((200.0, 330.0), (0.0, 130.0))
        """
        for band in self.bands:
            parts = re.split(STEP, band.name)
            layer = r"\d+".join(re.escape(part) for part in parts)
            only_mean = band.statistics == ("mean",)
            match = re.fullmatch(layer if only_mean else rf"{layer}_(mean|std|min|max|range)", feature)
            if match:
                low, high = band.valid_range
                is_spread = not only_mean and match.group(match.lastindex or 0) in ("std", "range")
                return (0.0, high - low) if is_spread else (low, high)
        return super().bounds_of(feature)
