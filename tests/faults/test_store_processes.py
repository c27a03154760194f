"""Faults F1, F2, F4, F5 and F6: writers that are killed, that meet each other, and that run out of room.

Every writer is a real process. One parent process imports the libraries once and forks a writer per job, so that a
kill costs a tenth of a second and not the second that the imports take.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import StoreError
from entropice_core.storage.digest import dataset_digest
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

PART = Partition("h3-4", 2018)
KILLS = 20

NURSERY = """
import json, os, resource, sys, time
import numpy as np, xarray as xr
from entropice_core.errors import EntropiceError
from entropice_core.storage.locking import hold
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
import dask.array, entropice_core.storage.publish, xarray.backends.zarr, xarray.backends.writers
from entropice_core.storage.store import PartitionStore

def content(seed, cells):
    values = np.random.default_rng(seed).random(cells).astype("float32")
    return xr.Dataset({"density": ("cell", values), "rank": ("cell", np.arange(cells))},
                      coords={"cell_ids": ("cell", np.arange(cells, dtype="uint64"))})

def act(job):
    os.environ.update(job.get("environ", {}))
    if "largest_file" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], job["largest_file"]))
    store = PartitionStore(job["root"], lock_timeout_s=job.get("timeout", 60.0))
    if "hold" in job:
        with hold(store.layout.lock("labels", Partition.parse(job["partitions"][0])), "labels", 60.0):
            time.sleep(job["hold"])
    for seed, part in zip(job["seeds"], job["partitions"]):
        store.publish("labels", Partition.parse(part), content(seed, job["cells"]), Recipe("labels", str(seed)))

xr.backends.list_engines()

for line in sys.stdin:
    children = []
    for job in json.loads(line):
        child = os.fork()
        if child == 0:
            code = 0
            try:
                act(job)
            except EntropiceError as error:
                with open(job["says"], "w") as stream:
                    stream.write(str(error))
                code = 3
            os._exit(code)
        children.append(child)
    print(json.dumps(children), flush=True)
    sys.stdin.readline()  # a child that has ended keeps its number until then, so that no stranger is killed
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""


