"""The tracking server: asked within limits, let alone when silent; the process's own MLflow state stays as it is."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from entropice_core.training.tracking.runs import Receipt

REST_S = 60.0
"""After a server did not answer it is left alone for so long: a study has many runs and maps to tell it of."""
_silent_until: dict[str, float] = {}


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


def attempt(tracking_uri: str, do: Callable[[], Receipt]) -> Receipt | str:
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
        return f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Say what went wrong in one line."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _alone(tracking_uri: str) -> AbstractContextManager[Any]:
    """Let one process at a time write an SQLite file: two that create its tables at once fail."""
    if not tracking_uri.startswith("sqlite:///"):
        return nullcontext()
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=600)
