"""A local Climate Data Store, and a data folder to fetch into; waiting takes no time."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from entropice_core.fetch.cds import ClimateDataStore, Credentials
from entropice_core.fetch.era5 import YearReport, fetch_year
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.plan import Wish
from entropice_core.fetch.run import Progress
from tests.servers.cds import CdsServer

BOX = (70.0, 100.0, 60.0, 115.0)
TODAY = date(2024, 6, 1)


@dataclass
class Place:
    """A user's folders, the service, and every second that was waited."""

    server: CdsServer
    folder: Path
    slept: list[float] = field(default_factory=list)
    told: list[Progress] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    budget_s: float = 600.0
    variables: tuple[str, ...] = ("t2m", "tp")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def store(self, key: str | None = None) -> ClimateDataStore:
        patience = Patience(budget_s=self.budget_s, sleep=self.slept.append, tell=self.heard.append)
        return ClimateDataStore(Credentials(self.server.url, key or self.server.key), patience)

    def fetch(self, product="monthly", year=2021, variables=(), today=TODAY, calendar=None, **more) -> YearReport:
        wish = Wish(product, year, tuple(variables) or self.variables, **{"area": BOX, **more})
        return fetch_year(
            wish, self.store(), data=self.data, home=self.home, today=today, calendar=calendar, tell=self.told.append
        )  # fmt: skip

    @property
    def year(self) -> Path:
        return self.data / "era5" / "monthly" / "2021"

    def submissions(self) -> int:
        return len(self.server.jobs)

    def submissions_of(self, month: str) -> list[str]:
        """Jobs that asked for one calendar month alone."""
        return [job.job_id for job in self.server.jobs.values() if job.inputs["month"] == [month]]

    def hidden(self) -> list[str]:
        """What is left of unfinished work."""
        return sorted(p.name for p in self.data.rglob(".*"))


@pytest.fixture
def server():
    with CdsServer() as running:
        yield running


@pytest.fixture
def place(server, tmp_path):
    return Place(server, tmp_path)
