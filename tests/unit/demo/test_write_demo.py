"""The demo's files: whole or not at all, equal for equal seeds, in the layouts of the real ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import xarray as xr
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from entropice_core.config import load_study
from entropice_core.demo import DEMO_SEED, DEMO_YEARS, write_demo
from entropice_core.demo.write import MARKER, is_complete
from entropice_core.errors import ConfigError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import build_cells
from entropice_core.grids.land import land_samples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells
from entropice_core.labels.inventory import read_inventory
from entropice_core.sources import open_source


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo as the preset wants it."""
    return write_demo(tmp_path_factory.mktemp("demo") / "demo-data")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A demo of one year and another seed; nobody may change it."""
    folder, said = tmp_path_factory.mktemp("small") / "demo", []
    write_demo(folder, 3, [2021], said.append)
    assert said[0].startswith("darts/") and len(said) == 5
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_demo_is_small_and_has_every_file_of_the_preset(demo):
    assert sum(len(data) for data in contents(demo).values()) < 25e6
    study = load_study("demo")
    assert (study.study.seed, tuple(study.study.years.all())) == (DEMO_SEED, DEMO_YEARS)
    for config in study.sources.values():
        for year in study.study.years.all():
            assert (demo / config.path.format(data=demo, year=year - config.lag)).is_file()
    inventory = study.inventories["darts"]
    assert all((demo / path.format(data=demo)).is_file() for path in (*inventory.files, *inventory.footprint.files))


@pytest.mark.nightly  # a demo of one year is compared below
def test_equal_seeds_give_equal_bytes(demo, tmp_path):
    assert contents(write_demo(tmp_path / "again")) == contents(demo)


def test_a_whole_demo_is_left_alone(demo):
    before = {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    said = []
    write_demo(demo, progress=said.append)
    assert said == [] and before == {p: p.stat().st_mtime_ns for p in demo.rglob("*")}


def test_an_incomplete_changed_or_other_demo_is_made_anew(small, tmp_path):
    folder, whole = shutil.copytree(small, tmp_path / "demo"), contents(small)
    assert is_complete(folder, 3, [2021])
    assert not is_complete(folder, 4, [2021]) and not is_complete(folder, 3, [2021, 2022])
    for name, content in {MARKER: b"{", "era5/era5_monthly_2021.nc": b"short", "terrain/more.tif": b""}.items():
        (folder / name).write_bytes(content)
        assert not is_complete(folder, 3, [2021])
        (folder / name).unlink()
        assert not is_complete(folder, 3, [2021]) or name == "terrain/more.tif"
        if name in whole:
            (folder / name).write_bytes(whole[name])
    assert is_complete(folder, 3, [2021])
    (folder / "terrain" / "terrain_10km.tif").unlink()
    assert contents(write_demo(folder, 3, [2021])) == whole


def test_files_of_somebody_else_are_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"mine holds thesis\.txt, which the demo did not write"):
        write_demo(tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="did not write"):
        write_demo(tmp_path / "file")
    with pytest.raises(ConfigError, match="at least one year"):
        write_demo(tmp_path / "none", years=())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_kill_leaves_no_folder_that_looks_whole_and_the_next_call_repairs(small, tmp_path):
    folder = tmp_path / "demo"
    code = "import sys; from entropice_core.demo import write_demo; write_demo(sys.argv[1], 3, [2021])"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    partial = tmp_path / ".demo.partial"
    deadline = time.monotonic() + 120.0
    while not (partial / "era5").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert partial.is_dir() and not folder.exists()
    write_demo(folder, 3, [2021])
    assert is_complete(folder, 3, [2021]) and not partial.exists()
    assert contents(folder) == contents(small)


def test_the_climate_has_the_layout_of_the_climate_data_store(demo):
    data = xr.open_dataset(demo / "era5" / "era5_monthly_2022.nc", engine="h5netcdf")
    assert data["t2m"].dims == ("valid_time", "latitude", "longitude") and data["t2m"].dtype == np.float32
    assert (np.diff(data["latitude"]) < 0).all() and data["longitude"].values[[0, -1]].tolist() == [0.0, 359.0]
    assert str(data["valid_time"].values[0])[:10] == "2021-10-01" and data.sizes["valid_time"] == 12
    assert data["t2m"].attrs["units"] == "K" and 240.0 < float(data["t2m"].mean()) < 275.0
    assert data["tp"].attrs["units"] == "m" and 0.0 < float(data["tp"].mean()) < 0.01
    assert set(data["expver"].values) == {"0001"} and data["number"].item() == 0
    assert data["t2m"].attrs["GRIB_shortName"] == "2t"


def test_the_terrain_is_polar_with_voids_and_the_embedding_is_bytes(demo):
    with rasterio.open(demo / "terrain" / "terrain_10km.tif") as file:
        assert file.crs.to_epsg() == 3413 and file.nodata == -9999.0 and file.descriptions == ("elevation", "slope")
        height = file.read(1, masked=True)
        assert height.min() >= 0.0 and height.max() < 3000.0 and 0.1 < (~height.mask).mean() < 0.7
    with rasterio.open(demo / "embedding" / "embedding_2020.tif") as file:
        assert file.dtypes[0] == "int8" and file.nodata == -128.0 and file.crs.to_epsg() == 4326
        assert file.count == 6 and np.abs(file.read(masked=True).astype(float)).max() <= 127.0


def test_the_inventory_has_the_layout_and_the_flaws_of_darts(demo):
    slumps = pyogrio.read_dataframe(demo / "darts" / "DARTS_demo_level2.gpkg")
    assert {"id", "year", "area_m2", "pval_mean", "pval_min", "pval_max"} <= set(slumps.columns)
    assert slumps.crs.to_epsg() == 4326 and 5_000 < len(slumps) < 40_000 and slumps["id"].is_unique
    assert set(slumps["year"]) == set(DEMO_YEARS)
    assert 2_000.0 < slumps["area_m2"].median() < 10_000.0
    assert (slumps["pval_min"] <= slumps["pval_mean"]).all() and (slumps["pval_mean"] <= slumps["pval_max"]).all()
    shapes = slumps.geometry.to_numpy()
    empty = shapely.is_empty(shapes) | shapely.is_missing(shapes)
    assert empty.sum() == 5
    assert (~shapely.is_valid(shapes[~empty])).sum() >= 10
    assert len(set(shapely.to_wkb(shapes[~empty]))) <= len(slumps) - 5 - 20


def test_slumps_lie_in_the_footprint_of_their_year_but_for_a_few(demo):
    slumps = pyogrio.read_dataframe(demo / "darts" / "DARTS_demo_level2.gpkg")
    coverage = gpd.read_parquet(demo / "darts" / "DARTS_demo_coverage.parquet")
    assert {"area_km2", "coverage_period", "geometry"} == set(coverage.columns) and coverage.is_valid.all()
    outside = 0
    for year in DEMO_YEARS:
        seen = coverage[[str(year) in period.split(",") for period in coverage["coverage_period"]]].union_all()
        shapely.prepare(seen)
        points = shapely.centroid(slumps.geometry.to_numpy()[slumps["year"] == year])
        outside += int((~shapely.contains(seen, points[~shapely.is_empty(points)])).sum())
    assert 1 <= outside <= 40


def test_part_of_the_land_is_unobserved_and_the_footprint_crosses_180_degrees(demo):
    coverage = gpd.read_parquet(demo / "darts" / "DARTS_demo_coverage.parquet")
    west, _, east, _ = coverage.total_bounds
    assert west == -180.0 and east == 180.0
    assert coverage["coverage_period"].nunique() > 1
    land = land_samples(60.0, step=40)
    everything = coverage.union_all()
    shapely.prepare(everything)
    seen = shapely.intersects_xy(everything, land.lon.astype(float), land.lat.astype(float))
    assert 0.35 < land.area_m2[seen].sum() / land.area_m2.sum() < 0.75


def test_the_marker_says_what_the_demo_was_made_of(demo):
    marker = json.loads((demo / MARKER).read_text())
    assert marker["seed"] == DEMO_SEED and marker["years"] == list(DEMO_YEARS)
    assert set(marker["files"]) == set(contents(demo)) - {MARKER}


def test_slumps_can_be_predicted_in_part(demo):
    """Through the real readers: skill must be well above chance, and well below certainty."""
    study, area, grid = load_study("demo"), StudyArea(60.0), parse_grid_key("healpix-6")
    inventory = read_inventory("darts", study.inventories["darts"], demo, area, list(DEMO_YEARS))
    cells = build_cells(grid, area, study.study_area.min_land_fraction)
    labels = label_cells(inventory, grid, cells, area, 2022, land_samples(60.0))
    observed = labels["observed_fraction"].values >= study.target.min_observed_fraction
    assert 0.35 < observed.mean() < 0.7
    positive = labels["density"].values[observed] > 0.0
    assert 0.15 < positive.mean() < 0.25
    sources = [open_source(name, config, demo) for name, config in study.sources.items()]
    table = np.hstack([source.features(grid, cells, 2022)["features"].values for source in sources])[observed]
    assert 0.0 < np.isnan(table).any(axis=1).mean() < 0.02  # the void of the terrain
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    blocks = grid.parents(cells["cell_ids"].values[observed], study.folds.block_level["healpix"])
    guess = cross_val_predict(model, table, positive, groups=blocks, cv=GroupKFold(5), method="predict_proba")[:, 1]
    assert 0.7 < roc_auc_score(positive, guess) < 0.92
