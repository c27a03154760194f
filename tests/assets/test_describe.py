"""Values that people see are plain, small and complete."""

from io import BytesIO

import dagster as dg
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from entropice_assets.values import to_metadata, to_plain, to_table
from entropice_core.describe import MAX_PICTURE_BYTES, MAX_ROWS, Column, _columns_of_dataset, _cut, flatten, small_png


def noisy_png(width: int, height: int) -> bytes:
    """A picture that does not compress."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def test_a_large_picture_becomes_small_enough_for_an_event() -> None:
    small = small_png(noisy_png(450, 300))
    assert len(small) <= MAX_PICTURE_BYTES
    with Image.open(BytesIO(small)) as image:
        assert image.width / image.height == pytest.approx(1.5, rel=0.02)


def test_a_small_picture_keeps_its_size() -> None:
    buffer = BytesIO()
    Image.new("RGB", (300, 100), "white").save(buffer, format="PNG")
    with Image.open(BytesIO(small_png(buffer.getvalue()))) as image:
        assert image.size == (300, 100)


def test_a_long_table_says_how_much_was_cut() -> None:
    rows = _cut([{"what": str(n), "number": n} for n in range(MAX_ROWS + 5)])
    assert len(rows) == MAX_ROWS + 1
    assert rows[-1] == {"what": "and 5 more in the manifest", "number": ""}


def test_nested_counts_become_lines_and_lists_are_left_to_the_manifest() -> None:
    assert dict(flatten({"total": {"rejected": {"zero_area": 2}}, "files": [1, 2], "share": 0.5})) == {
        "total: rejected: zero_area": 2,
        "share": 0.5,
    }


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((1, 2), "(1, 2)"),
        ("text", "text"),
    ],
)
def test_numpy_values_become_python_values(value: object, plain: object) -> None:
    made = to_plain(value)
    assert made == plain and type(made) is type(plain)


@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(3), np.bool_(False), "text", 1.5, None])
def test_every_value_can_be_stored_by_dagster(value: object) -> None:
    event = dg.AssetMaterialization("a", metadata={"value": to_metadata(value)})
    assert dg.deserialize_value(dg.serialize_value(event)) == event


def test_a_column_with_a_cut_line_is_shown_as_text() -> None:
    table = to_table([{"what": "kept", "number": 1234}, {"what": "and 1 more", "number": ""}])
    assert [column.type for column in table.schema.columns] == ["string", "string"]
    assert table.records[0].data == {"what": "kept", "number": "1,234"}


def test_columns_come_with_units_coordinates_first_and_without_helpers() -> None:
    dataset = xr.Dataset(
        {
            "crs": ((), np.int8(0)),
            "area_m2": ("cell", [1.0], {"long_name": "area", "units": "m2"}),
            "features": (("cell", "feature"), np.zeros((1, 1), np.float32)),
        },
        coords={
            "cell_ids": ("cell", np.array([5], np.uint64), {"grid_name": "h3", "level": 3}),
            "feature": ["t2m"],
            "unit": ("feature", ["degC"]),
            "long_name": ("feature", ["2 m temperature"]),
        },
    )
    assert _columns_of_dataset(dataset) == [
        Column("cell_ids", "uint64", "cell of h3 level 3"),
        Column("area_m2", "float64", "area [m2]"),
        Column("t2m", "float32", "2 m temperature [degC]"),
    ]


def test_a_small_picture_keeps_both_ends_of_the_colour_scale() -> None:
    """Nearly all cells are dark, a few are yellow: the few are what one looks for."""
    rng = np.random.default_rng(1)
    values = np.clip(rng.normal(40, 12, (600, 600, 3)), 0, 90).astype(np.uint8)
    values[290:310, 290:310] = (253, 231, 37)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    with Image.open(BytesIO(small_png(buffer.getvalue()))) as image:
        middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert middle == pytest.approx((253, 231, 37), abs=12)
