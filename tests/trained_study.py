"""A small trained study in a folder: the datasets of its cells and features, a training set, a model with its trust."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import xarray as xr

from entropice_core.applicability.trust import add_trust
from entropice_core.config import Study, load_study
from entropice_core.grids import parse_grid_key
from entropice_core.grids.base import Grid
from entropice_core.grids.study_area import StudyArea
from entropice_core.storage.content import write_dataset
from entropice_core.training.train import train_model

NAMES = {"era5": ("warmth", "ripple"), "terrain": ("slope", "noise")}


@dataclass(frozen=True)
class Trained:
    """Where things are; nothing may be written there."""

    study: Study
    grid: Grid
    model: Path
    cells: Path
    sources: dict[str, Path]
    table: xr.Dataset
    labels: xr.Dataset
    counts: dict


@cache
def trained(model="logistic_regression", task="binary") -> Trained:
    """Train once a process. The east of the area is unobserved; cells near 180 degrees are unlike all others."""
    root, grid = Path(mkdtemp()), parse_grid_key("healpix-6")
    study = small_study(model, task)
    cells, features, labels = world(grid)
    table = training_set(cells, features, labels)
    sources = {}
    write_dataset(cells, root / "cells")
    for source, names in NAMES.items():
        sources[source] = root / source
        write_dataset(features[source].assign_coords(feature=list(names)), sources[source])
    counts = train_model("it", study, grid, table, root / "model")
    counts |= add_trust("it", study, grid, table, cells, root / "model")
    return Trained(study, grid, root / "model", root / "cells", sources, table, labels, counts)


def small_study(model: str, task: str) -> Study:
    demo = load_study("demo").model_dump(mode="json")
    demo["study"] |= {"name": "small", "grids": ["healpix-6"], "seed": 3, "years": {"first": 2018, "last": 2018}}
    demo["sources"] = {name: demo["sources"][name] for name in NAMES}
    demo["models"] = {"it": {"model": model, "params": {"n_estimators": 12} if model == "random_forest" else {}}}
    demo["target"] |= {"task": task, **({"n_classes": 3} if task != "binary" else {})}
    demo["folds"] = {"n_folds": 3, "inner_folds": 2, "block_level": {"healpix": 3}, "buffer_km": 50.0}
    demo["training"] = {"permuted_control": False, "random_cv": False, "importance_repeats": 2}
    demo["proxies"] = {"seeds": 2, "repeats": 1, "rows": 300}
    return Study.model_validate(demo)


def world(grid: Grid):
    ids = grid.cells(StudyArea(62.0, bounds=(80.0, 62.0, -170.0, 76.0)))
    lon, lat = grid.centers(ids)
    rng = np.random.default_rng(0)
    n, east = ids.size, np.where(lon < 0, lon + 360, lon)
    warmth, slope, ripple = np.sin(east / 9) + np.cos(lat / 2), rng.normal(size=n), np.sin(east / 2)
    warmth = warmth + 20 * (east > 178)  # a climate that no training cell has
    values = {"era5": np.column_stack([warmth, ripple]), "terrain": np.column_stack([slope, rng.normal(size=n)])}
    values["terrain"][::50] = np.nan
    odds = 1.5 * np.minimum(warmth, 3) + slope - 0.5 + 0.7 * rng.normal(size=n)
    density = np.where(odds > 0.5, np.expm1(odds) * 1e-4, 0.0)
    fraction = np.where(east > 165, 0.0, 1.0)
    coords = {"cell_ids": ("cell", ids), "lon": ("cell", lon), "lat": ("cell", lat)}
    area = grid.areas_m2(ids)
    cells = xr.Dataset({"area_m2": ("cell", area), "land_fraction": ("cell", rng.uniform(0.2, 1, n))}, coords=coords)
    features = {name: feature_set(NAMES[name], part, coords) for name, part in values.items()}
    labels = xr.Dataset(
        {
            "density": ("cell", np.where(fraction > 0, density, np.nan).astype(np.float32)),
            "count": ("cell", np.where(density > 0, 1.0 + np.floor(density * 1e4), 0.0)),
            "observed_fraction": ("cell", fraction.astype(np.float32)),
            "observed_area_m2": ("cell", fraction * area),
        },
        coords=coords,
    )
    return cells, features, labels


def feature_set(names, values, coords):
    more = {"unit": ("feature", ["1"] * len(names)), "long_name": ("feature", list(names))}
    return xr.Dataset({"features": (("cell", "feature"), values.astype(np.float32))}, coords={**coords, **more})


def training_set(cells, features, labels):
    seen = np.flatnonzero(labels["observed_fraction"].values > 0)
    names = [f"{source}.{name}" for source in sorted(NAMES) for name in NAMES[source]]
    joined = np.concatenate([features[source]["features"].values for source in sorted(NAMES)], axis=1)
    variables = {name: ("row", labels[name].values[seen]) for name in labels.data_vars}
    return xr.Dataset(
        {"features": (("row", "feature"), joined[seen]), **variables},
        coords={
            **{name: ("row", cells[name].values[seen]) for name in ("cell_ids", "lon", "lat")},
            "year": ("row", np.full(seen.size, 2018, dtype=np.int32)),
            "feature": names,
            "unit": ("feature", ["1"] * len(names)),
            "long_name": ("feature", names),
            "source": ("feature", [source for source in sorted(NAMES) for _ in NAMES[source]]),
        },
    )
