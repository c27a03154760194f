"""A copy of a store is whole, verified, and can be put back; a damaged source is refused."""

from pathlib import Path

import pytest
import xarray as xr

from entropice_core.errors import StoreError
from entropice_core.storage.backup import copy_current
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore


def recipe(number: int) -> Recipe:
    return Recipe(step="made", code_version="1", config={"number": number}, inputs=(), sources=(), seed=0)


def publish(store: PartitionStore, year: int, value: float) -> str:
    made = xr.Dataset({"height": ("cell", [value, 2.0, 3.0])}, attrs={"about": "made for a test"})
    made["height"].attrs = {"units": "m"}
    return store.publish("made", Partition("h3-3", year), made, recipe(int(value))).digest


@pytest.fixture
def store(tmp_path: Path) -> PartitionStore:
    made = PartitionStore(tmp_path / "store")
    for year in (2020, 2021):
        publish(made, year, float(year))
    publish(made, 2021, 7.0)  # an older version stays behind and is not copied
    return made


def test_a_copy_opens_as_a_store_with_the_same_digests(store: PartitionStore, tmp_path: Path) -> None:
    said: list[str] = []
    done = copy_current(store.root, tmp_path / "copy", said.append)
    copy = PartitionStore(tmp_path / "copy")
    assert (done.copied, done.present) == (2, 0)
    assert said == ["made h3-3/2020", "made h3-3/2021"]
    for year in (2020, 2021):
        part = Partition("h3-3", year)
        assert copy.manifest("made", part) == store.manifest("made", part)
        assert copy.open("made", part).equals(store.open("made", part))
    assert copy.verify(full=True) == []


def test_a_second_copy_brings_only_what_is_new(store: PartitionStore, tmp_path: Path) -> None:
    copy_current(store.root, tmp_path / "copy", lambda _: None)
    publish(store, 2020, 11.0)
    done = copy_current(store.root, tmp_path / "copy", lambda _: None)
    assert (done.copied, done.present) == (1, 1)
    assert float(PartitionStore(tmp_path / "copy").open("made", Partition("h3-3", 2020))["height"][0]) == 11.0


def test_a_damaged_copy_is_made_again(store: PartitionStore, tmp_path: Path) -> None:
    copy_current(store.root, tmp_path / "copy", lambda _: None)
    next((tmp_path / "copy").rglob("zarr.json")).write_text("{}")
    assert copy_current(store.root, tmp_path / "copy", lambda _: None).copied == 1
    assert PartitionStore(tmp_path / "copy").verify(full=True) == []


def test_a_damaged_source_is_named_and_nothing_becomes_current(store: PartitionStore, tmp_path: Path) -> None:
    current = store.path("made", Partition("h3-3", 2020))
    broken = next(path for path in sorted(current.rglob("*")) if path.is_file())
    broken.write_bytes(broken.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError, match="made h3-3/2020 is not what was published"):
        copy_current(store.root, tmp_path / "copy", lambda _: None)
    assert PartitionStore(tmp_path / "copy").partitions("made") == []


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no published partition"):
        copy_current(tmp_path, tmp_path / "copy", lambda _: None)
