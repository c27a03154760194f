"""New years of ERA5 come in by themselves: a real instance and daemon, a clock that is moved, a service that grows."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from entropice_assets.keys import asset_key, files_key
from entropice_core.storage.partition import Partition
from tests.assets.fetched import Fetched, make_fetched, service
from tests.e2e.dagster_site import ROOT, DagsterSite, wait_for
from tests.servers.cds import CdsServer

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]
GRIDS = ("h3-3", "healpix-6")
FILES, FEATURES = files_key("climate"), asset_key("features.climate")
POINT = [70.25, 130.0, 70.0, 130.25]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    """The study on two grids whose first year is 2020; the service has August 2020 as its newest month."""
    with CdsServer(step=1.0) as server, service(server):
        server.newest, server.final = (2020, 8), (2020, 5)
        grids = json.dumps(list(GRIDS))
        folder = tmp_path_factory.mktemp("new_years")
        yield make_fetched(folder, server, "{ first = 2020, last = 2020, until = 2021 }", grids=grids)


@pytest.fixture(scope="module")
def site(fetched: Fetched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterSite]:
    """A daemon with the schedule and the sensor switched on, at the end of September 2020; the cells are built."""
    code = "from entropice_core.cli import main; main()"
    for grid in GRIDS:
        command = [sys.executable, "-c", code, "build", "cells", "--grid", grid]
        env = {**fetched.environment(), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with DagsterSite(tmp_path_factory.mktemp("dagster"), fetched.environment()) as made:
        with made.instance() as instance:
            for grid in GRIDS:
                instance.report_runless_asset_event(dg.AssetMaterialization(asset_key("cells"), partition=grid))
        made.set_clock("2020-09-30T05:00:00")
        for kind, name in (("schedule", "climate_new_years"), ("sensor", "features_of_new_years")):
            made.command(kind, "start", name, "-w", "workspace.yaml")
        made.start_daemon()
        yield made


class Watcher:
    """What the daemon has done so far."""

    def __init__(self, fetched: Fetched, instance: dg.DagsterInstance) -> None:
        self.fetched, self.instance = fetched, instance

    def runs(self, asset: dg.AssetKey) -> list[dg.DagsterRun]:
        """Runs of one asset, oldest first."""
        found = self.instance.get_runs()
        return [run for run in reversed(found) if asset in (run.asset_selection or _assets_of(run))]

    def finished(self) -> bool:
        """Whether no run is under way; a failed one is an error."""
        runs = self.instance.get_runs()
        assert not [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE], "a run failed"
        return all(run.status == dg.DagsterRunStatus.SUCCESS for run in runs)

    def ticks(self) -> list[Any]:
        """Ticks of the schedule that have ended, oldest first."""
        (state,) = [s for s in self.instance.all_instigator_state() if s.name == "climate_new_years"]
        found = self.instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return [tick for tick in reversed(found) if tick.status != TickStatus.STARTED]

    def provisional(self, year: int) -> list[bool | None]:
        """Whether the features of a year are provisional, by grid; None where there are none."""
        store = self.fetched.context().store
        parts = [Partition(grid, year) for grid in GRIDS]
        known = store.partitions("features.climate")
        return [store.manifest("features.climate", p).provisional if p in known else None for p in parts]

    def months_asked(self) -> list[tuple[str, list[str]]]:
        """Year and months of each request for data, without the questions how far the service is."""
        jobs = self.fetched.server.jobs.values()
        return [(j.inputs["year"][0], j.inputs["month"]) for j in jobs if j.inputs["area"] != POINT]


def _assets_of(run: dg.DagsterRun) -> set[dg.AssetKey]:
    return {FILES} if run.job_name == "fetch_climate" else set()


@pytest.fixture
def watcher(fetched: Fetched, site: DagsterSite) -> Iterator[Watcher]:
    with site.instance() as instance:
        yield Watcher(fetched, instance)


def test_a_year_comes_in_when_it_is_complete_and_once_more_when_it_is_final(
    site: DagsterSite, watcher: Watcher, fetched: Fetched
) -> None:
    site.set_clock("2020-10-02T05:59:50")
    wait_for(watcher.ticks, 240, "a tick in October")
    assert "waiting for 2020" in str(watcher.ticks()[-1].skip_reason)
    assert watcher.instance.get_runs() == []

    fetched.server.newest, fetched.server.final = (2020, 9), (2020, 7)
    site.set_clock("2020-10-07T05:59:50")
    wait_for(lambda: watcher.provisional(2020) == [True, True], 480, "features of 2020 on both grids")
    wait_for(watcher.finished, 300, "the runs end")
    assert [run.tags["dagster/partition"] for run in watcher.runs(FILES)] == ["2020"]
    assert len(watcher.months_asked()) == 2
    first = len(watcher.runs(FEATURES))

    fetched.server.newest, fetched.server.final = (2020, 12), (2020, 9)
    site.set_clock("2021-01-07T05:59:50")
    wait_for(lambda: watcher.provisional(2020) == [False, False], 480, "features of final data")
    wait_for(watcher.finished, 300, "the runs end")
    assert watcher.months_asked()[2:] == [("2020", ["08", "09"])]
    assert len(watcher.runs(FILES)) == 2
    assert len(watcher.runs(FEATURES)) == 2 * first

    seen = len(watcher.ticks())
    site.set_clock("2021-01-08T05:59:50")
    wait_for(lambda: len(watcher.ticks()) > seen, 240, "a tick with nothing to do")
    assert "are there and final" in str(watcher.ticks()[-1].skip_reason)
    assert len(watcher.runs(FILES)) == 2
