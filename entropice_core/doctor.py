"""What an installation finds on its machine, for people who ask why something does not work."""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from entropice_core import __version__
from entropice_core.config import Settings

PACKAGES = ("dagster", "mlflow", "xarray", "zarr", "geopandas", "rasterio", "h3", "h3ronpy", "healpix-geo",
            "scikit-learn", "numpy")  # fmt: skip
OPTIONAL = {
    "torch": ("torch", "eSPA on PyTorch: pip install 'entropice[torch]'"),
    "cupy": ("cupy", "eSPA on a GPU: pip install 'entropice[gpu]'"),
    "xgboost": ("xgboost", "XGBoost: pip install 'entropice[boost]'"),
    "streamlit": ("streamlit", "dashboard: pip install 'entropice[dashboard]'"),
}


def report(settings: Settings) -> list[tuple[str, str]]:
    """List pairs of a name and what was found."""
    rows = [
        ("entropice", __version__),
        ("python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        *((name, _version(name)) for name in PACKAGES),
        *((name, _optional(module, hint)) for name, (module, hint) in OPTIONAL.items()),
        ("ENTROPICE_HOME", _home(settings)),
        ("ENTROPICE_DATA", _data(settings)),
        ("ENTROPICE_STUDY", settings.study),
        ("tracking", settings.tracking_uri),
    ]
    return rows


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}"


def _optional(module: str, hint: str) -> str:
    return "found" if find_spec(module) else f"not installed ({hint})"


def _home(settings: Settings) -> str:
    home = settings.home
    there = home if home.exists() else home.parent
    if not os.access(there, os.W_OK):
        return f"{home} cannot be written to: set ENTROPICE_HOME to a folder of yours"
    free = shutil.disk_usage(there if there.exists() else "/").free / 1e9
    return f"{home} ({free:,.0f} GB free)"


def _data(settings: Settings) -> str:
    if settings.data is None:
        return "not set (the demo needs none; other studies read their files from here)"
    return str(settings.data) if settings.data.is_dir() else f"{settings.data} is not a folder"
