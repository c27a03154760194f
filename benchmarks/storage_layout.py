"""Time the store: one large (cell, feature) partition, column reads, and checks of a thousand small partitions.

Usage: ``python benchmarks/storage_layout.py [cells] [features] [partitions]``; prints one line per measurement.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

PART = Partition("h3-5", 2018)


def measure(what: str, act: Callable[[], Any]) -> Any:
    """Run once and print wall and processor seconds."""
    wall, cpu = perf_counter(), process_time()
    result = act()
    print(f"{what:<58} {perf_counter() - wall:8.2f} s wall {process_time() - cpu:8.2f} s CPU")
    return result


def features(cells: int, count: int) -> xr.Dataset:
    """Values with 12 bits of mantissa, as rounded climate data have."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(cells, count)).astype("float32")
    values.view("uint32")[...] &= np.uint32(0xFFFF_F000)
    coords = {"cell_ids": ("cell", np.arange(cells, dtype="uint64")), "feature": [f"f{i}" for i in range(count)]}
    return xr.Dataset({"features": (("cell", "feature"), values)}, coords=coords)


def measure_large(root: Path, cells: int, count: int) -> None:
    """Publish, open and read one large partition."""
    store, content, recipe = PartitionStore(root), features(cells, count), Recipe("features", "1")
    size = content.nbytes / 1e6
    manifest = measure(f"publish {size:.0f} MB", lambda: store.publish("features.x", PART, content, recipe))
    print(f"{'on disk':<58} {manifest.size / 1e6:8.0f} MB in {len(manifest.files)} files")
    measure("publish again, nothing changed", lambda: store.publish("features.x", PART, content, recipe))
    measure("is_current", lambda: store.is_current("features.x", PART, recipe))
    dataset = measure("first open, every byte checked", lambda: store.open("features.x", PART))
    measure("open", lambda: store.open("features.x", PART))
    measure("read everything", lambda: dataset["features"].values)
    fresh = store.open("features.x", PART)
    measure("read 20 features", lambda: fresh["features"][:, :20].values)


def measure_many(root: Path, partitions: int) -> None:
    """Publish many small partitions and check them."""
    store = PartitionStore(root)
    keys = [Partition(f"h3-{3 + number % 4}", 1900 + number // 4) for number in range(partitions)]

    def fill() -> None:
        for number, key in enumerate(keys):
            content = xr.Dataset({"x": ("cell", np.arange(50.0) + number)})
            store.publish("labels", key, content, Recipe("labels", "1"))

    measure(f"publish {partitions} small partitions", fill)
    measure(f"verify {partitions} partitions, sizes", store.verify)
    measure(f"verify {partitions} partitions, every byte", lambda: store.verify(full=True))
    measure(f"status of {partitions} partitions", store.status)
    measure(f"gc of {partitions} partitions", store.gc)


def main() -> None:
    """Run both parts in a scratch folder."""
    given = [int(text) for text in sys.argv[1:]]
    cells, count, partitions = (*given, *(300_000, 100, 1_000)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        measure_large(Path(folder) / "large", cells, count)
        measure_many(Path(folder) / "many", partitions)
    print(f"{'peak memory':<58} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:8.0f} MB")


if __name__ == "__main__":
    main()
