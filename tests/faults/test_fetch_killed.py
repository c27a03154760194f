"""The user's command against a local service, killed at awkward moments and given again."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import xarray as xr

from entropice_core.fetch.era5 import journal_of
from entropice_core.fetch.plan import Wish, plan
from tests.servers.cds import Fault
from tests.unit.fetch.conftest import BOX as AREA
from tests.unit.fetch.conftest import Place, place, server

__all__ = ["place", "server"]
FETCH = [sys.executable, "-m", "entropice_core.cli", "fetch"]
COMMAND = ["era5", "--year", "2021", "--variables", "t2m", "tp"]
BOX = ["--area", "70", "-15", "60", "15"]


@pytest.fixture
def shell(place):
    """Run or start the command with only the address and the key changed."""
    place.data.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENTROPICE_", "CDSAPI_"))}
    own = {"ENTROPICE_HOME": str(place.home), "ENTROPICE_DATA": str(place.data), "HOME": str(place.folder)}
    env = {**clean, **own, **place.server.environment(), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}

    def start(*words: str, command: list[str] = COMMAND) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*FETCH, *command, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def finish(process: "subprocess.Popen[str]") -> str:
    printed, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, printed + complaints
    return printed


def kill_when(place: Place, process: "subprocess.Popen[str]", method: str, path: str, count: int) -> None:
    """Kill the process as soon as the service has received a call for the nth time."""
    seen = threading.Event()
    calls = [0]

    def look(this_method: str, this_path: str) -> None:
        calls[0] += this_method == method and path in this_path
        if calls[0] >= count:
            seen.set()

    place.server.on_call = look
    assert seen.wait(30), process.communicate(timeout=5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    place.server.on_call = lambda method, path: None


def test_a_run_killed_in_the_queue_and_during_a_transfer_goes_on_with_the_same_jobs(place, shell):
    place.server.queue = (2, 1)
    first = shell(*BOX)
    kill_when(place, first, "GET", "/jobs/", 3)
    submitted = set(place.server.jobs)
    assert 1 <= len(submitted) <= 2
    assert not list(place.data.rglob("*.nc"))
    second = shell(*BOX)
    kill_when(place, second, "GET", "/cache/", 1)
    assert not (place.data / "era5" / "era5_monthly_2021.nc").exists()
    place.server.queue = (0, 0)
    printed = finish(shell(*BOX))
    assert submitted <= set(place.server.jobs)
    assert len(place.server.jobs) == 2
    assert "going on with job" in printed
    assert "jobs taken over" in printed
    with xr.open_dataset(place.data / "era5" / "era5_monthly_2021.nc") as data:
        assert data.sizes["valid_time"] == 12
        assert not data["tp"].isnull().any()
    assert place.hidden() == []
    assert not list((place.home / "fetch" / "jobs").glob("*.json"))
    for path in place.folder.rglob("*"):
        assert not path.is_file() or place.server.key.encode() not in path.read_bytes(), path


def test_a_run_killed_between_two_results_keeps_the_first_and_shows_no_part_of_the_second(place, shell):
    process = shell(*BOX)
    kill_when(place, process, "GET", "/cache/", 2)
    whole = [p for p in place.data.rglob("*.nc") if not any(q.startswith(".") for q in p.relative_to(place.data).parts)]
    assert {p.parent.name[:10] for p in whole} == {"2020_10-12"}
    for path in whole:
        with xr.open_dataset(path) as data:
            data.load()
    assert "1 results fetched, 1 already there, 1 jobs taken over" in finish(shell(*BOX))
    assert len(place.server.jobs) == 2
    assert place.hidden() == []


def test_a_kill_between_publication_and_the_journal_is_tidied_up_by_the_next_run(place):
    place.fetch()
    request = plan(Wish("monthly", 2021, ("t2m", "tp"), AREA))[0]
    (job_id,) = [j for j, job in place.server.jobs.items() if job.inputs == request.inputs]
    journal = journal_of(place.home)
    journal.record(request, place.server.url, job_id)
    (place.year / f".{request.name}.part").mkdir()
    assert place.fetch().fetched == []
    assert journal.find(request, place.server.url) is None
    assert place.hidden() == []


def test_the_command_says_what_it_would_do_what_is_wrong_and_where_to_go(place, shell):
    dry = finish(shell(*BOX, "--dry-run"))
    assert "would request monthly means of t2m, tp, 2020-10 to 2020-12" in dry
    assert place.server.seen == []
    place.server.faults = [Fault("POST", "/costing", 401, "permission denied", times=9)]
    process = shell(*BOX)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "set CDSAPI_KEY to the personal access token" in complaints
    assert "Traceback" not in complaints
    assert place.server.key not in complaints


def test_era5_land_is_fetched_by_the_same_command_and_the_status_says_what_is_not_final(place, shell):
    place.server.newest, place.server.final = (2021, 12), (2021, 8)
    printed = finish(shell(*BOX, "--dataset", "era5-land", "--provisional"))
    assert "ERA5-Land monthly 2021: 2 results fetched" in printed
    assert "ERA5T, not final yet: 2021-09" in printed
    assert "era5-land_monthly_2021.nc" in printed
    place.server.final = (2021, 9)
    told = finish(shell("--ask", command=["era5-status"]))
    assert "era5-land: the newest month is 2021-12, final up to 2021-09" in told
    (row,) = [line.split() for line in told.splitlines() if line.startswith(" era5-land ")]
    assert row[:8] == ["era5-land", "monthly", "2021", "2", "t2m", "tp", "2021-09", "2021-09"]
