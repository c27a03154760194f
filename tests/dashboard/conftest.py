"""A tiny Arctic that was built whole, and the dashboard served to a headless browser."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.transform import from_origin
from shapely.geometry import box

from entropice_core.config import Settings, load_study
from entropice_core.dashboard.library import Library
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize, tasks

ROOT = Path(__file__).parents[2]
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), "")
INSTALL = "no Chromium on this machine; on Debian: apt-get install chromium, and pip install playwright"
WEST, SOUTH, EAST, NORTH = 120.0, 66.0, 150.0, 72.0
YEARS = (2018, 2019)
EVIL = "Slumps <script>alert(1)</script> **bold** of $1$ and $2$"
"""A title that would run, be bold, or break a formula, if anything rendered it."""

TOML = f"""
schema_version = 1
[study]
name = "tiny"
title = "{EVIL}"
description = "Made up."
grids = ["h3-3", "healpix-6"]
years = {{ first = 2018, last = 2019 }}
seed = 7
[study_area]
min_latitude = 60.0
bounds = [{WEST}, {SOUTH}, {EAST}, {NORTH}]
[inventories.squares]
title = "Squares"
doi = "10.0000/squares"
licence = "CC0-1.0"
geometry = "polygon"
files = ["{{data}}/squares.gpkg"]
year = {{ column = "year" }}
footprint = {{ kind = "files", files = ["{{data}}/looked_at.gpkg"] }}
[inventories.half]
title = "Every second square"
geometry = "polygon"
files = ["{{data}}/half.gpkg"]
year = {{ column = "year" }}
footprint = {{ kind = "study_area" }}
[sources.climate]
kind = "raster"
title = "Climate"
path = "{{data}}/climate_{{year}}.tif"
statement = "Made up."
bands = [{{ name = "warmth", select = 1, unit = "degC", valid_range = [-60.0, 60.0], statistics = ["mean", "std"] }}]
[sources.relief]
kind = "raster"
title = "Relief"
path = "{{data}}/relief.tif"
bands = [{{ name = "height", select = 1, unit = "m", valid_range = [0.0, 5000.0] }}]
[target]
inventory = "squares"
[folds]
n_folds = 2
inner_folds = 2
buffer_km = 0.0
block_level = {{ h3 = 2, healpix = 4 }}
[models.prevalence]
model = "prevalence"
[models.logistic_regression]
model = "logistic_regression"
search = {{ C = [0.1, 1.0] }}
[training]
permuted_control = false
random_cv = false
importance_repeats = 1
"""


KINDS = ("cells", "inventory", "labels", "features", "training_set", "model", "prediction", "proxies", "priority")


def write_raster(path: Path, values: np.ndarray) -> None:
    """Write (row, column) values of half a degree, north up."""
    height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "float32"}
    place = {"crs": "EPSG:4326", "transform": from_origin(WEST - 3, NORTH + 3, 0.5, 0.5)}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(values.astype(np.float32), 1)


def write_inputs(folder: Path) -> None:
    """Write slumps that are likelier where it is warm, and rasters that say how warm it is."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:24, 0:72]
    warmth = 10 * np.sin(x / 3.0) * np.cos(y / 2.0)
    for year in YEARS:
        write_raster(folder / f"climate_{year}.tif", warmth + rng.normal(0, 1, warmth.shape))
    write_raster(folder / "relief.tif", 100 + 50 * np.sin(x / 5.0))
    lon, lat = rng.uniform(WEST, EAST, 400), rng.uniform(SOUTH, NORTH, 400)
    column, row = ((lon - WEST + 3) / 0.5).astype(int), ((NORTH + 3 - lat) / 0.5).astype(int)
    kept = warmth[row, column] > 5
    squares = [box(a, b, a + 0.01, b + 0.004) for a, b in zip(lon[kept], lat[kept], strict=True)]
    years = np.where(np.arange(len(squares)) % 2 == 0, *YEARS)
    frame = gpd.GeoDataFrame({"year": years}, geometry=squares, crs="EPSG:4326")
    with_one_twice = pd.concat([frame, frame[:1]], ignore_index=True)  # the second is rejected
    with_one_twice.to_file(folder / "squares.gpkg", driver="GPKG")
    looked = gpd.GeoDataFrame(geometry=[box(WEST - 2, SOUTH - 2, 143.0, NORTH + 2)], crs="EPSG:4326")
    looked.to_file(folder / "looked_at.gpkg", driver="GPKG")  # the east is unobserved
    frame[::2].assign(year=YEARS[0]).to_file(folder / "half.gpkg", driver="GPKG")


