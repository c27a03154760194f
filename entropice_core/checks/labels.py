"""What must hold of inventories and of labels on cells."""

import numpy as np

from entropice_core.checks.verdict import TOLERANCE, Check, Subject, Verdict, count_wrong

MAX_REJECTED_SHARE = 0.5
"""An inventory of which most features are rejected was probably described wrongly."""

MAX_AREA_ERROR = 1e-6
"""Relative difference between the area of all slumps and the sum of its parts."""

MAX_DRIFT = 3.0
"""The density on the same land may rise or fall by this factor from one observed year to the next."""

FEW_SHARED_CELLS = 30
"""Years that share fewer observed cells are not compared."""


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
    return count_wrong(wrong, "cells have an impossible density", "Every density lies in 0 to 1", {"largest": largest})


def _unobserved_is_nan(subject: Subject) -> Verdict:
    unobserved = subject.values("observed_fraction") == 0
    wrong = unobserved & np.isfinite(subject.values("density"))
    return count_wrong(
        wrong,
        "cells that nobody looked at have a density",
        "No cell that nobody looked at has a density",
        {"unobserved": int(unobserved.sum())},
    )


def _nothing_outside_footprint(subject: Subject) -> Verdict:
    unobserved = subject.values("observed_fraction") == 0
    wrong = unobserved & (np.nan_to_num(subject.values("count")) > 0)
    outside = int(subject.manifest.counts.get("count_unobserved", 0))
    return count_wrong(
        wrong,
        "cells outside the footprint hold slumps",
        "No slump is counted where nobody looked",
        {"left_out": outside},
    )


def _area_fits(subject: Subject) -> Verdict:
    area, observed = subject.values("rts_area_m2"), subject.values("observed_area_m2")
    return count_wrong(
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


CHECKS: dict[str, tuple[Check, ...]] = {
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
}
