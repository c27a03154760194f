"""Counts of features in, kept and rejected by reason: nothing is dropped silently.

Only counting belongs here; what is wrong with a feature is decided by the readers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

REASONS: dict[str, str] = {
    "missing_geometry": "the row has no geometry",
    "empty_geometry": "the geometry has no coordinates",
    "coordinates_not_on_earth": "a coordinate is infinite or cannot be projected (a latitude above 90, say)",
    "several_points": "a multipoint of more than one point, whose area belongs to no single cell",
    "not_repairable": "an invalid polygon of which nothing with an area is left after repair",
    "zero_area": "a polygon below 1 m2 (a line, say), or a point whose area is zero or negative",
    "no_area": "the area column holds no number",
    "not_selected": "the row has another value than the study asks for with only = { column = [...] }",
    "no_probability": "the study asks for a probability, and the row has none",
    "below_probability": "the detector's probability is lower than the study asks for",
    "no_year": "the date is missing or cannot be read",
    "not_active_in_year": "the column of that year holds no area: the slump was not active",
    "year_outside_study": "a year that the study does not cover",
    "outside_study_area": "farther from the study area than any cell reaches",
    "duplicate": "the same outline in the same year once more, to the centimetre",
}
"""Why a feature can be rejected; a feature is counted under the first reason that applies, in about this order."""


class Sieve:
    """The verdict on each of n features: kept (an empty reason) or the first reason that rejected it.

    >>> sieve = Sieve(3)
    >>> sieve.reject(np.array([True, False, False]), "no_year")
    >>> sieve.reject(np.array([True, True, False]), "zero_area")
    >>> sieve.counts(), sieve.is_kept.tolist()
    ({'zero_area': 1, 'no_year': 1}, [False, False, True])
    """

    def __init__(self, size: int) -> None:
        self.reason: npt.NDArray[np.object_] = np.full(size, "", dtype=object)

    @property
    def is_kept(self) -> npt.NDArray[np.bool_]:
        """Tell which features no reason applies to so far: (n,)."""
        return np.asarray(self.reason == "", dtype=bool)

    def reject(self, mask: npt.NDArray[np.bool_], reason: str) -> None:
        """Reject the masked features (n,) that were kept so far."""
        if reason not in REASONS:
            raise KeyError(reason)
        self.reason[np.asarray(mask, dtype=bool) & self.is_kept] = reason

    def take(self, rows: npt.NDArray[np.int64]) -> "Sieve":
        """Give the verdicts on the given rows, which may repeat."""
        taken = Sieve(rows.size)
        taken.reason = self.reason[rows]
        return taken

    def counts(self) -> dict[str, int]:
        """Count the rejected features by reason."""
        return count_reasons(self.reason)


def count_reasons(reasons: npt.NDArray[np.object_]) -> dict[str, int]:
    """Count each reason that occurs, in the order of ``REASONS``; the empty reason is not counted."""
    return {reason: int(n) for reason in REASONS if (n := np.count_nonzero(reasons == reason))}


def add_counts(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the numbers of several reports key by key, also one level down.

    >>> add_counts([{"in": 2, "rejected": {"no_year": 1}}, {"in": 1, "rejected": {}}])
    {'in': 3, 'rejected': {'no_year': 1}}
    """
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, Mapping):
                total[key] = add_counts([total.get(key, {}), value])
            elif isinstance(value, int) and not isinstance(value, bool):
                total[key] = total.get(key, 0) + value
    return total
