"""A year of daily files: what is read, and what bad files are told."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.climate.annual import annual_maps, read_maps
from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles, result_files
from entropice_core.climate.field_file import open_fields
from entropice_core.climate.quantities import check_values, to_unit
from entropice_core.errors import SourceError
from tests.unit.climate import world

T, TP, SD = ("t2m", "mean"), ("tp", "sum"), ("sd", "mean")
YEAR = 2021
WORLD = world.fields_of(YEAR)


def write(tmp_path, fields=(T, TP), change=None, **more):
    chosen = {field: WORLD[field].copy() for field in fields}
    for field, function in (change or {}).items():
        chosen[field] = function(chosen[field])
    return world.write_year(tmp_path, YEAR, chosen, **more)


def read(folder, year=YEAR, kept=None):
    calendar = ArcticCalendar(year)
    with DailyFiles(folder, calendar) as source:
        return annual_maps(source, calendar, folder=kept)


def test_results_by_month_and_of_the_whole_year_give_the_same_indices(tmp_path):
    whole, monthly = read(write(tmp_path / "a")), read(write(tmp_path / "b", by_month=True))
    assert whole.names == monthly.names and "rx5day_year_max_mm" in whole.names
    np.testing.assert_array_equal(whole.values, monthly.values)


@pytest.mark.parametrize("orientation", ["from 0 to 360", "south to north", "netcdf3", "packed", "time last"])
def test_the_layout_of_the_files_does_not_change_the_indices(tmp_path, orientation):
    folder = write(tmp_path / "a")
    wanted = read(folder)
    for path in folder.glob("*/*.nc"):
        data = xr.open_dataset(path, engine="h5netcdf").load()
        data.close()
        encoding, engine = {}, "h5netcdf"
        if orientation == "from 0 to 360":
            data = data.assign_coords(longitude=data["longitude"] % 360.0).sortby("longitude")
        elif orientation == "south to north":
            data = data.sortby("latitude")
        elif orientation == "netcdf3":
            data, engine = data.drop_vars("expver"), "scipy"
        elif orientation == "time last":
            data = data.transpose("latitude", "longitude", "valid_time")
        else:
            scale = {"t2m": (0.005, 250.0), "tp": (0.00001, 0.3)}
            encoding = {
                n: {"dtype": "int16", "scale_factor": scale[n][0], "add_offset": scale[n][1], "_FillValue": -32767}
                for n in data.data_vars
            }
        path.unlink()
        data.to_netcdf(path, engine=engine, encoding=encoding)
    got = read(folder)
    i = got.names.index("t2m_year_mean_degC")
    np.testing.assert_allclose(got.values[i], wanted.values[i], atol=0.003 if orientation == "packed" else 0)
    if orientation != "packed":
        np.testing.assert_array_equal(got.values, wanted.values)


def test_kept_indices_are_those_that_were_computed_and_damaged_ones_are_not_read(tmp_path):
    folder = write(tmp_path)
    computed, kept = read(folder), read(folder, kept=tmp_path / "kept")
    np.testing.assert_array_equal(computed.values, kept.values)
    assert kept.layout.digest == computed.layout.digest and kept.counts == computed.counts
    again = read_maps(tmp_path / "kept")
    assert again is not None and again.names == computed.names
    path = tmp_path / "kept" / "maps.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert read_maps(tmp_path / "kept") is None and read_maps(tmp_path / "never") is None


def test_bands_of_rows_give_the_same_as_all_rows_at_once(tmp_path, monkeypatch):
    folder = write(tmp_path, fields=(T, TP, SD))
    whole = read(folder)
    monkeypatch.setattr("entropice_core.climate.daily_files.BAND_BYTES", 4 * 120 * 365 * 4)
    monkeypatch.setattr("entropice_core.climate.annual.POINTS_AT_A_TIME", 100)
    np.testing.assert_array_equal(read(folder).values, whole.values)


def test_only_the_indices_whose_variables_are_there_are_made(tmp_path):
    names = read(write(tmp_path, fields=(SD,))).names
    assert {n.split("_")[0] for n in names} == {"snow", "swe"} and len(names) == 14
    folder = world.write_year(tmp_path / "b", YEAR, {("stl1", "min"): WORLD["stl1", "mean"]}, {("stl1", "min"): "K"})
    with pytest.raises(SourceError, match=r"has stl1 min, of which no climate index can be made"):
        read(folder)


def test_a_missing_day_is_named(tmp_path):
    folder = write(tmp_path)
    path = next(folder.glob("*_sum_*/all.nc"))
    data = xr.open_dataset(path, engine="h5netcdf").load()
    data.close()
    path.unlink()
    data.drop_isel(valid_time=[100]).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SourceError, match=r"364 of the 365 days of tp .* missing: 2021-01-09"):
        read(folder)


def test_a_year_without_its_29_february_is_refused(tmp_path):
    fields = {T: world.fields_of(2020)[T]}
    folder = world.write_year(tmp_path, 2020, fields)
    assert read(folder, 2020).counts["t2m mean"]["used"] > 0
    path = next(folder.glob("*/*.nc"))
    data = xr.open_dataset(path, engine="h5netcdf").load()
    data.close()
    path.unlink()
    data.sel(valid_time=data["valid_time"] != np.datetime64("2020-02-29")).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SourceError, match="missing: 2020-02-29"):
        read(folder, 2020)
    path.unlink()
    data["valid_time"] = xr.date_range("2019-10-01", periods=366, calendar="noleap", use_cftime=True)
    data.drop_vars("expver").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SourceError, match="calendar 'noleap'"):
        read(folder, 2020)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_named(tmp_path, share):
    folder = write(tmp_path)
    path = next(folder.glob("*_mean_*/all.nc"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SourceError, match=r"all\.nc .*fetch it again"):
        read(folder)


def test_a_damaged_part_inside_a_whole_file_is_named(tmp_path):
    folder = write(tmp_path)
    path = next(folder.glob("*_mean_*/all.nc"))
    data = xr.open_dataset(path, engine="h5netcdf").load()
    data.close()
    path.unlink()
    data.to_netcdf(path, engine="h5netcdf", encoding={"t2m": {"zlib": True, "fletcher32": True}})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"torn: t2m cannot be read"):
        read(folder)


def grib_message(edition, length=64):
    body = bytearray(length)
    body[:4] = b"GRIB"
    body[7] = edition
    if edition == 1:
        body[4:7] = length.to_bytes(3, "big")
    else:
        body[8:16] = length.to_bytes(8, "big")
    body[-4:] = b"7777"
    return bytes(body)


@pytest.mark.parametrize("edition", [1, 2])
def test_grib_is_told_whole_or_cut_short(tmp_path, edition):
    path = tmp_path / "x.nc"
    path.write_bytes(grib_message(edition) * 3)
    with pytest.raises(SourceError, match=r"a GRIB file of 3 messages; climate is read from NetCDF"):
        open_fields(path)
    path.write_bytes((grib_message(edition) * 3)[:-10])
    with pytest.raises(SourceError, match=r"a GRIB file, cut short or damaged after 2 whole messages \(byte 128"):
        open_fields(path)


@pytest.mark.parametrize(
    ("field", "unit", "change", "sentence"),
    [
        (T, "K", lambda v: v - 273.15, "says K and holds degrees Celsius"),
        (T, "degF", lambda v: v, "t2m in 'degF', which cannot be brought to degC"),
        (T, "", lambda v: v, "t2m in 'no unit'"),
        (T, "degC", lambda v: v, r"possible are -95 to 65: its units are wrong"),
        (TP, "m", lambda v: v * 1000.0, "says m and holds mm"),
        (TP, "m", lambda v: np.diff(v, axis=0, append=v[:1]), "an accumulation that falls is no total of a day"),
        (TP, "m", lambda v: np.where(v == v.max(), np.inf, v), "it holds infinite values"),
        (T, "K", lambda v: np.where(np.arange(len(v))[:, None, None] == 7, np.nan, v), r"no t2m on 1 of 365 days"),
    ],
)
def test_wrong_units_and_impossible_values_are_told_with_their_cause(tmp_path, field, unit, change, sentence):
    folder = write(tmp_path, change={field: change}, units={field: unit})
    with pytest.raises(SourceError, match=sentence) as error:
        read(folder)
    assert str(folder) in str(error.value)


def test_temperatures_in_celsius_and_water_in_millimetres_are_taken_as_they_say(tmp_path):
    wanted = read(write(tmp_path / "a"))
    changes = {T: lambda v: v - np.float32(273.15), TP: lambda v: v * np.float32(1000.0)}
    got = read(write(tmp_path / "b", change=changes, units={T: "degC", TP: "mm"}))
    np.testing.assert_allclose(got.values, wanted.values, rtol=1e-5, atol=1e-4)


def test_negative_precipitation_from_packing_is_set_to_zero_and_counted(tmp_path):
    def pack(values):
        values[values == 0.0] = -1e-9
        return values

    wanted, got = read(write(tmp_path / "a")), read(write(tmp_path / "b", change={TP: pack}))
    np.testing.assert_array_equal(got.values, wanted.values)
    assert got.counts["tp sum"]["days_set_to_zero"] == int((WORLD[TP] == 0.0).sum()) > 0
    assert wanted.counts["tp sum"]["days_set_to_zero"] == 0


def test_pixels_without_any_value_stay_missing_and_are_counted(tmp_path):
    sea = np.zeros(WORLD[T].shape[1:], dtype=bool)
    sea[3:6, 10:20] = True
    maps = read(write(tmp_path, change={T: lambda v: np.where(sea, np.nan, v)}))
    t, tp = (maps.names.index(n) for n in ("t2m_year_mean_degC", "precipitation_year_sum_mm"))
    np.testing.assert_array_equal(np.isnan(maps.values[t]), sea.ravel())
    assert not np.isnan(maps.values[tp]).any() and maps.counts["t2m mean"]["masked_missing"] == 30


def test_results_on_another_grid_are_refused_unless_the_summary_leaves_them_out(tmp_path):
    folder = write(tmp_path)
    old = folder / "2020_10-09_mean_00000000"
    next(folder.glob("*_mean_*")).rename(old)
    half = world.LATITUDE[:5]
    world.write_year(tmp_path, YEAR, {T: WORLD[T][:, :5]}, latitude=half)
    with pytest.raises(SourceError, match="has other latitudes than"):
        read(folder)
    named = [p.name for p in folder.iterdir() if "_mean_0123abcd" not in p.name]
    (folder / "year.json").write_text(json.dumps({"results": named}))
    assert read(folder).layout.shape == (world.LATITUDE.size, world.LONGITUDE.size)
    assert result_files(folder)[-1].name == "year.json"
    (folder / "year.json").write_text(json.dumps({"results": ["gone"]}))
    with pytest.raises(SourceError, match="lacks the results gone"):
        read(folder)


def test_a_result_of_which_the_statistic_is_not_known_is_refused(tmp_path):
    folder = write(tmp_path)
    next(folder.glob("*_mean_*")).rename(folder / "2020_my_own")
    with pytest.raises(SourceError, match="2020_my_own has no receipt.json and no name such as"):
        read(folder)


def test_units_are_spelled_in_many_ways():
    for word in ("m**3 m**-3", "m3 m-3", "m^3 m^-3"):
        assert to_unit(np.array([0.4], np.float32), "swvl1", word, "x")[0] == np.float32(0.4)
    assert to_unit(np.array([1e6], np.float32), "ssrd", "J m**-2", "x")[0] == 1.0
    assert check_values(np.array([-0.05, 1.0, np.nan], np.float32), "tp", "x") == 1


def test_a_time_axis_in_other_steps_is_read(tmp_path):
    data = world.dataset("t2m", pd.date_range("2020-10-01", periods=3), WORLD[T][:3], "K")
    path = tmp_path / "t.nc"
    data.to_netcdf(path, engine="h5netcdf", encoding={"valid_time": {"units": "hours since 1900-01-01T00:00:00"}})
    assert list(open_fields(path).times.strftime("%F")) == ["2020-10-01", "2020-10-02", "2020-10-03"]


def test_values_at_midnight_are_the_totals_of_the_day_that_ended(tmp_path):
    """ERA5-Land comes as accumulations at 00 UTC, from 1 October to 1 October of the next year."""
    wanted = read(write(tmp_path / "a", fields=(TP,)))
    result = tmp_path / "b" / "2020_10-10_midnight_0123abcd"
    result.mkdir(parents=True)
    times = pd.date_range("2020-10-01", "2021-10-01")
    before = np.full((1, *WORLD[TP].shape[1:]), 0.123, np.float32)  # the total of 30 September 2020
    data = world.dataset("tp", times, np.concatenate([before, WORLD[TP]]), "m")
    data.to_netcdf(result / "tp.nc", engine="h5netcdf")
    got = read(tmp_path / "b")
    assert got.names == wanted.names
    np.testing.assert_array_equal(got.values, wanted.values)


def test_three_fields_are_in_memory_at_a_time_however_many_there_are(tmp_path):
    places, reads = set(), []

    class Watched(DailyFiles):
        def read(self, field, rows, out):
            places.add(out.__array_interface__["data"][0])
            reads.append((field, rows.start))
            super().read(field, rows, out)

    with Watched(write(tmp_path, fields=tuple(WORLD)), ArcticCalendar(YEAR)) as source:
        annual_maps(source, ArcticCalendar(YEAR))
    assert len(places) == 3 and len(WORLD) == 11
    assert len(reads) == len(set(reads)) == 11  # and each is read once
