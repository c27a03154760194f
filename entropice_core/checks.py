"""What must hold for a published partition, and what should make a reader wary.

An *error* means that the partition must not be used: a sum, a density or a probability is impossible. A *warning* is a
property of the data or of the skill that everybody who uses the partition should see. Each check reads the store, so
the same findings come from a fresh build and from a partition that was built last year. Nothing is repaired here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from entropice_core.config import Study
from entropice_core.pipeline.product import Context, Product
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition

if TYPE_CHECKING:
    import xarray as xr

Severity = Literal["error", "warning"]
Values = NDArray[np.floating[Any]]

MAX_NAN_SHARE = 0.5
"""A feature without a value in more than half of the cells is mostly imputation."""

MAX_REJECTED_SHARE = 0.5
"""An inventory of which most features are rejected was probably described wrongly."""

MAX_CALIBRATION_GAP = 0.1
"""Mean probability and observed prevalence may differ by this much on the cells where both are known."""

MAX_ECE = 0.1
"""Expected calibration error on held-out places above which probabilities should not be read as frequencies."""

MIN_APPLICABLE = 0.5
"""A map that extrapolates on more than half of its cells is mostly a guess."""

COVERAGE_SLACK = 0.05
"""Conformal sets may hold the truth this much less often than promised, on average over held-out folds."""

MAX_AREA_ERROR = 1e-6
"""Relative difference between the area of all slumps and the sum of its parts."""

MAX_DRIFT = 3.0
"""The density on the same land may rise or fall by this factor from one observed year to the next."""

FEW_SHARED_CELLS = 30
"""Years that share fewer observed cells are not compared."""

TOLERANCE = 1e-5
"""Relative slack for float32: a mean of equal values may come out one step above them."""


@dataclass(frozen=True)
class Subject:
    """A published partition as a check sees it: a dataset, or the folder of a bundle."""

    study: Study
    product: Product
    partition: Partition
    manifest: Manifest
    content: Any

    @property
    def dataset(self) -> "xr.Dataset":
        """The content of a Zarr partition."""
        found: xr.Dataset = self.content
        return found

    @property
    def folder(self) -> Path:
        """The folder of a bundle."""
        return Path(self.content)

    def values(self, name: str) -> Values:
        """One variable as an array."""
        return np.asarray(self.dataset[name].values)


@dataclass(frozen=True)
class Verdict:
    """Whether a check passed, in a sentence and numbers."""

    passed: bool
    sentence: str
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A property that partitions of one kind of dataset have."""

    name: str
    description: str
    severity: Severity
    judge: Callable[[Subject], Verdict]


@dataclass(frozen=True)
class Finding:
    """What a check found in one partition."""

    check: Check
    partition: Partition
    verdict: Verdict


def checks_of(product: Product) -> tuple[Check, ...]:
    """List the checks of a product; the list depends on its kind only."""
    return CHECKS.get(product.kind, ())


def check_partition(context: Context, product: Product, manifest: Manifest) -> list[Finding]:
    """Run all checks of a product on one of its published versions."""
    checks = checks_of(product)
    if not checks:
        return []
    partition = manifest.partition
    is_dataset = manifest.kind == "zarr"
    content: Any = context.store.open(product.dataset, partition) if is_dataset else None
    if content is None:
        content = context.store.path(product.dataset, partition)
    subject = Subject(context.study, product, partition, manifest, content)
    return [Finding(check, partition, check.judge(subject)) for check in checks]


def _count(wrong: NDArray[np.bool_], what: str, good: str, numbers: Mapping[str, float] | None = None) -> Verdict:
    """Pass when nothing is wrong; otherwise say how many of how many."""
    n = int(np.count_nonzero(wrong))
    sentence = f"{n:,} of {wrong.size:,} {what}." if n else f"{good} ({wrong.size:,} looked at)."
    return Verdict(n == 0, sentence, {"looked_at": int(wrong.size), "wrong": n, **(numbers or {})})


# --- cells -----------------------------------------------------------------------------------------------------------


def _cells_sorted(subject: Subject) -> Verdict:
    ids = subject.dataset["cell_ids"].values
    return _count(
        ids[1:] <= ids[:-1], "cell ids do not rise: sorting or a twin", "Every cell id is larger than the one before"
    )


