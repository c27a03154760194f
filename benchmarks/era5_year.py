"""One Arctic year of twenty daily variables at 0.25 degrees, north of 50 N, to cells: time, memory, and rivals.

Run in this order; the folder (3 GB) is removed by the last::

    python benchmarks/era5_year.py make FOLDER          # generated fields in the layout of the Climate Data Store
    python benchmarks/era5_year.py read FOLDER          # what the store gives: bytes a second, as stored and unpacked
    python benchmarks/era5_year.py pixels FOLDER        # indices on pixels, once a year
    python benchmarks/era5_year.py cells FOLDER         # from them, HEALPix 9 and H3 5
    python benchmarks/era5_year.py plain FOLDER         # xarray: groupby, then interpolate to cell centres
    python benchmarks/era5_year.py weights              # the weight matrix against exact overlap of polygons

Each prints what docs/era5.md states. Times are wall and processor seconds of one process.
"""

import argparse
import resource
import time
from pathlib import Path

import h5py
import numpy as np
import shapely
import xarray as xr
from pyproj import CRS

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.config.sources import CONFIGS
from entropice_core.features.layout import RasterLayout
from entropice_core.features.weights import compute_weights
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.projection import to_equal_area
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import open_source
from entropice_core.storage.files import fingerprint_all

YEAR = 2020
LATITUDE, LONGITUDE = np.arange(90.0, 49.9, -0.25), np.arange(-180.0, 180.0, 0.25)
FIELDS = {  # short name: statistic, unit, mean, amplitude of the year, noise, number of bits that GRIB keeps
    **{f"t2m {s}": (s, "K", 262.0 + d, 18.0, 4.0) for s, d in (("mean", 0.0), ("min", -4.0), ("max", 4.0))},
    **{f"stl{i} mean": ("mean", "K", 268.0, 14.0 / i, 1.0) for i in (1, 2, 3, 4)},
    **{f"swvl{i} mean": ("mean", "m**3 m**-3", 0.3, 0.05, 0.02) for i in (1, 2, 3)},
    "skt mean": ("mean", "K", 261.0, 18.0, 4.0),
    "d2m mean": ("mean", "K", 257.0, 17.0, 4.0),
    "sd mean": ("mean", "m of water equivalent", 0.08, -0.08, 0.01),
    "tp sum": ("sum", "m", 0.001, 0.001, 0.004),
    "sf sum": ("sum", "m of water equivalent", 0.0004, -0.0004, 0.001),
    "ssrd sum": ("sum", "J m**-2", 9e6, 9e6, 1e6),
    "strd sum": ("sum", "J m**-2", 2.2e7, 4e6, 1e6),
    "e sum": ("sum", "m of water equivalent", -0.001, -0.001, 2e-4),
    "ro sum": ("sum", "m", 0.0006, 0.0006, 2e-4),
    "smlt sum": ("sum", "m of water equivalent", 0.0005, 0.0005, 2e-4),
}  # fmt: skip
POSITIVE = ("swvl", "sd", "tp", "sf", "ssrd", "strd", "ro", "smlt")


