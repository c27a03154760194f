"""Each check passes on what it should pass and fails on the one thing that it is there for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from entropice_core.checks import CHECKS, Subject, Verdict
from entropice_core.config import BandConfig, RasterConfig, load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.storage.manifest import Manifest, StoredFile
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe

STUDY = load_study("demo")
GRAPH = build_graph(STUDY)
NAN = float("nan")


def judge(dataset: str, check: str, content: Any, counts: Any = None, files: tuple[StoredFile, ...] = ()) -> Verdict:
    """Run one check on content that was made by hand."""
    product = GRAPH[dataset]
    manifest = Manifest(
        dataset=dataset,
        partition=Partition(),
        digest="0" * 64,
        kind="zarr",
        created="",
        entropice="0",
        recipe=Recipe(dataset, "1", {}),
        counts=counts or {},
        files=files,
    )
    (found,) = [c for c in CHECKS[product.kind] if c.name == check]
    return found.judge(Subject(STUDY, product, Partition(), manifest, content))


def table(**columns: Any) -> xr.Dataset:
    """A dataset along ``cell``."""
    return xr.Dataset({name: ("cell", np.asarray(values)) for name, values in columns.items()})


def cells(ids: list[int]) -> xr.Dataset:
    return xr.Dataset(coords={"cell_ids": ("cell", np.array(ids, dtype=np.uint64))})


def features(values: list[list[float]], names: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {"features": (("cell", "feature"), np.array(values, dtype=np.float32))}, coords={"feature": np.array(names)}
    )


def labels(density: float, observed: float, count: float = NAN, area: float = 0.0, seen: float = 1.0) -> xr.Dataset:
    """Two cells: a plain one, and the one in question."""
    return table(
        density=[0.1, density],
        observed_fraction=[1.0, observed],
        count=[1.0, count],
        rts_area_m2=[1.0, area],
        observed_area_m2=[10.0, seen],
    )


def balanced(total: float) -> xr.Dataset:
    """Labels that say where 6 m2 of slumps lie: in cells, outside of them, unobserved and masked."""
    made = labels(0.1, 1.0, count=1.0, area=2.0)
    parts = {"rts_area_outside_cells_m2": 1.0, "rts_area_unobserved_m2": 1.5, "rts_area_masked_m2": 0.5}
    return made.assign_attrs(rts_area_total_m2=total, **parts)


def years(change: float, shared: float) -> xr.Dataset:
    """Three years, of which the second is compared with the first."""
    made = xr.Dataset(coords={"year": [2018, 2019, 2020]})
    made["change_from_year_before"] = ("year", [NAN, change, NAN])
    made["cells_shared_with_year_before"] = ("year", [NAN, shared, 500.0])
    return made


def applicable(inside: list[int], p: list[float]) -> xr.Dataset:
    return table(is_applicable=[float(i) for i in inside], probability=p)


def expected(low: float, mean: float, high: float) -> xr.Dataset:
    return table(expected_density_low=[low, NAN], expected_density=[mean, NAN], expected_density_high=[high, NAN])


TABLE: list[tuple[str, str, Callable[[], xr.Dataset], bool]] = [
    ("cells", "cells_are_sorted_and_unique", lambda: cells([1, 2, 9]), True),
    ("cells", "cells_are_sorted_and_unique", lambda: cells([1, 2, 2]), False),
    ("cells", "cells_are_sorted_and_unique", lambda: cells([2, 1]), False),
    ("cells", "areas_are_positive", lambda: table(area_m2=[1.0, 2.0]), True),
    ("cells", "areas_are_positive", lambda: table(area_m2=[1.0, 0.0]), False),
    ("cells", "areas_are_positive", lambda: table(area_m2=[1.0, NAN]), False),
    ("cells", "land_fraction_in_range", lambda: table(land_fraction=[0.05, 1.0]), True),
    ("cells", "land_fraction_in_range", lambda: table(land_fraction=[0.04, 1.0]), False),
    ("cells", "land_fraction_in_range", lambda: table(land_fraction=[0.5, 1.01]), False),
    ("labels.darts", "density_in_range", lambda: labels(NAN, 0.0), True),
    ("labels.darts", "density_in_range", lambda: labels(1.5, 1.0), False),
    ("labels.darts", "density_in_range", lambda: labels(-0.1, 1.0), False),
    ("labels.darts", "unobserved_is_not_zero", lambda: labels(NAN, 0.0), True),
    ("labels.darts", "unobserved_is_not_zero", lambda: labels(0.0, 0.0), False),
    ("labels.darts", "nothing_outside_footprint", lambda: labels(NAN, 0.0), True),
    ("labels.darts", "nothing_outside_footprint", lambda: labels(NAN, 0.0, count=2.0), False),
    ("labels.darts", "area_fits_observed_land", lambda: labels(1.0, 1.0, area=1.0, seen=1.0), True),
    ("labels.darts", "area_fits_observed_land", lambda: labels(1.0, 1.0, area=1.1, seen=1.0), False),
    ("labels.darts", "area_is_conserved", lambda: balanced(total=6.0), True),
    ("labels.darts", "area_is_conserved", lambda: balanced(total=6.0 * (1 + 1e-5)), False),
    ("labels.darts", "area_is_conserved", lambda: labels(0.1, 1.0), False),
    ("labels_mean.darts", "years_do_not_drift", lambda: years(change=2.9, shared=30.0), True),
    ("labels_mean.darts", "years_do_not_drift", lambda: years(change=3.1, shared=30.0), False),
    ("labels_mean.darts", "years_do_not_drift", lambda: years(change=0.3, shared=30.0), False),
    ("labels_mean.darts", "years_do_not_drift", lambda: years(change=9.0, shared=29.0), True),
    ("features.terrain", "no_infinite_value", lambda: features([[NAN], [1.0]], ["elevation_mean"]), True),
    ("features.terrain", "no_infinite_value", lambda: features([[np.inf], [1.0]], ["elevation_mean"]), False),
    ("features.terrain", "values_in_declared_range", lambda: features([[6000.0], [NAN]], ["elevation_mean"]), True),
    ("features.terrain", "values_in_declared_range", lambda: features([[6001.0], [1.0]], ["elevation_mean"]), False),
    ("features.terrain", "values_in_declared_range", lambda: features([[-1.0], [1.0]], ["elevation_std"]), False),
    ("features.terrain", "few_missing_values", lambda: features([[NAN], [1.0]], ["slope_max"]), True),
    ("features.terrain", "few_missing_values", lambda: features([[NAN], [NAN], [1.0]], ["slope_max"]), False),
    ("prediction.espa", "probability_in_range", lambda: table(probability=[0.0, 1.0, NAN]), True),
    ("prediction.espa", "probability_in_range", lambda: table(probability=[0.0, 1.1]), False),
    (
        "prediction.espa",
        "mean_is_near_prevalence",
        lambda: table(probability=[0.2, 0.3, 0.9], observed_positive=[0.0, 0.5, NAN]),
        True,
    ),
    (
        "prediction.espa",
        "mean_is_near_prevalence",
        lambda: table(probability=[0.9, 0.9], observed_positive=[0.0, 1.0]),
        False,
    ),
    (
        "prediction.espa",
        "mean_is_near_prevalence",
        lambda: table(probability=[0.9], observed_positive=[NAN]),
        True,
    ),
    ("prediction.espa", "mostly_applicable", lambda: applicable([1, 1, 0], [0.5, 0.5, NAN]), True),
    ("prediction.espa", "mostly_applicable", lambda: applicable([1, 0, 0], [0.5, 0.5, 0.5]), False),
    ("prediction.espa", "mostly_applicable", lambda: applicable([0], [NAN]), False),
    ("prediction.espa", "density_is_possible", lambda: expected(0.0, 0.1, 0.2), True),
    ("prediction.espa", "density_is_possible", lambda: expected(0.3, 0.1, 0.2), False),
    ("prediction.espa", "density_is_possible", lambda: expected(0.0, 1.1, 1.2), False),
    ("training_set", "both_classes_are_there", lambda: table(density=[0.0, 0.1]), True),
    ("training_set", "both_classes_are_there", lambda: table(density=[0.0, 0.0]), False),
]


@pytest.mark.parametrize(("dataset", "check", "content", "passed"), TABLE)
def test_a_check_passes_exactly_when_it_should(
    dataset: str, check: str, content: Callable[[], xr.Dataset], passed: bool
) -> None:
    verdict = judge(dataset, check, content())
    assert verdict.passed is passed, verdict.sentence
    assert verdict.sentence.endswith((".", ")."))
    json.dumps(dict(verdict.numbers))


def test_the_sentence_says_how_many_of_how_many_are_wrong() -> None:
    verdict = judge("cells", "areas_are_positive", table(area_m2=[1e6, -1.0, 0.0]))
    assert verdict.sentence == "2 of 3 cells have no area."
    assert verdict.numbers["wrong"] == 2


def test_the_feature_out_of_range_is_named_with_its_range() -> None:
    content = features([[1.0, 95.0], [1.0, 3.0]], ["elevation_mean", "slope_max"])
    verdict = judge("features.terrain", "values_in_declared_range", content)
    assert verdict.sentence == "slope_max (1 cells outside 0 to 90)."


def test_the_rejected_features_of_an_inventory_are_told_by_reason() -> None:
    counts = {"total": {"in": 10, "kept": 4, "rejected": {"zero_area": 5, "no_year": 1}}}
    verdict = judge("inventory.darts", "most_features_are_kept", None, counts)
    assert not verdict.passed
    assert verdict.sentence == "4 of 10 features are kept (40%); rejected: 5 zero area, 1 no year."


@pytest.mark.parametrize(
    ("ids", "years", "passed"), [([1, 1, 2], [1, 2, 1], True), ([1, 1], [2, 2], False), ([2, 1], [1, 1], False)]
)
def test_a_cell_year_may_be_there_once(ids: list[int], years: list[int], passed: bool) -> None:
    rows = xr.Dataset(coords={"cell_ids": ("row", np.array(ids, dtype=np.uint64)), "year": ("row", years)})
    assert judge("training_set", "rows_are_unique", rows).passed is passed


def cv(folder: Path, **parts: Any) -> Path:
    (folder / "cv.json").write_text(json.dumps({name: {"summary": part} for name, part in parts.items()}))
    return folder


@pytest.mark.parametrize(("skill", "passed"), [(0.1, True), (-0.1, False), (None, False)])
def test_a_model_that_knows_less_than_the_prevalence_is_pointed_at(
    tmp_path: Path, skill: float | None, passed: bool
) -> None:
    scores = {"log_loss": {"mean": 0.5}, "log_loss_skill": {"mean": skill}}
    assert judge("model.espa", "better_than_prevalence", cv(tmp_path, spatial=scores)).passed is passed


def test_the_baseline_is_not_compared_with_itself(tmp_path: Path) -> None:
    scores = {"log_loss": {"mean": 0.5}, "log_loss_skill": {"mean": -0.01}}
    assert judge("model.prevalence", "better_than_prevalence", cv(tmp_path, spatial=scores)).passed


@pytest.mark.parametrize(("auc", "passed"), [(0.52, True), (0.44, True), (0.57, False), (0.42, False), (None, True)])
def test_shuffled_labels_that_can_be_predicted_or_are_turned_round_are_pointed_at(
    tmp_path: Path, auc: float | None, passed: bool
) -> None:
    # Calibration made a ranking that is the wrong way round flat: the calibrated summary must not be what is judged.
    flat = {"roc_auc": {"mean": 0.5, "sd": 0.0, "n_folds_defined": 5}}
    control = {"summary": flat, "mean_auc": auc, "chance_low": 0.435, "chance_high": 0.565}
    (tmp_path / "cv.json").write_text(json.dumps({"permuted": control}))
    assert judge("model.espa", "shuffled_labels_are_chance", tmp_path).passed is passed


def test_a_study_without_the_control_is_not_blamed(tmp_path: Path) -> None:
    verdict = judge("model.espa", "shuffled_labels_are_chance", cv(tmp_path, spatial={}))
    assert verdict.passed and "does not ask" in verdict.sentence


@pytest.mark.parametrize(("worst", "passed"), [(0.86, True), (0.84, False)])
def test_sets_that_miss_a_class_too_often_are_pointed_at(tmp_path: Path, worst: float, passed: bool) -> None:
    classes = [{"mean": 0.95}, {"mean": worst}, {"mean": None}]
    summary = {"coverage": {"mean": 0.93}, "mean_size": {"mean": 1.4}, "coverage_by_class": classes}
    trust = {"conformal": {"measured": {"wanted": 0.9, "summary": summary}}}
    (tmp_path / "trust.json").write_text(json.dumps(trust))
    verdict = judge("model.espa", "sets_cover_as_promised", tmp_path)
    assert verdict.passed is passed
    assert f"worst class {worst:.1%}" in verdict.sentence


def test_an_empty_file_of_a_map_is_missed() -> None:
    sizes = {"map.png": 5, "map.svg": 0, "expected_density.png": 5, "cells.parquet": 5, "cells.tif": 5}
    files = tuple(StoredFile(name, size, "") for name, size in sizes.items())
    verdict = judge("map.espa", "files_are_there", None, files=files)
    assert verdict.sentence == "Missing or empty: map.svg."


@pytest.mark.parametrize(
    ("feature", "bounds"),
    [("t_01", (-70.0, 40.0)), ("t_12", (-70.0, 40.0)), ("h_mean", (0.0, 10.0)), ("h_range", (0.0, 10.0))],
)
def test_the_range_of_a_feature_comes_from_its_band(feature: str, bounds: tuple[float, float]) -> None:
    bands = (
        BandConfig(name="t_{index:02d}", select="t", unit="degC", along="month", valid_range=(-70.0, 40.0)),
        BandConfig(name="h", select=1, unit="m", valid_range=(0.0, 10.0), statistics=("mean", "range")),
    )
    config = RasterConfig(kind="raster", title="climate", path="x.nc", bands=bands)
    assert config.bounds_of(feature) == bounds
    assert config.bounds_of("other") == (-np.inf, np.inf)
