"""Record training runs in MLflow. The only module that talks to MLflow.

The store is the truth; MLflow is where people compare. So a run is recorded after its model was published, a tracking
server that is down never costs a result, and what could not be recorded is recorded by the next run: a small receipt
beside the store says which model version is already in which tracking server.

Runs are nested: a study, in it a run for each model and grid, in it a run for each candidate of the search. The model
registry holds no pickle: a version points at the artifacts of a run, which are our arrays and JSON, and
``load_champion`` reads them with our own loader and its digests.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from filelock import FileLock

from entropice_core.errors import StoreError
from entropice_core.training.persist import LoadedModel, load_model

EXPERIMENT_PREFIX = "entropice"
CHAMPION = "champion"
PARENT, KIND = "mlflow.parentRunId", "entropice.kind"
MAX_VALUE = 5000  # characters of a parameter or tag that MLflow keeps
SIDE_BY_SIDE = {name: f"spatial.{name}.mean" for name in ("log_loss", "roc_auc", "log_loss_skill")}
"""Scores that the run of the study shows for all its models beside each other, a chart for each."""
REST_S = 60.0
"""After a server did not answer it is left alone for so long: a study has many runs and maps to tell it of."""
_silent_until: dict[str, float] = {}


@dataclass(frozen=True)
class TrackedInput:
    """Data that a model was trained on: its name, its digest in our store, and where that is."""

    name: str
    digest: str
    uri: str


@dataclass(frozen=True)
class TrackedRun:
    """What one MLflow run says: everything is already on disk or in the manifest.

    Attributes
    ----------
    experiment, dataset, partition, name, digest : which version of which model
    study : digest of the resolved study, which names the parent run; ``study_toml`` : the study with all its defaults
    parameters, metrics, fold_metrics, tags : as MLflow shows them; fold metrics have the number of the fold as step,
        and None where a score is not defined
    candidates : parameters and scores of the search, a nested run each
    inputs : data sets
    artifacts : folder of the model
    """

    experiment: str
    dataset: str
    partition: str
    name: str
    digest: str
    study: str
    study_toml: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    fold_metrics: Mapping[str, Sequence[float | None]]
    tags: Mapping[str, str]
    artifacts: Path
    candidates: Sequence[Mapping[str, Any]] = ()
    inputs: Sequence[TrackedInput] = field(default=())


@dataclass(frozen=True)
class Receipt:
    """Where a run was recorded, or why it was not."""

    digest: str
    tracking_uri: str
    run_id: str
    experiment_id: str
    problem: str = ""
    maps: tuple[str, ...] = ()

    @property
    def url_path(self) -> str:
        """Path of the run below the address of an MLflow server."""
        return _url_path(self.experiment_id, self.run_id)


@dataclass(frozen=True)
class SeenRun:
    """What a tracking server says of the run of a model; ``began`` is in UTC."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    began: datetime
    digest: str
    metrics: Mapping[str, float]

    @property
    def url_path(self) -> str:
        """Path of the run below the address of an MLflow server."""
        return _url_path(self.experiment_id, self.run_id)


def _url_path(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}"


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
    _keep(path, receipt)
    return receipt


def _keep(path: Path, receipt: Receipt) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(receipt), indent=1))
    os.replace(partial, path)


def receipt_path(receipts: Path, dataset: str, partition: str, digest: str) -> Path:
    """Name the receipt of one version of one partition."""
    return receipts / f"{dataset}.{partition}.{digest[:12]}.json"


