"""A backfill of years of ERA5, launched as the web page launches it; one month fails, nothing else suffers from it.

Three years by default, as many as ``BACKFILL_YEARS`` says; what forty took is in benchmarks/era5_backfill.md.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import dagster as dg
import pytest

from entropice_assets.keys import files_key
from tests.assets.fetched import Fetched, make_fetched, service
from tests.e2e.dagster_site import DagsterSite, wait_for
from tests.servers.cds import CdsServer

LAST = 2020
COUNT = int(os.environ.get("BACKFILL_YEARS", "3"))
YEARS = [str(year) for year in range(LAST - COUNT + 1, LAST + 1)]
WRONG = YEARS[1]
FILES = files_key("climate")
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900 + 60 * COUNT)]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    with CdsServer(step=1.0) as server, service(server):
        folder = tmp_path_factory.mktemp("backfill")
        yield make_fetched(folder, server, f"{{ first = {YEARS[0]}, last = {LAST} }}")


@pytest.fixture(scope="module")
def site(fetched: Fetched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterSite]:
    with DagsterSite(tmp_path_factory.mktemp("dagster"), fetched.environment()) as made:
        made.start_daemon()
        made.start_webserver()
        yield made


def runs_of(instance: dg.DagsterInstance, backfill: str) -> list[dg.DagsterRun]:
    """Runs of a backfill."""
    return list(instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))


def outcome(instance: dg.DagsterInstance, backfill: str, count: int) -> dict[str, str]:
    """Wait for the end of all runs of a backfill; give their ends by year."""

    def ended() -> bool:
        runs = runs_of(instance, backfill)
        return len(runs) == count and all(run.is_finished for run in runs)

    wait_for(ended, 300 + 60 * count, f"{count} runs of backfill {backfill}")
    return {run.tags["dagster/partition"]: run.status.value for run in runs_of(instance, backfill)}


def steps(instance: dg.DagsterInstance) -> list[tuple[float, float]]:
    """When each fetching step began and ended, in order."""
    kinds = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
    found = []
    for run in instance.get_runs():
        times = [e.timestamp for e in instance.all_logs(run.run_id, of_type=kinds)]
        found.append((min(times), max(times)))
    return sorted(found)


def test_one_failed_month_fails_its_year_only_and_a_second_backfill_asks_for_that_month_only(
    site: DagsterSite, fetched: Fetched
) -> None:
    def autumn_is_lost(process: str, inputs: dict[str, Any]) -> tuple[str, str] | None:
        is_it = inputs["year"] == [str(int(WRONG) - 1)] and inputs["month"] == ["10", "11", "12"]
        return ("failed", "MARS returned no data") if is_it else None

    server = fetched.server
    server.judge = autumn_is_lost
    with site.instance() as instance:
        first = outcome(instance, site.backfill("files_climate", YEARS), COUNT)
        assert first == {year: "FAILURE" if year == WRONG else "SUCCESS" for year in YEARS}
        assert len(server.jobs) == 2 * COUNT  # nothing was tried again in vain
        assert all(end <= begin for (_, end), (begin, _) in pairwise(steps(instance)))  # one year at a time: the pool
        assert instance.get_materialized_partitions(FILES) == {*YEARS} - {WRONG}
        kept = [path.name[:7] for path in (fetched.data / "era5/monthly" / WRONG).glob("[0-9]*")]
        assert kept == [f"{WRONG}_01"]

        server.judge = lambda process, inputs: None
        again = outcome(instance, site.backfill("files_climate", YEARS[:2]), 2)
        assert set(again.values()) == {"SUCCESS"}
        assert len(server.jobs) == 2 * COUNT + 1
        wanted = dg.AssetRecordsFilter(FILES, asset_partitions=[WRONG])
        (record,) = instance.fetch_materializations(wanted, limit=1).records
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        assert (metadata["fetched_now"].value, metadata["already_there"].value) == (1, 1)
