import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import ConfigError, MissingPartitionError, ProvenanceError, SchemaError, StoreError
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import InputRef, Recipe
from entropice_core.storage.store import PartitionStore

Make = Callable[..., xr.Dataset]


def test_what_was_published_is_opened_with_its_cells(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    labels = make_labels()
    manifest = store.publish("labels", part, labels, recipe, schema="labels", counts={"kept": 40}, notes=["a"])
    xr.testing.assert_identical(store.open("labels", part).load(), labels)
    assert store.path("labels", part) == store.root / f"labels/h3-4/2018/v-{manifest.digest[:12]}.zarr"
    assert store.manifest("labels", part) == manifest
    assert manifest.counts == {"kept": 40}
    assert manifest.statistics["density"].nan_share == 6 / 40
    assert manifest.size == sum(path.stat().st_size for path in store.path("labels", part).rglob("*") if path.is_file())
    assert (store.datasets(), store.partitions("labels")) == (["labels"], [part])


def test_publishing_again_writes_nothing(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (store.root / "labels").rglob("*")}

    first = store.publish("labels", part, make_labels(), recipe)
    before = stamps()
    assert store.publish("labels", part, make_labels().chunk({"cell": 3}), recipe) == first
    assert stamps() == before


def test_equal_content_by_another_recipe_moves_only_the_manifest(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    first = store.publish("labels", part, make_labels(), recipe)
    chunk = store.path("labels", part) / "density/c/0"
    before = chunk.stat()
    newer = dataclasses.replace(recipe, code_version="2")
    second = store.publish("labels", part, make_labels(), newer)
    assert (second.digest, second.files, second.recipe) == (first.digest, first.files, newer)
    assert (chunk.stat().st_ino, chunk.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert store.is_current("labels", part, newer)
    assert not store.is_current("labels", part, recipe)


def test_the_version_before_can_still_be_opened_by_its_digest(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    old = store.publish("labels", part, make_labels(0), recipe)
    new = store.publish("labels", part, make_labels(1), recipe)
    assert store.manifest("labels", part).digest == new.digest != old.digest
    xr.testing.assert_identical(store.open("labels", part, old.digest).load(), make_labels(0))
    assert store.manifest("labels", part, old.digest[:12]) == old


def test_going_back_to_old_content_reuses_its_files(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    old = store.publish("labels", part, make_labels(0), recipe)
    opened = store.open("labels", part)
    store.publish("labels", part, make_labels(1), recipe)
    assert store.publish("labels", part, make_labels(0), recipe).files == old.files
    xr.testing.assert_identical(opened.load(), make_labels(0))


@pytest.mark.parametrize("change", ["step", "code_version", "config", "inputs", "seed"])
def test_a_partition_is_current_only_for_the_very_same_recipe(
    change: str, store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    assert not store.is_current("labels", part, recipe)
    store.publish("labels", part, make_labels(), recipe)
    assert store.is_current("labels", part, dataclasses.replace(recipe))
    other = {"step": "x", "code_version": "2", "config": {}, "inputs": (InputRef("cells", part, "0" * 64),), "seed": 8}
    assert not store.is_current("labels", part, dataclasses.replace(recipe, **{change: other[change]}))  # type: ignore[arg-type]


def test_a_partition_with_a_missing_file_is_not_current_and_building_again_repairs_it(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    manifest = store.publish("labels", part, make_labels(), recipe)
    (store.path("labels", part) / "density/c/0").unlink()
    assert not store.is_current("labels", part, recipe)
    with pytest.raises(StoreError, match=r"density/c/0.*1 of 13 files"):
        store.open("labels", part)
    assert store.publish("labels", part, make_labels(), recipe).digest == manifest.digest
    xr.testing.assert_identical(store.open("labels", part).load(), make_labels())
    assert list(store.layout.staging.iterdir()) == []


def test_a_flipped_byte_is_named_when_the_dataset_is_first_opened(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    manifest = store.publish("labels", part, make_labels(), recipe)
    chunk = store.root / "labels/h3-4/2018" / manifest.folder_name / "density/c/0"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(StoreError, match=f"{chunk}: its checksum is not the published"):
        store.open("labels", part)


def test_an_unreadable_manifest_is_named_and_building_again_repairs_it(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    store.publish("labels", part, make_labels(), recipe)
    store.layout.pointer("labels", part).write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match=r"current\.json"):
        store.manifest("labels", part)
    assert not store.is_current("labels", part, recipe)
    store.publish("labels", part, make_labels(), recipe)
    assert store.is_current("labels", part, recipe)


def test_a_manifest_copied_from_another_partition_is_refused(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    store.publish("labels", part, make_labels(), recipe)
    other = store.layout.pointer("labels", Partition("h3-4", 2019))
    other.parent.mkdir(parents=True)
    other.write_bytes(store.layout.pointer("labels", part).read_bytes())
    with pytest.raises(StoreError, match="belongs to labels h3-4/2018"):
        store.open("labels", Partition("h3-4", 2019))


def test_a_store_of_a_newer_entropice_is_neither_read_nor_overwritten(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    store.publish("labels", part, make_labels(), recipe)
    pointer = store.layout.pointer("labels", part)
    pointer.write_text(pointer.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    before = pointer.read_bytes()
    for act in (lambda: store.open("labels", part), lambda: store.publish("labels", part, make_labels(), recipe)):
        with pytest.raises(ProvenanceError, match="newer Entropice"):
            act()
    assert pointer.read_bytes() == before
    assert [finding.kind for finding in store.verify()] == ["unreadable_manifest"]


def test_a_missing_partition_is_said_with_those_that_exist(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    with pytest.raises(MissingPartitionError, match="published partitions: none"):
        store.open("labels", part)
    store.publish("labels", part, make_labels(), recipe)
    with pytest.raises(MissingPartitionError, match="published partitions: h3-4/2018"):
        store.path("labels", Partition("h3-5", 2018))
    with pytest.raises(MissingPartitionError, match="version 000000000000 of labels"):
        store.manifest("labels", part, "0" * 64)
    with pytest.raises(StoreError, match="does not name a version"):
        store.manifest("labels", part, "../../../x/y")
    assert not Path(store.root / "labels/h3-5").exists()


def test_a_bundle_is_copied_whole_and_opened_as_a_folder(store: PartitionStore, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "made/deep").mkdir(parents=True)
    (tmp_path / "made/deep/w.bin").write_bytes(b"123")
    (tmp_path / "made/map.png").write_bytes(b"p")
    (tmp_path / "made/empty").touch()
    manifest = store.publish("model.espa", Partition("h3-4"), tmp_path / "made", recipe)
    folder = store.path("model.espa", Partition("h3-4"))
    assert folder.name == manifest.folder_name
    assert [file.name for file in manifest.files] == ["deep/w.bin", "empty", "map.png"]
    assert (folder / "deep/w.bin").read_bytes() == b"123"
    with pytest.raises(StoreError, match=r"is a folder of files, not a dataset; use path\(\)"):
        store.open("model.espa", Partition("h3-4"))


def test_a_picture_drawn_anew_is_seen_and_leaves_the_digest_alone(
    store: PartitionStore, recipe: Recipe, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "table.json").write_text("{}")
    (made / "map.png").write_bytes(b"old")
    old = store.publish("map", Partition("h3-4"), made, recipe)
    (made / "map.png").write_bytes(b"new")
    new = store.publish("map", Partition("h3-4"), made, recipe)
    assert new.digest == old.digest
    assert (store.path("map", Partition("h3-4")) / "map.png").read_bytes() == b"new"


@pytest.mark.parametrize("content", [None, {"a": 1}, xr.DataArray([1.0]), np.zeros(3)])
def test_content_that_is_neither_dataset_nor_folder_is_refused(
    content: object, store: PartitionStore, part: Partition, recipe: Recipe
) -> None:
    with pytest.raises(SchemaError, match="give an xr.Dataset or a folder"):
        store.publish("labels", part, content, recipe)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_files_is_refused(
    name: str, store: PartitionStore, part: Partition, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match=f"{name} is not a folder with files"):
        store.publish("labels", part, tmp_path / name, recipe)


@pytest.mark.parametrize("act", ["publish", "open", "path", "manifest", "is_current"])
@pytest.mark.parametrize("dataset", ["../labels", "a/b", "", ".cache"])
def test_no_call_takes_a_name_that_leaves_the_store(
    act: str, dataset: str, store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    more = {"publish": (make_labels(), recipe), "is_current": (recipe,)}.get(act, ())
    with pytest.raises(ConfigError, match="not allowed"):
        getattr(store, act)(dataset, part, *more)
    with pytest.raises(ConfigError, match="give Partition"):
        getattr(store, act)("labels", "h3-4/../../x", *more)
    assert not store.root.exists()


def test_content_that_would_not_read_back_is_refused_and_the_old_version_stays(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    old = store.publish("labels", part, make_labels(), recipe)
    scaled = make_labels(1).assign(odd=("cell", np.arange(40, dtype="int32"), {"units": "days since 2000-01-01"}))
    with pytest.raises(StoreError, match="does not read back as it was given"):
        store.publish("labels", part, scaled, recipe)
    assert store.manifest("labels", part) == old
    assert list(store.layout.staging.iterdir()) == []


def test_everything_is_flushed_before_the_pointer_names_it(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []
    real_fsync, real_rename, real_replace = os.fsync, os.rename, os.replace

    def fsync(descriptor: int) -> None:
        steps.append(("flush", os.readlink(f"/proc/self/fd/{descriptor}")))
        real_fsync(descriptor)

    def rename(old: str, new: str) -> None:
        steps.append(("rename", str(new)))
        real_rename(old, new)

    def replace(old: str, new: str) -> None:
        steps.append(("replace", str(new)))
        real_replace(old, new)

    for name, function in (("fsync", fsync), ("rename", rename), ("replace", replace)):
        monkeypatch.setattr(os, name, function)
    manifest = store.publish("labels", part, make_labels(), recipe)

    folder = store.layout.folder("labels", part)
    moved = steps.index(("rename", str(folder / manifest.folder_name)))
    pointed = steps.index(("replace", str(folder / "current.json")))
    flushed = [path for step, path in steps[:moved] if step == "flush"]
    for file in manifest.files:
        assert any(path.endswith(f"/content/{file.name}") for path in flushed), file.name
    assert ("flush", str(folder)) in steps[moved:pointed]
    assert steps[-1] == ("flush", str(folder))
    assert steps[pointed - 1][0] == "flush"


def test_a_store_that_may_only_be_read_is_read(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make, tmp_path: Path
) -> None:
    store.publish("labels", part, make_labels(), recipe)
    (store.root / ".cache").touch()  # a file where the notes of checks would go: they cannot be written
    again = PartitionStore(store.root)
    assert again.open("labels", part).equals(make_labels())
    assert again.open("labels", part).equals(make_labels())


def test_manifests_name_the_package_version(
    store: PartitionStore, part: Partition, recipe: Recipe, make_labels: Make
) -> None:
    from entropice_core import __version__

    manifest: Manifest = store.publish("labels", part, make_labels(), recipe, provisional=True)
    assert manifest.entropice == __version__
    assert manifest.provisional
    assert manifest.created.endswith("+00:00")
