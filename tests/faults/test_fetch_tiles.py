"""Tiles come from a server that is busy, cuts, lies or changes: what is kept is whole, and what is not is named."""

import json

import pytest
import rasterio

from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.fetch.cog import DamagedTileError, MissingTileError, fetch_file
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import patient_session, search_tiles
from entropice_core.fetch.tiles import fetch_tiles, read_listing
from entropice_core.storage.digest import file_sha256
from tests.servers.stac import COLLECTION, Fault, StacServer
from tests.unit.terrain.arctic import write_tiles

EVERYWHERE = [(-180.0, 50.0, 180.0, 90.0)]
ABOUT = {"api": "", "collection": COLLECTION, "asset": "dem", "water_asset": None}
FIRST = "/files/00_00_32m_v4.1_dem.tif"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    write_tiles(folder, [(0, 0), (0, 1), (1, 0)])
    return folder


@pytest.fixture
def server(published):
    with StacServer(published) as running:
        yield running


@pytest.fixture
def waits():
    """Waiting takes no time and is written down."""
    slept: list[float] = []
    return slept, Patience(budget_s=100.0, first_s=1.0, sleep=slept.append)


def refs_of(server, patience, boxes=EVERYWHERE):
    return search_tiles(server.api, server.collection, "dem", boxes, patience)


def test_the_catalogue_is_asked_page_by_page_and_every_tile_listed_once(server, waits):
    refs = refs_of(server, waits[1], [*EVERYWHERE, *EVERYWHERE])
    assert [ref.id for ref in refs] == [f"{name}_32m_v4.1" for name in ("00_00", "00_01", "01_00")]
    assert len(server.searches) == 4 and server.searches[1]["token"] == "next:2"
    assert refs[0].crs == "EPSG:3413" and refs[0].shape == (606, 606)
    server.epsg_spelling = True
    assert refs_of(server, waits[1]) == refs


def test_a_busy_catalogue_is_waited_for_as_long_as_it_says(server, waits):
    server.faults["/api/v1/search"] = Fault(statuses=[503, 429], retry_after="17")
    assert len(refs_of(server, waits[1])) == 3 and waits[0] == [17.0, 17.0]


def test_a_catalogue_that_stays_busy_ends_with_how_long_was_waited(server, waits):
    server.faults["/api/v1/search"] = Fault(statuses=[503] * 9, retry_after="40")
    with pytest.raises(RetryableSourceError, match="search answered 503: gave up after 3 tries and 80 s of waiting"):
        refs_of(server, waits[1])


def test_an_unknown_collection_and_an_unknown_asset_are_named(server, waits):
    with pytest.raises(SourceError, match="has no collection 'arcticdem-9'"):
        search_tiles(server.api, "arcticdem-9", "dem", EVERYWHERE, waits[1])
    with pytest.raises(SourceError, match="has no asset 'height'; it has: dem"):
        search_tiles(server.api, server.collection, "height", EVERYWHERE, waits[1])


def test_tiles_are_fetched_listed_and_not_fetched_again(server, waits, tmp_path, published):
    refs, listing = refs_of(server, waits[1]), tmp_path / "arcticdem" / "tiles.json"
    report = fetch_tiles(refs, listing, ABOUT, waits[1])
    assert str(report).startswith("3 tiles: 0 were there, 3 fetched")
    entries = read_listing(listing, "arcticdem")["tiles"]
    assert [entry["sha256"] for entry in entries] == [file_sha256(p) for p in sorted(published.glob("*_dem.tif"))]
    before, text = len(server.ranges), listing.read_bytes()
    again = fetch_tiles(refs, listing, ABOUT, waits[1])
    assert (again.there, again.fetched, len(server.ranges)) == (3, 0, before) and listing.read_bytes() == text


def test_a_tile_comes_in_ranges_and_goes_on_where_it_was_cut(server, waits, tmp_path, published, monkeypatch):
    monkeypatch.setattr("entropice_core.fetch.cog.RANGE_BYTES", 200_000)
    size = (published / FIRST.removeprefix("/files/")).stat().st_size
    assert size > 600_000
    server.faults[FIRST] = Fault(cut_after=[150_000, 0, 70_000])
    found = fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    starts = [int(text.split("bytes=")[1].split("-")[0]) for text in server.ranges]
    assert starts[0] == 0 and 0 < starts[1] <= 150_000 and starts[2] == starts[1] < starts[3] and len(waits[0]) == 1
    assert found.sha256 == file_sha256(published / FIRST.removeprefix("/files/")) and found.bytes == size


def test_a_run_that_was_stopped_goes_on_with_what_it_had(server, waits, tmp_path, monkeypatch):
    monkeypatch.setattr("entropice_core.fetch.cog.RANGE_BYTES", 200_000)
    ref, session = refs_of(server, waits[1])[0], patient_session(waits[1])

    def stop_at_half(_: int) -> None:
        if (tmp_path / "a.tif.part").stat().st_size > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_file(ref, tmp_path / "a.tif", session, waits[1], stop_at_half)
    have = (tmp_path / "a.tif.part").stat().st_size
    assert have > 300_000
    server.ranges.clear()
    found = fetch_file(ref, tmp_path / "a.tif", session, waits[1])
    assert server.ranges[0].split("bytes=")[1].startswith(f"{have}-") and found.bytes == found.size - have


