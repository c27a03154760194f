import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from entropice_core.errors import SchemaError, StoreError
from entropice_core.storage.content import (
    chunk_shape,
    copy_bundle,
    list_files,
    read_dataset,
    shard_shape,
    statistics_of,
    write_dataset,
)
from entropice_core.storage.digest import dataset_digest


@pytest.mark.parametrize(
    ("dims", "shape", "chunks", "shards"),
    [
        (("cell",), (10,), (10,), None),
        (("cell",), (0,), (1,), None),
        (("cell",), (100_000,), (65536,), (131072,)),
        (("cell", "feature"), (1_000_000, 300), (65536, 20), (262144, 300)),
        (("cell", "feature"), (1_000, 290), (1_000, 20), (1_000, 300)),
        (("feature",), (300,), (300,), None),
        (("cell", "time"), (500, 1000), (500, 366), (500, 1098)),
        (("year", "cell"), (0, 1_000_000), (1, 366), (1, 1_000_278)),
    ],
)
def test_arrays_are_cut_in_column_groups_and_packed_in_shards(
    dims: tuple[str, ...], shape: tuple[int, ...], chunks: tuple[int, ...], shards: tuple[int, ...] | None
) -> None:
    assert chunk_shape(dims, shape) == chunks
    assert shard_shape(dims, shape) == shards


def test_every_type_that_the_store_takes_comes_back_as_it_was(tmp_path: Path) -> None:
    cells = 70_000
    rng = np.random.default_rng(0)
    ids = np.sort(rng.integers(1 << 59, 1 << 60, cells, dtype="uint64"))
    dataset = xr.Dataset(
        {
            "features": (("cell", "feature"), rng.normal(size=(cells, 23)).astype("float32"), {"long_name": "x"}),
            "season": ("cell", rng.random(cells).astype("float32"), {"units": "days"}),
            "nothing": ("cell", np.full(cells, np.nan)),
            "zero": ("cell", np.full(cells, -0.0)),
            "is_land": ("cell", rng.random(cells) > 0.5),
            "small": ("cell", rng.integers(-5, 5, cells).astype("int8")),
            "empty": (("year", "cell"), np.zeros((0, cells))),
            "crs": ((), np.int8(0), {"grid_mapping_name": "healpix", "nested": {"a": [1, 2.5]}}),
        },
        coords={
            "cell_ids": ("cell", ids, {"grid_name": "h3"}),
            "feature": [f"f{i}" for i in range(23)],
            "unit": ("feature", np.array(["K", "m\u00b2"] + ["1"] * 21)),
            "time": ("time", np.array(["2018-10-01T06", "2019-01-01"], dtype="datetime64[ns]")),
            "level": 4,
        },
        attrs={"zarr_conventions": [{"uuid": "x"}], "title": "\u00e4"},
    )
    write_dataset(dataset, tmp_path / "a")
    back = read_dataset(tmp_path / "a")
    xr.testing.assert_identical(back.load(), dataset)
    assert dataset_digest(back) == dataset_digest(dataset)
    assert back["season"].dtype == np.float32
    assert back["unit"].dtype.kind == "U"


def test_values_are_not_read_before_they_are_asked_for(
    tmp_path: Path, make_features: Callable[..., xr.Dataset]
) -> None:
    write_dataset(make_features(), tmp_path / "a")
    assert not read_dataset(tmp_path / "a").variables["features"]._in_memory


def test_chunks_are_packed_with_blosc_zstd_and_carry_a_checksum(
    tmp_path: Path, make_labels: Callable[..., xr.Dataset]
) -> None:
    write_dataset(make_labels(), tmp_path / "a")
    metadata = json.loads((tmp_path / "a/density/zarr.json").read_text())
    codecs = {codec["name"]: codec.get("configuration", {}) for codec in metadata["codecs"]}
    assert list(codecs) == ["bytes", "blosc", "crc32c"]
    assert {key: codecs["blosc"][key] for key in ("cname", "clevel", "shuffle")} == {
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "shuffle",
    }


def test_a_chunk_of_nan_only_is_stored_so_that_a_lost_one_is_noticed(tmp_path: Path) -> None:
    write_dataset(xr.Dataset({"x": ("cell", np.full(5, np.nan)), "y": ("cell", np.zeros(5))}), tmp_path / "a")
    assert {"x/c/0", "y/c/0"} <= set(list_files(tmp_path / "a"))


def test_a_flipped_byte_in_a_chunk_fails_when_the_values_are_read(
    tmp_path: Path, make_labels: Callable[..., xr.Dataset]
) -> None:
    write_dataset(make_labels(), tmp_path / "a")
    chunk = tmp_path / "a/density/c/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        read_dataset(tmp_path / "a")["density"].load()


def test_statistics_are_given_per_variable_and_per_feature(make_features: Callable[..., xr.Dataset]) -> None:
    dataset = make_features(("a", "b"), cells=4)
    dataset["features"][1:3, 0] = np.nan
    dataset["features"][:, 1] = [1.0, np.inf, -2.0, 0.0]
    dataset["hollow"] = ("cell", np.full(4, np.nan))
    dataset["is_land"] = ("cell", np.array([True, True, True, True]))
    dataset["ids"] = ("cell", dataset["cell_ids"].values + np.uint64(2**63))
    found = {name: (s.rows, s.nan_share, s.minimum, s.maximum) for name, s in statistics_of(dataset).items()}
    assert found == {
        "features/a": (4, 0.5, 0.0, 6.0),
        "features/b": (4, 0.0, -2.0, "inf"),
        "hollow": (4, 1.0, None, None),
        "is_land": (4, 0.0, 1, 1),
        "ids": (4, 0.0, 2**63, 2**63 + 3),
    }


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing_here"):
        read_dataset(tmp_path / "nothing_here")


def test_a_link_in_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/passwords").symlink_to("/etc/passwd")
    with pytest.raises(SchemaError, match="passwords is a link"):
        copy_bundle(tmp_path / "a", tmp_path / "b")
