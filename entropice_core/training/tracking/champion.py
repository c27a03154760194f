"""The champion of a registered model: an alias on the artifacts of a run, read by our own loader and never a pickle."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from entropice_core.errors import StoreError
from entropice_core.training.persist import LoadedModel, load_model
from entropice_core.training.tracking.runs import Receipt, read_receipt, receipt_path
from entropice_core.training.tracking.server import attempt, first_line, open_client

CHAMPION = "champion"


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

    told = attempt(known.tracking_uri, set_alias)
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
                f"{tracking_uri} gives no champion of {registered!r} ({first_line(error)}): train the study, or "
                "check the address."
            ) from error
        return load_model(Path(folder))
