"""One small smooth world, written as any kind of raster file."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from entropice_core.config import RasterConfig
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import open_source

LON, LAT = np.arange(-180.0, 180.0, 2.0), np.arange(58.0, 90.1, 1.0)


def smooth(lon, lat):
    """A field without a seam, between about -2 and 2."""
    phi, theta = np.radians(lon), np.radians(lat)
    return np.cos(theta) * np.cos(phi) + 2.0 * np.sin(theta) * np.cos(theta) * np.sin(2.0 * phi)


def to_array(lon=LON, lat=LAT):
    """The world as an array with latitude and longitude."""
    values = smooth(*np.meshgrid(lon, lat)).astype(np.float32)
    coords = {
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.DataArray(values, coords, ("lat", "lon"), "field", {"units": "1", "long_name": "a smooth field"})


def write_tiff(path, stored, *, west=-181.0, north=90.5, dx=2.0, dy=1.0, crs="EPSG:4326", nodata=None, **tags):
    """Write bands (bands, rows, columns), north up."""
    stored = stored if stored.ndim == 3 else stored[None]
    count, height, width = stored.shape
    profile = {"driver": "GTiff", "dtype": stored.dtype, "crs": crs, "nodata": nodata}
    transform = tags.pop("transform", from_origin(west, north, dx, dy))
    with rasterio.open(path, "w", count=count, height=height, width=width, transform=transform, **profile) as file:
        file.write(stored)
        for name, value in tags.items():
            setattr(file, name, value)
    return path


@pytest.fixture(scope="session")
def grid():
    return parse_grid_key("h3-3")


@pytest.fixture(scope="session")
def cells(grid):
    """Cells from 170 E to 170 W and around the pole, without areas: a source needs only their ids."""
    ids = np.union1d(grid.cells(StudyArea(70.0, (170.0, 70.0, -170.0, 78.0))), grid.cells(StudyArea(88.0)))
    return cell_coordinates(grid, ids)


def config(path, bands=None, **more):
    """Give the table of a source with one band."""
    band = {"name": "field", "select": "field", "unit": "1", "valid_range": (-10.0, 10.0)}
    tables = [band | extra for extra in (bands or [{}])]
    return RasterConfig(kind="raster", title="a smooth field", path=str(path), bands=tables, **more)


@pytest.fixture
def features(grid, cells):
    """Read features of a file: ``features(path, bands=[{...}], year=2021, **source)``."""

    def read(path, bands=None, year=None, data_root=Path("/nowhere"), **more):
        return open_source("tested", config(path, bands, **more), data_root).features(grid, cells, year)

    return read


@pytest.fixture
def world():
    """Tools to write files: the functions of this module."""

    class Tools:
        array = staticmethod(to_array)
        tiff = staticmethod(write_tiff)
        config = staticmethod(config)
        smooth = staticmethod(smooth)

    return Tools
