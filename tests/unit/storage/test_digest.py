from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from entropice_core.errors import SchemaError, StoreError
from entropice_core.storage import digest as digest_module
from entropice_core.storage.content import list_files, read_dataset, write_dataset
from entropice_core.storage.digest import bundle_digest, dataset_digest, edition, logical_file_digest


def test_a_dataset_keeps_its_digest_on_disk_and_in_any_chunks(
    tmp_path: Path, make_features: Callable[..., xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = make_features(cells=1000)
    expected = dataset_digest(features)
    write_dataset(features, tmp_path / "a.zarr")
    write_dataset(features.chunk({"cell": 137, "feature": 2}), tmp_path / "b.zarr")
    monkeypatch.setattr(digest_module, "BLOCK_BYTES", 1000)  # many small blocks
    found = [dataset_digest(read_dataset(tmp_path / name)) for name in ("a.zarr", "b.zarr")]
    assert [*found, dataset_digest(features.chunk({"cell": 11}))] == [expected] * 3


@pytest.mark.parametrize(
    "same",
    [
        lambda d: d[list(d.data_vars)[::-1]],
        lambda d: d.assign(rts_area_m2=d.rts_area_m2.astype(">f8")),
        lambda d: d.assign_attrs(title=np.str_("labels")),
        lambda d: d.assign(count=("cell", np.asfortranarray(d["count"].values), d["count"].attrs)),
        lambda d: d.isel(cell=slice(None, None, -1)).isel(cell=slice(None, None, -1)),
    ],
)
def test_what_does_not_change_content_does_not_change_the_digest(
    same: Callable[[xr.Dataset], xr.Dataset], make_labels: Callable[..., xr.Dataset]
) -> None:
    assert dataset_digest(same(make_labels())) == dataset_digest(make_labels())


@pytest.mark.parametrize(
    "other",
    [
        lambda d: d.assign_attrs(title="Labels"),
        lambda d: d.rename(count="counts"),
        lambda d: d.assign(count=d["count"].astype("float32")),
        lambda d: d.assign(count=d["count"] + (d["cell_ids"] == d["cell_ids"][3]).astype("float64")),
        lambda d: d.rename(cell="cells"),
        lambda d: d.set_coords("count"),
        lambda d: d.isel(cell=slice(1, None)),
        lambda d: d.isel(cell=slice(None, None, -1)),
        lambda d: d.drop_vars("density"),
        lambda d: d.fillna(0.0),
    ],
)
def test_every_change_of_content_changes_the_digest(
    other: Callable[[xr.Dataset], xr.Dataset], make_labels: Callable[..., xr.Dataset]
) -> None:
    assert dataset_digest(other(make_labels())) != dataset_digest(make_labels())


def test_every_nan_is_the_same_nan() -> None:
    values = np.array([1.0, np.nan], dtype="float32")
    strange = values.copy()
    strange.view("uint32")[1] |= 0x8000_0123
    assert values.tobytes() != strange.tobytes()
    assert dataset_digest(xr.Dataset({"x": ("cell", values)})) == dataset_digest(xr.Dataset({"x": ("cell", strange)}))


def test_texts_that_join_to_the_same_bytes_differ() -> None:
    one, other = (xr.Dataset({"x": ("feature", np.array(names))}) for names in (["ab", "c"], ["a", "bc"]))
    assert dataset_digest(one) != dataset_digest(other)


def test_the_kind_of_text_does_not_count() -> None:
    kinds = [
        np.array(["a", "bc"]),
        np.array(["a", "bc"], dtype=object),
        np.array(["a", "bc"], dtype=np.dtypes.StringDType()),
    ]
    kinds.append(pd.array(["a", "bc"], dtype="str"))  # type: ignore[call-overload]
    digests = {dataset_digest(xr.Dataset({"x": ("feature", kind)})) for kind in kinds}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "values", [np.array([1, 2], dtype="timedelta64[D]"), np.array([1j]), np.array([{"a": 1}], dtype=object)]
)
def test_types_that_the_store_does_not_take_are_named(values: np.ndarray) -> None:
    with pytest.raises(SchemaError, match="'strange'"):
        dataset_digest(xr.Dataset({"strange": ("cell", values)}))


TABLE = {"id": [1, 2, 3], "name": ["a", None, "c"], "area": [0.5, None, 2.0], "ok": [True, None, False]}


def test_a_table_keeps_its_digest_under_other_codecs_row_groups_and_writers(tmp_path: Path) -> None:
    table = pa.table(TABLE)
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet", compression="zstd", row_group_size=1, use_dictionary=False)
    dictionary = table.set_column(1, "name", table["name"].dictionary_encode())
    pq.write_table(dictionary, tmp_path / "c.parquet")
    digests = {logical_file_digest(tmp_path / f"{name}.parquet") for name in "abc"}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"id": [1, 2, 4]},
        {"name": ["a", "", "c"]},
        {"area": [0.5, 0.0, 2.0]},
        {"ok": [True, False, False]},
        {"name": ["ac", None, ""]},
    ],
)
def test_every_changed_value_of_a_table_changes_its_digest(tmp_path: Path, change: dict[str, list[object]]) -> None:
    pq.write_table(pa.table(TABLE), tmp_path / "a.parquet")
    pq.write_table(pa.table(TABLE | change), tmp_path / "b.parquet")
    assert logical_file_digest(tmp_path / "a.parquet") != logical_file_digest(tmp_path / "b.parquet")


