"""Join labels and features of all years into the rows that models learn from.

A row is a cell in a year whose land was observed well enough. Rows are sorted by cell, then year, so that two runs
give the same table. Nothing is fitted here: scaling, class edges and imputation belong to the training folds.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from entropice_core.errors import ConfigError, GridError, ProvenanceError, TrainingError

VERSION = "1"


def build_training_set(
    labels: Mapping[int, xr.Dataset], features: Mapping[int, xr.Dataset], min_observed_fraction: float
) -> xr.Dataset:
    """Stack the observed cell-years of every year.

    Parameters
    ----------
    labels : mapping of year to Dataset
        ``density`` : (cell,) float32, m2 m-2, NaN where unobserved; ``observed_fraction`` : (cell,) float32, 1;
        ``observed_area_m2`` : (cell,) float64, m2; ``count`` : (cell,), 1.
    features : mapping of year to Dataset
        Assembled ``features`` : (cell, feature) float32 of the same cells.
    min_observed_fraction : float
        Rows observed on a smaller share of their land are left out, and counted.

    Returns
    -------
    Dataset
        ``features`` : (row, feature) float32; ``density``, ``observed_fraction`` : (row,) float32;
        ``observed_area_m2``, ``count`` : (row,) float64; coordinates ``cell_ids``, ``year``, ``lon``, ``lat`` : (row,).
        ``attrs["counts"]`` says how many cell-years were there, kept, and left out for which reason.

    Raises
    ------
    ConfigError
        When slumps of unknown area were found: their cells have no density, and all positives would be lost.
    ProvenanceError
        When the features of two years differ in name or order.
    TrainingError
        When no row is left.
    """
    years = sorted(labels)
    _check_areas(labels)
    names = _same_features(features)
    kept = {year: _observed(labels[year], min_observed_fraction) for year in years}
    counts = _counts(labels, kept, min_observed_fraction)
    if counts["kept"] == 0:
        raise TrainingError(
            f"No cell-year of {years[0]}-{years[-1]} is observed on at least {min_observed_fraction:.0%} of its land "
            f"({counts['in']} cell-years looked at): choose years and a study area that the inventory covers."
        )
    stacked = xr.concat([_rows(labels[y], features[y], y, kept[y]) for y in years], dim="row", join="exact")
    order = np.lexsort((stacked["year"].values, stacked["cell_ids"].values))
    table = stacked.isel(row=order).assign_coords(feature=names)
    table.attrs = {"counts": counts, "title": "training set: observed cell-years"}
    return table


def _check_areas(labels: Mapping[int, xr.Dataset]) -> None:
    lost = sum(
        int(((each["count"] > 0) & (each["observed_fraction"] > 0) & each["density"].isnull()).sum())
        for each in labels.values()
    )
    if lost:
        raise ConfigError(
            f"{lost} observed cell-years hold slumps but no density, because the target inventory gives points without "
            "an area: name their column of areas in area_column of the target inventory, since density needs areas."
        )


def _same_features(features: Mapping[int, xr.Dataset]) -> np.ndarray:
    years = sorted(features)
    first = features[years[0]]["feature"].values.astype(str)
    for year in years[1:]:
        other = features[year]["feature"].values.astype(str)
        if list(other) != list(first):
            differing = sorted(set(first) ^ set(other)) or "the order"
            raise ProvenanceError(
                f"Features of {year} and {years[0]} differ in {differing}: build both years with the same sources."
            )
    return first


def _observed(labels: xr.Dataset, minimum: float) -> np.ndarray:
    fraction = labels["observed_fraction"].values
    observed: np.ndarray = np.isfinite(labels["density"].values) & (fraction >= minimum)
    return observed


def _counts(labels: Mapping[int, xr.Dataset], kept: Mapping[int, np.ndarray], minimum: float) -> dict[str, int]:
    density = np.concatenate([labels[y]["density"].values for y in sorted(labels)])
    keep = np.concatenate([kept[y] for y in sorted(kept)])
    unobserved = ~np.isfinite(density)
    return {
        "in": int(density.size),
        "kept": int(keep.sum()),
        "rejected: unobserved": int(unobserved.sum()),
        f"rejected: observed fraction below {minimum:g}": int((~keep & ~unobserved).sum()),
        "positive": int((density[keep] > 0).sum()),
    }


def _rows(labels: xr.Dataset, features: xr.Dataset, year: int, keep: np.ndarray) -> xr.Dataset:
    if not np.array_equal(labels["cell_ids"].values, features["cell_ids"].values):
        raise GridError(f"Labels and features of {year} are for different cells: build both for the same grid.")
    at = np.flatnonzero(keep)

    def column(name: str, kind: type) -> tuple[str, np.ndarray]:
        return "row", labels[name].values[at].astype(kind)

    return xr.Dataset(
        {
            "features": (("row", "feature"), features["features"].values[at]),
            "density": column("density", np.float32),
            "observed_fraction": column("observed_fraction", np.float32),
            "observed_area_m2": column("observed_area_m2", np.float64),
            "count": column("count", np.float64),
        },
        coords={
            "cell_ids": ("row", features["cell_ids"].values[at]),
            "year": ("row", np.full(at.size, year, dtype=np.int32)),
            "lon": ("row", features["lon"].values[at]),
            "lat": ("row", features["lat"].values[at]),
            **{name: ("feature", features[name].values) for name in ("feature", "unit", "long_name", "source")},
        },
    )
