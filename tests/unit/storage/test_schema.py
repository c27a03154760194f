from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import ConfigError, ProvenanceError, SchemaError
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe
from entropice_core.storage.schema import check_schema, load_schema, schema_names
from entropice_core.storage.store import PartitionStore


def test_every_schema_says_what_the_checks_need() -> None:
    assert schema_names() == ["cells", "features", "labels", "predictions"]
    for name in schema_names():
        schema = load_schema(name)
        assert {"title", "attrs", "coords", "variables", "extra_variables"} == set(schema)
        assert schema["coords"]["cell_ids"]["dtype"] == "uint64"


def test_an_unknown_schema_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'labels'"):
        load_schema("label")


def _twins(labels: xr.Dataset) -> xr.Dataset:
    ids = labels["cell_ids"].values.copy()
    ids[5] = ids[4]
    return labels.assign_coords(cell_ids=("cell", ids, labels["cell_ids"].attrs))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.drop_vars("density"), "promises variable 'density', which is not there; found: count"),
        (lambda d: d.reset_coords("cell_ids"), "promises coord 'cell_ids', which is data variable"),
        (lambda d: d.assign(density=d.density.astype("float64")), "'density' has the type float64; .* expects float32"),
        (
            lambda d: d.assign(density=(("cell", "x"), np.zeros((40, 1), "f4"), {"units": "1"})),
            r"dimensions \['cell', 'x'\]",
        ),
        (lambda d: d.assign(density=("cell", d.density.values)), r"'density' lacks the attributes \['units'\]"),
        (
            lambda d: d.assign_coords(cell_ids=("cell", d.cell_ids.values)),
            r"lacks the attributes \['grid_name', 'level'\]",
        ),
        (lambda d: d.isel(cell=slice(None, None, -1)), "must rise strictly"),
        (_twins, "cell 576460752303423492 at row 5 follows 576460752303423492"),
    ],
)
def test_a_dataset_that_breaks_its_schema_is_refused_by_name(
    spoil: Callable[[xr.Dataset], xr.Dataset],
    message: str,
    store: PartitionStore,
    part: Partition,
    recipe: Recipe,
    make_labels: Callable[..., xr.Dataset],
) -> None:
    with pytest.raises(SchemaError, match=f"labels h3-4/2018.*{message}"):
        store.publish("labels", part, spoil(make_labels()), recipe, schema="labels")
    assert store.datasets() == []


def test_good_datasets_pass(make_labels: Callable[..., xr.Dataset], make_features: Callable[..., xr.Dataset]) -> None:
    check_schema(make_labels(), "labels", "labels h3-4/2018")
    check_schema(make_labels().assign(more=("cell", np.zeros(40))), "labels", "labels h3-4/2018")
    check_schema(make_features(), "features", "features.era5 h3-4/2018")


def test_a_schema_without_room_for_more_names_the_stranger(
    make_labels: Callable[..., xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(load_schema("labels"), "extra_variables", False)
    with pytest.raises(SchemaError, match="no variable 'densty'; did you mean 'density'"):
        check_schema(make_labels().assign(densty=("cell", np.zeros(40))), "labels", "labels h3-4/2018")


def test_a_bundle_has_no_schema(store: PartitionStore, part: Partition, recipe: Recipe) -> None:
    folder = store.root.parent / "bundle"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    with pytest.raises(SchemaError, match="has no schema"):
        store.publish("labels", part, folder, recipe, schema="labels")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("t2m", "slope")}, r"features added \[\], missing \['snow'\]"),
        ({"names": ("t2m", "slope", "ice")}, r"added \['ice'\], missing \['snow'\]"),
        ({"names": ("slope", "t2m", "snow")}, "another order"),
        ({"dtype": "float64"}, "'features' is .*float64.*expected .*float32"),
    ],
)
def test_a_year_that_differs_in_structure_from_another_year_is_refused(
    change: dict[str, object], message: str, store: PartitionStore, make_features: Callable[..., xr.Dataset]
) -> None:
    recipe = Recipe("features", "1", {"kind": "raster"})
    store.publish("features.era5", Partition("h3-4", 2018), make_features(), recipe)
    drifted = make_features(**change)
    with pytest.raises(
        ProvenanceError, match=f"h3-4/2019 differs from h3-4/2018.*{message}.*remove .*/features.era5/h3-4 and build"
    ):
        store.publish("features.era5", Partition("h3-4", 2019), drifted, recipe)
    assert store.partitions("features.era5") == [Partition("h3-4", 2018)]


@pytest.mark.parametrize(
    ("partition", "version", "config"),
    [
        (Partition("h3-4", 2019), "2", {"kind": "raster"}),
        (Partition("h3-4", 2019), "1", {"kind": "raster", "bands": ["t2m"]}),
        (Partition("h3-5", 2019), "1", {"kind": "raster"}),
        (Partition("h3-4", 2018), "1", {"kind": "raster"}),
    ],
)
def test_new_code_a_new_configuration_and_another_grid_may_have_another_structure(
    partition: Partition,
    version: str,
    config: dict[str, object],
    store: PartitionStore,
    make_features: Callable[..., xr.Dataset],
) -> None:
    store.publish(
        "features.era5", Partition("h3-4", 2018), make_features(), Recipe("features", "1", {"kind": "raster"})
    )
    manifest = store.publish("features.era5", partition, make_features(("t2m",)), Recipe("features", version, config))
    assert manifest.structure["features"] == ["t2m"]
