"""Results that come torn, wrong, or as something else: nothing of them is ever taken for data."""

import json
import resource
import shutil
import subprocess
import sys

import pytest
import xarray as xr

from entropice_core.errors import RetryableSourceError, SourceError, StoreError
from entropice_core.storage import durable
from tests.servers.cds import CdsServer
from tests.unit.fetch.conftest import BOX, Place, place, server

__all__ = ["place", "server"]
FILE = "era5/era5_monthly_2021.nc"


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The year's file of a fetch without any fault."""
    with CdsServer() as running:
        folder = tmp_path_factory.mktemp("calm")
        with xr.open_dataset(Place(running, folder).fetch().file) as data:
            return data.load()


@pytest.fixture
def same_as_undisturbed(place, calm):
    """The file equals that of a fetch without any fault, and nothing unfinished lies about."""

    def check() -> None:
        assert place.hidden() == []
        with xr.open_dataset(place.data / FILE) as got:
            ours = {"entropice_inputs": calm.attrs["entropice_inputs"]}
            xr.testing.assert_identical(got.assign_attrs(ours), calm)

    return check


def nothing_published(place: Place) -> None:
    assert not (place.data / FILE).exists()
    assert sorted(p.name for p in place.year.glob("[0-9]*")) == []


def only_the_other_published(place: Place) -> None:
    """The first request failed, the second did not suffer from it; without all of a year there is no yearly file."""
    assert not (place.data / FILE).exists()
    assert [p.name[:10] for p in place.year.glob("[0-9]*")] == ["2021_01-09"]


def test_a_transfer_that_is_cut_goes_on_where_it_ended(place):
    place.server.step = 0.1
    place.server.transfers = ["cut", "cut"]
    report = place.fetch()
    ranges = [s.headers.get("Range") for s in place.server.calls("GET", "^/cache/")]
    assert ranges[:2] == [None, "bytes=65536-"]
    assert int(ranges[2].removeprefix("bytes=").rstrip("-")) >= 65536
    assert ranges[3:] == [None]
    assert sum("was cut" in line for line in place.heard) == 2
    assert report.bytes == sum(len(a.content) for a in place.server.assets.values())
    assert place.hidden() == []


def test_a_cut_that_looks_like_the_end_is_found_by_the_size(place, same_as_undisturbed):
    place.server.transfers = ["cut_unannounced"]
    place.fetch()
    assert any("came damaged" in line and "bytes of" in line for line in place.heard)
    same_as_undisturbed()


def test_a_web_page_with_status_200_in_place_of_the_file_is_not_kept(place, same_as_undisturbed):
    place.server.transfers = ["html"]
    place.fetch()
    assert any("a web page (a login, a proxy or an error page), not data" in line for line in place.heard)
    same_as_undisturbed()


def test_a_file_server_that_is_busy_is_waited_for_as_it_says(place, same_as_undisturbed):
    place.server.transfers = ["503", "429"]
    place.fetch()
    assert place.slept[:2] == [5.0, 5.0]
    same_as_undisturbed()


def test_a_file_that_is_gone_is_made_again(place, same_as_undisturbed):
    place.server.transfers = ["gone"]
    place.fetch()
    assert place.submissions() == 3
    same_as_undisturbed()


def test_a_wrong_md5_ends_after_three_transfers_and_leaves_no_bytes(place):
    place.server.results = ["wrong_md5"]
    with pytest.raises(RetryableSourceError, match="came damaged 3 times .*MD5 [0-9a-f]{32}, promised 0{32}"):
        place.fetch()
    assert len(place.server.calls("GET", "^/cache/")) == 3 + 1
    only_the_other_published(place)
    (staging,) = place.year.glob(".*.part")
    assert all(p.is_dir() for p in staging.rglob("*"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("html", "came as a web page"),
        ("grib", "a GRIB file, though NetCDF was asked for"),
        ("truncated", "zip file that cannot be read"),
        ("traversal", r"the member '\.\./\.\./evil\.nc'"),
        ("link", r"the member 'link\.nc' \(a link\)"),
        ("bomb", "would unpack to 30,"),
        ("missing_step", "has 2 steps of t2m and 3 were asked for; missing: 2020-12"),
        ("half_area", "70 N, 100 E to 60 N, 115 E was asked for"),
        ("all_nan", "has no value of t2m"),
    ],
)
def test_results_that_are_not_what_was_asked_for_are_refused_and_set_aside(place, same_as_undisturbed, wrong, words):
    place.server.results = [wrong]
    with pytest.raises(SourceError, match=words) as caught:
        place.fetch()
    only_the_other_published(place)
    assert not list(place.folder.rglob("*evil*"))
    (aside,) = place.year.glob(".rejected-*")
    assert str(aside) in str(caught.value)
    place.fetch()
    shutil.rmtree(aside)
    same_as_undisturbed()


@pytest.mark.parametrize("share", [0.02, 0.7, 0.9999])
def test_a_torn_netcdf_is_refused_wherever_it_ends(place, share):
    place.server.results = ["truncated"]
    place.server.truncate_at = share
    with pytest.raises(SourceError, match="cannot be read as NetCDF|is torn"):
        place.fetch(variables=("t2m",))
    only_the_other_published(place)


