"""Where a model was recorded in MLflow, and what to open; a tracking server that is down is said, not waited for."""

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from entropice_core.dashboard.library import Library
from entropice_core.storage.partition import Partition
from entropice_core.training.tracking import Receipt, SeenRun, list_runs, read_receipt, receipt_path

if TYPE_CHECKING:
    import pandas as pd

PATIENCE_S = 3.0
SHOWN = {
    "log_loss": "log loss [nat]",
    "log_loss_skill": "log loss skill",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
}
PAGE = "page in MLflow"


def receipt_of(library: Library, dataset: str, partition: Partition, digest: str) -> Receipt | None:
    """Read where a version was recorded."""
    folder = library.settings.home / "receipts" / library.study.study.name
    return read_receipt(receipt_path(folder, dataset, partition.key, digest))


def why_unreachable(tracking_uri: str) -> str:
    """Say why a tracking store cannot be asked now; empty where it answers.

    >>> why_unreachable("sqlite:////nowhere/mlflow.db")
    'There is no file /nowhere/mlflow.db yet: the first trained model makes it.'
    """
    if tracking_uri.startswith("sqlite:///"):
        from pathlib import Path

        path = Path(tracking_uri.removeprefix("sqlite:///"))
        return "" if path.is_file() else f"There is no file {path} yet: the first trained model makes it."
    address = urlsplit(tracking_uri)
    if address.scheme not in ("http", "https"):
        return ""
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=PATIENCE_S):
            return ""
    except OSError as error:
        return (
            f"The tracking server {tracking_uri} does not answer ({error}): start it, or set ENTROPICE_TRACKING_URI. "
            "Nothing is lost: all scores and figures are in the store, and the next run records what is missing."
        )


def runs_table(library: Library) -> "pd.DataFrame":
    """List what MLflow holds of the models of this study, the newest first; the page of a run where it has an address.

    Raises
    ------
    StoreError
        When the server does not answer within ``PATIENCE_S``, or refuses.
    """
    import pandas as pd

    uri = library.settings.tracking_uri
    rows = []
    for run in list_runs(uri, library.study.study.name, patience_s=PATIENCE_S):
        scores = {words: run.metrics.get(f"spatial.{name}.mean", np.nan) for name, words in SHOWN.items()}
        page = _address(uri, library.links.get("mlflow"), run)
        began = run.began.strftime("%Y-%m-%d %H:%M")
        rows.append([run.name, page, began, run.status.lower(), *scores.values(), run.digest[:12]])
    return pd.DataFrame(rows, columns=["run", PAGE, "recorded (UTC)", "status", *SHOWN.values(), "digest"])


def run_address(receipt: Receipt, server: str | None) -> str:
    """Address of a run in the MLflow UI: of the tracking server, or of the one that was named for the dashboard."""
    return _address(receipt.tracking_uri, server, receipt)


def _address(tracking_uri: str, server: str | None, run: Receipt | SeenRun) -> str:
    base = tracking_uri if tracking_uri.startswith("http") else server
    return f"{base.rstrip('/')}/{run.url_path}" if base else ""


def dagster_address(server: str | None, dataset: str, partition: Partition) -> str:
    """Address of an asset's partition in the Dagster UI.

    >>> dagster_address("http://127.0.0.1:3000", "model.espa", Partition("h3-4"))
    'http://127.0.0.1:3000/assets/model_espa?view=partitions&partition=h3-4'
    """
    if not server:
        return ""
    keys = [part for part in (partition.grid, None if partition.year is None else str(partition.year)) if part]
    path = f"{server.rstrip('/')}/assets/{dataset.replace('.', '_')}"
    return f"{path}?view=partitions&partition={'%7C'.join(keys)}" if keys else path


def how_to_open(tracking_uri: str) -> str:
    """Give the command that shows the runs."""
    return f"mlflow ui --host 127.0.0.1 --backend-store-uri {tracking_uri}"
