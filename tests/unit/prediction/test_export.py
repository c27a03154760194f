"""Exports: the right value at the right place in each format, with what it was made from."""

import json

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer

from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea
from entropice_core.prediction.export import can_write_pmtiles, write_exports


@pytest.fixture(scope="module", params=["h3-3", "healpix-6"])
def exported(request, tmp_path_factory):
    grid, folder = parse_grid_key(request.param), tmp_path_factory.mktemp("cells")
    ids = grid.cells(StudyArea(68.0, bounds=(172.0, 68.0, -172.0, 72.0)))
    lon, lat = grid.centers(ids)
    n = ids.size
    numbers = {"probability": np.linspace(0, 1, n), "entropy": np.full(n, 0.5), "expected_density": lat / 1e4}
    flags = {"is_applicable": (lon > 0).astype(np.int8), "set_size": np.full(n, 2, np.int8)}
    predicted = xr.Dataset(
        {
            name: ("cell", values)
            for name, values in ({k: v.astype(np.float32) for k, v in numbers.items()} | flags).items()
        }
        | {"in_set": (("cell", "class"), np.ones((n, 2), np.int8))},
        coords={"cell_ids": ("cell", ids), "lon": ("cell", lon), "lat": ("cell", lat)},
        attrs={"model": "espa", "feature_sets": "era5 (lag 1 a)", "data_digests": "labels abc"},
    )
    counts = write_exports(folder, grid, predicted)
    return grid, folder, predicted, counts


def test_a_pixel_has_the_value_of_the_cell_it_lies_in_also_across_180_degrees(exported):
    _, folder, predicted, _ = exported
    project = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    x, y = project.transform(predicted["lon"].values, predicted["lat"].values)
    with rasterio.open(folder / "cells.tif") as raster:
        assert raster.crs.to_epsg() == 3413
        assert raster.descriptions[:3] == ("probability", "entropy", "expected_density")
        values = np.array(list(raster.sample(zip(x, y, strict=True))))
    assert set(np.sign(predicted["lon"].values)) == {-1.0, 1.0}
    np.testing.assert_array_equal(values[:, 0], predicted["probability"].values)
    np.testing.assert_array_equal(values[:, 3], predicted["is_applicable"].values)


def test_outside_the_cells_a_raster_has_no_value(exported):
    _, folder, predicted, _ = exported
    with rasterio.open(folder / "cells.tif") as raster:
        band = raster.read(1)
        assert np.isnan(raster.nodata) and np.isnan(band[0, 0])
        pixel = abs(raster.transform.a * raster.transform.e)
    grid_area = exported[0].areas_m2(predicted["cell_ids"].values).sum()
    assert np.isfinite(band).sum() * pixel == pytest.approx(grid_area, rel=0.08)  # true at 70 N


def test_geoparquet_says_what_it_was_made_from_and_has_a_column_for_each_class(exported):
    _, folder, predicted, counts = exported
    table = gpd.read_parquet(folder / "cells.parquet")
    assert len(table) == predicted.sizes["cell"] == counts["cells"]
    assert {"in_set_0", "in_set_1", "is_applicable"} <= set(table.columns)
    said = json.loads(pq.read_metadata(folder / "cells.parquet").metadata[b"entropice"])
    assert said == {"model": "espa", "feature_sets": "era5 (lag 1 a)", "data_digests": "labels abc"}
    assert table.crs.to_epsg() == 4326
    with rasterio.open(folder / "cells.tif") as raster:
        assert raster.tags()["ENTROPICE_FEATURE_SETS"] == "era5 (lag 1 a)"
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_vector_tiles_hold_the_cells_with_their_numbers(exported):
    if not can_write_pmtiles():
        pytest.skip("this GDAL has no PMTiles driver")
    _, folder, predicted, counts = exported
    assert counts["cells cut by Web Mercator"] == 0
    tiles = pyogrio.read_dataframe(folder / "cells.pmtiles")
    assert set(tiles["cell_id"]) <= set(gpd.read_parquet(folder / "cells.parquet")["cell_id"])
    assert tiles["cell_id"].nunique() == predicted.sizes["cell"]
    assert {"probability", "expected_density", "is_applicable"} <= set(tiles.columns)