class Nursery:
    """Forks writers; ``run`` gives their exit codes, ``start`` lets them be killed meanwhile."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", NURSERY]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, *jobs: dict[str, Any]) -> list[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        children: list[int] = json.loads(self.process.stdout.readline())
        return children

    def wait(self) -> list[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("wait\n")
        self.process.stdin.flush()
        codes: list[int] = json.loads(self.process.stdout.readline())
        return codes

    def run(self, *jobs: dict[str, Any]) -> list[int]:
        self.start(*jobs)
        return self.wait()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()
    made.process.wait(timeout=30)


@pytest.fixture
def store(tmp_path: Path) -> PartitionStore:
    return PartitionStore(tmp_path / "store", lock_timeout_s=30.0)


def content(seed: int, cells: int = 3000) -> xr.Dataset:
    values = np.random.default_rng(seed).random(cells).astype("float32")
    return xr.Dataset(
        {"density": ("cell", values), "rank": ("cell", np.arange(cells))},
        coords={"cell_ids": ("cell", np.arange(cells, dtype="uint64"))},
    )


def job(store: PartitionStore, seeds: list[int], partitions: list[str] | None = None, **more: Any) -> dict[str, Any]:
    says = str(store.root.parent / f"says-{seeds}")
    where = partitions or [PART.path] * len(seeds)
    return {"root": str(store.root), "seeds": seeds, "partitions": where, "cells": 3000, "says": says} | more


def publish(store: PartitionStore, seed: int) -> Manifest:
    return store.publish("labels", PART, content(seed), Recipe("labels", str(seed)))


@contextmanager
def reading(store: PartitionStore, allowed: set[str]) -> Iterator[Callable[[], int]]:
    """Open the partition again and again; whatever is read must be one of the allowed contents."""
    stop, torn, count = threading.Event(), list[str](), [0]

    def read() -> None:
        while not stop.is_set():
            found = dataset_digest(store.open("labels", PART))
            count[0] += 1
            stop.wait(0.02)
            if found not in allowed:
                torn.append(found)

    with ThreadPoolExecutor(max_workers=1) as pool:
        reader = pool.submit(read)
        try:
            yield lambda: count[0]
        finally:
            stop.set()
    assert reader.exception() is None
    assert torn == []


@pytest.mark.parametrize(
    ("step", "is_new", "left"),
    [
        (0, False, []),
        (1, False, ["orphan_staging"]),
        (2, False, ["orphan_staging"]),
        (3, False, ["orphan_staging"]),
        (4, True, ["orphan_staging"]),
    ],
)
def test_a_writer_that_dies_between_two_steps_leaves_the_old_version_or_the_new(
    step: int, is_new: bool, left: list[str], store: PartitionStore, nursery: Nursery
) -> None:
    old = publish(store, 0)
    dying = job(store, [1], environ={"ENTROPICE_CRASH_AT": f"publish:{step}"})
    assert nursery.run(dying) == [137]

    now = store.manifest("labels", PART)
    assert (now.digest != old.digest) is is_new
    assert dataset_digest(store.open("labels", PART)) == now.digest
    assert [finding.kind for finding in store.verify(full=True)] == left

    assert nursery.run(job(store, [1])) == [0]
    xr.testing.assert_identical(store.open("labels", PART).load(), content(1))
    store.gc(grace_seconds=0)
    assert store.verify(full=True) == []
    assert sorted(path.name for path in store.layout.folder("labels", PART).iterdir()) == sorted(
        ["current.json", store.manifest("labels", PART).folder_name, store.manifest("labels", PART).version + ".json"]
    )


def test_a_first_writer_that_dies_leaves_nothing_to_be_read_and_is_swept(
    store: PartitionStore, nursery: Nursery
) -> None:
    assert nursery.run(job(store, [1], environ={"ENTROPICE_CRASH_AT": "publish:2"})) == [137]
    assert store.datasets() == []
    assert [finding.kind for finding in store.verify()] == ["orphan_staging"]
    assert {item.reason for item in store.gc(grace_seconds=0)} == {
        "never pointed to",
        "staging of a writer that is gone",
    }
    assert store.verify() == []
    assert list(store.layout.folder("labels", PART).iterdir()) == []
    assert nursery.run(job(store, [1])) == [0]
    assert dataset_digest(store.open("labels", PART)) == dataset_digest(content(1))


def test_writers_killed_at_random_moments_never_let_a_reader_see_a_part(
    store: PartitionStore, nursery: Nursery
) -> None:
    digests = {seed: dataset_digest(content(seed)) for seed in range(6 * KILLS)}
    publish(store, 0)
    chance, span, killed, tried = random.Random(20261122), 0.2, 0, 0
    with reading(store, set(digests.values())) as reads:
        while killed < KILLS:
            tried += 1
            before = store.manifest("labels", PART).digest
            (child,) = nursery.start(job(store, [tried]))
            time.sleep(chance.uniform(0.0, span))
            os.kill(child, signal.SIGKILL)
            was_killed = nursery.wait() == [-signal.SIGKILL]
            assert store.manifest("labels", PART).digest in {before, digests[tried]}
            # the kills follow the speed of the machine, so that they fall all over a writer's life
            span *= 1.1 if was_killed else 0.8
            killed += was_killed
        while reads() < 5:
            time.sleep(0.01)
    assert nursery.run(job(store, [1])) == [0]
    store.gc(grace_seconds=0)
    assert store.verify(full=True) == []
    assert store.manifest("labels", PART).digest == digests[1]


def test_two_writers_of_one_partition_take_turns(store: PartitionStore, nursery: Nursery) -> None:
    publish(store, 0)
    digests = {dataset_digest(content(seed)) for seed in range(7)}
    with reading(store, digests):
        assert nursery.run(job(store, [1, 2, 3]), job(store, [4, 5, 6])) == [0, 0]
    assert store.verify(full=True) == []
    assert store.manifest("labels", PART).digest in {dataset_digest(content(seed)) for seed in (3, 6)}


def test_two_writers_of_the_same_content_publish_it_once(store: PartitionStore, nursery: Nursery) -> None:
    assert nursery.run(job(store, [1]), job(store, [1], says="unused")) == [0, 0]
    versions = [path for path in store.layout.folder("labels", PART).iterdir() if path.suffix == ".zarr"]
    assert len(versions) == 1
    assert store.verify(full=True) == []


def test_a_writer_that_waits_too_long_is_told_who_holds_the_partition(store: PartitionStore, nursery: Nursery) -> None:
    (child,) = nursery.start(job(store, [], partitions=[PART.path], hold=60.0))
    lock = store.layout.lock("labels", PART)
    deadline = time.perf_counter() + 20
    while not lock.with_suffix(".owner.json").exists() and time.perf_counter() < deadline:
        time.sleep(0.01)
    hasty = PartitionStore(store.root, lock_timeout_s=0.2)
    with pytest.raises(StoreError, match=rf"labels h3-4/2018 is locked by process {child} on \S+ since .*waited 0.2 s"):
        publish(hasty, 1)
    assert store.gc(grace_seconds=0) == []

    os.kill(child, signal.SIGKILL)
    assert nursery.wait() == [-signal.SIGKILL]
    assert lock.with_suffix(".owner.json").exists()
    begun = time.perf_counter()
    publish(hasty, 1)
    assert time.perf_counter() - begun < 10.0
    assert store.manifest("labels", PART).digest == dataset_digest(content(1))


def test_the_staging_of_a_live_writer_is_no_orphan(store: PartitionStore, nursery: Nursery) -> None:
    (child,) = nursery.start(job(store, [], partitions=[PART.path], hold=60.0))
    while not store.layout.lock("labels", PART).with_suffix(".owner.json").exists():
        time.sleep(0.01)
    store.layout.new_staging("labels", PART).mkdir(parents=True)
    assert store.verify() == []
    assert store.gc(grace_seconds=0) == []
    os.kill(child, signal.SIGKILL)
    nursery.wait()
    assert [finding.kind for finding in store.verify()] == ["orphan_staging"]
    assert len(store.gc(grace_seconds=0)) == 1


def test_eight_writers_of_different_partitions_do_what_one_would(
    store: PartitionStore, nursery: Nursery, tmp_path: Path
) -> None:
    def jobs(root: Path) -> list[dict[str, Any]]:
        where = [[f"h3-{3 + writer % 4}/{2000 + 10 * (writer // 4) + i}" for i in range(3)] for writer in range(8)]
        target = PartitionStore(root)
        return [job(target, [3 * w + i for i in range(3)], where[w], cells=200) for w in range(8)]

    assert nursery.run(*jobs(store.root)) == [0] * 8
    serial = PartitionStore(tmp_path / "serial")
    for one in jobs(serial.root):
        assert nursery.run(one) == [0]
    assert len(serial.partitions("labels")) == 24
    assert {p: store.manifest("labels", p).files for p in store.partitions("labels")} == {
        p: serial.manifest("labels", p).files for p in serial.partitions("labels")
    }
    assert store.verify(full=True) == []


def test_a_file_that_cannot_grow_names_path_and_bytes_and_leaves_the_old_version(
    store: PartitionStore, nursery: Nursery
) -> None:
    old = publish(store, 0)
    full = job(store, [1], largest_file=4096)
    assert nursery.run(full) == [3]
    says = Path(full["says"]).read_text()
    assert str(store.layout.staging) in says
    assert "File too large" in says
    assert "bytes are needed and" in says
    assert "are free" in says
    assert list(store.layout.staging.iterdir()) == []
    assert store.manifest("labels", PART) == old
    assert store.verify(full=True) == []