def _areas_positive(subject: Subject) -> Verdict:
    area = subject.values("area_m2")
    total = float(np.nansum(area)) / 1e6
    return _count(~(area > 0), "cells have no area", "Every cell has an area", {"total_km2": round(total, 3)})


def _land_fraction(subject: Subject) -> Verdict:
    land, least = subject.values("land_fraction"), subject.study.study_area.min_land_fraction
    wrong = ~((land >= least - TOLERANCE) & (land <= 1))
    return _count(
        wrong, f"cells have a land fraction outside {least:g} to 1", f"All land fractions lie in {least:g} to 1"
    )


# --- inventories and labels ------------------------------------------------------------------------------------------


def _mostly_kept(subject: Subject) -> Verdict:
    total = subject.manifest.counts.get("total", {})
    seen, kept = int(total.get("in", 0)), int(total.get("kept", 0))
    reasons = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in total.get("rejected", {}).items()) or "none"
    share = kept / seen if seen else 0.0
    sentence = f"{kept:,} of {seen:,} features are kept ({share:.0%}); rejected: {reasons}."
    return Verdict(share >= 1 - MAX_REJECTED_SHARE, sentence, {"in": seen, "kept": kept})


def _density_in_range(subject: Subject) -> Verdict:
    density = subject.values("density")
    known = density[np.isfinite(density)]
    largest = float(known.max()) if known.size else 0.0
    wrong = np.isinf(density) | (density < 0) | (density > 1)
    return _count(wrong, "cells have an impossible density", "Every density lies in 0 to 1", {"largest": largest})


def _unobserved_is_nan(subject: Subject) -> Verdict:
    unobserved = subject.values("observed_fraction") == 0
    wrong = unobserved & np.isfinite(subject.values("density"))
    return _count(
        wrong,
        "cells that nobody looked at have a density",
        "No cell that nobody looked at has a density",
        {"unobserved": int(unobserved.sum())},
    )


def _nothing_outside_footprint(subject: Subject) -> Verdict:
    unobserved = subject.values("observed_fraction") == 0
    wrong = unobserved & (np.nan_to_num(subject.values("count")) > 0)
    outside = int(subject.manifest.counts.get("count_unobserved", 0))
    return _count(
        wrong,
        "cells outside the footprint hold slumps",
        "No slump is counted where nobody looked",
        {"left_out": outside},
    )


def _area_fits(subject: Subject) -> Verdict:
    area, observed = subject.values("rts_area_m2"), subject.values("observed_area_m2")
    return _count(
        area > observed * (1 + TOLERANCE),
        "cells hold more slump than observed land: a coarse coast or areas in the wrong unit",
        "No cell holds more slump than observed land",
    )


def _area_conserved(subject: Subject) -> Verdict:
    """Add up what lies in cells and what lies elsewhere, each measured on its own, and compare with the whole."""
    attrs = subject.dataset.attrs
    whole = float(attrs.get("rts_area_total_m2", np.nan))
    if not np.isfinite(whole):
        return Verdict(False, "The labels do not say the area of all slumps: build them again.")
    elsewhere = sum(float(attrs[f"rts_area_{where}_m2"]) for where in ("outside_cells", "unobserved", "masked"))
    found = float(np.nansum(subject.values("rts_area_m2"))) + elsewhere
    error = abs(found - whole) / whole if whole > 0 else abs(found)
    sentence = (
        f"{found / 1e6:.6f} km2 in cells and elsewhere of {whole / 1e6:.6f} km2: relative difference {error:.1e}."
    )
    return Verdict(error <= MAX_AREA_ERROR, sentence, {"relative_difference": error, "rts_area_km2": whole / 1e6})


def _years_alike(subject: Subject) -> Verdict:
    """A jump on land that two years share is more often the inventory's (images, thresholds) than the ground's."""
    change, shared = subject.values("change_from_year_before"), subject.values("cells_shared_with_year_before")
    years = subject.values("year").astype(int)
    judged = np.isfinite(change) & (shared >= FEW_SHARED_CELLS)
    if not judged.any():
        return Verdict(True, f"No two years share {FEW_SHARED_CELLS} observed cells: nothing can be compared.")
    jumps = judged & ((change > MAX_DRIFT) | (change < 1 / MAX_DRIFT))
    told = "; ".join(f"{years[i]}: {change[i]:.3g} times the year before" for i in np.flatnonzero(jumps))
    largest = float(np.exp(np.abs(np.log(np.maximum(change[judged], 1e-12))).max()))
    sentence = f"Density on the same land jumps: {told}." if told else f"No year jumps more than {MAX_DRIFT:g} times."
    return Verdict(not jumps.any(), sentence, {"compared": int(judged.sum()), "largest_factor": round(largest, 4)})


