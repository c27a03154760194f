import json
from pathlib import Path
from typing import Any

import h3.api.basic_int as h3
import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import SchemaError
from entropice_core.storage.conventions import DGGS_CONVENTION, apply_conventions
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.store import PartitionStore

WGS84 = {"name": "WGS84", "semimajor_axis": 6378137.0, "inverse_flattening": 298.257223563}
ATTRS: dict[str, dict[str, Any]] = {
    "h3-4": {"grid_name": "h3", "level": 4},
    "healpix-8": {"grid_name": "healpix", "level": 8, "indexing_scheme": "nested", "ellipsoid": WGS84},
}
H3_CELLS = sorted(h3.grid_ring(h3.latlng_to_cell(70.0, 120.0, 4), 1))[:3]
IDS = {"h3-4": np.array(H3_CELLS), "healpix-8": np.arange(5, 8)}


def make(key: str) -> xr.Dataset:
    return xr.Dataset(
        {"density": ("cell", np.array([0.1, np.nan, 0.3], dtype="float32")), "edges": ("edge", np.zeros(2))},
        coords={"cell_ids": ("cell", IDS[key].astype("uint64"))},
        attrs={"title": "t", "zarr_conventions": [{"uuid": "other"}, dict(DGGS_CONVENTION)]},
    )


@pytest.fixture(params=["h3-4", "healpix-8"])
def stored(request: pytest.FixtureRequest, store: PartitionStore) -> tuple[str, Path]:
    key = request.param
    partition = Partition(key, 2018)
    store.publish("labels", partition, apply_conventions(make(key), ATTRS[key]), Recipe("labels", "1"))
    return key, store.path("labels", partition)


def test_the_stored_dataset_opens_in_xdggs(stored: tuple[str, Path]) -> None:
    xdggs = pytest.importorskip("xdggs")
    key, folder = stored
    decoded = xdggs.decode(xr.open_zarr(folder, consolidated=False))
    info = decoded.dggs.grid_info
    assert info.level == ATTRS[key]["level"]
    centres = decoded.dggs.cell_centers()
    assert np.isfinite(centres["latitude"]).all()
    if key == "healpix-8":
        assert (info.ellipsoid.semimajor_axis, info.indexing_scheme) == (6378137.0, "nested")


def test_the_group_declares_the_zarr_dggs_convention(stored: tuple[str, Path]) -> None:
    key, folder = stored
    attrs = json.loads((folder / "zarr.json").read_text())["attributes"]
    assert attrs["Conventions"] == "CF-1.13"
    assert [item["uuid"] for item in attrs["zarr_conventions"]] == ["other", DGGS_CONVENTION["uuid"]]
    name, level = key.split("-")
    common = {"spatial_dimension": "cell", "coordinate": "cell_ids", "compression": "none"}
    block = attrs["dggs"]
    assert {k: block[k] for k in ("name", "refinement_level", *common)} == {
        "name": name,
        "refinement_level": int(level),
        **common,
    }
    if name == "healpix":
        assert block["indexing_scheme"] == "nested"
        # the spelling with two underscores: zarr-conventions/dggs pull request 13 of May 2026
        assert block["ellipsoid"] == {
            "name": "WGS84",
            "semi_major_axis": 6378137.0,
            "inverse_flattening": 298.257223563,
        }


def test_only_healpix_gets_a_cf_grid_mapping(stored: tuple[str, Path]) -> None:
    key, folder = stored
    dataset = xr.open_zarr(folder, consolidated=False)
    if key == "h3-4":
        assert "crs" not in dataset.variables
        assert "grid_mapping" not in dataset["density"].attrs
        return
    assert dataset["crs"].attrs == {
        "grid_mapping_name": "healpix",
        "refinement_level": 8,
        "indexing_scheme": "nested",
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257223563,
    }
    assert dataset["density"].attrs["grid_mapping"] == "crs"
    assert "grid_mapping" not in dataset["edges"].attrs


def test_the_dataset_given_is_left_as_it_was() -> None:
    before = make("healpix-8")
    apply_conventions(before, ATTRS["healpix-8"])
    xr.testing.assert_identical(before, make("healpix-8"))


def test_applying_twice_changes_nothing() -> None:
    once = apply_conventions(make("healpix-8"), ATTRS["healpix-8"])
    xr.testing.assert_identical(apply_conventions(once, ATTRS["healpix-8"]), once)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"grid_name": "h3"}, r"lack \['level'\]"),
        ({"grid_name": "h3", "level": 4, "units": "1"}, r"have \['units'\] too many"),
        ({"grid_name": "h3", "level": 4, "ellipsoid": "WGS84"}, "is not a table"),
        (
            {"grid_name": "h3", "level": 4, "ellipsoid": {"name": "WGS84", "semi_major_axis": 1.0}},
            "semimajor_axis and inverse_flattening",
        ),
    ],
)
def test_attributes_that_xdggs_would_refuse_are_refused(attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        apply_conventions(make("h3-4"), attrs)


def test_cell_ids_must_be_there_and_uint64() -> None:
    with pytest.raises(SchemaError, match="has no coordinate cell_ids"):
        apply_conventions(make("h3-4").drop_vars("cell_ids"), ATTRS["h3-4"])
    with pytest.raises(SchemaError, match="type int64; expected uint64"):
        apply_conventions(make("h3-4").assign_coords(cell_ids=("cell", IDS["h3-4"])), ATTRS["h3-4"])
