"""Overviews of large files come by ranges from a server that is busy, cuts, lies or changes."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio

from entropice_core.errors import ConfigError, RetryableSourceError, SourceError
from entropice_core.fetch.alphaearth import bring_tiles
from entropice_core.fetch.alphaearth_index import bring_index, needed_tiles, tiles_of_year
from entropice_core.fetch.overviews import PAGE, RemoteBytes, read_overview
from entropice_core.fetch.stac import patient_session
from entropice_core.fetch.tiles import read_listing
from entropice_core.grids.study_area import StudyArea
from tests.servers.alphaearth import AefTile, coarser, quantised, two_zones, write_index, write_tile
from tests.servers.stac import Fault

AREA, GRIDS = StudyArea(60.0, (83.0, 67.5, 85.0, 68.5)), ["h3-4", "healpix-7"]


def fetch(config, tmp_path, patience, **options):
    refs = needed_tiles(config, AREA, GRIDS, tmp_path, 2021, patience)
    return bring_tiles(config, refs, tmp_path, 2021, patience, **options)


@pytest.fixture
def victim(server):
    """A tile and its path at the server."""
    tile = two_zones()[1]
    return tile, f"/files/{tile.name}"


def test_only_the_header_and_the_overview_travel_and_are_as_the_server_has_them(
    config, server, tmp_path, waits, published
):
    report, listing = fetch(config, tmp_path, waits[1])
    folder, stored = published
    whole = sum((folder / name).stat().st_size for name in stored)
    level = 4 * 64 * 64 * 64  # bytes of one signed byte per number
    assert report.fetched == 4 and 0.3 * level < report.bytes < 1.2 * level + 4 * 3 * PAGE and report.bytes < whole / 8
    assert report.requests <= 4 * 4
    for entry in read_listing(listing, "alphaearth")["tiles"]:
        name = entry["href"].rsplit("/", 1)[1]
        fine = np.sign(stored[name]) * (stored[name].astype(np.float32) / 127.5) ** 2
        fine[stored[name] == -128] = np.nan
        with rasterio.open(listing.parent / entry["file"]) as file:
            np.testing.assert_array_equal(file.read(), quantised(coarser(fine, 4)))
            assert file.transform.e == 40.0 and file.nodata == -128  # rows from the south, as published


def test_what_is_there_is_not_asked_for_again_and_a_flipped_byte_is(config, server, tmp_path, waits):
    _, listing = fetch(config, tmp_path, waits[1])
    before = len(server.ranges)
    report, _ = fetch(config, tmp_path, waits[1])
    assert (report.there, report.requests) == (4, 0) and len(server.ranges) == before + 1  # the index's first page
    path = listing.parent / read_listing(listing, "alphaearth")["tiles"][2]["file"]
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    report, _ = fetch(config, tmp_path, waits[1])
    assert (report.there, report.fetched) == (3, 1)


def test_a_file_that_is_gone_is_named_and_may_be_declared_missing(config, server, tmp_path, waits, victim):
    tile, path = victim
    server.faults[path] = Fault(statuses=[404, 404])
    with pytest.raises(SourceError, match=rf"1 of 4 tiles could not be fetched.*{tile.name} is not there \(404\)"):
        fetch(config, tmp_path, waits[1])
    named = config.model_copy(update={"missing": (f"44N_{tile.name.removesuffix('.tiff')}",)})
    report, listing = fetch(named, tmp_path, waits[1])
    assert report.missing == [f"{named.missing[0]} 40m"] and len(read_listing(listing, "alphaearth")["tiles"]) == 3


def test_a_busy_server_is_waited_for_as_long_as_it_says_and_not_for_ever(config, server, tmp_path, waits, victim):
    slept, patience = waits
    server.faults[victim[1]] = Fault(statuses=[503, 429], retry_after="17")
    fetch(config, tmp_path, patience)
    assert slept == [17.0, 17.0]
    server.faults["/files/aef_index.parquet"] = Fault(statuses=[503] * 9, retry_after="60")
    with pytest.raises(RetryableSourceError, match="gave up after 2 tries"):
        fetch(config, tmp_path, patience)


def test_a_server_that_gives_up_in_the_middle_is_told_as_what_it_said(config, server, tmp_path, waits):
    remote = RemoteBytes(f"{server.files}/{two_zones()[0].name}", patient_session(waits[1]), waits[1])
    remote.read(0, 1)
    server.faults[f"/files/{two_zones()[0].name}"] = Fault(statuses=[503] * 9, retry_after="60")
    with pytest.raises(RetryableSourceError, match="answered 503: gave up"):
        read_overview(remote, 4)


def test_a_range_that_is_cut_goes_on_where_it_ended(config, server, tmp_path, waits, victim):
    server.faults[victim[1]] = Fault(cut_after=[0, 70_000, 100_000])
    report, _ = fetch(config, tmp_path, waits[1])
    asked = [line.split("bytes=")[1].split("-") for line in server.ranges if line.startswith(victim[0].name)]
    assert report.fetched == 4 and any(int(start) % PAGE for start, _ in asked)


def test_a_corrupt_tile_is_quarantined_and_named_and_the_others_kept(
    config, server, tmp_path, waits, victim, published
):
    tile, path = victim
    content = (published[0] / tile.name).read_bytes()
    with rasterio.open(published[0] / tile.name, overview_level=1) as file:
        at = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=9))
    broken = content[:at] + bytes(200) + content[at + 200 :]
    server.faults[path] = Fault(body=[broken] * 20)
    with pytest.raises(SourceError, match=f"1 of 4 tiles could not be fetched.*{tile.name} came damaged twice"):
        fetch(config, tmp_path, waits[1])
    kept = list(tmp_path.rglob("quarantine/*.json"))
    assert len(kept) == 1 and "cannot be read" in json.loads(kept[0].read_text())["reason"]
    server.faults.clear()
    assert fetch(config, tmp_path, waits[1])[0].there == 3


def test_vectors_that_are_not_of_length_one_are_damage(config, server, tmp_path, waits, published):
    tile = AefTile(44, 500_000.0, 7_543_410.0)
    write_tile(published[0], tile, np.full((64, 256, 256), 0.5, dtype=np.float32))
    write_index(published[0] / "odd.csv", [tile], server.files)
    odd = config.model_copy(update={"index": f"{server.files}/odd.csv", "resolution_m": 10})
    refs = tiles_of_year(bring_index(odd.index, tmp_path, waits[1]), odd, 2021, StudyArea(60.0))
    with pytest.raises(SourceError, match="came damaged twice: 65536 of 65536 vectors are not of length 1"):
        bring_tiles(odd, refs, tmp_path, 2021, waits[1])


def test_a_server_without_ranges_is_refused_before_gigabytes_travel(config, server, tmp_path, waits, victim):
    server.faults[victim[1]] = Fault(no_ranges=True)
    with pytest.raises(SourceError, match=r"does not give the range that was asked for \(status 200\)"):
        fetch(config, tmp_path, waits[1])


def test_a_file_that_changes_while_it_is_read_is_not_mixed(config, server, tmp_path, waits, victim, published):
    content = (published[0] / victim[0].name).read_bytes()
    server.faults[victim[1]] = Fault(body=[content, content + b"x"])
    with pytest.raises(SourceError, match="changed while it was read"):
        fetch(config, tmp_path, waits[1])


def test_parquet_and_csv_with_and_without_metres_list_the_same_tiles(config, server, tmp_path, waits, published):
    found = []
    for name, with_metres in (("a.parquet", True), ("b.csv", True), ("c.csv", False)):
        write_index(published[0] / name, [*two_zones(), *two_zones(2019)], server.files, with_metres)
        one = config.model_copy(update={"index": f"{server.files}/{name}"})
        found.append(needed_tiles(one, AREA, GRIDS, tmp_path, 2019, waits[1]))
    assert found[0] == found[1] and [ref.href for ref in found[0]] == [ref.href for ref in found[2]]
    assert len(found[0]) == 4 and found[0][0].crs == "EPSG:32644" and found[2][0].crs is None
    with pytest.raises(SourceError, match="lists no file of 2023; its years: 2019, 2021"):
        needed_tiles(one, AREA, GRIDS, tmp_path, 2023, waits[1])
    with pytest.raises(ConfigError, match="none touches one of its cells"):
        needed_tiles(one, StudyArea(60.0, (10.0, 67.5, 11.0, 68.5)), GRIDS, tmp_path, 2021, waits[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utm_zone": "61N"}, "UTM zone '61N'"),
        ({"drop": "wgs84_west"}, "lacks wgs84_west"),
    ],
)
def test_an_index_that_cannot_be_is_refused(config, tmp_path, change, message, server):
    path = tmp_path / "index.csv"
    write_index(path, two_zones(), "gs://bucket")
    table = pd.read_csv(path)
    table = table.drop(columns=change["drop"]) if "drop" in change else table.assign(**change)
    table.to_csv(path, index=False)
    with pytest.raises(SourceError, match=message):
        tiles_of_year(path, config, 2021, AREA)


def test_addresses_of_public_buckets_become_ones_for_the_web(config, tmp_path, server):
    for bucket, web in (
        ("gs://alphaearth_foundations/a", "https://storage.googleapis.com/alphaearth_foundations/a/"),
        ("s3://us-west-2.opendata.source.coop/tge-labs", "https://data.source.coop/tge-labs/"),
    ):
        write_index(tmp_path / "i.csv", two_zones(), bucket)
        assert all(ref.href.startswith(web) for ref in tiles_of_year(tmp_path / "i.csv", config, 2021, AREA))


def test_a_damaged_index_says_so(config, tmp_path, server):
    (tmp_path / "i.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="i.parquet cannot be read"):
        tiles_of_year(tmp_path / "i.parquet", config, 2021, AREA)
