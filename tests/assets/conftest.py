"""A tiny Arctic for Dagster: 60 cells, two years, two models, files that the real readers read."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from shapely.geometry import box

from entropice_assets.build import build_defs
from entropice_assets.keys import asset_key
from entropice_assets.resources import EntropiceResource
from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import Graph

WEST, SOUTH, EAST, NORTH = 120.0, 66.0, 150.0, 72.0
YEARS = (2018, 2019)

TOML = """
schema_version = 1
[study]
name = "tiny"
title = "A tiny Arctic"
grids = ["h3-3"]
years = { first = 2018, last = 2019 }
seed = 7
[study_area]
min_latitude = 60.0
bounds = [120.0, 66.0, 150.0, 72.0]
[inventories.squares]
title = "Squares"
doi = "10.0000/squares"
geometry = "polygon"
files = ["{data}/squares.gpkg"]
year = { column = "year" }
footprint = { kind = "study_area" }
[sources.climate]
kind = "raster"
title = "Climate"
path = "{data}/climate_{year}.tif"
statement = "Made up."
bands = [{ name = "warmth", select = 1, unit = "degC", valid_range = [-60.0, 60.0], statistics = ["mean", "std"] }]
[sources.relief]
kind = "raster"
title = "Relief"
path = "{data}/relief.tif"
bands = [{ name = "height", select = 1, unit = "m", valid_range = [0.0, 5000.0] }]
[target]
inventory = "squares"
[folds]
n_folds = 2
inner_folds = 2
buffer_km = 0.0
block_level = { h3 = 2, healpix = 4 }
[models.prevalence]
model = "prevalence"
[models.logistic_regression]
model = "logistic_regression"
[training]
permuted_control = false
random_cv = false
importance_repeats = 0
"""


@dataclass(frozen=True)
class Tiny:
    """A study on disk: its TOML, its input files, and where results go."""

    toml: Path
    data: Path
    home: Path

    def resource(self) -> EntropiceResource:
        return EntropiceResource(
            study=str(self.toml), home=str(self.home), data=str(self.data), tracking_uri=f"sqlite:///{self.home}/ml.db"
        )

    def context(self) -> Context:
        return self.resource().context()

    def graph(self) -> Graph:
        return build_graph(load_study(self.toml))

    def defs(self) -> dg.Definitions:
        return build_defs(str(self.toml), {"entropice": self.resource()})

    def settings(self) -> Settings:
        return self.resource().settings()


def write_raster(path: Path, values: np.ndarray) -> None:
    """Write (row, column) values of one degree, north up."""
    height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "float32"}
    place = {"crs": "EPSG:4326", "transform": from_origin(WEST - 3, NORTH + 3, 0.5, 0.5)}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(values.astype(np.float32), 1)


def write_inputs(folder: Path) -> None:
    """Write slumps that are likelier where it is warm, and rasters that say how warm it is."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    shape = (24, 72)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    warmth = 10 * np.sin(x / 3.0) * np.cos(y / 2.0)
    for year in YEARS:
        write_raster(folder / f"climate_{year}.tif", warmth + rng.normal(0, 1, shape))
    write_raster(folder / "relief.tif", 100 + 50 * np.sin(x / 5.0))
    lon, lat = rng.uniform(WEST, EAST, 400), rng.uniform(SOUTH, NORTH, 400)
    column, row = ((lon - WEST + 3) / 0.5).astype(int), ((NORTH + 3 - lat) / 0.5).astype(int)
    kept = warmth[row, column] > 5
    squares = [box(a, b, a + 0.01, b + 0.004) for a, b in zip(lon[kept], lat[kept], strict=True)]
    years = np.where(np.arange(len(squares)) % 2 == 0, *YEARS)
    frame = gpd.GeoDataFrame({"year": years}, geometry=squares, crs="EPSG:4326")
    frame.to_file(folder / "squares.gpkg", driver="GPKG")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Input files of the tiny study; nobody may change them."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """A tiny study of one's own, with its own input files."""
    return make_tiny(tmp_path, tmp_path / "data")


def make_tiny(folder: Path, data: Path) -> Tiny:
    """Put the TOML of the tiny study into a folder, and its input files where they are missing."""
    if not data.is_dir():
        write_inputs(data)
    toml = folder / "tiny.toml"
    toml.write_text(TOML)
    return Tiny(toml, data, folder / "home")


@dataclass
class Runner:
    """Materialize assets in this process, against one Dagster instance."""

    defs: dg.Definitions
    instance: dg.DagsterInstance

    def run(self, *keys: str, partition: str | None = None, config: dict[str, Any] | None = None) -> Any:
        """Materialize assets; ``partition`` is a key, or two of them with ``...`` between for a range."""
        first, dots, last = (partition or "").partition("...")
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[asset_key(key.replace("/", ".")) for key in keys],
            partition_key=None if dots else partition,
            tags=tags if dots else None,
            instance=self.instance,
            run_config={"ops": {key.replace("/", "_"): {"config": config} for key in keys}} if config else None,
            raise_on_error=False,
        )


@pytest.fixture
def runner(tiny: Tiny) -> Iterator[Runner]:
    """A runner of one's own."""
    with quiet(), dg.DagsterInstance.ephemeral() as instance:
        yield Runner(tiny.defs(), instance)


@dataclass(frozen=True)
class Whole:
    """A whole study, built through Dagster."""

    tiny: Tiny
    runner: Runner
    results: dict[str, Any]


ORDER = (
    ("cells", "h3-3"),
    ("inventory/squares", None),
    ("features/relief", "h3-3"),
    ("labels/squares", "h3-3|2018...h3-3|2019"),
    ("features/climate", "h3-3|2018...h3-3|2019"),
    ("training_set", "h3-3"),
    ("model/prevalence", "h3-3"),
    ("model/logistic_regression", "h3-3"),
    ("prediction/logistic_regression", "h3-3|2018"),
    ("prediction/logistic_regression", "h3-3|2019"),
    ("map/logistic_regression", "h3-3|2018...h3-3|2019"),
    ("comparison", None),
)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Iterator[Whole]:
    """The tiny study built through Dagster, without the maps of the baseline; nobody may change it."""
    tiny = make_tiny(tmp_path_factory.mktemp("whole"), inputs)
    with quiet(), dg.DagsterInstance.ephemeral() as instance:
        runner = Runner(tiny.defs(), instance)
        results = {f"{key} {partition}": runner.run(key, partition=partition) for key, partition in ORDER}
        yield Whole(tiny, runner, results)


@contextmanager
def quiet() -> Iterator[None]:
    """Let no ENTROPICE_* variable of this machine reach a test."""
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ENTROPICE_")}
    try:
        yield
    finally:
        os.environ.update(saved)


@pytest.fixture(autouse=True)
def no_instance_of_an_earlier_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Dagster remembers the instance that was opened last, also when it is closed: each test begins without one.

    Its unfinished generators put an older one back when they are collected, which must not happen during the test.
    """
    from dagster._core.storage.defs_state.base import set_defs_state_storage

    if {"instance", "runner", "home", "fetched"} & set(request.fixturenames):
        gc.collect()
    with set_defs_state_storage(None):
        yield
