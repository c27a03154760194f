"""Record a model as a run of MLflow, in the run of its study and with a run for each candidate of its search."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from entropice_core.training.tracking.runs import (
    EXPERIMENT_PREFIX,
    Receipt,
    TrackedInput,
    TrackedRun,
    keep_receipt,
    read_receipt,
    receipt_path,
)
from entropice_core.training.tracking.server import attempt, open_client

PARENT, KIND = "mlflow.parentRunId", "entropice.kind"
MAX_VALUE = 5000  # characters of a parameter or tag that MLflow keeps
SIDE_BY_SIDE = {name: f"spatial.{name}.mean" for name in ("log_loss", "roc_auc", "log_loss_skill")}
"""Scores that the run of the study shows for all its models beside each other, a chart for each."""


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
    keep_receipt(path, receipt)
    return receipt


def record_map(receipts: Path, model: tuple[str, str, str], picture: Path, where: str) -> str:
    """Add the picture of a map to the run of its model, once; return the problem, or nothing.

    ``model`` : dataset, partition and digest of the model; a model that is not recorded yet gets its maps later.
    """
    known = read_receipt(receipt_path(receipts, *model))
    if known is None or known.problem or where in known.maps:
        return "" if known is None else known.problem

    def add() -> Receipt:
        client = open_client(known.tracking_uri)
        client.log_artifact(known.run_id, str(picture), f"maps/{where}")
        return replace(known, maps=(*known.maps, where))

    told = attempt(known.tracking_uri, add)
    if isinstance(told, str):
        return told
    keep_receipt(receipt_path(receipts, *model), told)
    return ""


def _record(run: TrackedRun, tracking_uri: str) -> Receipt:
    def log() -> Receipt:
        client = open_client(tracking_uri)
        experiment_id = _experiment(client, f"{EXPERIMENT_PREFIX}/{run.experiment}", tracking_uri)
        return _log(client, experiment_id, run, tracking_uri)

    told = attempt(tracking_uri, log)
    return Receipt(run.digest, tracking_uri, "", "", problem=told) if isinstance(told, str) else told


def _experiment(client: Any, name: str, tracking_uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if tracking_uri.startswith("sqlite:///"):  # keep figures beside the database, not in the current folder
        location = (Path(tracking_uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts").as_uri()
    shown_as = {"mlflow.experimentKind": "custom_model_development"}  # else pages of language models come first
    return str(client.create_experiment(name, artifact_location=location, tags=shown_as))


def _log(client: Any, experiment_id: str, run: TrackedRun, tracking_uri: str) -> Receipt:
    same = f"tags.`entropice.digest` = '{run.digest}' and attributes.status = 'FINISHED'"
    for known in client.search_runs([experiment_id], filter_string=same, max_results=1):
        return Receipt(run.digest, tracking_uri, known.info.run_id, experiment_id)  # only the receipt was lost
    parent = _study_run(client, experiment_id, run)
    tags = {**run.tags, "entropice.digest": run.digest, PARENT: parent, KIND: "model"}
    with _new_run(client, experiment_id, run.name, tags) as run_id:
        folds = [(k, v, i) for k, vs in run.fold_metrics.items() for i, v in enumerate(vs) if v is not None]
        _log_numbers(client, run_id, run.parameters, [(k, v, 0) for k, v in run.metrics.items()] + folds)
        _log_inputs(client, run_id, run.inputs)
        client.log_artifacts(run_id, str(run.artifacts))
        for number, candidate in enumerate(run.candidates):
            _log_candidate(client, experiment_id, run_id, number, candidate)
    shown = [(f"{name}/{run.name}", run.metrics[key], 0) for name, key in SIDE_BY_SIDE.items() if key in run.metrics]
    _log_numbers(client, parent, {}, shown)
    return Receipt(run.digest, tracking_uri, run_id, experiment_id)


def _study_run(client: Any, experiment_id: str, run: TrackedRun) -> str:
    """Find the parent run of this very study, or make it; another configuration is another parent."""
    same = f"tags.`entropice.study` = '{run.study}' and tags.`{KIND}` = 'study'"
    for known in client.search_runs([experiment_id], filter_string=same, max_results=1):
        return str(known.info.run_id)
    name = f"study {run.experiment} {run.study[:8]}"
    with _new_run(client, experiment_id, name, {"entropice.study": run.study, KIND: "study"}) as run_id:
        client.log_text(run_id, run.study_toml, "study.toml")
    return run_id


def _log_candidate(client: Any, experiment_id: str, model_run: str, number: int, candidate: Mapping[str, Any]) -> None:
    params = {key: str(value) for key, value in candidate["params"].items()}
    metrics = [(key, float(value), 0) for key, value in candidate.items() if isinstance(value, int | float)]
    tags = {PARENT: model_run, KIND: "candidate"}
    with _new_run(client, experiment_id, f"candidate {number + 1}", tags) as run_id:
        _log_numbers(client, run_id, params, metrics)


@contextmanager
def _new_run(client: Any, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Make a run; FINISHED when all went well, FAILED after anything else."""
    shown = {key: value[: MAX_VALUE - 100] for key, value in tags.items()}
    run_id = str(client.create_run(experiment_id, run_name=name, tags=shown).info.run_id)
    try:
        yield run_id
    except BaseException:  # also an interrupt: a run must not stay RUNNING for ever
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _log_numbers(
    client: Any, run_id: str, parameters: Mapping[str, str], metrics: Sequence[tuple[str, float, int]]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, step) for key, value, step in metrics],
        params=[Param(key, str(value)[:MAX_VALUE]) for key, value in parameters.items()],
    )


def _log_inputs(client: Any, run_id: str, inputs: Sequence[TrackedInput]) -> None:
    """Show the data as data sets of MLflow, with the digests of our store (36 characters of them, as MLflow keeps)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    context = [InputTag("mlflow.data.context", "training")]
    sets = [
        Dataset(name=i.name, digest=i.digest[:36], source_type="local", source=json.dumps({"uri": i.uri}))
        for i in inputs
    ]
    client.log_inputs(run_id, [DatasetInput(dataset=one, tags=context) for one in sets])
