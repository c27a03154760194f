"""Pixels of a NetCDF file or a Zarr store: named variables with named dimensions."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from entropice_core.config import BandConfig
from entropice_core.errors import ConfigError, SourceError, nearest_hint
from entropice_core.features.layout import RasterLayout
from entropice_core.grids.base import Bool
from entropice_core.sources.crs import choose_crs
from entropice_core.sources.dates import read_days, read_months
from entropice_core.sources.formats import Format
from entropice_core.sources.pixels import StoredBand

# How a damaged file shows itself in h5py, scipy and zarr; a truncated header gives almost any of them.
_READ_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, AssertionError)
_ENGINES: dict[Format, dict[str, Any]] = {
    Format.NETCDF4: {"engine": "h5netcdf"},
    Format.NETCDF3: {"engine": "scipy", "mmap": False},
    Format.ZARR: {"engine": "zarr", "consolidated": False},
}
_ROLES: dict[str, tuple[str, ...]] = {
    # what a dimension is: standard names, units and lower-case names that say so (CF conventions 4.1, 4.2 and 5.6)
    "lon": ("longitude", "grid_longitude", "degrees_east", "degree_east", "degree_e", "degrees_e", "lon"),
    "lat": ("latitude", "grid_latitude", "degrees_north", "degree_north", "degree_n", "degrees_n", "lat"),
    "x": ("projection_x_coordinate", "x"),
    "y": ("projection_y_coordinate", "y"),
}


class ArrayFile:
    """An opened NetCDF file or Zarr store; all bands must lie on the same two spatial dimensions."""

    def __init__(self, path: Path, known: Format, declared_crs: str | None, bands: tuple[BandConfig, ...]) -> None:
        self.path, self._format = path, known
        self.notes: list[str] = []
        try:
            self._data = xr.open_dataset(path, mask_and_scale=False, decode_times=False, cache=False, **_ENGINES[known])
        except _READ_ERRORS as error:
            raise self._damaged(error) from error
        try:
            self._dims = self._spatial_dims(bands)
            self.layout = self._make_layout(declared_crs, bands[0])
            self.days = self._days(bands)
        except BaseException:
            self._data.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._data.close()

    def _damaged(self, error: BaseException) -> SourceError:
        return SourceError(
            f"{self.path} cannot be read as {self._format.value} ({type(error).__name__}: {error}): "
            "it is damaged or cut short, fetch it again."
        )

    def _variable(self, band: BandConfig) -> xr.DataArray:
        names = [str(name) for name in self._data.data_vars]
        if not isinstance(band.select, str):
            raise ConfigError(
                f"Band {band.name!r} selects number {band.select}, but {self.path.name} is {self._format.value}: "
                f"select a variable by name; known: {', '.join(names)}."
            )
        if band.select not in names:
            raise ConfigError(
                f"Band {band.name!r} selects {band.select!r}, which {self.path.name} does not have; "
                f"{nearest_hint(band.select, names)}."
            )
        return self._data[band.select]

    def _spatial_dims(self, bands: tuple[BandConfig, ...]) -> tuple[str, str]:
        found = {band.name: self._dims_of(self._variable(band)) for band in bands}
        if len(set(found.values())) > 1:
            raise SourceError(f"Bands of {self.path} lie on different dimensions ({found}): make a source of each.")
        return next(iter(found.values()))

    def _dims_of(self, variable: xr.DataArray) -> tuple[str, str]:
        """Names of the dimensions from south to north and from west to east."""
        roles = {self._role(dim): str(dim) for dim in variable.dims}
        for y, x in (("lat", "lon"), ("y", "x")):
            if y in roles and x in roles:
                return roles[y], roles[x]
        curved = [n for n in self._data.variables if self._data[n].ndim == 2 and self._role(n) in ("lat", "lon")]
        if curved:
            raise SourceError(
                f"{self.path} has two-dimensional coordinates {', '.join(map(str, curved))}: "
                "regrid it to rows and columns first."
            )
        raise SourceError(
            f"Variable {variable.name!r} of {self.path} has dimensions {tuple(map(str, variable.dims))}, and no "
            "coordinates of two of them say latitude and longitude or x and y: name them so, or give them the "
            "attribute units or standard_name."
        )

    def _role(self, name: Hashable) -> str:
        attrs = self._data[name].attrs if name in self._data.variables else {}
        for said in (attrs.get("standard_name"), attrs.get("units"), name):
            for role, words in _ROLES.items():
                if str(said).lower() in words:
                    return role
        return ""

    def _make_layout(self, declared_crs: str | None, band: BandConfig) -> RasterLayout:
        y_dim, x_dim = self._dims
        for dim in self._dims:
            if dim not in self._data.coords:
                raise SourceError(f"Dimension {dim!r} of {self.path} has no coordinate, so its pixels have no place.")
        crs = choose_crs(self.path, self._own_crs(band), declared_crs, self.notes)
        try:
            x, y = (np.asarray(self._data[dim].values, dtype=np.float64) for dim in (x_dim, y_dim))
        except _READ_ERRORS as error:
            raise self._damaged(error) from error
        return RasterLayout.from_centres(x, y, crs)

    def _days(self, bands: tuple[BandConfig, ...]) -> list[str]:
        try:
            return read_days(self._data, [band.along for band in bands])
        except _READ_ERRORS as error:
            raise self._damaged(error) from error

    def _own_crs(self, band: BandConfig) -> CRS | None:
        variable = self._variable(band)
        name = variable.attrs.get("grid_mapping") or variable.encoding.get("grid_mapping") or "spatial_ref"
        if name in self._data.variables:
            attrs = self._data[name].attrs
            text = attrs.get("crs_wkt") or attrs.get("spatial_ref")
            try:
                return CRS.from_user_input(text) if text else CRS.from_cf(attrs)
            except (CRSError, KeyError) as error:
                raise SourceError(
                    f"{self.path} has a grid mapping {name!r} that is no coordinate system ({error}): correct the file."
                ) from error
        roles = {self._role(dim) for dim in self._dims}
        # By the CF conventions (section 4.1, 4.2) such a coordinate is latitude or longitude.
        return CRS("EPSG:4326") if roles == {"lat", "lon"} else None

    def describe(self, band: BandConfig) -> StoredBand:
        """Find a band; ``ConfigError`` lists what the file has."""
        variable = self._variable(band)
        if band.along is not None and band.along not in variable.dims:
            dims = [str(dim) for dim in variable.dims if dim not in self._dims]
            raise ConfigError(
                f"Band {band.name!r} runs along {band.along!r}, but {band.select!r} of {self.path.name} has no such "
                f"dimension; {nearest_hint(band.along, dims)}."
            )
        for dim, size in variable.sizes.items():
            if dim not in (*self._dims, band.along) and size != 1:
                raise ConfigError(
                    f"{band.select!r} of {self.path.name} has {size} steps of {dim!r}: write along = {str(dim)!r} in "
                    f"band {band.name!r} and {{index}} in its name, or cut the file to one step."
                )
        attrs = variable.attrs
        fills = [
            _as_said(v, variable)
            for key in ("_FillValue", "missing_value")
            if key in attrs
            for v in np.ravel(attrs[key])
        ]
        return StoredBand(
            steps=1 if band.along is None else variable.sizes[band.along],
            unit=str(attrs.get("units", "")),
            long_name=str(attrs.get("long_name", "")),
            fills=tuple(map(float, fills)),
            scale=float(attrs.get("scale_factor", 1.0)),
            offset=float(attrs.get("add_offset", 0.0)),
            months=self._months(band),
        )

    def _months(self, band: BandConfig) -> tuple[int, ...]:
        if "{month" not in band.name:
            return ()
        try:
            months = read_months(self._data[band.along].variable) if band.along in self._data.variables else ()
        except _READ_ERRORS as error:
            raise self._damaged(error) from error
        if not months:
            raise ConfigError(
                f"The name of band {band.name!r} holds {{month}}, but {band.along!r} of {self.path.name} has no dates: "
                "write {index}, which counts its steps from 1."
            )
        return months

    def read(self, band: BandConfig, start: int, stop: int) -> tuple[npt.NDArray[Any], Bool | None]:
        """Stored numbers of rows of the layout: (steps, rows, columns); fill values are not masked yet."""
        y_dim, x_dim = self._dims
        rows = self.layout.y.order[start:stop]
        first = int(rows.min())
        variable = self._variable(band).isel({y_dim: slice(first, int(rows.max()) + 1)})
        others = {dim: 0 for dim in variable.dims if dim not in (y_dim, x_dim, band.along)}
        ordered = variable.isel(others).transpose(*([band.along] if band.along else []), y_dim, x_dim)
        try:
            stored = np.asarray(ordered.values)
        except _READ_ERRORS as error:
            raise self._damaged(error) from error
        if stored.dtype.kind not in "iuf":
            raise SourceError(f"{band.select!r} of {self.path} holds {stored.dtype}, not numbers.")
        stored = _as_said(stored, variable)
        layers = stored.reshape(-1, *stored.shape[-2:])
        return layers[:, rows - first][:, :, self.layout.x.order], None


def _as_said(stored: npt.ArrayLike, variable: xr.DataArray) -> npt.NDArray[Any]:
    """Read whole numbers as unsigned or signed, as the attribute ``_Unsigned`` of their variable says.

    NetCDF3 has no unsigned numbers, so that files hold them as signed ones of the same bits (NetCDF best practices).
    """
    said = str(variable.attrs.get("_Unsigned", "")).lower()
    packed = variable.dtype
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((packed.kind, said))
    if kind is None:
        return np.asarray(stored)
    return np.asarray(stored).astype(packed).view(np.dtype(packed.str.replace(packed.kind, kind)))
