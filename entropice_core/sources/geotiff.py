"""Pixels of a GeoTIFF."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import CRS
from rasterio.windows import Window

from entropice_core.config import BandConfig
from entropice_core.errors import ConfigError, SourceError, nearest_hint
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Bool
from entropice_core.sources.crs import choose_crs
from entropice_core.sources.pixels import StoredBand


class GeoTiff:
    """An opened GeoTIFF; bands are numbers from 1, or names when the file describes its bands."""

    def __init__(self, path: Path, declared_crs: str | None) -> None:
        self.path = path
        self.notes: list[str] = []
        self.days: list[str] = []
        try:
            self._file = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise SourceError(f"{path} cannot be opened as a GeoTIFF ({error}): fetch it again.") from error
        try:
            self.layout = self._make_layout(declared_crs)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _make_layout(self, declared_crs: str | None) -> RasterLayout:
        t = self._file.transform
        if t.b or t.d:
            raise SourceError(f"{self.path} is rotated (geotransform {t.to_gdal()}): warp it to an upright grid first.")
        if t.is_identity:
            raise SourceError(f"{self.path} has no geotransform, so its pixels have no place: georeference it first.")
        own = CRS.from_wkt(self._file.crs.to_wkt()) if self._file.crs else None
        crs = choose_crs(self.path, own, declared_crs, self.notes)
        x = t.c + t.a * (np.arange(self._file.width) + 0.5)
        y = t.f + t.e * (np.arange(self._file.height) + 0.5)
        return RasterLayout.from_centres(x, y, crs)

    def describe(self, band: BandConfig) -> StoredBand:
        """Find a band; ``ConfigError`` lists what the file has."""
        number = self._number(band)
        return StoredBand(
            steps=1,
            unit=self._file.units[number - 1] or "",
            long_name=self._file.descriptions[number - 1] or "",
            scale=self._file.scales[number - 1],
            offset=self._file.offsets[number - 1],
        )

    def _number(self, band: BandConfig) -> int:
        if band.along is not None:
            raise ConfigError(
                f"Band {band.name!r} runs along {band.along!r}, but {self.path.name} is a GeoTIFF, which has no "
                "dimensions: write a band for each number."
            )
        if isinstance(band.select, int):
            if 1 <= band.select <= self._file.count:
                return band.select
            raise ConfigError(
                f"Band {band.name!r} selects number {band.select}, but {self.path.name} has bands 1 to "
                f"{self._file.count}."
            )
        names = [text or str(i) for i, text in enumerate(self._file.descriptions, 1)]
        if band.select not in names:
            raise ConfigError(
                f"Band {band.name!r} selects {band.select!r}, which {self.path.name} does not have; "
                f"{nearest_hint(band.select, names)}."
            )
        return names.index(band.select) + 1

    def read(self, band: BandConfig, start: int, stop: int) -> tuple[npt.NDArray[Any], Bool | None]:
        """Stored numbers of rows of the layout: (1, rows, columns), and where nodata, mask or alpha say missing."""
        rows = self.layout.y.order[start:stop]
        first, n_rows = int(rows.min()), int(rows.max() - rows.min()) + 1
        window = Window(0, first, self._file.width, n_rows)
        number = self._number(band)
        try:
            stored = self._file.read(number, window=window)
            missing = self._file.read_masks(number, window=window) == 0
        except rasterio.errors.RasterioIOError as error:
            raise SourceError(
                f"{self.path} cannot be read between rows {first} and {first + n_rows} of band {number} ({error}): "
                "it is damaged or cut short, fetch it again."
            ) from error
        pick = np.ix_(rows - first, self.layout.x.order)
        return stored[pick][None], missing[pick][None]
