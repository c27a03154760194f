"""GDAL's own ``gdaldem``, called in the library that comes with rasterio, and small elevation models."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from entropice_core.features.tiles import Tile


def find_gdaldem() -> ctypes.CDLL | None:
    """The GDAL of the rasterio wheel, if it holds ``gdaldem``."""
    folder = Path(rasterio.__file__).parent.parent / "rasterio.libs"
    for path in sorted(folder.glob("libgdal*.so*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "GDALDEMProcessing"):
            return library
    return None


@pytest.fixture(scope="session")
def gdaldem():
    """Run ``gdaldem`` on a float32 array of square pixels: (mode, heights, pixel size, options) -> array."""
    library = find_gdaldem()
    if library is None:
        pytest.skip("this GDAL has no gdaldem in its library")
    library.GDALOpen.restype = library.GDALDEMProcessingOptionsNew.restype = ctypes.c_void_p
    library.GDALDEMProcessing.restype = ctypes.c_void_p
    library.GDALDEMProcessingOptionsNew.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.GDALOpen.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.GDALDEMProcessing.argtypes = [
        ctypes.c_char_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    library.GDALClose.argtypes = library.GDALDEMProcessingOptionsFree.argtypes = [ctypes.c_void_p]

    def run(folder: Path, mode: str, z: np.ndarray, pixel_m: float, *options: str) -> np.ndarray:
        source, target = folder / "z.tif", folder / f"{mode}.tif"
        profile = {"driver": "GTiff", "height": z.shape[0], "width": z.shape[1], "count": 1, "dtype": "float32"}
        with rasterio.open(
            source, "w", crs="EPSG:3413", transform=Affine(pixel_m, 0, 0, 0, -pixel_m, 0), nodata=-9999.0, **profile
        ) as file:
            file.write(np.where(np.isnan(z), -9999.0, z).astype(np.float32), 1)
        words = [word.encode() for word in options]
        arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        settings = library.GDALDEMProcessingOptionsNew(arguments, None)
        opened = library.GDALOpen(str(source).encode(), 0)
        made = library.GDALDEMProcessing(str(target).encode(), opened, mode.encode(), None, settings, None)
        assert made, f"gdaldem {mode} failed"
        for handle in (made, opened):
            library.GDALClose(handle)
        library.GDALDEMProcessingOptionsFree(settings)
        with rasterio.open(target) as file:
            found = file.read(1)
            return np.where(found == file.nodata, np.nan, found.astype(float))

    return run


def hills(tile: Tile, voids: bool = True) -> np.ndarray:
    """Hills, noise, a lake and voids, a function of the place on the lattice alone: (rows, columns) float32.

    Heights are whole sixteenths of a metre, with which the float32 arithmetic of gdaldem is exact.
    """
    (r0, c0), (n_rows, n_columns) = tile.origin, tile.shape
    r, c = np.arange(r0, r0 + n_rows)[:, None], np.arange(c0, c0 + n_columns)[None, :]
    noise = ((r * 2654435761 + c * 805459861) % 4096) / 4096
    z = 400 + 300 * np.sin(r / 17) * np.cos(c / 23) + 60 * np.cos((r + 2 * c) / 9) + 2 * noise
    z = np.floor(16 * z) / 16
    z = np.where((r % 97 - 40) ** 2 + (c % 89 - 50) ** 2 < 11**2, 321.5, z)
    if voids:
        z = np.where((r % 61 < 5) & (c % 71 < 4), np.nan, z)
    return z.astype(np.float32)