def test_a_variable_that_the_service_drops_without_an_error_is_missed(place):
    place.server.drop = {"total_precipitation"}
    with pytest.raises(
        SourceError, match="left total_precipitation out of monthly means of t2m, tp.*skipping: total_prec"
    ):
        place.fetch()
    nothing_published(place)


def test_one_failed_month_does_not_lose_the_others_and_a_rerun_asks_for_it_alone(place):
    def march_fails(process, inputs):
        return ("failed", "Traceback\nMARS returned no data") if inputs["month"] == ["03"] else None

    place.server.judge = march_fails
    with pytest.raises(SourceError, match="daily mean of t2m, 2021-03 cannot be had: .*MARS returned no data"):
        place.fetch("daily", 2021, ("t2m",), statistics=("mean",))
    assert len(list((place.data / "era5/daily/2021").glob("[0-9]*"))) == 11
    assert len(place.submissions_of("03")) == 1
    place.server.judge = lambda process, inputs: None
    report = place.fetch("daily", 2021, ("t2m",), statistics=("mean",))
    assert (len(report.fetched), report.already) == (1, 11)
    assert len(place.server.jobs) == 13


def test_several_failures_are_told_together_and_can_be_tried_again_when_one_of_them_can(place):
    place.server.results = ["wrong_md5", "html"]
    with pytest.raises(RetryableSourceError, match="2 requests failed and 10 results were fetched, which are kept"):
        place.fetch("daily", 2021, ("t2m",), statistics=("mean",))
    place.server.results = ["html", "html"]
    with pytest.raises(SourceError, match="2 requests failed and 0 results") as caught:
        place.fetch("daily", 2021, ("t2m",), statistics=("mean",))
    assert not isinstance(caught.value, RetryableSourceError)


def test_a_declared_gap_is_written_down_and_asked_for_again_when_it_is_no_longer_declared(place):
    place.server.drop = {"total_precipitation"}
    report = place.fetch(allow_gaps=True)
    assert report.summary["gaps"] == ["total_precipitation"]
    assert "not served: total_precipitation" in str(report)
    with xr.open_dataset(report.file) as data:
        assert list(data.data_vars) == ["t2m"]
    assert place.fetch(allow_gaps=True).fetched == []
    place.server.drop = set()
    complete = place.fetch()
    assert [s.body["inputs"]["variable"] for s in place.server.calls("POST", "/execution")[2:]] == [
        ["total_precipitation"], ["total_precipitation"],
    ]  # fmt: skip
    assert complete.summary["gaps"] == []


@pytest.mark.parametrize("damage", ["flip", "shorten", "remove", "receipt"])
def test_a_result_that_was_damaged_later_is_found_set_aside_and_fetched_again(place, damage):
    place.fetch()
    folder = sorted(place.year.glob("2020*"))[0]
    file = folder / ("receipt.json" if damage == "receipt" else "data_stream-moda_stepType-avgua.nc")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content[:-10] if damage == "shorten" else b"{" if damage == "receipt" else content)
    report = place.fetch()
    assert report.fetched == [folder.name]
    assert file.name in str(report)
    assert (place.year / f".damaged-{folder.name}").is_dir()


def test_a_disk_without_room_is_told_before_anything_is_asked(place, monkeypatch):
    monkeypatch.setattr(durable, "free_bytes", lambda path: 1000)
    with pytest.raises(StoreError, match=r"up to [\d,]+ bytes are needed and 1,000 are free"):
        place.fetch()
    assert place.submissions() == 0


CHILD = """
import resource, sys
from pathlib import Path
from entropice_core.fetch.cds import ClimateDataStore, read_credentials
from entropice_core.fetch.era5 import fetch_year
from entropice_core.fetch.plan import Wish
from entropice_core.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
home = Path(sys.argv[1])
try:
    fetch_year(Wish("monthly", 2021, ("t2m", "tp"), (70.0, 100.0, 60.0, 115.0)), ClimateDataStore(read_credentials()),
               data=home / "data", home=home / "home")
except StoreError as error:
    print(error)
    sys.exit(7)
"""


def test_a_disk_that_fills_up_during_a_transfer_says_so_and_the_next_run_goes_on(place, same_as_undisturbed):
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(place.folder), "3000"], env={**environment(), **place.server.environment()},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 7, ended.stderr
    assert "Cannot write to" in ended.stdout and "make room" in ended.stdout
    nothing_published(place)
    report = place.fetch()
    assert len(report.resumed) == 2
    assert place.submissions() == 2
    same_as_undisturbed()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3000


def environment() -> dict[str, str]:
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENTROPICE_", "CDSAPI_"))}
    return {**clean, "OMP_NUM_THREADS": "1"}


def test_a_receipt_is_not_believed_when_it_names_another_request(place):
    place.fetch()
    path = sorted(place.year.glob("2020*/receipt.json"))[0]
    stored = json.loads(path.read_text())
    stored["files"]["data_stream-moda_stepType-avgua.nc"]["md5"] = "0" * 32
    path.write_text(json.dumps(stored))
    assert len(place.fetch().fetched) == 1
    assert BOX == (70.0, 100.0, 60.0, 115.0)
