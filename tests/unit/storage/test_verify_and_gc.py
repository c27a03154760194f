import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from entropice_core.errors import StoreError
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe, SourceFile
from entropice_core.storage.store import PartitionStore

Make = Callable[..., xr.Dataset]


def kinds(store: PartitionStore, **options: object) -> list[str]:
    return [finding.kind for finding in store.verify(**options)]  # type: ignore[arg-type]


@pytest.fixture
def filled(store: PartitionStore, make_labels: Make) -> PartitionStore:
    """Cells -> labels of two years, all current."""
    source = SourceFile("mask/land.tif", 5, "5" * 64)
    cells = store.publish("cells", Partition("h3-4"), make_labels(9), Recipe("cells", "1", sources=(source,)))
    for year in (2018, 2019):
        recipe = Recipe("labels", "1", inputs=(cells.ref,), sources=(SourceFile(f"rts/{year}.gpkg", 1, "1" * 64),))
        store.publish("labels", Partition("h3-4", year), make_labels(year), recipe, provisional=year == 2019)
    return store


@pytest.fixture
def folder(filled: PartitionStore) -> Path:
    return filled.path("labels", Partition("h3-4", 2018))


def test_a_sound_store_has_no_findings(filled: PartitionStore) -> None:
    assert filled.verify(full=True, code_versions={"labels": "1", "cells": "1"}) == []


def test_a_flipped_byte_is_found_and_named_by_the_full_check(filled: PartitionStore, folder: Path) -> None:
    chunk = folder / "density/c/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    assert kinds(filled) == []
    (finding,) = filled.verify(full=True)
    assert (finding.kind, finding.path, finding.dataset) == ("flipped_byte", chunk, "labels")
    assert finding.partition == Partition("h3-4", 2018)
    assert finding.is_damage
    assert str(chunk) in str(finding)


def test_missing_cut_and_foreign_files_are_found_by_the_quick_check(filled: PartitionStore, folder: Path) -> None:
    (folder / "density/c/0").unlink()
    (folder / "count/c/0").write_bytes(b"")
    (folder / "stranger").touch()
    (folder.parent / "notes.txt").touch()
    found = {(finding.kind, finding.path.name) for finding in filled.verify()}
    assert found == {
        ("missing_file", "0"),
        ("wrong_size", "0"),
        ("extra_file", "stranger"),
        ("extra_file", "notes.txt"),
    }
    assert sum(finding.is_damage for finding in filled.verify()) == 2


def test_a_missing_version_is_one_finding(filled: PartitionStore, folder: Path) -> None:
    folder.rename(folder.parent / "v-elsewhere")
    (finding,) = filled.verify()
    assert (finding.kind, finding.path) == ("missing_file", folder)


def test_an_unreadable_manifest_is_found(filled: PartitionStore) -> None:
    filled.layout.pointer("labels", Partition("h3-4", 2019)).write_text("{")
    (finding,) = filled.verify()
    assert (finding.kind, finding.partition) == ("unreadable_manifest", Partition("h3-4", 2019))


def test_orphaned_staging_is_found_and_swept_but_only_after_the_grace_time(filled: PartitionStore) -> None:
    orphan = filled.layout.new_staging("labels", Partition("h3-4", 2018))
    (orphan / "content").mkdir(parents=True)
    (orphan / "content/part").write_bytes(b"123")
    (filled.layout.staging / "stranger").touch()
    assert kinds(filled) == ["orphan_staging", "orphan_staging"]
    assert filled.gc(grace_seconds=3600) == []
    planned = filled.gc(grace_seconds=0, dry_run=True)
    assert [(item.path, item.size) for item in planned] == [(orphan, 3), (filled.layout.staging / "stranger", 0)]
    assert orphan.exists()
    assert filled.gc(grace_seconds=0) == planned
    assert kinds(filled) == []


