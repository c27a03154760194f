"""A backfill of forty Arctic years of ERA5 from the web page: what it takes besides the service's own time.

    PYTHONPATH=. python benchmarks/era5_backfill.py [years]      # writes benchmarks/era5_backfill.md

A webserver, a daemon and a local Climate Data Store; monthly means of one variable in a box of 1-degree fields, so that
nearly all of the time is Dagster's. One month of the second year fails and is asked for again afterwards.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from entropice_assets.keys import files_key
from tests.assets.fetched import make_fetched, service
from tests.e2e.dagster_site import DagsterSite, wait_for
from tests.servers.cds import CdsServer

LAST, FILES = 2020, files_key("climate")
KINDS = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}


def main(count: int) -> None:
    """Run the backfill and write what was measured."""
    years = [str(year) for year in range(LAST - count + 1, LAST + 1)]
    with tempfile.TemporaryDirectory() as name, CdsServer(step=1.0) as server, service(server):
        folder = Path(name)
        (folder / "study").mkdir()
        fetched = make_fetched(folder / "study", server, f"{{ first = {years[0]}, last = {LAST} }}")
        server.judge = lambda _, inputs: lost(inputs, years[1])
        with DagsterSite(folder / "dagster", fetched.environment()) as site, site.instance() as instance:
            site.start_daemon()
            site.start_webserver()
            measured = [measure(site, instance, server, years)]
            server.judge = lambda *_: None
            measured.append(measure(site, instance, server, years[1:2]))
    write(count, measured)


def lost(inputs: dict[str, Any], year: str) -> tuple[str, str] | None:
    """Let the autumn of one Arctic year fail."""
    is_it = inputs["year"] == [str(int(year) - 1)] and inputs["month"] == ["10", "11", "12"]
    return ("failed", "MARS returned no data") if is_it else None


def measure(site: DagsterSite, instance: dg.DagsterInstance, server: CdsServer, years: list[str]) -> dict[str, Any]:
    """Launch one backfill and wait for its runs."""
    jobs, begun = len(server.jobs), time.monotonic()
    backfill = site.backfill("files_climate", years)
    wanted = dg.RunsFilter(tags={"dagster/backfill": backfill})

    def ended() -> bool:
        runs = instance.get_runs(wanted)
        return len(runs) == len(years) and all(run.is_finished for run in runs)

    wait_for(ended, 7200, "the runs end")
    wall = time.monotonic() - begun
    records = instance.get_run_records(wanted)
    steps = []
    for record in records:
        times = [e.timestamp for e in instance.all_logs(record.dagster_run.run_id, of_type=KINDS)]
        steps.append((min(times), max(times)))
    marks = sorted([(begin, 1) for begin, _ in steps] + [(end, -1) for _, end in steps])
    at_once = [sum(step for _, step in marks[: i + 1]) for i in range(len(marks))]
    return {
        "years": len(years),
        "wall s": round(wall),
        "s a year": round(wall / len(years), 1),
        "median step s": round(statistics.median(end - begin for begin, end in steps), 1),
        "steps at once": max(at_once),
        "jobs of the service": len(server.jobs) - jobs,
        "succeeded": sum(r.dagster_run.status == dg.DagsterRunStatus.SUCCESS for r in records),
        "failed": sum(r.dagster_run.status == dg.DagsterRunStatus.FAILURE for r in records),
    }


def write(count: int, measured: list[dict[str, Any]]) -> None:
    """Write the figures."""
    names = list(measured[0])
    rows = ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in measured]
    head = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    text = f"""# A backfill of {count} Arctic years of ERA5 from the web page

{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, Dagster {dg.__version__}, on a shared machine of {os.cpu_count()} cores (load {load}).
First row: all years, one month of which fails; second row: the year of that month again.

{chr(10).join([*head, *rows])}

Written by `benchmarks/era5_backfill.py`. The service is local and has no queue, so the time is that of starting two
processes a year and of Dagster's own work; the pool `cds` lets one year in at a time.
"""  # noqa: E501
    Path(__file__).with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