@dataclass(frozen=True)
class Place:
    """A study on disk: its TOML, its input files, and where results go."""

    toml: Path
    data: Path
    home: Path
    tracking: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that name this place, and nothing of the machine's own."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ENTROPICE_")}
        own = {"ENTROPICE_STUDY": str(self.toml), "ENTROPICE_HOME": str(self.home), "ENTROPICE_DATA": str(self.data)}
        more = {"ENTROPICE_TRACKING_URI": self.tracking} if self.tracking else {}
        return {**clean, **own, **more, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    @property
    def settings(self) -> Settings:
        return Settings.from_environment({k: v for k, v in self.environment.items() if k.startswith("ENTROPICE_")})

    def library(self) -> Library:
        return Library(load_study(self.toml), self.settings)

    def copy(self, folder: Path) -> "Place":
        """Copy the results, so that a test may spoil them."""
        shutil.copytree(self.home, folder / "home")
        return Place(self.toml, self.data, folder / "home", self.tracking)

    def files(self) -> dict[str, int]:
        """Every file of the home with the time of its last change."""
        found = (path for path in self.home.rglob("*") if path.is_file())
        return {str(path.relative_to(self.home)): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Let one worker at a time in; tell whether the folder is still to be filled."""
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = Path(f"{folder}.done")
        yield not done.is_file()
        done.touch()


@pytest.fixture(scope="session")
def empty(shared: Path) -> Place:
    """The tiny study with nothing built."""
    folder = shared / "tiny_arctic"
    with once(folder) as is_first:
        if is_first:
            write_inputs(folder / "data")
            (folder / "tiny.toml").write_text(TOML)
    return Place(folder / "tiny.toml", folder / "data", folder / "nothing")


@pytest.fixture(scope="session")
def built(empty: Place, shared: Path) -> Place:
    """The tiny study, built whole on one of its two grids (its rankings for the last year); nobody may change it.

    It is built once for all workers, as that takes as long as a third of the tests that read it.
    """
    place = Place(empty.toml, empty.data, shared / "tiny_arctic_built")
    with once(place.home) as is_first:
        if is_first:
            build(place)
    return place


def build(place: Place) -> None:
    context = Context(load_study(place.toml), place.settings)
    graph = place.library().products
    wanted = [product for product in graph.values() if product.kind in KINDS]
    for product, partition in tasks(context, wanted, {"h3-3"}, None):
        if product.kind != "priority" or partition.year == YEARS[-1]:
            materialize(context, graph, product, partition)


@pytest.fixture
def public(built: Place) -> Iterator[Place]:
    """A copy of the built study where another user of the machine would find it; it may be spoilt."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copytree(built.data, folder / "data")
    shutil.copy(built.toml, folder / "tiny.toml")
    yield replace(built.copy(folder), toml=folder / "tiny.toml", data=folder / "data")
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    shutil.rmtree(folder)


@contextmanager
def as_a_reader(place: Place) -> Iterator[None]:
    """Be a user who may read a place and not write there: nobody, where root runs the tests; otherwise without write.

    Modules must have been imported before, as that user need not see them.
    """
    is_root = os.geteuid() == 0
    if is_root:
        os.setegid(65534)
        os.seteuid(65534)
    else:
        subprocess.run(["chmod", "-R", "a-w", str(place.home)], check=True)
    try:
        with pytest.raises(PermissionError):
            (place.home / "written").touch()
        yield
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)


@pytest.fixture(scope="session")
def library(built: Place) -> Library:
    """The tiny study, opened for reading."""
    return built.library()


# --- the browser -----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A dashboard that runs, and what the browser said about it."""

    def __init__(self, address: str, page: Any, log: Path) -> None:
        self.address, self.page, self.log = address, page, log
        self.problems: list[str] = []
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("request", lambda request: self._elsewhere(request.url))

    def _failed(self, request: Any) -> None:
        """Note what could not be fetched; a font that was on its way when the next page was opened is not missed."""
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"failed: {request.url} ({request.failure})")

    def _elsewhere(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", self.address.replace("http", "ws"))):
            self.problems.append(f"asked elsewhere: {url}")

    def show(self, name: str) -> Any:
        """Open a page and wait until it is drawn."""
        self.page.goto(f"{self.address}/?show={name.lower()}")
        self.page.get_by_role("heading", level=1, name=name).wait_for()
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the script has run to its end, and does not begin again within a fifth of a second."""
        self.page.evaluate("window.calm = 0")
        ended = (
            "() => { const state = document.querySelector('.stApp')?.dataset.testScriptState;"
            " window.calm = state === 'notRunning' ? window.calm + 1 : 0; return window.calm > 4; }"
        )
        self.page.wait_for_function(ended, polling=50)  # asking at every frame makes the browser draw all of them

    def choose(self, label: str, option: str) -> None:
        """Choose an option of a select box."""
        self.page.get_by_role("combobox", name=label).first.click()
        self.page.get_by_role("option", name=option, exact=True).click()
        self.settle()

    def no_problem(self) -> None:
        assert not self.problems, self.problems
        assert self.page.get_by_test_id("stException").count() == 0
        assert "Traceback" not in self.page.content()
        assert "Traceback" not in self.log.read_text()


LOGS: dict[str, list[Path]] = {}
"""What the dashboards of each file of tests wrote."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print with a failure what the dashboard said, which the browser shows to nobody."""
    report = yield
    if report.failed:
        report.sections += [(str(log), log.read_text()[-5000:]) for log in LOGS.get(str(item.path), []) if log.exists()]
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; a second one of another file in this process needs the loop of the first to have ended."""
    if not CHROMIUM:
        pytest.skip(INSTALL)
    sync_api = pytest.importorskip("playwright.sync_api", reason=INSTALL)
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def serve(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[Place], Served]]:
    """Start the dashboard of a place as ``entropice dashboard`` does, and a page of its own; all end with the tests."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(place: Place, *words: str) -> Served:
        port, log = free_port(), tmp_path_factory.mktemp("log") / "dashboard.log"
        LOGS.setdefault(str(request.path), []).append(log)
        command = [sys.executable, "-m", "entropice_core.cli", "dashboard", "--port", str(port), *words]
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(
                    command, cwd=log.parent, env=place.environment, stdout=file, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        wait_until_up(address, log)
        page = browser.new_context(
            viewport={"width": 1400, "height": 1000}, accept_downloads=True, reduced_motion="reduce"
        ).new_page()
        page.set_default_timeout(90_000)
        return Served(address, page, log)

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait(30)


def wait_until_up(address: str, log: Path) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.3)