def test_nested_dated_and_binary_columns_are_read_whatever_their_layout(tmp_path: Path) -> None:
    columns = {
        "box": pa.array([{"x": 1.0, "y": 2.0}, None]),
        "list": pa.array([[1, 2], None]),
        "when": pa.array([pd.Timestamp("2018-07-01"), None]),
        "day": pa.array([1, None], pa.date32()),
        "wkb": pa.array([b"\x00\x01", None], pa.binary()),
        "cost": pa.array(["1.50", None]).cast(pa.decimal128(6, 2)),
        "none": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    pq.write_table(pa.table(columns), tmp_path / "b.parquet", row_group_size=1)
    expected = logical_file_digest(tmp_path / "a.parquet")
    assert logical_file_digest(tmp_path / "b.parquet") == expected
    for name, value in {"box": [{"x": 1.0, "y": 3.0}, None], "list": [[1], [2]], "wkb": [b"\x00", b"\x01"]}.items():
        changed = columns | {name: pa.array(value, columns[name].type)}
        pq.write_table(pa.table(changed), tmp_path / "c.parquet")
        assert logical_file_digest(tmp_path / "c.parquet") != expected, name


def test_the_coordinate_system_of_a_geographic_table_counts_its_writer_does_not(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame({"id": [1]}, geometry=geopandas.points_from_xy([1.0], [70.0]), crs="EPSG:4326")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.set_crs("EPSG:4267", allow_override=True).to_parquet(tmp_path / "b.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    geo = table.schema.metadata[b"geo"].replace(b"geopandas", b"otherpandas")
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), tmp_path / "c.parquet")
    digests = [logical_file_digest(tmp_path / f"{name}.parquet") for name in "abc"]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_arrays_keep_their_digest_when_the_archive_is_compressed(tmp_path: Path) -> None:
    arrays = {"w": np.arange(5.0), "names": np.array(["a", "b"])}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **dict(reversed(arrays.items())))
    np.savez(tmp_path / "c.npz", **(arrays | {"w": np.arange(5.0) + 1e-12}))
    digests = [logical_file_digest(tmp_path / f"{name}.npz") for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an archive")
    with pytest.raises(StoreError, match=name):
        logical_file_digest(tmp_path / name)


def test_an_array_file_with_objects_in_it_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(StoreError, match="a.npz"):
        logical_file_digest(tmp_path / "a.npz")


def test_pictures_and_volatile_files_do_not_count_but_have_an_edition(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for name in ("scores.json", "maps/a.png", "run.log"):
        (tmp_path / name).write_text(name)
    names = list_files(tmp_path)
    before = bundle_digest(tmp_path, names, ("run.log",)), edition(tmp_path, names, ("run.log",))
    (tmp_path / "maps/a.png").write_text("drawn anew")
    (tmp_path / "run.log").write_text("later")
    after = bundle_digest(tmp_path, names, ("run.log",)), edition(tmp_path, names, ("run.log",))
    assert before[0] == after[0]
    assert before[1] != after[1]
    (tmp_path / "scores.json").write_text("changed")
    assert bundle_digest(tmp_path, names, ("run.log",)) != before[0]


def test_a_renamed_file_changes_the_digest_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("x")
    before = bundle_digest(tmp_path, ["a.json"])
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    assert bundle_digest(tmp_path, ["b.json"]) != before
