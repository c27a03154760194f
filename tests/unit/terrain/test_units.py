"""Tiles that overlap become one raster, and units of it partial statistics that are kept, verified and used again."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from pyproj import CRS

from entropice_core.errors import SourceError
from entropice_core.features.partials import merge_all
from entropice_core.features.pieces import finished, load
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile, area_unit
from entropice_core.grids import parse_grid_key
from entropice_core.terrain import units as room
from entropice_core.terrain.derivatives import layers, quantities
from entropice_core.terrain.mosaic import mosaics, open_file
from entropice_core.terrain.units import Work, process_all
from tests.servers.stac import write_cog
from tests.unit.terrain.arctic import CORE, EDGE, NORTH, WEST, write_tiles
from tests.unit.terrain.conftest import hills

RADII = (96.0,)
WHOLE = Tile(
    "all", CRS("EPSG:3413"), WEST - 96.0, NORTH + 96.0, 32.0, -32.0, (2 * CORE + 2 * EDGE, 3 * CORE + 2 * EDGE)
)
KEYS = ("h3-5", "h3-6", "healpix-8", "healpix-10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tiles")
    write_tiles(made, masks=True)
    return made


@pytest.fixture(scope="module")
def mosaic(folder):
    (one,) = mosaics(open_file(path) for path in sorted(folder.glob("*_dem.tif")))
    return one


@pytest.fixture(scope="module")
def cells():
    lon, lat = WHOLE.lonlat(*(part.ravel() for part in np.meshgrid(np.arange(5, 1200, 20.0), np.arange(5, 1800, 20.0))))
    return {key: np.unique(parse_grid_key(key).locate(lon, lat)) for key in KEYS}


def work_on(mosaic, cells, **more) -> Work:
    reducer = Reducer(cells, quantities(RADII), area_unit(32.0**2), 32.0**2)
    return Work(mosaic, reducer, RADII, 32.0, **more)


@pytest.fixture(scope="module")
def at_once(cells):
    """The statistics from the heights themselves, without tiles: what must come out."""
    work = work_on(None, cells)
    outer = work.reach(WHOLE)
    z = np.full(outer.shape, np.nan, dtype=np.float32)
    n = work.halo
    z[n:-n, n:-n] = hills(WHOLE)
    return work.reducer.reduce(WHOLE, layers(z, outer, n, RADII, 32.0))


def test_overlapping_tiles_are_one_raster_without_seams(mosaic):
    assert len(mosaic.files) == 6
    window = WHOLE.window(-10, -10, (WHOLE.shape[0] + 20, WHOLE.shape[1] + 20))
    found = mosaic.heights(window)
    assert np.array_equal(found[10:-10, 10:-10], hills(WHOLE), equal_nan=True) and np.isnan(found[:10]).all()


def test_a_void_is_filled_from_the_tile_beside_that_has_it(tmp_path):
    left = Tile("a", CRS("EPSG:3413"), 0.0, 0.0, 32.0, -32.0, (40, 40))
    right = left.window(0, 34, (40, 40))
    z = np.full((40, 40), 7.0, dtype=np.float32)
    void = z.copy()
    void[:, 35] = np.nan
    write_cog(tmp_path / "a.tif", left, void)
    write_cog(tmp_path / "b.tif", right, z + 1.0)
    (one,) = mosaics([open_file(tmp_path / "b.tif"), open_file(tmp_path / "a.tif")])
    row = one.heights(left.window(20, 30, (1, 14)))[0]
    assert row.tolist() == [7.0] * 5 + [8.0] + [7.0] * 1 + [8.0] * 7  # deepest first, the void from the other


def test_units_hold_every_pixel_once(mosaic):
    for pixels in (3125, 500, 77):
        seen = np.zeros(WHOLE.shape, dtype=int)
        row0, column0 = WHOLE.origin
        for unit in mosaic.units(pixels):
            row, column = unit.origin[0] - row0, unit.origin[1] - column0
            seen[row : row + unit.shape[0], column : column + unit.shape[1]] += 1
        assert (seen == 1).all()


def test_tiles_give_what_the_heights_give_whatever_the_units_and_workers(mosaic, cells, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr("entropice_core.terrain.mosaic.Mosaic.units.__defaults__", (700,))
    work = work_on(mosaic, cells)
    paths = process_all(work, tmp_path / "two", workers=2)
    for key in KEYS:
        parts = [load(path) for path in paths[key]]
        assert len(parts) >= 6
        assert merge_all(parts).digest == merge_all(parts[::-1]).digest == at_once[key].digest
        given = list(finished(paths[key]))
        assert np.array_equal(np.sort(np.concatenate([p.cell_ids for p in given])), at_once[key].cell_ids)
        assert merge_all(given).digest == at_once[key].digest
    alone = process_all(work_on(mosaic, {"healpix-8": cells["healpix-8"]}), tmp_path / "one", workers=1)
    assert [p.name for p in alone["healpix-8"]] == [p.name for p in paths["healpix-8"]]


def test_a_finished_unit_is_used_again_and_a_damaged_one_is_made_again(mosaic, cells, tmp_path):
    work = work_on(mosaic, {"h3-5": cells["h3-5"]})
    first = process_all(work, tmp_path, workers=1)["h3-5"]
    told: list[str] = []
    assert process_all(work, tmp_path, workers=1, say=told.append)["h3-5"] == first
    assert all("was there" in line for line in told) and told[-1].endswith(f"({len(told)} of {len(told)} units)")
    victim, data = first[0], bytearray(first[0].read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    told.clear()
    assert process_all(work, tmp_path, workers=1, say=told.append)["h3-5"] == first
    assert sum("computed for h3-5" in line for line in told) == 1


def test_other_cells_radii_or_tiles_are_other_work(mosaic, cells, folder, tmp_path):
    def names(work: Work) -> set[str]:
        files = room.UnitFiles(tmp_path, work)
        return {files.key(unit, "h3-5") for unit in mosaic.units()}

    one = {"h3-5": cells["h3-5"]}
    original = names(work_on(mosaic, one))
    assert names(work_on(mosaic, {**one, "h3-6": cells["h3-6"]})) == original
    assert not names(work_on(mosaic, {"h3-5": cells["h3-5"][1:]})) >= original
    fewer = mosaics(open_file(path) for path in sorted(folder.glob("*_dem.tif"))[1:])[0]
    assert not names(work_on(fewer, one)) & original
    wider = Work(mosaic, Reducer(one, quantities((320.0,)), area_unit(1024.0), 1024.0), (320.0,), 32.0)
    assert not names(wider) & original


def test_a_mask_of_water_is_read_from_its_own_file(folder, cells):
    masks = {p: p.with_name(p.name.replace("_dem", "_datamask")) for p in sorted(folder.glob("*_dem.tif"))}
    (one,) = mosaics(open_file(path, water) for path, water in masks.items())
    water = one.water(WHOLE, [2])
    assert water.sum() == 6 * 40 * 100
    dry, wet = work_on(one, {"h3-5": cells["h3-5"]}), work_on(one, {"h3-5": cells["h3-5"]}, water_values=(2,))
    unit = max(one.units(), key=lambda each: each.shape[0] * each.shape[1])
    assert wet.process(unit)["h3-5"].pixels().sum() < dry.process(unit)["h3-5"].pixels().sum()


def test_bands_of_latitude_with_other_pixels_are_mosaics_of_their_own(tmp_path):
    degrees = CRS("EPSG:4326")
    for name, step, top in (("n", 2.0, 61.0), ("s", 1.5, 60.0), ("t", 1.5, 59.9)):
        tile = Tile(name, degrees, 150.0 - step / 7200, top + 1 / 7200, step / 3600, -1 / 3600, (60, 60))
        write_cog(tmp_path / f"{name}.tif", tile, np.ones((60, 60), dtype=np.float32), nodata=None)
    found = mosaics(open_file(path) for path in sorted(tmp_path.glob("*.tif")))
    assert sorted(len(one.files) for one in found) == [1, 2]


def test_damaged_tiles_and_infinite_heights_are_named(tmp_path):
    tile = Tile("x", CRS("EPSG:3413"), 0.0, 0.0, 32.0, -32.0, (20, 20))
    z = np.ones((20, 20), dtype=np.float32)
    z[3, 3] = np.inf
    write_cog(tmp_path / "inf.tif", tile, z)
    with pytest.raises(SourceError, match="inf.tif holds infinite heights"):
        mosaics([open_file(tmp_path / "inf.tif")])[0].heights(tile)
    (tmp_path / "web.tif").write_bytes(b"<html>")
    with pytest.raises(SourceError, match="web.tif cannot be opened as a GeoTIFF"):
        open_file(tmp_path / "web.tif")


def border_cells() -> dict[str, np.ndarray]:
    two_tiles = WHOLE.window(0, 0, (CORE, 2 * CORE))
    return {"h3-6": np.unique(parse_grid_key("h3-6").locate(*two_tiles.border(64)))}


def test_a_killed_run_leaves_whole_units_and_the_next_goes_on(folder, tmp_path, monkeypatch):
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from entropice_core.terrain.mosaic import Mosaic, mosaics, open_file
        from entropice_core.terrain.units import process_all
        from tests.unit.terrain.test_units import border_cells, work_on

        Mosaic.units.__defaults__ = (300,)
        (one,) = mosaics(open_file(path) for path in sorted(Path(sys.argv[1]).glob("*_dem.tif"))[:2])
        process_all(work_on(one, border_cells()), Path(sys.argv[2]), 1, lambda line: print(line, flush=True))
        """
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", script, str(folder), str(killed)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        lines = [child.stdout.readline() for _ in range(5)]
        time.sleep(0.03)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert "computed" in lines[4]
    monkeypatch.setattr("entropice_core.terrain.mosaic.Mosaic.units.__defaults__", (300,))
    (mosaic,) = mosaics(open_file(path) for path in sorted(folder.glob("*_dem.tif"))[:2])
    told: list[str] = []
    process_all(work_on(mosaic, border_cells()), killed, 2, told.append)
    assert sum("was there" in line for line in told) >= 5 and sum("computed" in line for line in told) >= 1
    process_all(work_on(mosaic, border_cells()), whole, 1)
    names = {path.name for path in whole.glob("*.npz")}
    assert names == {path.name for path in killed.glob("*.npz")} and len(names) > 8
