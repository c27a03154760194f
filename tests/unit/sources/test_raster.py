"""The raster source: the same world in any file gives the same features, and damage is named."""

import json

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS, Transformer

from entropice_core.errors import ConfigError, GridError, SourceError
from entropice_core.sources.raster import open_source

ONE = [{"select": 1}]


@pytest.fixture
def reference(tmp_path, world, features):
    """Features of the plain file."""
    world.array().to_netcdf(tmp_path / "plain.nc", engine="h5netcdf")
    return features(tmp_path / "plain.nc")


def test_features_follow_the_field(reference, cells, world):
    expected = world.smooth(cells["lon"].values, cells["lat"].values)
    np.testing.assert_allclose(reference["features"].values[:, 0], expected, atol=0.02)
    assert reference["features"].dtype == np.float32 and reference["features"].dims == ("cell", "feature")
    assert [reference[name].item() for name in ("feature", "unit")] == ["field", "1"]
    np.testing.assert_array_equal(reference["cell_ids"], cells["cell_ids"])
    assert reference["cell_ids"].attrs["grid_name"] == "h3"
    np.testing.assert_allclose(reference["valid_fraction"], 1.0, atol=0.09)


def as_netcdf4(array, path):
    array.to_netcdf(path, engine="h5netcdf")


def as_netcdf3(array, path):
    array.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def as_zarr2(array, path):
    array.to_dataset().to_zarr(path, zarr_format=2, consolidated=True)


def as_zarr3(array, path):
    array.to_dataset().to_zarr(path, zarr_format=3, consolidated=False)


@pytest.mark.parametrize("write", [as_netcdf4, as_netcdf3, as_zarr2, as_zarr3])
def test_every_array_format_gives_the_same_features(tmp_path, world, features, reference, write):
    write(world.array(), tmp_path / "no_ending")
    np.testing.assert_array_equal(features(tmp_path / "no_ending")["features"], reference["features"])


def test_a_geotiff_gives_the_same_features(tmp_path, world, features, reference):
    path = world.tiff(tmp_path / "a.nc", world.array().values[::-1])
    np.testing.assert_array_equal(features(path, ONE)["features"], reference["features"])


