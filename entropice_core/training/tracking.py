"""Record training runs in MLflow. The only module that talks to MLflow.

The store is the truth; MLflow is where people compare. So a run is recorded after its model was published, a tracking
server that is down never costs a result, and what could not be recorded is recorded by the next run: a small receipt
beside the store says which model version is already in which tracking server.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

EXPERIMENT_PREFIX = "entropice"


@dataclass(frozen=True)
class TrackedRun:
    """What one MLflow run says: everything is already on disk or in the manifest."""

    experiment: str
    dataset: str
    partition: str
    name: str
    digest: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    fold_metrics: Mapping[str, list[float]]
    tags: Mapping[str, str]
    artifacts: Path


@dataclass(frozen=True)
class Receipt:
    """Where a run was recorded, or why it was not."""

    digest: str
    tracking_uri: str
    run_id: str
    experiment_id: str
    problem: str = ""

    @property
    def url_path(self) -> str:
        """Path of the run below the address of an MLflow server."""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}"


def record_once(run: TrackedRun, tracking_uri: str, receipts: Path) -> Receipt:
    """Record a run unless this version is already recorded at this address.

    Returns a receipt in any case; its ``problem`` says why the server did not take the run, which is then tried
    again at the next call.
    """
    path = receipt_path(receipts, run.dataset, run.partition, run.digest)
    known = read_receipt(path)
    if known is not None and known.tracking_uri == tracking_uri and not known.problem:
        return known
    receipt = _record(run, tracking_uri)
    receipts.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(receipt), indent=1))
    os.replace(partial, path)
    return receipt


def receipt_path(receipts: Path, dataset: str, partition: str, digest: str) -> Path:
    """Name the receipt of one version of one partition."""
    return receipts / f"{dataset}.{partition}.{digest[:12]}.json"


def read_receipt(path: Path) -> Receipt | None:
    """Read a receipt; None when there is none (a torn one cannot be: it is renamed into place)."""
    return Receipt(**json.loads(path.read_text())) if path.is_file() else None


def open_client(tracking_uri: str) -> Any:
    """Open a client of a tracking server or of an SQLite file; nothing of the process's own MLflow state changes."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)
    import mlflow  # seconds, so only here

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it announces every table of a new database
    return mlflow.MlflowClient(tracking_uri=tracking_uri)


def _record(run: TrackedRun, tracking_uri: str) -> Receipt:
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _alone(tracking_uri):
            client = open_client(tracking_uri)
            experiment_id = _experiment(client, f"{EXPERIMENT_PREFIX}/{run.experiment}", tracking_uri)
            return _log(client, experiment_id, run, tracking_uri)
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Receipt(run.digest, tracking_uri, "", "", problem=f"{type(error).__name__}: {first_line}")


def _alone(tracking_uri: str) -> AbstractContextManager[Any]:
    """Let one process at a time write an SQLite file: two that create its tables at once fail."""
    if not tracking_uri.startswith("sqlite:///"):
        return nullcontext()
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=600)


def _experiment(client: Any, name: str, tracking_uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if tracking_uri.startswith("sqlite:///"):  # keep figures beside the database, not in the current folder
        location = (Path(tracking_uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _log(client: Any, experiment_id: str, run: TrackedRun, tracking_uri: str) -> Receipt:
    import time

    from mlflow.entities import Metric, Param, RunTag

    same = f"tags.`entropice.digest` = '{run.digest}' and attributes.status = 'FINISHED'"
    for known in client.search_runs([experiment_id], filter_string=same, max_results=1):
        return Receipt(run.digest, tracking_uri, known.info.run_id, experiment_id)  # only the receipt was lost
    tags = {**run.tags, "entropice.digest": run.digest, "mlflow.runName": run.name}
    begun = client.create_run(experiment_id, run_name=run.name)
    run_id = begun.info.run_id
    try:
        now = int(time.time() * 1000)
        metrics = [Metric(k, float(v), now, 0) for k, v in run.metrics.items()]
        metrics += [Metric(k, float(v), now, i) for k, vs in run.fold_metrics.items() for i, v in enumerate(vs)]
        client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(k, str(v)[:5000]) for k, v in run.parameters.items()],
            tags=[RunTag(k, str(v)[:4900]) for k, v in tags.items()],
        )
        client.log_artifacts(run_id, str(run.artifacts))
        client.set_terminated(run_id, "FINISHED")
    except BaseException:  # also an interrupt: a run must not stay RUNNING for ever
        client.set_terminated(run_id, "FAILED")
        raise
    return Receipt(run.digest, tracking_uri, run_id, experiment_id)