# --- features --------------------------------------------------------------------------------------------------------


def _no_infinity(subject: Subject) -> Verdict:
    wrong = np.isinf(subject.values("features"))
    return _count(wrong, "values are infinite", "No value is infinite")


def _nan_share(subject: Subject) -> Verdict:
    share = np.isnan(subject.values("features")).mean(axis=0)
    names = subject.dataset["feature"].values.astype(str)
    worst = int(np.argmax(share))
    sentence = f"{names[worst]} has no value in {share[worst]:.1%} of the cells, the most of {share.size} features."
    return Verdict(bool(share[worst] <= MAX_NAN_SHARE), sentence, {"largest_share": round(float(share[worst]), 6)})


def _in_valid_range(subject: Subject) -> Verdict:
    """Compare means, minima and maxima with the declared range, spreads with its width."""
    config = subject.study.sources[subject.product.dataset.split(".", 1)[1]]
    values, names = subject.values("features"), subject.dataset["feature"].values.astype(str)
    outside = []
    for column, name in enumerate(names):
        low, high = config.bounds_of(str(name))
        slack = TOLERANCE * max(abs(low), abs(high), 1e-30)
        wrong = int(np.count_nonzero((values[:, column] < low - slack) | (values[:, column] > high + slack)))
        if wrong:
            outside.append(f"{name} ({wrong:,} cells outside {low:g} to {high:g})")
    sentence = "; ".join(outside) + "." if outside else f"All {names.size} features lie in their declared range."
    return Verdict(not outside, sentence, {"features": int(names.size), "wrong": len(outside)})


# --- training set and models -----------------------------------------------------------------------------------------


def _rows_unique(subject: Subject) -> Verdict:
    ids, year = subject.dataset["cell_ids"].values, subject.dataset["year"].values
    after = (ids[1:] > ids[:-1]) | ((ids[1:] == ids[:-1]) & (year[1:] > year[:-1]))
    return _count(~after, "cell-years are out of order or there twice", "Every cell-year is there once, in order")


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


# --- predictions, maps, comparison -----------------------------------------------------------------------------------


def _probability_in_range(subject: Subject) -> Verdict:
    p = subject.values("probability")
    unknown = int(np.isnan(p).sum())
    wrong = (p < 0) | (p > 1) | np.isinf(p)
    return _count(wrong, "probabilities are impossible", "Every probability lies in 0 to 1", {"without_value": unknown})


def _mean_near_prevalence(subject: Subject) -> Verdict:
    p, observed = subject.values("probability"), subject.values("observed_positive")
    known = np.isfinite(p) & np.isfinite(observed)
    if not known.any():
        return Verdict(True, "No cell was observed in this year: there is nothing to compare with.", {"cells": 0})
    mean, share = float(p[known].mean()), float(observed[known].mean())
    sentence = f"Mean probability {mean:.3f} where {share:.3f} were observed, on {int(known.sum()):,} cells."
    numbers = {"mean_probability": round(mean, 6), "observed": round(share, 6), "cells": int(known.sum())}
    return Verdict(abs(mean - share) <= MAX_CALIBRATION_GAP, sentence, numbers)


def _mostly_applicable(subject: Subject) -> Verdict:
    known = np.isfinite(subject.values("probability"))
    inside = subject.values("is_applicable")[known] == 1
    if not inside.size:
        return Verdict(False, "No cell has a prediction.", {"cells": 0})
    share = float(inside.mean())
    sentence = f"{share:.1%} of {inside.size:,} predicted cells lie in the area of applicability."
    return Verdict(share >= MIN_APPLICABLE, sentence, {"share": round(share, 6), "outside": int((~inside).sum())})


