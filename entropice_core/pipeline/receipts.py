"""Tell the tracking server about a model that the store holds: parameters, scores per fold, figures, digests."""

import json
from collections.abc import Mapping
from typing import Any

from entropice_core.pipeline.product import Context
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.training.tracking import TrackedRun, read_receipt, receipt_path, record_once

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "ece", "balanced_accuracy")


def track(model: str, context: Context, partition: Partition) -> dict[str, Any]:
    """Record the current version of a model once; return where, or the problem.

    A receipt from an earlier run is enough, so nothing heavy is imported for a model that is already recorded.
    """
    dataset = f"model.{model}"
    manifest = context.store.manifest(dataset, partition)
    folder = context.settings.home / "receipts" / context.study.study.name
    uri = context.settings.tracking_uri
    receipt = read_receipt(receipt_path(folder, dataset, partition.key, manifest.digest))
    if receipt is None or receipt.problem or receipt.tracking_uri != uri:
        context.say(f"recording {dataset} {partition}")
        receipt = record_once(_run(model, context, partition, manifest), uri, folder)
    if receipt.problem:
        return {"tracking_problem": receipt.problem}
    return {"mlflow_run_id": receipt.run_id, "mlflow_path": receipt.url_path, "tracking_uri": receipt.tracking_uri}


def _run(model: str, context: Context, partition: Partition, manifest: Manifest) -> TrackedRun:
    folder = context.store.path(manifest.dataset, partition)
    cv = json.loads((folder / "cv.json").read_text())
    return TrackedRun(
        experiment=context.study.study.name,
        dataset=manifest.dataset,
        partition=partition.key,
        name=f"{model} {partition.grid}",
        digest=manifest.digest,
        parameters=_parameters(model, context, partition, cv),
        metrics=_metrics(cv),
        fold_metrics=_fold_metrics(cv),
        tags=_tags(manifest),
        artifacts=folder,
    )


def _parameters(model: str, context: Context, partition: Partition, cv: Mapping[str, Any]) -> dict[str, str]:
    study = context.study
    described = {
        "model": model,
        "grid": str(partition.grid),
        "years": f"{study.study.years.first}-{study.study.years.last}",
        "seed": study.study.seed,
        "target": f"{study.target.inventory} {study.target.positive}",
        "folds": study.folds.kind,
        "n_folds": study.folds.n_folds,
        "buffer_km": study.folds.buffer_km,
        "calibration": study.training.calibration,
        "sources": ",".join(sorted(study.sources)),
        "lags": ",".join(f"{name}={source.lag}" for name, source in sorted(study.sources.items())),
        **{f"final.{key}": value for key, value in cv["final"]["params"].items()},
        "final.edge_m2_per_m2": cv["final"]["edge"],
    }
    return {key: str(value) for key, value in described.items()}


def _metrics(cv: Mapping[str, Any]) -> dict[str, float]:
    found = {"rows": float(cv["rows"]), "positives": float(cv["positives"])}
    for kind in ("spatial", "random", "permuted"):
        for metric, entry in ((cv.get(kind) or {}).get("summary") or {}).items():
            if metric in METRICS and entry["mean"] is not None:
                found[f"{kind}.{metric}.mean"] = entry["mean"]
                found[f"{kind}.{metric}.sd"] = entry["sd"]
    return found


def _fold_metrics(cv: Mapping[str, Any]) -> dict[str, list[float]]:
    folds = cv["spatial"]["folds"]
    return {
        f"fold.{metric}": [fold["metrics"][metric] for fold in folds if fold["metrics"].get(metric) is not None]
        for metric in METRICS
    }


def _tags(manifest: Manifest) -> dict[str, str]:
    tags = {
        "entropice.dataset": manifest.dataset,
        "entropice.partition": str(manifest.partition),
        "entropice.code_version": manifest.recipe.code_version,
        "entropice.recipe": manifest.recipe_digest,
    }
    for ref in manifest.recipe.inputs:
        tags[f"entropice.input.{ref.dataset}"] = f"{ref.partition} {ref.digest}"
    return tags
