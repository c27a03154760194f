"""A study whose climate is fetched from a local Climate Data Store: monthly means of a box of tiny fields."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entropice_core.config import Study, load_study
from tests.assets.conftest import TOML, Tiny
from tests.servers.cds import CdsServer

CLIMATE = """
[sources.climate]
kind = "raster"
title = "Climate"
path = "{data}/era5/era5_monthly_{year}.nc"
[[sources.climate.bands]]
name = "t2m_{index:02d}"
select = "t2m"
along = "valid_time"
unit = "degC"
offset = -273.15
valid_range = [-80.0, 40.0]
[fetch.climate]
variables = ["t2m"]
area = [75.0, 115.0, 63.0, 155.0]
provisional = true
"""


DAYS = """
[sources.climate]
kind = "era5_daily"
title = "Climate of days"
indices = ["thawing_degree_days_*"]
[sources.compared]
kind = "era5_history"
title = "Climate against other years"
climatology = { first = 2020, last = 2020 }
compare = ["anomaly"]
indices = ["thawing_degree_days_year_sum_K_d"]
[fetch.climate]
product = "daily"
statistics = ["mean"]
variables = ["t2m"]
area = [75.0, 115.0, 63.0, 155.0]
provisional = true
"""
"""Daily fields, and a second source that reads the same files."""


@dataclass(frozen=True)
class Fetched(Tiny):
    """The study, the service, and where files go."""

    server: CdsServer

    def study(self) -> Study:
        return load_study(self.toml)

    def environment(self) -> dict[str, str]:
        """Variables for a process of its own."""
        own = {"ENTROPICE_STUDY": self.toml, "ENTROPICE_DATA": self.data, "ENTROPICE_HOME": self.home}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENTROPICE_", "DAGSTER_", "CDSAPI_"))}
        return {**clean, **{k: str(v) for k, v in own.items()}, **self.server.environment(), "OMP_NUM_THREADS": "1"}


def make_fetched(
    folder: Path, server: CdsServer, years: str, grids: str = '["h3-3"]', climate: str = CLIMATE
) -> Fetched:
    """Write the study; ``years`` and ``grids`` as in its TOML, ``climate`` its source and what is fetched for it."""
    before, rest = TOML.split("[sources.climate]")
    after = rest[rest.index("[sources.relief]") :]
    text = f"{before}{climate}\n{after}"
    for old, new in {
        "years = { first = 2018, last = 2019 }": f"years = {years}",
        'grids = ["h3-3"]': f"grids = {grids}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "data").mkdir()
    toml = folder / "fetched.toml"
    toml.write_text(text)
    return Fetched(toml, folder / "data", folder / "home", server)


@contextmanager
def service(server: CdsServer) -> Iterator[None]:
    """Let this process talk to the local service only."""
    saved = {name: os.environ.get(name) for name in ("CDSAPI_URL", "CDSAPI_KEY")}
    os.environ.update(server.environment())
    try:
        yield
    finally:
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
