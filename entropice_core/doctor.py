"""What an installation finds on its machine, for people who ask why something does not work; each with a remedy."""

import os
import platform
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from entropice_core import __version__
from entropice_core.compute import Compute
from entropice_core.config import Settings, load_study
from entropice_core.errors import EntropiceError
from entropice_core.storage.durable import clock_of

PACKAGES = ("dagster", "mlflow", "xarray", "zarr", "geopandas", "rasterio", "h3", "h3ronpy", "healpix-geo",
            "scikit-learn", "numpy")  # fmt: skip
OPTIONAL = {
    "torch": ("torch", "eSPA on PyTorch", "torch"),
    "cupy": ("cupy", "eSPA on a GPU", "gpu"),
    "xgboost": ("xgboost", "XGBoost", "boost"),
    "cdsapi": ("cdsapi", "fetching ERA5", "fetch"),
    "distributed": ("distributed", "Dask clusters", "cluster"),
    "streamlit": ("streamlit", "the dashboard", "dashboard"),
}
LOW_DISK_GB = 5.0
TIMEOUT_S = 3.0
SKEW_S = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` says what to do, and is empty where all is well."""

    name: str
    found: str
    remedy: str = ""


def report(settings: Settings) -> list[Finding]:
    """Look at versions, GPU, services, credentials, disk, clock and store; nothing is changed."""
    python = f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return [
        Finding("entropice", __version__),
        Finding("python", python),
        *(_package(name) for name in PACKAGES),
        *(_optional(name) for name in OPTIONAL),
        _autogluon(),
        _gpu(),
        _home(settings),
        _clock(settings),
        _data(settings),
        _study(settings),
        _store(settings),
        *_bucket(settings),
        _tracking(settings),
        _compute(settings),
        _climate_key(),
        _earth_engine_key(),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", "install Entropice again: pip install -e .")


def _optional(name: str) -> Finding:
    module, purpose, extra = OPTIONAL[name]
    if find_spec(module):
        return Finding(name, "found")
    return Finding(name, f"not installed; {purpose} needs it: pip install 'entropice[{extra}]'")


def _autogluon() -> Finding:
    """Name the interpreter that trains with AutoGluon; it is not started here, as that takes seconds."""
    named = os.environ.get("ENTROPICE_AUTOGLUON_PYTHON")
    if not named:
        return Finding("AutoGluon", "no interpreter; a study with that model needs one (docs/training.md)")
    if not Path(named).is_file():
        remedy = "let ENTROPICE_AUTOGLUON_PYTHON name the Python of an environment that has AutoGluon"
        return Finding("AutoGluon", f"{named} is no file", remedy)
    return Finding("AutoGluon", f"trains with {named}")


def _gpu() -> Finding:
    if not shutil.which("nvidia-smi"):
        return Finding("GPU", "none; everything runs on the CPU")
    if find_spec("cupy") or find_spec("torch"):
        return Finding("GPU", "an NVIDIA driver is here")
    return Finding("GPU", "an NVIDIA driver, but no library that uses it", "pip install 'entropice[gpu]'")


def _home(settings: Settings) -> Finding:
    there = _nearest(settings.home)
    if not os.access(there, os.W_OK):
        return Finding("ENTROPICE_HOME", f"{settings.home} cannot be written to", "set it to a folder of yours")
    free = shutil.disk_usage(there).free / 1e9
    remedy = "free some space: entropice gc, or another ENTROPICE_HOME" if free < LOW_DISK_GB else ""
    return Finding("ENTROPICE_HOME", f"{settings.home} ({free:,.1f} GB free)", remedy)


def _nearest(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def _clock(settings: Settings) -> Finding:
    """Compare the clock with that of the file system: what people read of when something was made goes by it."""
    there = _nearest(settings.home)
    try:
        skew = clock_of(there) - time.time()
    except OSError:
        return Finding("clock", "not compared: the home cannot be written to")
    remedy = "set both clocks by NTP: times of runs and versions cannot be compared" if abs(skew) > SKEW_S else ""
    return Finding("clock", f"differs from that of the file system by {abs(skew):.1f} s", remedy)


def _data(settings: Settings) -> Finding:
    if settings.data is None:
        return Finding("ENTROPICE_DATA", "not set; the demo needs none, other studies read their files from there")
    if settings.data.is_dir():
        return Finding("ENTROPICE_DATA", str(settings.data))
    return Finding("ENTROPICE_DATA", f"{settings.data} is not a folder", "make it, or name another one")


def _study(settings: Settings) -> Finding:
    try:
        return Finding("ENTROPICE_STUDY", f"{settings.study}: {load_study(settings.study).study.title}")
    except EntropiceError as error:
        return Finding("ENTROPICE_STUDY", f"{settings.study} cannot be read: {error}", "correct it: entropice check")


def _store(settings: Settings) -> Finding:
    """Compare names and sizes of the files of the store with its manifests."""
    from entropice_core.storage.store import PartitionStore

    try:
        root = settings.store_root(load_study(settings.study))
    except EntropiceError:
        return Finding("store", "not looked at: the study cannot be read")
    if not root.is_dir():
        return Finding("store", f"{root}: nothing is built yet: entropice run")
    damage = [finding for finding in PartitionStore(root).verify() if finding.is_damage]
    remedy = f"{damage[0]}; build it again, see entropice verify" if damage else ""
    return Finding("store", f"{root}: {len(damage)} damaged files", remedy)


def _bucket(settings: Settings) -> list[Finding]:
    """Ask the object storage for what it holds of the study, where the store is in one."""
    if not settings.store_url:
        return []
    if not find_spec("obstore"):
        return [Finding("ENTROPICE_STORE", "obstore is not installed", "pip install 'entropice[objects]'")]
    from entropice_core.storage.bucket import Bucket

    try:
        url = f"{settings.store_url.rstrip('/')}/{load_study(settings.study).study.name}"
        count = sum(str(item["path"]).endswith("/current.json") for item in Bucket(url, TIMEOUT_S).list())
    except EntropiceError as error:
        return [Finding("ENTROPICE_STORE", settings.store_url, str(error))]
    return [Finding("ENTROPICE_STORE", f"{url} answers: {count} partitions")]


def _tracking(settings: Settings) -> Finding:
    uri = settings.tracking_uri
    if not uri.startswith(("http://", "https://")):
        return Finding("tracking", uri)
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=TIMEOUT_S):  # noqa: S310 - http was checked
            return Finding("tracking", f"{uri} answers")
    except (URLError, OSError) as error:
        remedy = "start the MLflow server; training goes on without it, and is recorded by the next run"
        return Finding("tracking", f"{uri} does not answer ({error})", remedy)


def _compute(settings: Settings) -> Finding:
    try:
        compute = Compute.parse(settings.compute)
    except EntropiceError as error:
        return Finding("ENTROPICE_COMPUTE", settings.compute, str(error))
    if compute.address is None:
        return Finding("ENTROPICE_COMPUTE", settings.compute)
    place = urlsplit(compute.address)
    try:
        with socket.create_connection((str(place.hostname), int(place.port or 0)), TIMEOUT_S):
            return Finding("ENTROPICE_COMPUTE", f"{settings.compute} answers")
    except OSError as error:
        remedy = "start it (dask scheduler), or set ENTROPICE_COMPUTE to threads"
        return Finding("ENTROPICE_COMPUTE", f"{settings.compute} does not answer ({error})", remedy)


def _climate_key() -> Finding:
    """Say whether a key is there, never what it is."""
    if os.environ.get("CDSAPI_KEY"):
        return Finding("CDS key", "CDSAPI_KEY is set")
    file = Path(os.environ.get("CDSAPI_RC") or Path.home() / ".cdsapirc")
    if file.is_file():
        return Finding("CDS key", f"{file} is there")
    return Finding("CDS key", "none; only fetching ERA5 needs it: https://cds.climate.copernicus.eu/how-to-api")


def _earth_engine_key() -> Finding:
    """Say where credentials of Earth Engine are; whether they are valid, only their use tells."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        remedy = "" if Path(named).is_file() else "let GOOGLE_APPLICATION_CREDENTIALS name a file of credentials"
        return Finding("Earth Engine", f"{named} {'is no file' if remedy else 'is there'}", remedy)
    left = Path.home() / ".config" / "earthengine" / "credentials"
    if left.is_file():
        return Finding("Earth Engine", f"{left} is there")
    return Finding("Earth Engine", "no credentials; only embeddings by that route need some (docs/alphaearth.md)")
