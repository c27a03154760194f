import hashlib
import json
import os
from pathlib import Path

import pytest

from entropice_core.errors import SourceError
from entropice_core.storage.files import fingerprint, fingerprint_all
from entropice_core.storage.store import PartitionStore


def put(path: Path, data: bytes, age_s: float = 60.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    changed = path.stat().st_mtime_ns - int(age_s * 1e9)
    os.utime(path, ns=(changed, changed))
    return path


def test_a_source_file_is_named_relative_to_the_data_folder(tmp_path: Path) -> None:
    path = put(tmp_path / "data/era5/2018.nc", b"abc")
    found = fingerprint(path, tmp_path / "data")
    assert (found.name, found.size, found.sha256) == ("era5/2018.nc", 3, hashlib.sha256(b"abc").hexdigest())


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, store: PartitionStore) -> None:
    path = put(tmp_path / "data/a.nc", b"abc")
    first = store.fingerprint(path, tmp_path / "data")
    (cache,) = (store.root / ".cache").iterdir()
    entries = json.loads(cache.read_text())
    entries[str(path)]["sha256"] = "remembered"
    cache.write_text(json.dumps(entries))
    assert store.fingerprint(path, tmp_path / "data").sha256 == "remembered"
    assert fingerprint(path, tmp_path / "data") == first


@pytest.mark.parametrize(("data", "age_s"), [(b"abd", 30.0), (b"abcd", 60.0)])
def test_a_file_that_changed_is_read_again(tmp_path: Path, store: PartitionStore, data: bytes, age_s: float) -> None:
    path = put(tmp_path / "data/a.nc", b"abc")
    store.fingerprint(path, tmp_path / "data")
    put(path, data, age_s)
    assert store.fingerprint(path, tmp_path / "data").sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path, store: PartitionStore) -> None:
    path = put(tmp_path / "data/a.nc", b"abc", age_s=0.0)
    store.fingerprint(path, tmp_path / "data")
    assert not (store.root / ".cache").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, store: PartitionStore, text: str) -> None:
    path = put(tmp_path / "data/a.nc", b"abc")
    (store.root / ".cache").mkdir(parents=True)
    (store.root / ".cache/fingerprints.json").write_text(text)
    assert store.fingerprint(path, tmp_path / "data").size == 3
    assert list(json.loads((store.root / ".cache/fingerprints.json").read_text())) == [str(path)]


def test_many_files_come_in_the_order_given_and_files_that_are_gone_are_forgotten(
    tmp_path: Path, store: PartitionStore
) -> None:
    paths = [put(tmp_path / f"data/{name}", name.encode()) for name in ("b", "a", "c")]
    assert [item.name for item in store.fingerprints(paths, tmp_path / "data")] == ["b", "a", "c"]
    paths[0].unlink()
    put(tmp_path / "data/d", b"d")
    store.fingerprints([tmp_path / "data/d"], tmp_path / "data")
    known = json.loads((store.root / ".cache/fingerprints.json").read_text())
    assert sorted(Path(name).name for name in known) == ["a", "c", "d"]


def test_a_folder_is_one_source_and_any_file_in_it_counts(tmp_path: Path) -> None:
    put(tmp_path / "data/era5.zarr/t2m/c/0", b"abc")
    put(tmp_path / "data/era5.zarr/zarr.json", b"{}")
    (before,) = fingerprint_all([tmp_path / "data/era5.zarr"], tmp_path / "data")
    assert (before.name, before.size) == ("era5.zarr", 5)
    put(tmp_path / "data/era5.zarr/t2m/c/0", b"abd")
    assert fingerprint(tmp_path / "data/era5.zarr", tmp_path / "data").sha256 != before.sha256


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone.nc cannot be read"):
        fingerprint(tmp_path / "gone.nc", tmp_path)


@pytest.mark.parametrize("name", ["other/a.nc", "data/../other/a.nc"])
def test_a_file_outside_the_data_folder_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "other/a.nc", b"abc")
    (tmp_path / "data").mkdir()
    with pytest.raises(SourceError, match="not below the data folder"):
        fingerprint(tmp_path / name, tmp_path / "data")
