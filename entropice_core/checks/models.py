"""What must hold of the training set, and what makes a model worth believing."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from entropice_core.checks.verdict import Check, Subject, Verdict, count_wrong

MAX_ECE = 0.1
"""Expected calibration error on held-out places above which probabilities should not be read as frequencies."""

COVERAGE_SLACK = 0.05
"""Conformal sets may hold the truth this much less often than promised, on average over held-out folds."""


def _rows_unique(subject: Subject) -> Verdict:
    ids, year = subject.dataset["cell_ids"].values, subject.dataset["year"].values
    after = (ids[1:] > ids[:-1]) | ((ids[1:] == ids[:-1]) & (year[1:] > year[:-1]))
    return count_wrong(~after, "cell-years are out of order or there twice", "Every cell-year is there once, in order")


def _both_classes(subject: Subject) -> Verdict:
    density = subject.values("density")
    positive = int(np.count_nonzero(density > 0))
    sentence = f"{positive:,} of {density.size:,} cell-years hold slumps."
    return Verdict(0 < positive < density.size, sentence, {"rows": int(density.size), "positive": positive})


def _summaries(subject: Subject, kind: str) -> Mapping[str, Any] | None:
    cv = json.loads((subject.folder / "cv.json").read_text(encoding="utf-8"))
    found: Mapping[str, Any] | None = (cv.get(kind) or {}).get("summary")
    return found


def _better_than_baseline(subject: Subject) -> Verdict:
    """Skill is 1 - log loss / log loss of the prevalence of the training folds, on folds apart in space."""
    if subject.product.config["model"]["model"] == "prevalence":
        return Verdict(True, "This model is the baseline; others are compared with it.")
    summary = _summaries(subject, "spatial") or {}
    skill, loss = _mean(summary, "log_loss_skill"), _mean(summary, "log_loss")
    if not np.isfinite(skill):
        return Verdict(False, "No fold has both classes, so that the skill is not defined.")
    word = "better" if skill > 0 else "not better"
    sentence = f"Log loss {loss:.3f} on spatial folds is {word} than the prevalence alone (skill {skill:+.3f})."
    return Verdict(skill > 0, sentence, {"log_loss": round(loss, 6), "log_loss_skill": round(skill, 6)})


def _better_than_climatology(subject: Subject) -> Verdict:
    """A map of known slumps needs no predictor; a model that does not beat it has learned no more than that."""
    if subject.product.config["model"]["model"] == "prevalence":
        return Verdict(True, "This model is the baseline; others are compared with it.")
    skill = _mean(_summaries(subject, "spatial") or {}, "climatology_log_loss_skill")
    if not np.isfinite(skill):
        return Verdict(False, "The skill against the slumps nearby is not defined.")
    word = "better" if skill > 0 else "not better"
    sentence = f"Log loss on spatial folds is {word} than the share of slumps in the nearest cells ({skill:+.3f})."
    return Verdict(skill > 0, sentence, {"climatology_log_loss_skill": round(skill, 6)})


def _well_calibrated(subject: Subject) -> Verdict:
    error = _mean(_summaries(subject, "spatial") or {}, "ece")
    if not np.isfinite(error):
        return Verdict(False, "The calibration error is not defined.")
    sentence = f"Expected calibration error {error:.3f} on spatial folds; at most {MAX_ECE:g} is wanted."
    return Verdict(error <= MAX_ECE, sentence, {"ece": round(error, 6)})


def _permuted_is_chance(subject: Subject) -> Verdict:
    """The AUC of raw probabilities, as calibration flattens a ranking below chance; the band counts cells."""
    control = json.loads((subject.folder / "cv.json").read_text(encoding="utf-8")).get("permuted")
    if control is None:
        return Verdict(True, "The study does not ask for the control with shuffled labels.")
    auc, low, high = (_number(control[name]) for name in ("mean_auc", "chance_low", "chance_high"))
    if not np.isfinite(auc):
        return Verdict(True, "No fold of the shuffled labels has both classes: nothing can be said.")
    sentence = f"AUC {auc:.3f} with shuffled labels; chance is {low:.3f} to {high:.3f}."
    numbers = {"permuted_auc": round(auc, 6), "chance_low": round(low, 6), "chance_high": round(high, 6)}
    return Verdict(low <= auc <= high, sentence, numbers)


def _sets_cover(subject: Subject) -> Verdict:
    report = json.loads((subject.folder / "trust.json").read_text(encoding="utf-8"))
    measured = report["conformal"]["measured"]
    wanted, summary = float(measured["wanted"]), measured["summary"]
    worst = min(_number(entry.get("mean")) for entry in summary["coverage_by_class"] if entry.get("mean") is not None)
    mean, size = _mean(summary, "coverage"), _mean(summary, "mean_size")
    sentence = (
        f"Sets hold the class of {mean:.1%} of held-out cells (promised {wanted:.0%}; worst class {worst:.1%}) with "
        f"{size:.2f} classes on average."
    )
    numbers = {"coverage": round(mean, 6), "worst_class": round(worst, 6), "mean_size": round(size, 6)}
    return Verdict(worst >= wanted - COVERAGE_SLACK, sentence, numbers)


def _mean(summary: Mapping[str, Any], metric: str) -> float:
    return _number((summary.get(metric) or {}).get("mean"))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


CHECKS: dict[str, tuple[Check, ...]] = {
    "training_set": (
        Check("rows_are_unique", "Every cell-year is there once.", "error", _rows_unique),
        Check("both_classes_are_there", "Some cell-years hold slumps and some do not.", "warning", _both_classes),
    ),
    "model": (
        Check(
            "better_than_prevalence", "Log loss on spatial folds beats the baseline.", "warning", _better_than_baseline
        ),
        Check("better_than_climatology", "Log loss beats the slumps nearby.", "warning", _better_than_climatology),
        Check("well_calibrated", "Probabilities are near frequencies on held-out places.", "warning", _well_calibrated),
        Check("shuffled_labels_are_chance", "Shuffled labels cannot be predicted.", "warning", _permuted_is_chance),
        Check("sets_cover_as_promised", "Conformal sets hold the truth on held-out cells.", "warning", _sets_cover),
    ),
}
