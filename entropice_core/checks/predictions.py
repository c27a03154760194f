"""What must hold of predictions."""

import numpy as np

from entropice_core.checks.verdict import Check, Subject, Verdict, count_wrong

MAX_CALIBRATION_GAP = 0.1
"""Mean probability and observed prevalence may differ by this much on the cells where both are known."""

MIN_APPLICABLE = 0.5
"""A map that extrapolates on more than half of its cells is mostly a guess."""


def _probability_in_range(subject: Subject) -> Verdict:
    p = subject.values("probability")
    unknown = int(np.isnan(p).sum())
    wrong = (p < 0) | (p > 1) | np.isinf(p)
    return count_wrong(
        wrong, "probabilities are impossible", "Every probability lies in 0 to 1", {"without_value": unknown}
    )


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
    return count_wrong(wrong, "expected densities are impossible", "Every expected density and interval is possible")


CHECKS: dict[str, tuple[Check, ...]] = {
    "prediction": (
        Check("probability_in_range", "Probabilities lie in 0 to 1.", "error", _probability_in_range),
        Check(
            "mean_is_near_prevalence", "Mean probability is near what was observed.", "warning", _mean_near_prevalence
        ),
        Check("density_is_possible", "Expected densities lie in 0 to 1.", "error", _density_in_interval),
        Check("mostly_applicable", "Most cells are like those of the training.", "warning", _mostly_applicable),
    ),
}
