"""The ranking holds the unobserved cells only, the densest first, and says what was left out."""

import json
from functools import cache

import geopandas as gpd
import numpy as np
import pandas as pd

from entropice_core.compute import Compute
from entropice_core.prediction.infer import add_observations
from entropice_core.prediction.scale import predict_study
from entropice_core.priority.rank import held_out_gain, rank_cells, write_priority
from entropice_core.storage.content import read_dataset
from entropice_core.storage.partition import Partition
from entropice_core.training.persist import load_model
from tests.trained_study import trained


@cache
def ranked():
    study = trained()
    predicted = predict_study(study.model, "healpix-6", study.cells, study.sources, Compute())
    add_observations(predicted, study.labels, load_model(study.model).edges, 0.1)
    return predicted, rank_cells(study.grid, predicted, read_dataset(study.cells))


def test_unobserved_cells_come_densest_first_and_observed_ones_not_at_all():
    predicted, table = ranked()
    unobserved = np.isnan(predicted["observed_positive"].values)
    assert 0 < len(table) == unobserved.sum() < unobserved.size
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    first = predicted.isel(cell=np.flatnonzero(predicted["cell_ids"].values == np.uint64(table["cell_id"][0])))
    inside = unobserved & (predicted["is_applicable"].values == 1)
    assert first["expected_density"].item() == predicted["expected_density"].values[inside].max()
    assert (first["lon"].item() > 165) or (first["lon"].item() < 0)


def test_extrapolations_come_last_and_each_part_is_ranked_by_density():
    _, table = ranked()
    assert 0 < (table["is_applicable"] == 0).sum() < len(table)
    assert (np.diff(table["is_applicable"].astype(int)) <= 0).all()
    for part in (0, 1):
        assert (np.diff(table.loc[table["is_applicable"] == part, "expected_density"]) <= 0).all()


def test_sums_up_to_a_rank_are_shares_of_all_ranked_cells():
    _, table = ranked()
    assert table["land_share"].iloc[-1] == table["expected_share"].iloc[-1] == 1.0
    area = table["expected_density"].astype(float) * table["land_area_m2"]
    np.testing.assert_allclose(table["expected_slump_area_m2"], area, rtol=1e-9)
    inside = table[table["is_applicable"] == 1]
    half = inside.iloc[len(inside) // 2]
    assert (
        half["expected_share"] / inside["expected_share"].iloc[-1] > half["land_share"] / inside["land_share"].iloc[-1]
    )


def test_everything_is_written_and_counted(tmp_path):
    study, (predicted, table) = trained(), ranked()
    held_out = pd.read_parquet(study.model / "out_of_fold.parquet")
    gain = held_out_gain(study.study, study.grid, load_model(study.model), study.table, held_out)
    counts = write_priority(
        tmp_path,
        study.study,
        "it",
        study.grid,
        Partition("healpix-6", 2018),
        predicted,
        table,
        gain,
        ["Title", "Credits"],
    )
    assert counts["ranked"] + sum(counts["left out"].values()) == counts["cells"] == predicted.sizes["cell"]
    assert counts["land saved at 90% of the slump area"] == gain.saved[0.9]["share"] > 0.3
    assert gpd.read_parquet(tmp_path / "priority.parquet")["cell_id"].tolist() == table["cell_id"].tolist()
    features = json.loads((tmp_path / "priority.geojson").read_text())["features"]
    assert [f["properties"]["rank"] for f in features] == table["rank"].tolist()
    assert all(abs(x) <= 180 for f in features for x, _ in _points(f["geometry"]["coordinates"]))
    assert json.loads((tmp_path / "gain.json").read_text())["n_blocks"] == gain.n_blocks
    for name in ("gain.png", "priority.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_held_out_rows_of_another_training_set_are_refused(tmp_path):
    import pytest

    from entropice_core.errors import SchemaError

    study = trained()
    held_out = pd.read_parquet(study.model / "out_of_fold.parquet")
    with pytest.raises(SchemaError, match="differ in their cell-years"):
        held_out_gain(study.study, study.grid, load_model(study.model), study.table.isel(row=slice(5)), held_out)


def _points(coordinates):
    if isinstance(coordinates[0], (int, float)):
        yield coordinates
    else:
        for part in coordinates:
            yield from _points(part)