def test_partitions_of_older_code_are_stale(filled: PartitionStore) -> None:
    found = filled.verify(code_versions={"labels": "2", "cells": "1"})
    assert [(f.kind, f.partition) for f in found] == [
        ("stale_code_version", Partition("h3-4", 2018)),
        ("stale_code_version", Partition("h3-4", 2019)),
    ]
    assert "made by code 1, now 2" in found[0].detail
    assert not found[0].is_damage


def test_a_store_of_an_older_entropice_is_read_told_as_stale_and_built_over(
    filled: PartitionStore, make_labels: Make
) -> None:
    part = Partition("h3-4", 2018)
    now = filled.manifest("labels", part)
    recipe = dataclasses.replace(now.recipe, code_version="0")
    text = dataclasses.replace(now, entropice="0.0.1", recipe=recipe).to_json()
    for path in (filled.layout.pointer("labels", part), filled.layout.record(now)):
        path.write_text(text)
    assert filled.manifest("labels", part).entropice == "0.0.1"
    xr.testing.assert_identical(filled.open("labels", part).load(), make_labels(2018))
    assert [(f.kind, f.is_damage) for f in filled.verify(full=True, code_versions={"labels": "1"})] == [
        ("stale_code_version", False)
    ]
    assert not filled.is_current("labels", part, now.recipe)
    filled.publish("labels", part, make_labels(2018), now.recipe)
    assert filled.is_current("labels", part, now.recipe) and filled.verify(full=True) == []
    assert filled.gc(grace_seconds=0) == []


def test_partitions_of_replaced_inputs_are_stale(filled: PartitionStore, make_labels: Make) -> None:
    filled.publish("cells", Partition("h3-4"), make_labels(10), Recipe("cells", "2"))
    assert kinds(filled) == ["stale_input", "stale_input"]
    entries = {(entry.dataset, entry.partition.year): entry for entry in filled.status()}
    assert "made from cells h3-4/all" in entries["labels", 2018].stale[0]
    assert entries["cells", None].stale == ()


def test_status_tells_provisional_partitions_apart(filled: PartitionStore) -> None:
    entries = filled.status({"labels": "1"})
    assert [(e.dataset, e.partition.path, e.provisional) for e in entries] == [
        ("cells", "h3-4/all", False),
        ("labels", "h3-4/2018", False),
        ("labels", "h3-4/2019", True),
    ]
    assert all(entry.size > 0 and not entry.stale for entry in entries)


def test_an_input_that_is_gone_makes_its_users_stale(filled: PartitionStore) -> None:
    filled.layout.pointer("cells", Partition("h3-4")).unlink()
    assert kinds(filled) == ["stale_input", "stale_input"]


def publish_many(store: PartitionStore, make_labels: Make, seeds: range) -> list[Manifest]:
    return [store.publish("labels", Partition("h3-4", 2020), make_labels(s), Recipe("labels", str(s))) for s in seeds]


def test_gc_removes_old_versions_and_says_what_they_weighed(store: PartitionStore, make_labels: Make) -> None:
    old, current = publish_many(store, make_labels, range(2))
    place = store.layout.folder("labels", Partition("h3-4", 2020))
    assert store.gc() == []
    removed = store.gc(grace_seconds=0)
    assert {item.path.name for item in removed} == {old.folder_name, f"{old.version}.json"}
    assert max(item.size for item in removed) == old.size
    assert {path.name for path in place.iterdir()} == {"current.json", current.folder_name, f"{current.version}.json"}
    xr.testing.assert_identical(store.open("labels", Partition("h3-4", 2020)).load(), make_labels(1))


def test_gc_never_removes_a_current_version_nor_one_in_use(store: PartitionStore, make_labels: Make) -> None:
    manifests = publish_many(store, make_labels, range(5))
    again = store.publish("labels", Partition("h3-4", 2020), make_labels(2), Recipe("labels", "x"))
    assert again.digest == manifests[2].digest
    store.gc(grace_seconds=0, keep_digests=[manifests[0].digest])
    for seed, kept in ((0, True), (1, False), (2, True), (3, False), (4, False)):
        assert (store.layout.version(manifests[seed])).exists() is kept, seed
    xr.testing.assert_identical(store.open("labels", Partition("h3-4", 2020)).load(), make_labels(2))


