"""What a study's store holds, as numbers that Prometheus takes.

Names end in their unit, as Prometheus wants it. All are gauges: a store can be swept, and a partition can become stale
again. ``prometheus_client`` is part of the extra ``deploy``.
"""

import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from entropice_core.errors import StoreError
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph
from entropice_core.pipeline.status import State, states


def store_families(context: Context, graph: Graph) -> Iterator[Any]:
    """Count the partitions of each dataset by state; with sizes, ages and the room that is left on the disk.

    The whole store is compared with the recipes that its partitions would have now, which takes milliseconds for each
    partition: ask every few minutes, not every second.
    """
    from prometheus_client.core import GaugeMetricFamily

    study, begun = context.study.study.name, time.time()
    found = states(context, graph)
    counts = GaugeMetricFamily(
        "entropice_partitions", "Partitions of a dataset, by state.", labels=["study", "dataset", "state"]
    )
    for state in found:
        for name in ("current", "stale", "missing"):
            counts.add_metric([study, state.dataset, name], getattr(state, name))
    yield counts
    yield from _of_datasets(context, graph, found)
    yield from _disk(context)
    took = GaugeMetricFamily("entropice_store_scan_duration_seconds", "Time of the last look.", labels=["study"])
    took.add_metric([study], time.time() - begun)
    yield took
    at = GaugeMetricFamily("entropice_store_scan_timestamp_seconds", "When the store was looked at.", labels=["study"])
    at.add_metric([study], begun)
    yield at


def _of_datasets(context: Context, graph: Graph, found: list[State]) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    labels, study = ["study", "dataset"], context.study.study.name
    size = GaugeMetricFamily("entropice_dataset_size_bytes", "Current versions of a dataset.", labels=labels)
    provisional = GaugeMetricFamily(
        "entropice_provisional_partitions", "Partitions made from data that are not final.", labels=labels
    )
    unreadable = GaugeMetricFamily(
        "entropice_unreadable_partitions", "Partitions whose source files are missing or damaged.", labels=labels
    )
    published = GaugeMetricFamily(
        "entropice_dataset_published_timestamp_seconds", "When a dataset last got a new version.", labels=labels
    )
    for state in found:
        size.add_metric([study, state.dataset], state.size)
        provisional.add_metric([study, state.dataset], state.provisional)
        unreadable.add_metric([study, state.dataset], state.unreadable)
        newest = _newest(context, graph[state.dataset])
        if newest is not None:
            published.add_metric([study, state.dataset], newest)
    yield from (size, provisional, unreadable, published)


def _newest(context: Context, product: Product) -> float | None:
    """Say when a partition of a product was last published, in seconds since 1970; None when none is."""
    moments = []
    for partition in context.store.partitions(product.dataset):
        try:
            created = context.store.manifest(product.dataset, partition).created
        except StoreError:  # replaced or damaged meanwhile: verify tells
            continue
        moments.append(datetime.fromisoformat(created).timestamp())
    return max(moments, default=None)


def _disk(context: Context) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    home = context.settings.home
    there = next(path for path in (home, *home.parents) if path.exists())
    usage = shutil.disk_usage(there)
    for name, value, text in (("free", usage.free, "Room left"), ("size", usage.total, "Size")):
        family = GaugeMetricFamily(f"entropice_home_disk_{name}_bytes", f"{text} on the disk of the store.")
        family.add_metric([], value)
        yield family
