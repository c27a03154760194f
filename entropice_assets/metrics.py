"""What Prometheus is told: the store, and the runs, queue and daemons of Dagster.

``entropice metrics`` prints it, writes it for the textfile collector of node_exporter, or serves it. It reads the
databases and the store itself, so that it also tells when the daemon is the one that is gone.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from entropice_core.errors import ConfigError
from entropice_core.pipeline.metrics import store_families
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import Graph

RECENT_RUNS = 500
"""Runs among which the last of each job is looked for."""
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
Families = Callable[[], Iterable[Any]]


def dagster_families(instance: dg.DagsterInstance) -> Iterator[Any]:
    """Count runs by status, and say how long the queue, the daemons and the last run of each job have waited."""
    from prometheus_client.core import GaugeMetricFamily

    runs = GaugeMetricFamily("entropice_dagster_runs", "Runs that the instance knows.", labels=["status"])
    for status in dg.DagsterRunStatus:
        runs.add_metric([status.value.lower()], instance.get_runs_count(dg.RunsFilter(statuses=[status])))
    yield runs
    yield from _queue(instance)
    yield from _last_runs(instance)
    heartbeat = GaugeMetricFamily(
        "entropice_dagster_daemon_heartbeat_timestamp_seconds", "Last sign of life.", labels=["daemon"]
    )
    for name, beat in instance.get_daemon_heartbeats().items():
        heartbeat.add_metric([name.lower()], beat.timestamp)
    yield heartbeat


def _queue(instance: dg.DagsterInstance) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    oldest = instance.get_run_records(queued, limit=1, ascending=True)
    age = GaugeMetricFamily("entropice_dagster_queue_oldest_age_seconds", "How long the oldest queued run waits.")
    age.add_metric([], time.time() - oldest[0].create_timestamp.timestamp() if oldest else 0.0)
    yield age
    going = GaugeMetricFamily("entropice_dagster_backfills_in_progress", "Backfills that are not done.")
    going.add_metric([], len(instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))))
    yield going


def _last_runs(instance: dg.DagsterInstance) -> Iterator[Any]:
    """Say when the last run of each job ended, by how, and how long it took."""
    from prometheus_client.core import GaugeMetricFamily

    labels = ["job", "status"]
    ended = GaugeMetricFamily(
        "entropice_dagster_last_run_end_timestamp_seconds", "End of the last run of a job.", labels=labels
    )
    took = GaugeMetricFamily(
        "entropice_dagster_last_run_duration_seconds", "Duration of the last run of a job.", labels=labels
    )
    seen = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(ENDED)), limit=RECENT_RUNS):
        key = (record.dagster_run.job_name, record.dagster_run.status.value.lower())
        if key in seen or record.end_time is None:
            continue
        seen.add(key)
        ended.add_metric(list(key), record.end_time)
        took.add_metric(list(key), record.end_time - (record.start_time or record.end_time))
    yield from (ended, took)


class Collector:
    """Gathers the families when Prometheus asks; what takes long is kept for some time.

    Parameters
    ----------
    context, graph : the study
    open_instance : opens the instance of Dagster, None where there is none; called again when it fails
    keep_seconds : how old the look at the store may be
    """

    def __init__(
        self,
        context: Context,
        graph: Graph,
        open_instance: Callable[[], dg.DagsterInstance] | None = None,
        keep_seconds: float = 0.0,
    ) -> None:
        self._context, self._graph, self._open, self._keep = context, graph, open_instance, keep_seconds
        self._instance: dg.DagsterInstance | None = None
        self._store: list[Any] = []
        self._at = float("-inf")

    def describe(self) -> list[Any]:
        """Announce nothing, so that registering does not look at everything."""
        return []

    def collect(self) -> Iterator[Any]:
        """Give all families; a part that cannot be read is 0 in ``entropice_up`` and leaves the others alone."""
        from prometheus_client.core import GaugeMetricFamily

        up = GaugeMetricFamily("entropice_up", "1 where a part could be read.", labels=["part"])
        parts: dict[str, Families] = {"store": self._kept_store}
        if self._open is not None:
            parts["dagster"] = self._dagster
        for name, families in parts.items():
            try:
                found = list(families())
            except Exception as error:  # any failure of a database or a file is a value of this metric
                sentence = str(error).strip().splitlines()[:1]
                print(f"{name} cannot be read: {type(error).__name__}: {''.join(sentence)}", file=sys.stderr)
                found = []
            up.add_metric([name], float(bool(found)))
            yield from found
        yield up

    def _dagster(self) -> Iterable[Any]:
        if self._instance is None and self._open is not None:
            self._instance = self._open()
        return dagster_families(self._instance) if self._instance is not None else ()

    def _kept_store(self) -> list[Any]:
        if time.monotonic() - self._at > self._keep:
            self._store, self._at = list(store_families(self._context, self._graph)), time.monotonic()
        return self._store


def registry_of(collector: Collector) -> Any:
    """Put a collector into a registry of its own, without the numbers of this very process.

    Raises
    ------
    ConfigError
        Where ``prometheus_client`` is missing.
    """
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise ConfigError("Metrics need prometheus-client: pip install 'entropice[deploy]'.") from error
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]
    return registry


def serve(registry: Any, address: str, port: int) -> None:
    """Answer Prometheus at /metrics until the process is stopped.

    Raises
    ------
    ConfigError
        When the port is taken.
    """
    from prometheus_client import start_http_server

    try:
        _, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise ConfigError(f"Nothing can listen at {address}:{port} ({error}): name another --port.") from error
    thread.join()