def test_gc_keeps_what_a_version_in_use_was_made_from(filled: PartitionStore, make_labels: Make) -> None:
    old_labels = filled.manifest("labels", Partition("h3-4", 2018))
    old_cells = filled.manifest("cells", Partition("h3-4"))
    cells = filled.publish("cells", Partition("h3-4"), make_labels(10), Recipe("cells", "2"))
    newer = dataclasses.replace(old_labels.recipe, inputs=(cells.ref,))
    filled.publish("labels", Partition("h3-4", 2018), make_labels(3), newer)
    filled.gc(grace_seconds=0, keep_digests=[old_labels.digest])
    assert filled.layout.version(old_cells).exists()
    filled.gc(grace_seconds=0)
    assert not filled.layout.version(old_cells).exists()


def test_gc_takes_no_short_digest_for_a_long_one(store: PartitionStore) -> None:
    with pytest.raises(StoreError, match="at least 12 characters"):
        store.gc(keep_digests=["abc"])


def test_gc_leaves_a_partition_alone_whose_pointer_cannot_be_read(store: PartitionStore, make_labels: Make) -> None:
    publish_many(store, make_labels, range(2))
    store.layout.pointer("labels", Partition("h3-4", 2020)).write_text("{")
    assert store.gc(grace_seconds=0) == []


def test_the_grace_time_counts_from_when_a_version_was_replaced(store: PartitionStore, make_labels: Make) -> None:
    old, _ = publish_many(store, make_labels, range(2))
    long_ago = time.time() - 10_000
    os.utime(store.layout.version(old), (long_ago, long_ago))
    assert store.gc(grace_seconds=5_000) == []
    os.utime(store.layout.pointer("labels", Partition("h3-4", 2020)), (long_ago, long_ago))
    assert [item.path.name for item in store.gc(grace_seconds=5_000)][0] == old.folder_name


def test_lineage_leads_back_to_the_source_files(filled: PartitionStore) -> None:
    tree = filled.lineage("labels", Partition("h3-4", 2018))
    assert [source.name for source in tree.sources()] == ["mask/land.tif", "rts/2018.gpkg"]
    assert [(depth, item.dataset) for depth, item in tree.walk()] == [(0, "labels"), (1, "cells")]
    lines = tree.lines()
    assert lines[0].startswith("labels h3-4/2018 ")
    assert lines[1] == "  file rts/2018.gpkg 1 bytes sha256 111111111111"
    assert lines[2].startswith("  cells h3-4/all ")
    assert lines[3] == "    file mask/land.tif 5 bytes sha256 555555555555"


def test_lineage_follows_versions_that_are_no_longer_current_and_says_so(
    filled: PartitionStore, make_labels: Make
) -> None:
    filled.publish("cells", Partition("h3-4"), make_labels(10), Recipe("cells", "2"))
    (cells,) = filled.lineage("labels", Partition("h3-4", 2018)).inputs
    assert not cells.is_current
    assert [source.name for source in cells.sources()] == ["mask/land.tif"]
    filled.gc(grace_seconds=0)
    (cells,) = filled.lineage("labels", Partition("h3-4", 2018)).inputs
    assert cells.manifest is None
    assert filled.lineage("labels", Partition("h3-4", 2018)).lines()[2].endswith("(removed, not the current version)")


def test_lineage_ends_at_a_version_that_names_itself(store: PartitionStore, make_labels: Make) -> None:
    first = store.publish("labels", Partition("h3-4", 2018), make_labels(), Recipe("labels", "1"))
    store.publish("labels", Partition("h3-4", 2018), make_labels(), Recipe("labels", "1", inputs=(first.ref,)))
    assert len(list(store.lineage("labels", Partition("h3-4", 2018)).walk())) == 2
