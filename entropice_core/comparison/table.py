"""The table of scores: every model on every grid, on the same folds, with spread, baseline and control beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from entropice_core.config import Study
from entropice_core.errors import StoreError
from entropice_core.pipeline.words import score_notes

VERSION = "2"
METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "AP",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "log_loss_skill": "skill",
    "climatology_log_loss_skill": "over climatology",
}
WIDE = 0.1
Found = Mapping[tuple[str, str], Mapping[str, Any]]


def write_comparison(folder: Path, study: Study, found: Found) -> dict[str, Any]:
    """Write scores.csv (numbers), scores.json (as shown), scores.md and scores.png; return counts for the manifest.

    Parameters
    ----------
    found : mapping of (model, grid) to the content of that model's ``cv.json``
    """
    numbers = pd.DataFrame([_numbers(model, grid, cv) for (model, grid), cv in found.items()])
    numbers = numbers.sort_values(["grid", "model"], kind="stable").reset_index(drop=True)
    numbers.to_csv(folder / "scores.csv", index=False, float_format="%.6g", lineterminator="\n")
    shown = pd.DataFrame([_shown(model, grid, cv) for (model, grid), cv in sorted(found.items(), key=_order(study))])
    (folder / "scores.json").write_text(shown.to_json(orient="records", indent=1) + "\n")
    (folder / "scores.md").write_text(_markdown(study, shown, found))
    _draw(folder / "scores.png", study, found)
    return {"models": len(study.models), "grids": len(study.study.grids), "rows": len(shown)}


def read_scores(folder: Path) -> pd.DataFrame:
    """Read the table as it is shown to people."""
    path = folder / "scores.json"
    if not path.is_file():
        raise StoreError(f"{path} is not there: build the comparison again (entropice build comparison --force).")
    return pd.DataFrame(json.loads(path.read_text()))


def best_model(folder: Path, grid: str) -> str:
    """Name the model with the lowest mean log loss on spatial folds of a grid."""
    scores = pd.read_csv(folder / "scores.csv")
    here = scores[scores["grid"] == grid].sort_values("spatial_log_loss_mean", kind="stable")
    return str(here["model"].iloc[0])


def warnings_of(folder: Path) -> list[str]:
    """Say which models do no better than the share of positives alone, and where folds disagree widely."""
    scores = pd.read_csv(folder / "scores.csv").to_dict("records")
    known = {row["grid"]: float(row["spatial_log_loss_mean"]) for row in scores if row["model"] == "prevalence"}
    found = []
    for row in scores:
        grid, model, spread = row["grid"], row["model"], float(row["spatial_roc_auc_sd"])
        if model != "prevalence" and float(row["spatial_log_loss_mean"]) >= known.get(grid, float("inf")):
            found.append(f"{model} on {grid} is no better than prevalence alone: its map tells nothing.")
        elif spread > WIDE:
            found.append(f"{model} on {grid}: folds disagree widely (AUC sd {spread:.2f}).")
    return found


def _order(study: Study) -> Any:
    models, grids = list(study.models), list(study.study.grids)
    return lambda item: (grids.index(item[0][1]), models.index(item[0][0]))


def _numbers(model: str, grid: str, cv: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"grid": grid, "model": model, "rows": cv["rows"], "positives": cv["positives"]}
    row["task"] = cv["task"]
    for kind in ("spatial", "temporal", "random", "permuted"):
        summary = _summary(cv, kind)
        for metric in METRICS:
            for statistic in ("mean", "sd", "n_folds_defined"):
                row[f"{kind}_{metric}_{statistic}"] = summary.get(metric, {}).get(statistic)
    return row


def _shown(model: str, grid: str, cv: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"grid": grid, "model": model}
    for metric, heading in METRICS.items():
        row[heading] = _mean_sd(cv["spatial"]["summary"].get(metric))
    for kind in ("random", "permuted"):
        row[f"{kind} AUC"] = _mean_sd(_summary(cv, kind).get("roc_auc")) if cv.get(kind) else "-"
    if cv.get("temporal"):
        row["temporal skill"] = _mean_only(_summary(cv, "temporal").get("log_loss_skill"))
        row["temporal over climatology"] = _mean_only(_summary(cv, "temporal").get("climatology_log_loss_skill"))
    row["rows"] = f"{cv['rows']:,}"
    row["positive"] = f"{cv['positives'] / max(cv['rows'], 1):.0%}"
    return row


def _summary(cv: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Take calibrated scores, and raw ones for permuted labels: calibration never slopes down and hides AUC < 0.5."""
    part: Mapping[str, Any] = cv.get(kind) or {}
    summary: Mapping[str, Any] = part.get("summary_raw" if kind == "permuted" else "summary", {})
    return summary


def _mean_sd(entry: Mapping[str, Any] | None) -> str:
    if not entry or entry.get("mean") is None:
        return "undefined"
    return f"{entry['mean']:.3f}" if entry["sd"] is None else f"{entry['mean']:.3f}±{entry['sd']:.3f}"


def _mean_only(entry: Mapping[str, Any] | None) -> str:
    return "undefined" if not entry or entry.get("mean") is None else f"{entry['mean']:.3f}"


def _markdown(study: Study, shown: pd.DataFrame, found: Found) -> str:
    head = "| " + " | ".join(shown.columns) + " |"
    rule = "|" + "|".join(" --- " if c in ("grid", "model") else " ---: " for c in shown.columns) + "|"
    body = ["| " + " | ".join(str(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    notes = [f"- {line}" for line in score_notes(study)]
    chosen = [f"- {grid} {model}: {_choices(cv)}" for (model, grid), cv in sorted(found.items(), key=_order(study))]
    return "\n".join(
        [f"# {study.study.title}", "", "Mean ± sd over the outer folds of spatial cross-validation.", "", head, rule]
        + [*body, "", *notes, "", "Parameters that the inner folds chose, fold by fold:", "", *chosen, ""]
    )


def _choices(cv: Mapping[str, Any]) -> str:
    params = [json.dumps(fold["params"], sort_keys=True) for fold in cv["spatial"]["folds"]]
    return ", ".join(f"{p} ×{params.count(p)}" for p in sorted(set(params)))


def _draw(path: Path, study: Study, found: Found) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.2 + 0.32 * len(found)), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.30, 0.62 / figure.get_figheight(), 0.66, 1 - 1.15 / figure.get_figheight()))
    styles = {"spatial": ("#2a6f97", "o"), "random": ("#b08968", "s"), "permuted": ("#8d99ae", "x")}
    items = sorted(found.items(), key=_order(study))[::-1]
    for kind, (colour, marker) in styles.items():
        for y, (_, cv) in enumerate(items):
            entry = _summary(cv, kind).get("roc_auc")
            if entry and entry["mean"] is not None:
                label = f"{kind} folds" if kind != "permuted" else "permuted labels"
                axes.errorbar(entry["mean"], y, xerr=entry["sd"], color=colour, marker=marker, markersize=5,
                              capsize=2, linewidth=1, linestyle="", label=label if y == 0 else None)  # fmt: skip
    axes.axvline(0.5, color="#444444", linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(items)), [f"{grid} {model}" for (model, grid), _ in items], fontsize=8)
    axes.set_xlabel("ROC AUC, mean ± sd over folds (dotted: chance)", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    figure.text(0.02, 1 - 0.2 / figure.get_figheight(), study.study.title, fontsize=8.5, weight="bold")
    figure.savefig(path, metadata={"Software": None})
