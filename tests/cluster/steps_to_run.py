"""Assets that sleep, fail, wait and eat memory: what the steps of the cluster tests do. Loaded by file name."""

import os
import signal
import time
from pathlib import Path

import dagster as dg

from entropice_assets.dask import RESOURCES_TAG
from entropice_assets.dask.executor import dask_steps_executor
from entropice_assets.failures import as_failure
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

FOLDER = Path(os.environ.get("CLUSTER_TEST_FOLDER", "."))
PART = Partition("h3-4", 2018)
PARTITIONS = dg.StaticPartitionsDefinition(["one", "two"])


def note(name: str, text: str = "") -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{os.getpid()} {text}\n")


@dg.asset(partitions_def=PARTITIONS)
def quick(context: dg.AssetExecutionContext) -> None:
    note(f"quick-{context.partition_key}")


@dg.asset
def fails() -> None:
    raise ValueError("it fails on purpose")


@dg.asset(deps=[fails])
def after_failure() -> None:
    note("after_failure")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0.2))
def second_try() -> None:
    note("second_try")
    if len((FOLDER / "second_try").read_text().splitlines()) < 2:
        raise ValueError("not at the first try")


@dg.asset(pool="few")
def pooled() -> None:
    note("pooled")


@dg.asset
def sleeper() -> None:
    note("sleeper", "begins")
    try:
        time.sleep(120)
    finally:
        note("sleeper", "ends")


@dg.asset
def killed() -> None:
    note("killed")
    os.kill(os.getpid(), signal.SIGKILL)


@dg.asset(op_tags={RESOURCES_TAG: '{"MEMORY": 0.5}'})
def hungry() -> None:
    eaten = bytearray(700_000_000)
    eaten[::4096] = b"x" * len(eaten[::4096])
    time.sleep(60)
    note("hungry", "was not stopped")


@dg.asset(op_tags={RESOURCES_TAG: '{"GPU": 1}'})
def on_gpu() -> None:
    note("on_gpu")


@dg.asset
def fills_disk() -> None:
    note("fills_disk")
    many = FOLDER / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number:04}.txt").write_bytes(b"x")
    with as_failure():
        PartitionStore(FOLDER / "disk" / "store").publish("labels", PART, many, Recipe("labels", "2"))


def make_one_of_a_crowd(number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"crowd_{number}")
    def one() -> None:
        note("crowd", f"{time.time()} 1")
        time.sleep(2)
        note("crowd", f"{time.time()} -1")

    return one


CROWD = [make_one_of_a_crowd(number) for number in range(3)]
ASSETS = [quick, fails, after_failure, second_try, pooled, sleeper, killed, hungry, on_gpu, fills_disk]


def definitions() -> dg.Definitions:
    return dg.Definitions(
        assets=[*ASSETS, *CROWD],
        jobs=[dg.define_asset_job(asset.key.path[-1], selection=[asset]) for asset in ASSETS]
        + [
            dg.define_asset_job("failing_chain", selection=[fails, after_failure]),
            dg.define_asset_job("crowd", selection=CROWD),
        ],
        executor=dask_steps_executor(os.environ["CLUSTER_TEST_SCHEDULER"], hint_seconds=4),
    )


defs = definitions()
