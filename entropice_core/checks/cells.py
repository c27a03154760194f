"""What must hold of the list of cells."""

import numpy as np

from entropice_core.checks.verdict import TOLERANCE, Check, Subject, Verdict, count_wrong


def _cells_sorted(subject: Subject) -> Verdict:
    ids = subject.dataset["cell_ids"].values
    return count_wrong(
        ids[1:] <= ids[:-1], "cell ids do not rise: sorting or a twin", "Every cell id is larger than the one before"
    )


def _areas_positive(subject: Subject) -> Verdict:
    area = subject.values("area_m2")
    total = float(np.nansum(area)) / 1e6
    return count_wrong(~(area > 0), "cells have no area", "Every cell has an area", {"total_km2": round(total, 3)})


def _land_fraction(subject: Subject) -> Verdict:
    land, least = subject.values("land_fraction"), subject.study.study_area.min_land_fraction
    wrong = ~((land >= least - TOLERANCE) & (land <= 1))
    return count_wrong(
        wrong, f"cells have a land fraction outside {least:g} to 1", f"All land fractions lie in {least:g} to 1"
    )


CHECKS: dict[str, tuple[Check, ...]] = {
    "cells": (
        Check("cells_are_sorted_and_unique", "Cell ids rise strictly.", "error", _cells_sorted),
        Check("areas_are_positive", "Every cell has an area on the ellipsoid.", "error", _areas_positive),
        Check("land_fraction_in_range", "Land fractions lie between the study's least and 1.", "error", _land_fraction),
    ),
}
