"""The report of a study: from which data, how good, compared with what, why believe it, and what to doubt.

Everything in it is read from what was published; nothing is computed anew but the words. The page is written as
Markdown beside its figures, and as one HTML file that can be sent by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import pandas as pd

from entropice_core.checks import MAX_ECE
from entropice_core.comparison.page import Page, write_page
from entropice_core.comparison.paired import pairs_in_words
from entropice_core.comparison.table import best_model, read_scores, warnings_of
from entropice_core.config import Provenance, Study
from entropice_core.pipeline.words import score_notes

VERSION = "3"
TOP_FEATURES = 10


@dataclass(frozen=True)
class Material:
    """What a report is written from.

    Attributes
    ----------
    cvs, importances, trusts : (model, grid) -> content of ``cv.json``, of ``importance.json``, of ``trust.json``
    applicable : (model, grid) -> year -> share of the map's cells inside the area of applicability
    models : (model, grid) -> folder of the published model
    comparison : folder of the comparison; agreement : year -> folder of the agreement of maps
    inputs : (dataset, partition, digest) of everything that the report rests on
    rows : grid -> counts of the training set
    """

    cvs: Mapping[tuple[str, str], Mapping[str, Any]]
    importances: Mapping[tuple[str, str], Mapping[str, Any]]
    trusts: Mapping[tuple[str, str], Mapping[str, Any]]
    applicable: Mapping[tuple[str, str], Mapping[int, float]]
    models: Mapping[tuple[str, str], Path]
    comparison: Path
    agreement: Mapping[int, Path]
    inputs: Sequence[tuple[str, str, str]]
    rows: Mapping[str, Mapping[str, Any]]


def write_report(folder: Path, study: Study, material: Material) -> dict[str, Any]:
    """Write report.md, report.html and the figures; return counts for the manifest."""
    best = {grid: best_model(material.comparison, grid) for grid in study.study.grids}
    page = Page(study.study.title)
    page.text(study.study.description or "A study without a description.")
    page.items([_verdict(grid, model, material.cvs[model, grid]) for grid, model in best.items()])
    _data(page, study, material)
    _scores(page, folder, study, material)
    _belief(page, material)
    for grid, model in best.items():
        _grid(page, folder, grid, model, material)
    _agreement(page, folder, material)
    _doubts(page, study, material)
    page.heading("Made from")
    page.table(("dataset", "partition", "digest"), [(d, p, digest[:16]) for d, p, digest in material.inputs])
    write_page(page, folder, "report")
    return {"models": len(material.cvs), "figures": len(page.figures()), "inputs": len(material.inputs)}


def _verdict(grid: str, model: str, cv: Mapping[str, Any]) -> str:
    summary = cv["spatial"]["summary"]
    auc, skill, over = (_number(summary, name) for name in ("roc_auc", "log_loss_skill", "climatology_log_loss_skill"))
    return (
        f"{grid}: {model} has the lowest log loss on held-out places: ROC AUC {auc}, skill {skill} against the "
        f"prevalence, {over} against a map of the slumps nearby."
    )


def _data(page: Page, study: Study, material: Material) -> None:
    page.heading("From which data")
    inventory = study.inventories[study.target.inventory]
    rows = [("labels", study.target.inventory, *_cited(inventory), "")]
    for name, source in study.sources.items():
        rows.append(("features", name, *_cited(source), f"lag {source.lag} a" if source.is_yearly else "static"))
    page.table(("what", "name", "title", "cited as", "licence", "time"), rows)
    page.items(score_notes(study))
    for grid, counts in material.rows.items():
        shown = ", ".join(f"{name} {value:,}" for name, value in counts.items() if isinstance(value, int))
        page.text(f"Training set of {grid}: {shown}.")


def _cited(what: Provenance) -> tuple[str, str, str]:
    return what.title, f"{what.citation} {what.doi}".strip(), what.licence


def _scores(page: Page, folder: Path, study: Study, material: Material) -> None:
    page.heading("How good, on places that were held out")
    scores = read_scores(material.comparison)
    page.table(tuple(scores.columns), [tuple(row) for row in scores.itertuples(index=False)])
    page.text(
        "Mean ± sd over outer folds. Skill: 1 - log loss / log loss of the prevalence of the training folds. Over "
        "climatology: the same against the share of positives in the nearest training cells (or in earlier years of "
        "the cell, in the temporal hold-out), which uses no predictor at all."
    )
    _figure(page, folder, material.comparison / "scores.png", "ROC AUC with its controls")
    page.heading("Which differences are real")
    page.text(
        "Paired over folds; intervals by Nadeau & Bengio (2003), which allow for folds that share training rows. "
        "Positive: the first named is better. Intervals are not corrected for the number of pairs."
    )
    said = pairs_in_words(pd.read_csv(material.comparison / "pairs.csv"))
    page.items(said or ["There is one model on one grid only: nothing to compare."])
    _figure(page, folder, material.comparison / "pairs.png", f"Paired differences of {study.study.name}")


def _belief(page: Page, material: Material) -> None:
    page.heading("Why believe it")
    rows = []
    for (model, grid), cv in sorted(material.cvs.items(), key=lambda item: item[0][::-1]):
        summary = cv["spatial"]["summary"]
        permuted = cv.get("permuted") or {}
        rows.append(
            (
                grid,
                model,
                "baseline" if model == "prevalence" else _mark(_mean(summary, "log_loss_skill"), above=0.0),
                _mark(_mean(summary, "climatology_log_loss_skill"), above=0.0),
                _mark(_mean(summary, "ece"), below=MAX_ECE),
                "not asked for" if not permuted else ("yes" if permuted.get("is_chance") else "NO"),
                _gap(cv),
            )
        )
    page.table(
        ("grid", "model", "mean skill above prevalence", "mean skill above climatology", f"mean ECE below {MAX_ECE:g}",
         "permuted labels at chance", "random folds flatter by (AUC)"), rows,
    )  # fmt: skip


def _grid(page: Page, folder: Path, grid: str, model: str, material: Material) -> None:
    """Show the best model of a grid: calibration, regions, features."""
    cv = material.cvs[model, grid]
    page.heading(f"{model} on {grid}, more closely")
    where = material.models[model, grid]
    _figure(page, folder, where / "reliability.png", f"Reliability of {model} on {grid}, out of fold", f"{grid}_")
    regions = cv.get("regions") or {}
    if regions:
        names = ("n", "n_positive", "prevalence", "roc_auc", "log_loss", "brier", "ece")
        rows = [(region, *(_shown(scores.get(name)) for name in names)) for region, scores in regions.items()]
        page.table(("region", "rows", "positive", "prevalence", "ROC AUC", "log loss", "Brier", "ECE"), rows)
    page.items(_trust(material.trusts[model, grid], material.applicable[model, grid]))
    features = material.importances[model, grid].get("features") or []
    if features:
        page.text("Features whose shuffling in held-out rows costs most (nat of log loss, mean and sd over folds):")
        top = [(f["name"], _shown(f["log_loss_increase"]), _shown(f["sd_over_folds"])) for f in features[:TOP_FEATURES]]
        page.table(("feature", "increase of log loss", "sd over folds"), top)
        _figure(page, folder, where / "importance.png", f"Importance for {model} on {grid}", f"{grid}_")


def _trust(trust: Mapping[str, Any], applicable: Mapping[int, float]) -> list[str]:
    """Say how far a map may be trusted: sets that hold the truth, cells unlike those of training, distances."""
    wanted, summary = trust["conformal"]["sets"]["coverage"], trust["conformal"]["measured"]["summary"]
    held, size, distances = summary["coverage"], summary["mean_size"]["mean"], trust["distances"]
    said = [
        f"Conformal sets promised to hold the truth in {wanted:.0%} of the cells; on held-out places they did in "
        f"{_shown(held['mean'])} ± {_shown(held['sd'])}, with {_shown(size)} classes a set on average.",
        *(
            f"{share:.1%} of the cells of the map of {year} are inside the area of applicability; elsewhere a "
            "probability is an extrapolation."
            for year, share in sorted(applicable.items())
        ),
        f"From folds to map, distances to the nearest training cell differ by {_shown(distances['w_km'])} km: "
        f"{distances['verdict']}.",
    ]
    return said


def _agreement(page: Page, folder: Path, material: Material) -> None:
    if not material.agreement:
        return
    year = max(material.agreement)
    page.heading(f"Where maps agree, {year}")
    page.text(
        "Ranks of susceptibility at common points of equal area. Where models or grids spread, the map depends on the "
        "choice of model more than on the place."
    )
    table = pd.read_csv(material.agreement[year] / "agreement.csv")
    columns = ("first", "second", "spearman", "mean_abs_difference", "top_tenth_shared", "points")
    page.table(columns, [tuple(_shown(value) for value in row) for row in table[list(columns)].itertuples(index=False)])
    _figure(page, folder, material.agreement[year] / "agreement.png", f"Agreement of maps, {year}")


def _doubts(page: Page, study: Study, material: Material) -> None:
    page.heading("What to doubt")
    doubts = list(warnings_of(material.comparison))
    for (model, grid), cv in material.cvs.items():
        one_class = [f["name"] for f in cv["spatial"]["folds"] if f["metrics"].get("roc_auc") is None]
        if one_class:
            doubts.append(f"{model} on {grid}: no AUC in {', '.join(one_class)}, where all test rows are of one class.")
        if cv["spatial"]["n_never_tested"]:
            doubts.append(f"{model} on {grid}: {cv['spatial']['n_never_tested']:,} rows were never tested.")
    same_year = [name for name, source in study.sources.items() if source.is_yearly and source.lag == 0]
    if same_year:
        doubts.append(
            f"Features of the same year as the label ({', '.join(same_year)}): this is mapping, not forecasting."
        )
    doubts.append(
        "Inventories miss slumps and hold what is none; a score against them is a score against their makers."
    )
    doubts.append("A probability is of the class in a cell of that size; it is no probability of a slump at a point.")
    if study.folds.train_until is None:
        doubts.append(
            "No temporal hold-out was asked for (folds.train_until): nothing is known of skill in later years."
        )
    page.items(doubts)


def _figure(page: Page, folder: Path, file: Path, caption: str, prefix: str = "") -> None:
    if file.is_file():
        copyfile(file, folder / f"{prefix}{file.name}")
        page.figure(f"{prefix}{file.name}", caption)


def _gap(cv: Mapping[str, Any]) -> str:
    if not cv.get("random"):
        return "not asked for"
    random, spatial = _mean(cv["random"]["summary"], "roc_auc"), _mean(cv["spatial"]["summary"], "roc_auc")
    return "undefined" if random is None or spatial is None else f"{random - spatial:+.3f}"


def _mark(value: float | None, above: float | None = None, below: float | None = None) -> str:
    if value is None:
        return "undefined"
    good = (above is None or value > above) and (below is None or value < below)
    return f"{'yes' if good else 'NO'} ({value:+.3f})"


def _mean(summary: Mapping[str, Any], metric: str) -> float | None:
    found: float | None = (summary.get(metric) or {}).get("mean")
    return found


def _number(summary: Mapping[str, Any], metric: str) -> str:
    return _shown(_mean(summary, metric))


def _shown(value: Any) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.3f}"
    return str(value)