class Clock:
    """Wall and processor seconds, and the largest memory of the process so far."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def __str__(self):
        return f"{self.wall:7.1f} s wall {self.cpu:7.1f} s processor {self.peak:7.0f} MB peak"


def make(folder: Path) -> None:
    """A file a month, statistic and variable, values rounded as GRIB packs them, zlib as the service writes."""
    calendar, rng = ArcticCalendar(YEAR), np.random.default_rng(0)
    noise = rng.standard_normal((31, LATITUDE.size, LONGITUDE.size), dtype=np.float32)
    phase = np.cos(2 * np.pi * (np.asarray(calendar.days.day_of_year) - 200) / 365.25).astype(np.float32)
    south = ((70.0 - LATITUDE) / 20.0).astype(np.float32)[None, :, None]
    for number, (name, (statistic, unit, mean, season, spread)) in enumerate(FIELDS.items()):
        short = name.split()[0]
        for (year, month), days in zip(calendar.months, calendar.month_slices, strict=True):
            target = folder / "era5" / "daily" / str(YEAR) / f"{year}_{month:02d}_{statistic}_0123abcd" / f"{short}.nc"
            if target.exists():  # a second run goes on where the first was stopped
                continue
            values = mean + season * phase[days, None, None] + abs(season) * 0.5 * south
            values = values + spread * np.roll(noise[: days.stop - days.start], 37 * number + month, axis=2)
            if short.startswith(POSITIVE):
                np.maximum(values, 0.0, out=values)
            step = np.float32(2.0 ** np.floor(np.log2(spread / 64.0)))
            values = np.round(values / step) * step
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            data = xr.Dataset(
                {short: (("valid_time", "latitude", "longitude"), values.astype(np.float32), {"units": unit})},
                coords={"valid_time": calendar.days[days], "latitude": LATITUDE, "longitude": LONGITUDE},
            )
            data.to_netcdf(
                part, engine="h5netcdf",
                encoding={short: {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": (1, *values.shape[1:])}},
            )  # fmt: skip
            part.rename(target)
    stored = sum(p.stat().st_size for p in folder.rglob("*.nc"))
    print(f"{len(FIELDS)} fields, {stored / 1e9:.2f} GB stored, {raw_bytes() / 1e9:.2f} GB unpacked")


def raw_bytes() -> int:
    return 4 * LATITUDE.size * LONGITUDE.size * ArcticCalendar(YEAR).n_days * len(FIELDS)


def read(folder: Path) -> None:
    """The limits: bytes of the files, and values through HDF5 without anything else."""
    files = sorted(folder.rglob("*.nc"))
    with Clock() as clock:
        stored = sum(len(p.read_bytes()) for p in files)
    print(f"bytes of {len(files)} files   {clock}   {stored / clock.wall / 1e6:.0f} MB/s")
    with Clock() as clock:
        for path in files:
            with h5py.File(path) as file:
                file[path.stem][()]
    print(f"unpacked by HDF5        {clock}   {raw_bytes() / clock.wall / 1e6:.0f} MB/s")


def generated(folder: Path):
    config = CONFIGS["era5_daily"](kind="era5_daily", title="generated")
    return open_source("era5", config, folder, folder / "work")


def pixels(folder: Path) -> None:
    """All indices that the fields allow, on pixels; files are checksummed for the recipe's key in the first line."""
    source = generated(folder)
    with Clock() as clock:
        fingerprint_all(source.files(YEAR), folder, folder / "work")
    print(f"checksums of the files   {clock}")
    with Clock() as clock:
        maps = source.maps(YEAR, 50.0)
    print(f"{len(maps.names)} indices on pixels   {clock}   {raw_bytes() / clock.wall / 1e6:.0f} MB/s unpacked")


def cells(folder: Path) -> None:
    """Cells of two grids, weights included and then kept."""
    source = generated(folder)
    for key in ("healpix-9", "h3-5"):
        grid = parse_grid_key(key)
        chosen = cell_coordinates(grid, grid.cells(StudyArea(50.0)))
        for use in ("first", "second"):
            with Clock() as clock:
                made = source.features(grid, chosen, YEAR)
            print(f"{key:<10}{made.sizes['cell']:>7} cells x {made.sizes['feature']} features, {use} use   {clock}")


