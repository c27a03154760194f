"""Paths and switches of this machine, from ENTROPICE_* variables."""

import os
import re
from pathlib import Path

from entropice_core.config.base import Strict
from entropice_core.config.study import Study
from entropice_core.errors import ConfigError, nearest_hint

KNOWN = {  # variables of the environment, without ENTROPICE_; AUTOGLUON_PYTHON is read by the model, where it trains
    "HOME", "DATA", "STUDY", "TRACKING_URI", "COMPUTE", "ALERT_URL", "STORE", "DAGSTER_URL", "MEMORY", "CRASH_AT",
    "AUTOGLUON_PYTHON",
}  # fmt: skip


MEMORY_GB = {"features": 6.0, "training_set": 4.0, "model": 8.0}
"""What a step may take on a shared worker, by kind of dataset; others are small. ENTROPICE_MEMORY says otherwise."""
SMALL_GB = 3.0


class Settings(Strict):
    """Paths and switches of this machine, from ENTROPICE_* variables; none of them changes a result.

    ``home``: the store, the MLflow file and generated data (``ENTROPICE_HOME``, default ``.entropice``).
    ``data``: the folder of input files that ``{data}`` in a TOML stands for (``ENTROPICE_DATA``).
    ``study``: a preset's name or the path of a TOML (``ENTROPICE_STUDY``, default ``demo``).
    ``tracking_uri``: the MLflow tracking server (``ENTROPICE_TRACKING_URI``, default an SQLite file below home).
    ``compute``: where independent pieces of work run (``ENTROPICE_COMPUTE``, default ``serial``): ``serial``,
    ``threads``, ``processes``, ``dask://host:port``, ``dask+cuda://host:port`` or ``cuda``.
    ``store_url``: object storage that holds the store, such as s3://bucket/folder, with the folder below home as its
    mirror (``ENTROPICE_STORE``, default none: the store is the folder below home).
    ``alert_url``: where failed runs are told of, as JSON with the key ``text`` (``ENTROPICE_ALERT_URL``, default none).
    ``memory``: what steps may take on a worker, GB by kind of dataset (``ENTROPICE_MEMORY``, such as ``model=64``).
    ``dagster_url``: address of the Dagster pages, for links from MLflow (``ENTROPICE_DAGSTER_URL``, default none).
    ``sums_on_gpu``: whether pixels are added up on a GPU: where ``compute`` names cuda, also in its workers.
    """

    home: Path
    data: Path | None = None
    study: str = "demo"
    tracking_uri: str
    compute: str = "serial"
    alert_url: str = ""
    store_url: str = ""
    dagster_url: str = ""
    sums_on_gpu: bool = False
    memory: dict[str, float] = {}

    @classmethod
    def from_environment(cls, environ: dict[str, str] | None = None) -> "Settings":
        """Read the variables; an ENTROPICE_* name that means nothing is an error, as it is a typo."""
        env = dict(os.environ if environ is None else environ)
        for name in env:
            if name.startswith("ENTROPICE_") and name.removeprefix("ENTROPICE_") not in KNOWN:
                hint = nearest_hint(name, [f"ENTROPICE_{k}" for k in sorted(KNOWN)])
                raise ConfigError(f"The environment has {name}, which Entropice does not know; {hint}.")
        home = Path(env.get("ENTROPICE_HOME") or ".entropice").expanduser().absolute()
        if any(mark in str(home) for mark in "?#%"):
            raise ConfigError(f"ENTROPICE_HOME is {home}: the address of the tracking file cannot hold ? # or %.")
        data = env.get("ENTROPICE_DATA")
        uri = env.get("ENTROPICE_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        return cls(
            home=home,
            data=Path(data).expanduser().absolute() if data else None,
            study=env.get("ENTROPICE_STUDY") or "demo",
            tracking_uri=uri,
            compute=env.get("ENTROPICE_COMPUTE") or "serial",
            sums_on_gpu=(env.get("ENTROPICE_COMPUTE") or "").startswith(("cuda", "dask+cuda")),
            alert_url=env.get("ENTROPICE_ALERT_URL") or "",
            store_url=env.get("ENTROPICE_STORE") or "",
            dagster_url=(env.get("ENTROPICE_DAGSTER_URL") or "").rstrip("/"),
            memory=memory_by_kind(env.get("ENTROPICE_MEMORY") or ""),
        )

    def memory_of(self, kind: str) -> float:
        """GB that a step may take on a shared worker."""
        return self.memory.get(kind, MEMORY_GB.get(kind, SMALL_GB))

    def is_generated(self, study: Study) -> bool:
        """Say whether the study reads the generated Arctic: the demo does, whatever ENTROPICE_DATA names."""
        return study.study.name == "demo"

    def data_root(self, study: Study) -> Path:
        """Return the folder that ``{data}`` stands for; the demo study's is generated below home."""
        if self.is_generated(study):
            return self.home / "demo-data"
        if self.data is None:
            raise ConfigError(
                f"Study {study.study.name!r} reads files below {{data}}, and ENTROPICE_DATA is not set: "
                "set it to the folder that holds the input files."
            )
        if not self.data.is_dir():
            raise ConfigError(
                f"ENTROPICE_DATA names {self.data}, which is not a folder: set it to the folder of input files."
            )
        return self.data

    @property
    def scratch(self) -> Path:
        """Return the folder of files that are not published yet."""
        return self.home / "scratch"

    def store_root(self, study: Study) -> Path:
        """Return the folder of the study's store."""
        return self.home / "store" / study.study.name


def memory_by_kind(text: str) -> dict[str, float]:
    """Read what steps may take, GB by kind of dataset.

    >>> memory_by_kind("model=64, features=16")
    {'model': 64.0, 'features': 16.0}
    """
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(\w+)\s*=\s*(\d+(?:\.\d+)?)", pair)
        if match is None or float(match[2]) == 0:
            raise ConfigError(
                f"ENTROPICE_MEMORY has {pair!r}: give kinds of datasets with GB, such as model=64,training_set=32."
            )
        found[match[1]] = float(match[2])
    return found