def test_a_tile_that_changes_while_it_comes_is_begun_again(server, waits, tmp_path, published, monkeypatch):
    monkeypatch.setattr("entropice_core.fetch.cog.RANGE_BYTES", 200_000)
    other = (published / "01_00_32m_v4.1_dem.tif").read_bytes()
    server.faults[FIRST] = Fault(body=[other])
    found = fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    assert found.sha256 == file_sha256(published / FIRST.removeprefix("/files/"))


def test_a_server_without_ranges_serves_too(server, waits, tmp_path):
    server.faults[FIRST] = Fault(no_ranges=True)
    found = fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    assert found.requests == 1 and not list(tmp_path.glob("*.part*"))


def test_a_busy_file_server_is_waited_for(server, waits, tmp_path):
    server.faults[FIRST] = Fault(statuses=[503, 503], retry_after="5")
    fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    assert waits[0] == [5.0, 5.0]


def test_a_tile_that_is_damaged_on_the_way_is_put_aside_and_fetched_once_more(server, waits, tmp_path, published):
    data = (published / FIRST.removeprefix("/files/")).read_bytes()
    middle = len(data) // 2
    server.faults[FIRST] = Fault(body=[data[:middle] + b"\xff" * 60_000 + data[middle + 60_000 :]])
    found = fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    kept = list((tmp_path / "quarantine").glob("a.*.tif"))
    assert found.sha256 == file_sha256(tmp_path / "a.tif") and len(kept) == 1
    assert "cannot be read" in json.loads(kept[0].with_name(kept[0].name + ".json").read_text())["reason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>maintenance</html>" * 99, "it is no TIFF"), (b"II*\x00" + b"\x00" * 500, "it cannot be read")],
)
def test_a_tile_that_stays_damaged_is_named_and_the_others_are_kept(server, waits, tmp_path, body, reason):
    server.faults[FIRST] = Fault(body=[body, body])
    listing = tmp_path / "tiles.json"
    with pytest.raises(SourceError, match=f"1 of 3 tiles could not be fetched.*00_00_32m_v4.1 .*{reason}.*quarantine"):
        fetch_tiles(refs_of(server, waits[1]), listing, ABOUT, waits[1])
    assert not listing.exists() and len(list((tmp_path / COLLECTION).glob("*_dem.tif"))) == 2
    report = fetch_tiles(refs_of(server, waits[1]), listing, ABOUT, waits[1])
    assert (report.there, report.fetched) == (2, 1) and listing.exists()


def test_a_tile_of_another_place_is_refused(server, waits, tmp_path, published):
    wrong = (published / "01_00_32m_v4.1_dem.tif").read_bytes()
    server.faults[FIRST] = Fault(body=[wrong, wrong])
    with pytest.raises(DamagedTileError, match="it lies at .* the catalogue says"):
        fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])


def test_checksums_of_the_catalogue_count(server, waits, tmp_path, published):
    server.with_checksums = True
    ref = refs_of(server, waits[1])[0]
    data = bytearray((published / FIRST.removeprefix("/files/")).read_bytes())
    data[-1] ^= 1
    server.faults[FIRST] = Fault(body=[bytes(data), bytes(data)])
    with pytest.raises(DamagedTileError, match="its SHA-256 is not the catalogue's"):
        fetch_file(ref, tmp_path / "a.tif", patient_session(waits[1]), waits[1])


def test_a_tile_that_the_server_lacks_is_an_error_unless_it_is_declared(server, waits, tmp_path):
    server.faults[FIRST] = Fault(statuses=[404] * 2)
    refs, listing = refs_of(server, waits[1]), tmp_path / "tiles.json"
    with pytest.raises(SourceError, match=r"00_00_32m_v4.1 is in the catalogue, but .* is not there \(404\)"):
        fetch_tiles(refs, listing, ABOUT, waits[1])
    report = fetch_tiles(refs, listing, ABOUT, waits[1], missing=["00_00_32m_v4.1"])
    assert report.missing == ["00_00_32m_v4.1 dem"] and "1 declared missing" in str(report)
    assert (
        read_listing(listing, "arcticdem")["missing"] == ["00_00_32m_v4.1 dem"]
        and len(read_listing(listing, "arcticdem")["tiles"]) == 2
    )
    server.faults[FIRST] = Fault(statuses=[410])
    with pytest.raises(MissingTileError):
        fetch_file(refs[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])


def test_a_flipped_byte_in_the_cache_is_found_and_the_tile_fetched_again(server, waits, tmp_path):
    refs, listing = refs_of(server, waits[1]), tmp_path / "tiles.json"
    fetch_tiles(refs, listing, ABOUT, waits[1])
    victim = tmp_path / COLLECTION / "00_01_32m_v4.1_dem.tif"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    report = fetch_tiles(refs, listing, ABOUT, waits[1])
    assert (report.there, report.fetched) == (2, 1)
    with rasterio.open(victim) as file:
        assert file.read(1).shape == (606, 606)


def test_a_refusal_is_not_tried_again(server, waits, tmp_path):
    server.faults[FIRST] = Fault(statuses=[403])
    with pytest.raises(SourceError, match="cannot be fetched: 403"):
        fetch_file(refs_of(server, waits[1])[0], tmp_path / "a.tif", patient_session(waits[1]), waits[1])
    assert waits[0] == [] and server.calls[FIRST] == 1