VARIANTS = {
    "latitude descending": lambda a: a.isel(lat=slice(None, None, -1)),
    "longitude from 0": lambda a: a.assign_coords(lon=a.lon % 360.0).sortby("lon"),
    "longitude wrapped in the middle": lambda a: a.roll(lon=70, roll_coords=True),
    "dimensions transposed": lambda a: a.transpose("lon", "lat"),
    "360 beside 0": lambda a: xr.concat([a, a.isel(lon=[0])], "lon").assign_coords(lon=np.r_[a.lon.values, 180.0]),
    "dimension of one step": lambda a: a.expand_dims(time=[0.0]),
    "names upper case": lambda a: a.rename(lat="Latitude", lon="LONGITUDE"),
    "packed as int16": None,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_layout_of_the_same_world_gives_the_same_features(tmp_path, world, features, reference, name):
    array, path = world.array(), tmp_path / "a.nc"
    if VARIANTS[name] is None:
        packing = {"dtype": "int16", "scale_factor": 1e-4, "add_offset": 0.5, "_FillValue": -32768}
        array.to_netcdf(path, engine="h5netcdf", encoding={"field": packing})
    else:
        variant = VARIANTS[name](array)
        for coord in ("lat", "lon"):
            if coord in variant.coords:
                variant[coord].attrs = array[coord].attrs
        variant.to_netcdf(path, engine="h5netcdf")
    tolerance = 2e-4 if name == "packed as int16" else 0.0
    np.testing.assert_allclose(features(path)["features"], reference["features"], rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("write", [as_netcdf4, as_netcdf3])
@pytest.mark.parametrize(("signed", "unsigned"), [("int8", "uint8"), ("int16", "uint16")])
def test_unsigned_numbers_in_signed_ones_are_read_as_unsigned(tmp_path, world, features, write, signed, unsigned):
    fill = np.iinfo(unsigned).max
    packed = np.round((world.array() + 2.5) / 5.0 * (fill - 1)).astype(unsigned)
    packed[:, :95] = fill
    packed.attrs = {"scale_factor": 5.0 / (fill - 1), "add_offset": -2.5, "_FillValue": packed.dtype.type(fill)}
    packed.to_netcdf(tmp_path / "plain.nc", engine="h5netcdf")
    stored = packed.copy(data=packed.values.view(signed))
    stored.attrs |= {"_Unsigned": "true", "_FillValue": np.array(fill).astype(signed)[()]}
    write(stored, tmp_path / "said.nc")
    plain, said = features(tmp_path / "plain.nc"), features(tmp_path / "said.nc")
    np.testing.assert_array_equal(said["features"], plain["features"])
    assert json.loads(said.attrs["counts"]) == json.loads(plain.attrs["counts"])
    assert json.loads(said.attrs["counts"])["bands"]["field"]["masked_nodata"] > 0


def test_a_repeated_column_is_used_once_and_noted(tmp_path, world, features):
    VARIANTS["360 beside 0"](world.array()).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert "used once" in features(tmp_path / "a.nc").attrs["notes"]


@pytest.mark.parametrize("epsg", [3413, 3995, 6931])
def test_a_projected_raster_gives_the_same_features(tmp_path, world, features, reference, epsg):
    centre = np.arange(-3.5e6 + 1e4, 3.5e6, 2e4)
    x, y = np.meshgrid(centre, centre[::-1])
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    values = world.smooth(lon, lat).astype(np.float32)
    place = {"west": -3.5e6, "north": 3.5e6, "dx": 2e4, "dy": 2e4, "crs": f"EPSG:{epsg}"}
    got = features(world.tiff(tmp_path / "p.tif", values, **place), ONE)
    np.testing.assert_allclose(got["features"], reference["features"], atol=0.02)
    array = xr.DataArray(values, {"y": centre[::-1], "x": centre}, ("y", "x"), "field", {"grid_mapping": "crs"})
    crs = xr.DataArray(0, attrs=CRS.from_epsg(epsg).to_cf())
    xr.Dataset({"field": array, "crs": crs}).to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    np.testing.assert_array_equal(features(tmp_path / "p.nc")["features"], got["features"])


def test_a_file_without_coordinate_system_is_refused_with_what_to_write(tmp_path, world, features, reference):
    path = world.tiff(tmp_path / "a.tif", world.array().values[::-1], crs=None)
    with pytest.raises(SourceError, match=r'a\.tif does not say its coordinate system.*crs = "EPSG:4326"'):
        features(path, ONE)
    got = features(path, ONE, crs="EPSG:4326")
    np.testing.assert_array_equal(got["features"], reference["features"])
    assert "EPSG:4326 is declared" in got.attrs["notes"]


def test_a_declared_coordinate_system_may_repeat_but_not_contradict_the_files(tmp_path, world, features, reference):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    np.testing.assert_array_equal(features(tmp_path / "a.nc", crs="EPSG:4326")["features"], reference["features"])
    with pytest.raises(SourceError, match=r"a\.nc says that its coordinate system is .*EPSG:3413"):
        features(tmp_path / "a.nc", crs="EPSG:3413")


def test_a_declared_name_that_is_no_coordinate_system_is_refused(tmp_path, world, features):
    path = world.tiff(tmp_path / "a.tif", world.array().values[::-1], crs=None)
    with pytest.raises(ConfigError, match="'polar' is no coordinate system"):
        features(path, ONE, crs="polar")


def test_the_declared_unit_wins_and_the_lie_is_noted(tmp_path, world, features):
    array = world.array().assign_attrs(units="K")
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    got = features(tmp_path / "a.nc", [{"unit": "degC"}])
    assert got["unit"].item() == "degC"
    assert json.loads(got.attrs["notes"]) == ["a.nc says that 'field' is in 'K'; 'degC' is declared, unconverted."]


def test_a_unit_that_is_only_spelt_differently_is_no_lie(tmp_path, world, features):
    world.array().assign_attrs(units="Kelvin").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert json.loads(features(tmp_path / "a.nc", [{"unit": "K"}]).attrs["notes"]) == []


def test_kelvin_and_celsius_of_the_same_world_give_the_same_features(tmp_path, world, features, reference):
    kelvin = (world.array().astype(np.float64) + 273.15).assign_attrs(units="K")
    kelvin.to_netcdf(tmp_path / "k.nc", engine="h5netcdf")
    got = features(tmp_path / "k.nc", [{"unit": "degC", "offset": -273.15}])
    np.testing.assert_allclose(got["features"], reference["features"], atol=1e-6)
    assert "offset -273.15 are applied" in got.attrs["notes"]


def test_scale_and_offset_come_before_the_valid_range(tmp_path, world, features, reference):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    got = features(tmp_path / "a.nc", [{"scale": 100.0, "offset": 5000.0, "valid_range": (4000.0, 6000.0)}])
    np.testing.assert_allclose(got["features"], reference["features"] * 100.0 + 5000.0, rtol=1e-5)


def test_the_pixels_masked_for_each_reason_are_counted(tmp_path, world, features):
    array = world.array()
    where = array.where((array.lat >= 89.0) & (np.abs(array.lon) < 90.0), drop=True)
    array.loc[{"lat": where.lat, "lon": where.lon}] = np.nan
    array.loc[{"lat": 75.0}] = 99.0
    array.loc[{"lat": 74.0, "lon": -180.0}] = -9999.0
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"field": {"_FillValue": None}})
    got = features(tmp_path / "a.nc", [{"nodata": -9999.0}])
    counts = json.loads(got.attrs["counts"])["bands"]["field"]
    assert counts["masked_nodata"] == 1
    assert counts["masked_nan"] == where.lon.size * where.lat.size
    assert 10 <= counts["masked_outside_valid_range"] <= 14  # the pixels of 75 N near 180 degrees
    assert counts["used"] == counts["pixels"] - sum(n for key, n in counts.items() if key.startswith("masked"))
    assert np.nanmax(np.abs(got["features"].values)) < 3.0