def plain(folder: Path) -> None:
    """What one would write in an afternoon, for four of the variables: open all, group, interpolate to cell centres."""
    grid = parse_grid_key("healpix-9")
    lon, lat = grid.centers(grid.cells(StudyArea(50.0)))
    points = {"longitude": xr.DataArray(lon, dims="cell"), "latitude": xr.DataArray(lat, dims="cell")}
    names = ["t2m mean", "stl1 mean", "tp sum", "sd mean"]
    with Clock() as clock:
        parts = []
        for name in names:
            short, statistic = name.split()
            files = sorted(folder.rglob(f"*_{statistic}_*/{short}.nc"))
            parts.append(xr.concat([xr.open_dataset(p, engine="h5netcdf") for p in files], "valid_time").load())
        data = xr.merge(parts).sortby("valid_time")
        degrees = data["t2m"] - 273.15
        rain5 = data["tp"].rolling(valid_time=5).sum()
        indices = {
            "t2m": data["t2m"].groupby("valid_time.season").mean(),
            "stl1": data["stl1"].groupby("valid_time.season").mean(),
            "tp": data["tp"].groupby("valid_time.season").sum(),
            "sd": data["sd"].groupby("valid_time.season").mean(),
            "tdd": degrees.clip(min=0).groupby("valid_time.season").sum(),
            "fdd": (-degrees).clip(min=0).groupby("valid_time.season").sum(),
            "rx1": data["tp"].groupby("valid_time.season").max(),
            "rx5": rain5.groupby("valid_time.season").max(),
        }
        for index in indices.values():
            index.interp(points).values  # noqa: B018 - the work is what is measured
    print(f"plain xarray, 4 of {len(FIELDS)} fields, 8 x 4 of the indices, healpix-9   {clock}")


def weights() -> None:
    """Largest differences from the exact overlap of polygons, over cells of all levels at awkward places."""
    layout = RasterLayout.from_centres(np.arange(0.0, 360.0, 0.25), np.arange(90.0, 49.9, -0.25), CRS("EPSG:4326"))
    noise = np.random.default_rng(1).normal(size=layout.x.size * layout.y.size)
    print("grid        cells  nonzeros  make s  sum/area-1  pixel cover-1   mean-exact mean (white noise, sd 1)")
    for key in ("h3-3", "h3-4", "h3-5", "h3-6", "healpix-6", "healpix-7", "healpix-8", "healpix-9", "healpix-10"):
        grid = parse_grid_key(key)
        ids = grid.cells(StudyArea(52.0 if key not in ("h3-6", "healpix-10") else 70.0))
        with Clock() as clock:
            matrix = compute_weights(layout, grid, ids)
        share = np.asarray(matrix.sum(axis=1)).ravel() / grid.areas_m2(ids) - 1.0
        rows = np.arange(60)  # 75 N and north of it
        area = layout.pixel_areas_m2(np.repeat(rows, layout.x.size), np.tile(np.arange(layout.x.size), rows.size))
        cover = np.asarray(matrix.sum(axis=0)).ravel()[: area.size] / area - 1.0
        sample = np.unique(np.r_[np.linspace(0, ids.size - 1, 60).astype(int), _awkward(grid, ids)])
        worst = max(_difference(layout, grid, ids, matrix, noise, i) for i in sample)
        print(
            f"{key:<11}{ids.size:>6}{matrix.nnz:>10}{clock.cpu:>8.1f}{np.abs(share).max():>12.1e}"
            f"{np.abs(cover).max():>13.1e}{worst:>15.1e}"
        )


def _awkward(grid, ids) -> np.ndarray:
    """Cells nearest to the pole and to 180 degrees."""
    lon, lat = grid.centers(ids)
    return np.r_[np.argsort(-lat)[:10], np.argsort(180.0 - np.abs(lon))[:20]]


def _difference(layout, grid, ids, matrix, noise, i) -> float:
    (polygon,) = grid.polygons(ids[i : i + 1])
    pixels = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
    got = matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]]
    exact = np.array([polygon.intersection(_pixel(layout, *divmod(int(p), layout.x.size))).area for p in pixels])
    return abs(got @ noise[pixels] / got.sum() - exact @ noise[pixels] / exact.sum())


def _pixel(layout, row, column) -> shapely.Polygon:
    lon = np.linspace(layout.x.low[column], layout.x.high[column], 65)
    lat = np.r_[np.full(65, layout.y.low[row]), np.full(65, layout.y.high[row])]
    x, y = to_equal_area(np.r_[lon, lon[::-1]], lat)
    return shapely.make_valid(shapely.Polygon(np.column_stack([x, y])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "read", "pixels", "cells", "plain", "weights"])
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    if options.what == "weights":
        weights()
    else:
        {"make": make, "read": read, "pixels": pixels, "cells": cells, "plain": plain}[options.what](options.folder)