def read_receipt(path: Path) -> Receipt | None:
    """Read a receipt; None when there is none (a torn one cannot be: it is renamed into place)."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    return Receipt(**{**stored, "maps": tuple(stored.get("maps", ()))})


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


def list_runs(tracking_uri: str, study: str, most: int = 200, patience_s: float = 3.0) -> list[SeenRun]:
    """Read the runs of a study's models, the newest first; nothing is written and nothing of the server is changed.

    ``most`` : how many at most; ``patience_s`` : how long the server may take to answer, seconds.

    Raises
    ------
    StoreError
        When the server does not answer in time, or refuses.
    """
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    answers: list[list[SeenRun] | Exception] = []

    def ask() -> None:
        try:
            answers.append(_search(client, f"{EXPERIMENT_PREFIX}/{study}", most))
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            answers.append(error)

    try:
        client = open_client(tracking_uri)
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        raise StoreError(_no_runs(tracking_uri, _first_line(error))) from error
    asking = Thread(target=ask, daemon=True)  # a server that takes connections and is silent is left behind
    asking.start()
    asking.join(patience_s)
    answer = answers[0] if answers else TimeoutError(f"no answer in {patience_s:g} s")
    if isinstance(answer, Exception):
        raise StoreError(_no_runs(tracking_uri, _first_line(answer))) from answer
    return answer


def _no_runs(tracking_uri: str, why: str) -> str:
    return f"{tracking_uri} does not tell its runs ({why}): look at its log, or set ENTROPICE_TRACKING_URI."


def _search(client: Any, experiment: str, most: int) -> list[SeenRun]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    models = "tags.`entropice.dataset` LIKE 'model.%'"  # neither studies nor candidates
    runs = client.search_runs([found.experiment_id], filter_string=models, max_results=most)
    return [
        SeenRun(
            run_id=run.info.run_id,
            experiment_id=str(found.experiment_id),
            name=str(run.info.run_name),
            status=str(run.info.status),
            began=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            digest=run.data.tags.get("entropice.digest", ""),
            metrics=dict(run.data.metrics),
        )
        for run in runs
    ]


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

    told = _attempt(known.tracking_uri, add)
    if isinstance(told, str):
        return told
    _keep(receipt_path(receipts, *model), told)
    return ""


def crown(receipts: Path, model: tuple[str, str, str], registered: str) -> str:
    """Make a recorded model the champion of a registered model; return the problem, or nothing.

    The version points at the artifacts of the run, so that nothing is copied and nothing is pickled.
    """
    known = read_receipt(receipt_path(receipts, *model))
    if known is None or known.problem:
        return f"{model[0]} {model[1]} is not recorded yet" if known is None else known.problem

    def set_alias() -> Receipt:
        client = open_client(known.tracking_uri)
        _alias(client, known, registered)
        return known

    told = _attempt(known.tracking_uri, set_alias)
    return told if isinstance(told, str) else ""


def _alias(client: Any, known: "Receipt", registered: str) -> None:
    if not client.search_registered_models(filter_string=f"name = '{registered}'", max_results=1):
        client.create_registered_model(registered, description="Arrays and JSON of Entropice; read by load_champion.")
    found = [v for v in client.search_model_versions(f"name = '{registered}'") if v.run_id == known.run_id]
    if not found:
        source = client.get_run(known.run_id).info.artifact_uri
        found = [client.create_model_version(registered, source=source, run_id=known.run_id)]
    client.set_registered_model_alias(registered, CHAMPION, found[0].version)


def load_champion(tracking_uri: str, registered: str) -> LoadedModel:
    """Fetch the champion of a registered model and read it with our own loader, which checks its digests.

    Raises
    ------
    StoreError
        When the server does not answer or has no champion of that name; or the files were changed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = open_client(tracking_uri)
    with TemporaryDirectory() as folder:
        try:
            version = client.get_model_version_by_alias(registered, CHAMPION)
            at = {"run_id": version.run_id, "dst_path": folder, "tracking_uri": tracking_uri}
            for name in ("model.json", "arrays.npz"):
                download_artifacts(artifact_path=name, **at)
        except (MlflowException, OSError) as error:
            raise StoreError(
                f"{tracking_uri} gives no champion of {registered!r} ({_first_line(error)}): train the study, or "
                "check the address."
            ) from error
        return load_model(Path(folder))


def _record(run: TrackedRun, tracking_uri: str) -> Receipt:
    def log() -> Receipt:
        client = open_client(tracking_uri)
        experiment_id = _experiment(client, f"{EXPERIMENT_PREFIX}/{run.experiment}", tracking_uri)
        return _log(client, experiment_id, run, tracking_uri)

    told = _attempt(tracking_uri, log)
    return Receipt(run.digest, tracking_uri, "", "", problem=told) if isinstance(told, str) else told


def _attempt(tracking_uri: str, do: Callable[[], Receipt]) -> Receipt | str:
    """Do something with a server, alone where it is a file; a server that is down or refuses is a sentence."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if time.monotonic() < _silent_until.get(tracking_uri, 0.0):
        return f"{tracking_uri} did not answer a moment ago and was not asked again"
    try:
        with _alone(tracking_uri):
            return do()
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        _silent_until[tracking_uri] = time.monotonic() + REST_S
        return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


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
