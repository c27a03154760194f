"""What a tracking server tells of the runs of a study."""

from datetime import UTC, datetime
from threading import Thread
from typing import Any

from entropice_core.errors import StoreError
from entropice_core.training.tracking.runs import EXPERIMENT_PREFIX, SeenRun
from entropice_core.training.tracking.server import first_line, open_client


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
        raise StoreError(_no_runs(tracking_uri, first_line(error))) from error
    asking = Thread(target=ask, daemon=True)  # a server that takes connections and is silent is left behind
    asking.start()
    asking.join(patience_s)
    answer = answers[0] if answers else TimeoutError(f"no answer in {patience_s:g} s")
    if isinstance(answer, Exception):
        raise StoreError(_no_runs(tracking_uri, first_line(answer))) from answer
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
