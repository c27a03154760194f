"""Tell the tracking server about a model that the store holds: parameters, scores per fold, figures, digests."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from entropice_core import __version__
from entropice_core.config.resolved import to_toml
from entropice_core.pipeline.product import Context
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.training.tracking import (
    TrackedInput,
    TrackedRun,
    crown,
    read_receipt,
    receipt_path,
    record_map,
    record_once,
)

METRICS = (
    *("roc_auc", "average_precision", "log_loss", "brier", "ece", "balanced_accuracy", "f1", "f2", "rps"),
    *("log_loss_skill", "brier_skill", "climatology_log_loss_skill"),
)
KINDS = ("spatial", "temporal", "random", "permuted")


def track(model: str, context: Context, partition: Partition) -> dict[str, Any]:
    """Record the current version of a model once; return where, or the problem.

    A receipt from an earlier run is enough, so nothing heavy is imported for a model that is already recorded.
    """
    dataset = f"model.{model}"
    manifest = context.store.manifest(dataset, partition)
    folder = _receipts(context)
    uri = context.settings.tracking_uri
    receipt = read_receipt(receipt_path(folder, dataset, partition.key, manifest.digest))
    if receipt is None or receipt.problem or receipt.tracking_uri != uri:
        context.say(f"recording {dataset} {partition}")
        receipt = record_once(_run(model, context, partition, manifest), uri, folder)
    if receipt.problem:
        return {"tracking_problem": receipt.problem}
    return {"mlflow_run_id": receipt.run_id, "mlflow_path": receipt.url_path, "tracking_uri": receipt.tracking_uri}


def track_map(model: str, context: Context, partition: Partition) -> dict[str, Any]:
    """Add the picture of a map to the run of its model, once."""
    picture = context.store.path(f"map.{model}", partition) / "map.png"
    version = context.store.manifest(f"map.{model}", partition).digest[:12]
    where = f"{partition.grid}/{partition.year}/{version}"
    problem = record_map(_receipts(context), _version_of(model, context, Partition(partition.grid)), picture, where)
    return {"tracking_problem": problem} if problem else {}


def track_champions(context: Context, partition: Partition) -> dict[str, Any]:
    """Give the alias ``champion`` of each grid to the model with the lowest log loss on held-out places."""
    from entropice_core.comparison.table import best_model

    study = context.study.study
    scores, problems = context.store.path("comparison", partition), []
    for grid in study.grids:
        model = best_model(scores, grid)
        version = _version_of(model, context, Partition(grid))
        problems.append(crown(_receipts(context), version, f"entropice-{study.name}-{grid}"))
    said = sorted({problem for problem in problems if problem})
    return {"tracking_problem": "; ".join(said)} if said else {}


def _version_of(model: str, context: Context, on_grid: Partition) -> tuple[str, str, str]:
    dataset = f"model.{model}"
    return dataset, on_grid.key, context.store.manifest(dataset, on_grid).digest


def _receipts(context: Context) -> Any:
    return context.settings.home / "receipts" / context.study.study.name


def _run(model: str, context: Context, partition: Partition, manifest: Manifest) -> TrackedRun:
    folder = context.store.path(manifest.dataset, partition)
    cv, cost = (json.loads((folder / name).read_text()) for name in ("cv.json", "cost.json"))
    toml = to_toml(context.study)
    return TrackedRun(
        experiment=context.study.study.name,
        dataset=manifest.dataset,
        partition=partition.key,
        name=f"{model} {partition.grid}",
        digest=manifest.digest,
        study=sha256(toml.encode()).hexdigest(),
        study_toml=toml,
        parameters=_parameters(model, context, partition, cv),
        metrics={**_metrics(cv), **{k: float(v) for k, v in cost.items() if isinstance(v, int | float)}},
        fold_metrics=_fold_metrics(cv),
        tags={**_tags(manifest), **_machine(cost), **context.tags},
        artifacts=folder,
        candidates=cv["final"]["candidates"],
        inputs=[
            TrackedInput(
                f"{ref.dataset} {ref.partition}", ref.digest, str(context.store.path(ref.dataset, ref.partition))
            )
            for ref in manifest.recipe.inputs
        ],
    )


def _parameters(model: str, context: Context, partition: Partition, cv: Mapping[str, Any]) -> dict[str, str]:
    study = context.study
    described = {
        "model": model,
        "grid": str(partition.grid),
        "years": f"{study.study.years.first}-{study.study.years.last}",
        "seed": study.study.seed,
        "target": f"{study.target.inventory} {study.target.positive}",
        "task": study.target.task,
        "weights": study.target.weights,
        "folds": study.folds.kind,
        "n_folds": study.folds.n_folds,
        "buffer_km": study.folds.buffer_km,
        "calibration": study.training.calibration,
        "sources": ",".join(sorted(study.models[model].sources or study.sources)),
        "lags": ",".join(f"{name}={source.lag}" for name, source in sorted(study.sources.items())),
        **{f"final.{key}": value for key, value in cv["final"]["params"].items()},
        "final.edge_m2_per_m2": cv["final"]["edge"],
    }
    return {key: str(value) for key, value in described.items()}


def _metrics(cv: Mapping[str, Any]) -> dict[str, float]:
    found = {"rows": float(cv["rows"]), "positives": float(cv["positives"])}
    for kind in KINDS:
        part = "summary_raw" if kind == "permuted" else "summary"  # calibration flattens an AUC below 1/2
        for metric, entry in ((cv.get(kind) or {}).get(part) or {}).items():
            if metric in METRICS and entry["mean"] is not None:
                found[f"{kind}.{metric}.mean"] = entry["mean"]
                found |= {} if entry["sd"] is None else {f"{kind}.{metric}.sd": entry["sd"]}
    return found


def _fold_metrics(cv: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Give the scores of each fold; None keeps the place of a fold in which a score is not defined."""
    folds = [fold["metrics"] for fold in cv["spatial"]["folds"]]
    return {f"fold.{metric}": [fold.get(metric) for fold in folds] for metric in METRICS}


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


def _machine(cost: Mapping[str, Any]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version}" for name, version in cost["packages"].items())
    return {
        "entropice.version": __version__,
        "entropice.device": str(cost["device"]),
        "entropice.machine": f"{cost['machine']}, {cost['cores']} cores, Python {cost['python']}",
        "entropice.packages": packages,
    }
