"""DARTS from a local data centre, through its faults: what is published is whole, and nothing else is taken for it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from entropice_core.errors import ConfigError, RetryableSourceError, SourceError
from entropice_core.fetch.darts import DOI, Release, fetch_release, find_newer, read_receipt
from entropice_core.fetch.dataone import DataOne, normalise_identifier
from entropice_core.fetch.patience import Patience
from tests.servers.dataone import DataOneServer, Held

LEVEL_2 = "DARTS_NitzeEtAl_v1-2_features_2018-2023_level2.gpkg"
COVERAGE_2 = "DARTS_NitzeEtAl_v1-2_coverage_2018-2023_level2.gpkg"
FILES = {
    LEVEL_2: bytes(range(256)) * 1200,
    COVERAGE_2: b"coverage" * 9000,
    "DARTS_NitzeEtAl_v1-2_features_2018-2023_level1.gpkg": b"level 1" * 100,
    "DARTS_NitzeEtAl_v1-2_coverage_2018-2023_level1.gpkg": b"seen 1" * 100,
    "DARTS_NitzeEtAl_v1_features_2018-2023_level2.parquet": b"older" * 100,
    "training_labels.zip": b"PK" * 50,
}
NEWER = "10.18739/A2NEWER"


@dataclass
class Centre:
    """The data centre, a data folder, and every second that was waited."""

    server: DataOneServer
    data: Path
    slept: list[float] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def node(self, budget_s: float = 600.0) -> DataOne:
        return DataOne(self.server.url, Patience(budget_s, sleep=self.slept.append, tell=self.heard.append))

    def fetch(self, budget_s: float = 600.0, **more: Any) -> Release:
        return fetch_release(self.node(budget_s), self.data, **more)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.data / "darts").iterdir()}

    def is_whole(self) -> bool:
        """Both files are there byte for byte, with the receipt, and nothing unfinished beside them."""
        there = self.files()
        return set(there) == {LEVEL_2, COVERAGE_2, "release.json"} and all(
            there[name] == FILES[name] for name in (LEVEL_2, COVERAGE_2)
        )


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    with DataOneServer() as server:
        server.publish(DOI, FILES, "DARTS")
        yield Centre(server, tmp_path)


def test_one_level_with_its_coverage_is_fetched_and_a_second_call_moves_nothing(centre: Centre) -> None:
    first = centre.fetch()
    assert centre.is_whole() and first.fetched == (LEVEL_2, COVERAGE_2) and not first.newer
    assert first.bytes == len(FILES[LEVEL_2]) + len(FILES[COVERAGE_2])
    second = centre.fetch()
    assert second.fetched == () and second.present == (LEVEL_2, COVERAGE_2)
    assert len(centre.server.calls("object")) == 2
    assert "0 files fetched (0.0 MB), 2 already there" in str(second)


def test_the_receipt_says_where_each_file_came_from(centre: Centre) -> None:
    centre.fetch()
    receipt = read_receipt(centre.data)
    assert receipt is not None and receipt["identifier"] == f"doi:{DOI}"
    (first, _) = receipt["files"]
    assert first["identifier"] == centre.server.named(LEVEL_2).pid
    assert first["checksum"] == hashlib.sha256(FILES[LEVEL_2]).hexdigest() and first["size"] == len(FILES[LEVEL_2])


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-1", "SHA-256"])
def test_each_checksum_of_the_data_centre_is_understood(tmp_path: Path, algorithm: str) -> None:
    with DataOneServer() as server:
        server.publish(DOI, FILES, algorithm=algorithm)
        assert Centre(server, tmp_path).fetch(level=1).fetched[0].endswith("features_2018-2023_level1.gpkg")


def test_level_one_patterns_and_single_uuids_choose_other_files(centre: Centre) -> None:
    assert all("level1" in name for name in centre.fetch(level=1).fetched)
    assert centre.fetch(patterns=["training*"]).fetched == ("training_labels.zip",)
    pid = centre.server.named("DARTS_NitzeEtAl_v1_features_2018-2023_level2.parquet").pid
    assert centre.fetch(identifier=pid.removeprefix("urn:uuid:"), patterns=["*"]).bytes == 500
    assert centre.fetch(identifier=f"resource_map_doi:{DOI}").fetched == (LEVEL_2, COVERAGE_2)


@pytest.mark.parametrize("trouble", ["cut", "cut_unannounced", "other_bytes", "html", "503", "429", "reset"])
def test_a_transfer_that_goes_wrong_once_ends_whole(centre: Centre, trouble: str) -> None:
    centre.server.faults["object"] = [trouble]
    centre.fetch()
    assert centre.is_whole()
    assert (centre.slept == [7.0]) == (trouble in ("503", "429"))


def test_a_cut_transfer_goes_on_where_it_ended_also_in_another_run(centre: Centre) -> None:
    centre.server.faults["object"] = ["cut"] * 40
    with pytest.raises(RetryableSourceError, match="gave up after"):
        centre.fetch(budget_s=5.0)
    part = centre.data / "darts" / f".{LEVEL_2}.part"
    have = part.stat().st_size
    assert have > 0 and read_receipt(centre.data) is None
    centre.server.faults["object"] = []
    centre.fetch()
    ranges = [seen.headers.get("Range") for seen in centre.server.calls("object")]
    assert f"bytes={have}-" in ranges and centre.is_whole()


@pytest.mark.parametrize("call", ["query", "meta"])
@pytest.mark.parametrize("trouble", ["503", "html", "reset"])
def test_a_listing_that_fails_once_is_asked_again(centre: Centre, call: str, trouble: str) -> None:
    centre.server.faults[call] = [trouble]
    centre.fetch()
    assert centre.is_whole() and len(centre.slept) == 1


def test_a_data_centre_that_stays_down_says_how_long_was_waited(centre: Centre) -> None:
    centre.server.faults["query"] = ["503"] * 100
    with pytest.raises(
        RetryableSourceError, match=r"127.0.0.1:\d+ \(query\) answered 503: gave up after 3 tries and 14 s"
    ):
        centre.fetch(budget_s=20.0)
    assert not (centre.data / "darts").exists()


def test_wrong_bytes_three_times_leave_nothing_behind_and_keep_what_was_there(centre: Centre) -> None:
    centre.fetch()
    held = centre.server.named(LEVEL_2)
    held.checksum = "ab" * 32
    with pytest.raises(RetryableSourceError, match="came 3 times with another SHA-256 checksum than abab"):
        centre.fetch()
    assert centre.is_whole()


@pytest.mark.parametrize(
    ("call", "trouble", "message"),
    [
        ("object", "404", f"no longer has the file {LEVEL_2}"),
        ("object", "403", "cannot be fetched: 403"),
        ("meta", "404", "does not have urn:uuid:.* any more"),
        ("query", "403", "refuses the call: 403 .*it may be private"),
    ],
)
def test_a_refusal_is_told_and_not_repeated(centre: Centre, call: str, trouble: str, message: str) -> None:
    centre.server.faults[call] = [trouble]
    with pytest.raises(SourceError, match=message):
        centre.fetch()
    assert centre.slept == [] and len(centre.server.calls(call)) == 1


def test_an_unknown_doi_and_a_package_without_files_are_told(centre: Centre) -> None:
    with pytest.raises(SourceError, match="does not know doi:10.18739/A2NOTHING"):
        centre.fetch(identifier="10.18739/A2NOTHING")
    centre.server.publish("10.18739/A2EMPTY", {})
    with pytest.raises(SourceError, match="lists no data file for doi:10.18739/A2EMPTY"):
        centre.fetch(identifier="10.18739/A2EMPTY")


def test_a_package_without_the_wanted_file_lists_what_it_holds(centre: Centre) -> None:
    centre.server.publish(NEWER, {"readme.txt": b"x"})
    with pytest.raises(SourceError, match="no vector file named features and level2; it holds: readme.txt"):
        centre.fetch(identifier=NEWER)
    with pytest.raises(SourceError, match=r"No file matches \*.csv; the package holds: readme.txt"):
        centre.fetch(identifier=NEWER, patterns=["*.csv"])


def test_a_long_listing_is_read_to_its_end_and_a_short_one_is_an_error(centre: Centre) -> None:
    centre.server.rows_at_most = 2
    centre.fetch()
    assert centre.is_whole()
    centre.server.faults["query"] = ["", "", "short_listing"]
    with pytest.raises(RetryableSourceError, match="lists 2 of 6 files and then none"):
        centre.fetch()


@pytest.mark.parametrize("name", ["../../evil.gpkg", "a/b_features_level2.gpkg", ".hidden", "a\\b.gpkg"])
def test_a_file_name_that_leads_elsewhere_is_refused(centre: Centre, name: str) -> None:
    centre.server.held["urn:uuid:x"] = Held("urn:uuid:x", "DATA", b"x", name, documented_by=[f"doi:{DOI}"])
    with pytest.raises(SourceError, match="no plain file name"):
        centre.fetch()
    assert list(centre.data.iterdir()) == []


def test_metadata_that_could_expand_are_refused(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><systemMetadata/>'
    monkeypatch.setattr("tests.servers.dataone._system_metadata", lambda held: bomb)
    with pytest.raises(SourceError, match="no plain XML"):
        centre.fetch()


def test_an_unknown_checksum_is_refused(centre: Centre) -> None:
    centre.server.named(LEVEL_2).algorithm = "ADLER32"
    with pytest.raises(SourceError, match="checksum by 'ADLER32'; known are MD5"):
        centre.fetch()


def test_a_newer_release_is_found_through_all_its_successors(centre: Centre) -> None:
    assert find_newer(centre.node(), centre.data, DOI) is None
    centre.fetch()
    assert find_newer(centre.node(), centre.data, DOI) is None
    centre.server.publish("10.18739/A2MIDDLE", FILES)
    centre.server.publish(NEWER, {"DARTS_v2_features_level2.parquet": b"new"}, "DARTS v2")
    centre.server.replace(DOI, "10.18739/A2MIDDLE")
    centre.server.replace("10.18739/A2MIDDLE", NEWER)
    newer = find_newer(centre.node(), centre.data, DOI)
    assert newer is not None and (newer.identifier, newer.title) == (f"doi:{NEWER}", "DARTS v2")
    assert "a newer release is doi:10.18739/A2NEWER" in str(centre.fetch())
    centre.fetch(identifier=NEWER)
    assert find_newer(centre.node(), centre.data, DOI) is None


def test_a_file_that_was_replaced_under_the_same_doi_is_news(centre: Centre) -> None:
    centre.fetch()
    old = centre.server.named(LEVEL_2)
    del centre.server.held[old.pid]
    centre.server.publish(DOI, {**FILES, LEVEL_2: b"corrected" * 1000})
    assert find_newer(centre.node(), centre.data, DOI) is not None
    centre.fetch()
    assert centre.files()[LEVEL_2] == b"corrected" * 1000
    assert find_newer(centre.node(), centre.data, DOI) is None


def test_successors_that_go_in_a_ring_end(centre: Centre) -> None:
    centre.server.publish(NEWER, FILES)
    centre.server.replace(DOI, NEWER)
    centre.server.replace(NEWER, DOI)
    with pytest.raises(SourceError, match="or they go in a ring"):
        centre.node().newest(DOI)


def test_a_damaged_receipt_is_named(centre: Centre) -> None:
    centre.fetch()
    (centre.data / "darts" / "release.json").write_text("{}")
    with pytest.raises(SourceError, match="is no receipt of a release"):
        find_newer(centre.node(), centre.data, DOI)


@pytest.mark.parametrize("text", ["darts", "10.18739", "../x", ""])
def test_what_is_no_identifier_is_refused_before_any_call(centre: Centre, text: str) -> None:
    with pytest.raises(ConfigError, match="neither a DOI"):
        normalise_identifier(text)


def test_only_a_local_server_is_spoken_to_without_encryption() -> None:
    with pytest.raises(ConfigError, match="must begin with https"):
        DataOne("http://arcticdata.io/metacat/d1/mn/v2")
