"""What must hold of the features of a source."""

import numpy as np

from entropice_core.checks.verdict import TOLERANCE, Check, Subject, Verdict, count_wrong

MAX_NAN_SHARE = 0.5
"""A feature without a value in more than half of the cells is mostly imputation."""


def _no_infinity(subject: Subject) -> Verdict:
    wrong = np.isinf(subject.values("features"))
    return count_wrong(wrong, "values are infinite", "No value is infinite")


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


CHECKS: dict[str, tuple[Check, ...]] = {
    "features": (
        Check("no_infinite_value", "Values are finite or NaN.", "error", _no_infinity),
        Check("values_in_declared_range", "Values lie in the declared valid range.", "error", _in_valid_range),
        Check("few_missing_values", "No feature lacks a value in most cells.", "warning", _nan_share),
    ),
}