@pytest.mark.parametrize("fill", [-9999.0, 9.969209968386869e36, -3.4028234663852886e38, np.nan])
def test_fill_values_of_the_file_are_masked(tmp_path, world, features, reference, fill):
    array = world.array()
    array[::2, ::3] = np.nan
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"field": {"_FillValue": np.float32(fill)}})
    stored = np.where(np.isnan(array.values), np.float32(fill), array.values)
    world.tiff(tmp_path / "a.tif", stored[::-1], nodata=fill)
    got = features(tmp_path / "a.nc", [{"valid_range": (-1e38, 1e38)}])
    np.testing.assert_allclose(got["features"], reference["features"], atol=0.15)
    again = features(tmp_path / "a.tif", [{"select": 1, "valid_range": (-1e38, 1e38)}])
    np.testing.assert_array_equal(again["features"], got["features"])
    counts = [json.loads(each.attrs["counts"])["bands"]["field"] for each in (got, again)]
    assert counts[0]["used"] == counts[1]["used"] < counts[0]["pixels"]


def test_an_infinite_pixel_is_an_error(tmp_path, world, features):
    array = world.array()
    array.loc[{"lat": 74.0, "lon": -180.0}] = np.inf
    array.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match=r"a\.nc, band 'field': 1 of \d+ pixels are infinite"):
        features(tmp_path / "a.nc")


def test_a_band_without_any_valid_pixel_is_an_error(tmp_path, world, features):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match=r"no valid pixel in the study area for 'field'.*outside_valid_range"):
        features(tmp_path / "a.nc", [{"valid_range": (50.0, 60.0)}])


def test_a_raster_elsewhere_is_an_error(tmp_path, world, features):
    world.array(lat=np.arange(0.0, 40.0)).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match="covers none of the"):
        features(tmp_path / "a.nc")


def test_steps_of_a_time_axis_are_named_by_their_month_wherever_the_file_begins(tmp_path, world, features):
    stamps = np.array(["2020-10-01", "2020-12-01", "2021-01-01"], dtype="datetime64[ns]")
    steps = xr.concat([world.array() + m for m in range(3)], "valid_time").assign_coords(valid_time=stamps)
    steps.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    got = features(tmp_path / "a.nc", [{"name": "t_{month:02d}", "along": "valid_time", "long_name": "temperature"}])
    assert got["feature"].values.tolist() == ["t_10", "t_12", "t_01"]
    assert got["long_name"].values[2] == "temperature, month 1, mean in the cell"
    np.testing.assert_allclose(np.diff(got["features"].values, axis=1), 1.0, atol=1e-4)
    assert got["band"].values.tolist() == ["t"]


def test_a_month_is_asked_of_an_axis_with_dates_only_and_is_there_once(tmp_path, world, features):
    steps = xr.concat([world.array() + m for m in range(3)], "step")
    steps.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ConfigError, match=r"'step' of a.nc has no dates: write \{index\}"):
        features(tmp_path / "a.nc", [{"name": "t_{month:02d}", "along": "step"}])
    stamps = np.array(["2020-10-01", "2020-11-01", "2021-10-01"], dtype="datetime64[ns]")
    steps.rename(step="time").assign_coords(time=stamps).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(ConfigError, match="t_10 are defined twice"):
        features(tmp_path / "b.nc", [{"name": "t_{month:02d}", "along": "time"}])


