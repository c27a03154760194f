"""A machine whose clock is an hour off works on a store with others: nothing is hidden, lost or kept from anybody."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import xarray as xr

from entropice_core.config import Settings
from entropice_core.doctor import _clock
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore
from tests.servers.other_clock import with_clock

PART = Partition("h3-4", 2018)
WORKER = """
import json, sys, time
from pathlib import Path
from tests.faults.test_clock import visit
print(json.dumps({**visit(Path(sys.argv[1])), "now": time.time()}))
"""


def publish(store: PartitionStore, number: int):
    made = xr.Dataset({"density": ("cell", [float(number), 2.0], {"units": "1"})})
    return store.publish("labels", PART, made, recipe(number))


def recipe(number: int) -> Recipe:
    return Recipe("labels", "1", {"number": number})


def visit(home: Path) -> dict[str, object]:
    """What the machine with the other clock does: look, publish the second version, sweep, and ask the doctor."""
    store = PartitionStore(home / "store", lock_timeout_s=5.0)
    seen = store.is_current("labels", PART, recipe(1))
    made = publish(store, 2)
    (home / "store" / ".staging").mkdir(exist_ok=True)
    removed = [item.path.name for item in store.gc(grace_seconds=1800)]
    found = _clock(Settings(home=home, tracking_uri=""))
    return {"seen": seen, "created": made.created, "removed": removed, "clock": found.found, "remedy": found.remedy}


@pytest.mark.parametrize("hours", [1, pytest.param(-1, marks=pytest.mark.nightly)])
def test_a_worker_whose_clock_is_an_hour_off_hides_and_loses_nothing_and_is_told(tmp_path: Path, hours: int) -> None:
    store = PartitionStore(tmp_path / "store", lock_timeout_s=5.0)
    first = publish(store, 1)
    environment = {**os.environ, **with_clock(hours), "PYTHONPATH": str(Path(__file__).parents[2])}
    worker = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert worker.returncode == 0, worker.stderr
    told = json.loads(worker.stdout)
    apart = datetime.fromisoformat(told["created"]) - datetime.fromisoformat(first.created)
    assert abs(apart.total_seconds() - 3600 * hours) < 300, "the worker's clock was not moved"
    assert told["seen"] is True
    assert told["removed"] == [], "a version that was current a second ago is in its time of grace"
    assert told["clock"] == f"differs from that of the file system by {3600:.1f} s" and "NTP" in told["remedy"]
    assert store.is_current("labels", PART, recipe(2))
    third = publish(store, 3)
    assert store.manifest("labels", PART) == third
    assert float(store.open("labels", PART)["density"][0]) == 3.0
    assert store.verify(full=True) == []
    assert {item.reason for item in store.gc(grace_seconds=0)} == {"old version"}
    assert store.manifest("labels", PART) == third
