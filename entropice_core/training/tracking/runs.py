"""What is told to a tracking server, what it tells, and the receipts that remember what it knows already."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

EXPERIMENT_PREFIX = "entropice"


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


def receipt_path(receipts: Path, dataset: str, partition: str, digest: str) -> Path:
    """Name the receipt of one version of one partition."""
    return receipts / f"{dataset}.{partition}.{digest[:12]}.json"


def read_receipt(path: Path) -> Receipt | None:
    """Read a receipt; None when there is none (a torn one cannot be: it is renamed into place)."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    return Receipt(**{**stored, "maps": tuple(stored.get("maps", ()))})


def keep_receipt(path: Path, receipt: Receipt) -> None:
    """Write a receipt and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(receipt), indent=1))
    os.replace(partial, path)