def test_cells_outside_the_raster_are_nan_and_counted(tmp_path, world, features, cells):
    world.array(lat=np.arange(58.0, 80.1)).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    got = features(tmp_path / "a.nc")
    outside = np.isnan(got["features"].values[:, 0])
    np.testing.assert_array_equal(outside, cells["lat"].values > 85.0)
    assert json.loads(got.attrs["counts"])["cells"] == {"all": cells.sizes["cell"], "outside_raster": outside.sum()}
    np.testing.assert_array_equal(got["valid_fraction"].values[outside], 0.0)


def test_steps_of_a_dimension_become_features(tmp_path, world, features, reference):
    months = xr.concat([world.array() + m for m in range(3)], "valid_time").assign_attrs(units="K")
    months.transpose("lat", "valid_time", "lon").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    band = {"name": "t2m_month_{index:02d}", "along": "valid_time", "long_name": "temperature", "unit": "K"}
    got = features(tmp_path / "a.nc", [band])
    assert got["feature"].values.tolist() == ["t2m_month_01", "t2m_month_02", "t2m_month_03"]
    assert got["long_name"].values[1] == "temperature, valid_time 2, mean in the cell"
    np.testing.assert_allclose(
        got["features"].values - [0, 1, 2], np.repeat(reference["features"], 3, axis=1), atol=1e-5
    )
    assert got["band"].values.tolist() == ["t2m_month"] and got["valid_fraction"].shape == (got.sizes["cell"], 1)


def test_statistics_other_than_the_mean_are_named(tmp_path, world, features, reference):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    names = ("mean", "std", "min", "max", "range")
    got = features(tmp_path / "a.nc", [{"statistics": names}])
    assert got["feature"].values.tolist() == [f"field_{name}" for name in names]
    mean, std, low, high, extent = got["features"].values.T
    np.testing.assert_array_equal(mean, reference["features"].values[:, 0])
    assert (low <= mean).all() and (mean <= high).all() and (std > 0).all()
    np.testing.assert_allclose(extent, high - low, atol=1e-6)
    only = features(tmp_path / "a.nc", [{"statistics": ["std"]}])
    assert only["feature"].values.tolist() == ["field_std"]


def test_bands_of_a_geotiff_are_found_by_number_and_by_description(tmp_path, world, features):
    base = world.array().values[::-1]
    names = {"descriptions": ("A00", "A01"), "units": ("m", "")}
    path = world.tiff(tmp_path / "a.tif", np.stack([base, base + 1.0]), **names)
    bands = [{"name": "first", "select": 1, "unit": "m"}, {"name": "second", "select": "A01"}]
    got = features(path, bands)
    np.testing.assert_allclose(got["features"].values[:, 1] - got["features"].values[:, 0], 1.0, atol=1e-6)
    with pytest.raises(ConfigError, match="bands 1 to 2"):
        features(path, [{"select": 3}])
    with pytest.raises(ConfigError, match="did you mean 'A01'"):
        features(path, [{"select": "A1"}])
    with pytest.raises(ConfigError, match="is a GeoTIFF, which has no dimensions"):
        features(path, [{"name": "m_{index}", "select": 1, "along": "month"}])


def test_the_packing_of_a_geotiff_is_undone(tmp_path, world, features, reference):
    stored = np.round(world.array().values[::-1] / 1e-3).astype(np.int16)
    path = world.tiff(tmp_path / "a.tif", stored, scales=(1e-3,), offsets=(7.0,))
    np.testing.assert_allclose(features(path, ONE)["features"], reference["features"] + 7.0, atol=1e-3)


def test_what_is_selected_must_exist(tmp_path, world, features):
    months = xr.concat([world.array()] * 2, "month")
    months.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ConfigError, match="did you mean 'field'"):
        features(tmp_path / "a.nc", [{"select": "fields"}])
    with pytest.raises(ConfigError, match="select a variable by name"):
        features(tmp_path / "a.nc", [{"select": 1}])
    with pytest.raises(ConfigError, match="did you mean 'month'"):
        features(tmp_path / "a.nc", [{"name": "m_{index}", "along": "months"}])
    with pytest.raises(ConfigError, match="2 steps of 'month': write along = 'month'"):
        features(tmp_path / "a.nc")
    with pytest.raises(ConfigError, match="defined twice"):
        features(tmp_path / "a.nc", [{"name": "m_{index}", "along": "month"}, {"name": "m_{index}", "along": "month"}])