def _density_in_interval(subject: Subject) -> Verdict:
    low, mean, high = (subject.values(f"expected_density{end}") for end in ("_low", "", "_high"))
    known = np.isfinite(mean)
    wrong = ~((low[known] >= 0) & (low[known] <= high[known]) & (mean[known] >= 0) & (mean[known] <= 1))
    return _count(wrong, "expected densities are impossible", "Every expected density and interval is possible")


def _files_there(subject: Subject) -> Verdict:
    wanted = {
        "map": ("map.png", "map.svg", "expected_density.png", "cells.parquet", "cells.tif"),
        "proxies": ("proxies.json", "proxies.csv", "proxies.png"),
        "priority": ("priority.parquet", "priority.geojson", "gain.json", "gain.png", "priority.png"),
        "comparison": ("scores.csv", "scores.md", "scores.png", "pairs.csv", "pairs.png"),
        "map_agreement": ("agreement.csv", "points.parquet", "agreement.png"),
        "report": ("report.md", "report.html"),
        "label_agreement": ("agreement.csv", "agreement.md", "agreement.png"),
        "label_sensitivity": ("sensitivity.csv", "sensitivity.md"),
        "independent": ("independent.csv", "independent.md"),
    }
    sizes = {file.name: file.size for file in subject.manifest.files}
    missing = [name for name in wanted[subject.product.kind] if not sizes.get(name)]
    sentence = f"Missing or empty: {', '.join(missing)}." if missing else "All files are there."
    return Verdict(not missing, sentence, {"files": len(sizes)})


CHECKS: dict[str, tuple[Check, ...]] = {
    "cells": (
        Check("cells_are_sorted_and_unique", "Cell ids rise strictly.", "error", _cells_sorted),
        Check("areas_are_positive", "Every cell has an area on the ellipsoid.", "error", _areas_positive),
        Check("land_fraction_in_range", "Land fractions lie between the study's least and 1.", "error", _land_fraction),
    ),
    "inventory": (
        Check("most_features_are_kept", "At least half of the features are usable.", "warning", _mostly_kept),
    ),
    "labels": (
        Check("density_in_range", "RTS density lies in 0 to 1 m2 m-2.", "error", _density_in_range),
        Check("unobserved_is_not_zero", "Where nobody looked, density is NaN.", "error", _unobserved_is_nan),
        Check("nothing_outside_footprint", "No slump where nobody looked.", "error", _nothing_outside_footprint),
        Check("area_fits_observed_land", "Slumps are no larger than the observed land.", "warning", _area_fits),
        Check("area_is_conserved", "Slumps in cells and elsewhere sum to the whole.", "error", _area_conserved),
    ),
    "labels_mean": (
        Check("years_do_not_drift", "Density on land that two years saw does not jump.", "warning", _years_alike),
    ),
    "label_sensitivity": (Check("files_are_there", "The table is written.", "error", _files_there),),
    "label_agreement": (Check("files_are_there", "Table and figure are written.", "error", _files_there),),
    "independent": (Check("files_are_there", "The table is written.", "error", _files_there),),
    "features": (
        Check("no_infinite_value", "Values are finite or NaN.", "error", _no_infinity),
        Check("values_in_declared_range", "Values lie in the declared valid range.", "error", _in_valid_range),
        Check("few_missing_values", "No feature lacks a value in most cells.", "warning", _nan_share),
    ),
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
    "prediction": (
        Check("probability_in_range", "Probabilities lie in 0 to 1.", "error", _probability_in_range),
        Check(
            "mean_is_near_prevalence", "Mean probability is near what was observed.", "warning", _mean_near_prevalence
        ),
        Check("density_is_possible", "Expected densities lie in 0 to 1.", "error", _density_in_interval),
        Check("mostly_applicable", "Most cells are like those of the training.", "warning", _mostly_applicable),
    ),
    "map": (Check("files_are_there", "PNG, SVG, GeoParquet and GeoTIFF are written.", "error", _files_there),),
    "proxies": (Check("files_are_there", "Tables and figure are written.", "error", _files_there),),
    "priority": (Check("files_are_there", "Tables and figures are written.", "error", _files_there),),
    "comparison": (Check("files_are_there", "Table and figure are written.", "error", _files_there),),
    "map_agreement": (Check("files_are_there", "Table, points and figure are written.", "error", _files_there),),
    "report": (Check("files_are_there", "The report is written.", "error", _files_there),),
}
"""The checks of each kind of dataset."""
