"""Fault F4: no room on the disk, known beforehand or found out half-way."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import StoreError
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

PART = Partition("h3-4", 2018)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_crumbs(folder: Path, count: int) -> Path:
    """Many files of one byte: each takes a block of 4 KiB, which the sum of their sizes does not tell."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.txt").write_bytes(b"x")
    return folder


def test_content_that_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "store")
    petabytes = xr.Dataset({"zero": (("cell", "year"), np.broadcast_to(np.float64(0), (2**40, 2**10)))})
    with pytest.raises(
        StoreError, match=r"not enough room; up to 9,007,199,255,789,568 bytes are needed and [\d,]+ are"
    ):
        store.publish("labels", PART, petabytes, Recipe("labels", "1"))
    assert not store.root.exists()


def test_a_disk_that_fills_half_way_is_named_and_the_old_version_stays(small_disk: Path, tmp_path: Path) -> None:
    store = PartitionStore(small_disk / "store")
    old = store.publish("labels", PART, write_crumbs(tmp_path / "few", 3), Recipe("labels", "1"))
    with pytest.raises(StoreError, match=r"labels~h3-4_2018~\w+: No space left on device; up to 1,05\d,\d+ bytes"):
        store.publish("labels", PART, write_crumbs(tmp_path / "many", 3000), Recipe("labels", "2"))
    assert list(store.layout.staging.iterdir()) == []
    assert store.manifest("labels", PART) == old
    assert store.verify(full=True) == []
    new = store.publish("labels", PART, write_crumbs(tmp_path / "some", 30), Recipe("labels", "2"))
    assert len(new.files) == 30
    assert store.is_current("labels", PART, new.recipe)