def test_curved_and_nameless_grids_are_refused(tmp_path, world, features):
    curved = world.array().rename(lat="j", lon="i").drop_vars(["i", "j"])
    curved.to_netcdf(tmp_path / "nameless.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match="no coordinates of two of them say latitude"):
        features(tmp_path / "nameless.nc")
    lon, lat = np.meshgrid(world.array().lon, world.array().lat)
    curved = curved.assign_coords(lat=(("j", "i"), lat), lon=(("j", "i"), lon))
    curved.to_netcdf(tmp_path / "curved.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match="two-dimensional coordinates"):
        features(tmp_path / "curved.nc")


def test_a_rotated_geotiff_is_refused(tmp_path, world, features):
    from rasterio.transform import Affine

    path = world.tiff(tmp_path / "a.tif", world.array().values, transform=Affine(2.0, 0.3, -180.0, 0.2, -1.0, 90.0))
    with pytest.raises(SourceError, match="rotated"):
        features(path, ONE)


@pytest.mark.parametrize("kind", ["tif", "nc4", "nc3"])
def test_a_file_cut_short_anywhere_is_an_error_that_names_it(tmp_path, world, features, kind):
    whole, cut = tmp_path / "whole", tmp_path / f"cut.{kind}"
    array = world.array()
    bands = ONE if kind == "tif" else None
    if kind == "tif":
        world.tiff(whole, array.values[::-1])
    else:
        (as_netcdf4 if kind == "nc4" else as_netcdf3)(array, whole)
    data = whole.read_bytes()
    for share in np.linspace(0.002, 0.98, 20):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SourceError, match=rf"cut\.{kind}"):
            features(cut, bands)


def test_a_web_page_under_a_data_name_is_refused(tmp_path, features):
    (tmp_path / "era5.nc").write_text("<!DOCTYPE html><html>Please log in</html>")
    with pytest.raises(SourceError, match=r"era5\.nc is a web page"):
        features(tmp_path / "era5.nc")


def test_a_flipped_byte_in_compressed_data_is_found_and_named(tmp_path, world, features):
    path = tmp_path / "flip.nc"
    world.array().to_netcdf(path, engine="h5netcdf", encoding={"field": {"zlib": True, "fletcher32": True}})
    data = bytearray(path.read_bytes())
    middle = data.find(b"\x78\x5e") + 2_000 if b"\x78\x5e" in data else len(data) // 2
    data[middle] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"flip\.nc"):
        features(path)


def test_years_with_a_lag_read_the_earlier_file(tmp_path, world, features, reference):
    for year in (2019, 2020):
        (world.array() + (year - 2019)).to_netcdf(tmp_path / f"a_{year}.nc", engine="h5netcdf")
    got = features("{data}/a_{year}.nc", year=2021, data_root=tmp_path, lag=2)
    np.testing.assert_array_equal(got["features"], reference["features"])
    assert (got.attrs["file"], got.attrs["file_year"], got.attrs["lag"]) == ("a_2019.nc", 2019, 2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"nodata": float("nan")}, "nodata is nan, but must be a finite number: leave it out for NaN"),
        ({"nodata": float("inf")}, "nodata is inf, but must be a finite number"),
        ({"valid_range": (float("-inf"), float("inf"))}, "valid_range is -inf, inf, but must be finite"),
        ({"valid_range": (float("nan"), 1.0)}, "valid_range is nan, 1.0, but must be finite"),
        ({"scale": float("nan")}, "scale is nan, but must be finite"),
    ],
)
def test_a_number_that_no_recipe_can_hold_is_refused_by_its_key(tmp_path, world, changes, told):
    band = world.config("a.nc").bands[0].model_copy(update=changes)  # past the checks of the study TOML
    config = world.config("a.nc").model_copy(update={"bands": (band,)})
    with pytest.raises(ConfigError, match=f"sources.tested, band 'field': {told}"):
        open_source("tested", config, tmp_path)


def test_attributes_tell_where_the_features_come_from(tmp_path, world, features):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    told = {"citation": "Somebody 2020", "doi": "10.1/2", "licence": "CC0-1.0", "statement": "same year"}
    attrs = features(tmp_path / "a.nc", **told).attrs
    assert told.items() <= attrs.items() and attrs["title"] == "a smooth field"
    assert "weighted by the area" in attrs["method"] and str(tmp_path) not in json.dumps(attrs)


def test_cells_that_are_not_sorted_ids_are_refused(tmp_path, world, grid, cells):
    world.array().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    source = open_source("tested", world.config(tmp_path / "a.nc"), tmp_path)
    with pytest.raises(GridError, match="sorted uint64"):
        source.features(grid, cells.isel(cell=slice(None, None, -1)), None)
    with pytest.raises(GridError, match="no coordinate cell_ids"):
        source.features(grid, cells.drop_vars("cell_ids"), None)
