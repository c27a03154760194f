"""Fetching against real catalogue files and real files of the Climate Data Store."""

import json

import numpy as np
import pytest

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import FIRST_ARCTIC_YEARS
from entropice_core.fetch.check import nan_share, open_netcdf, short_in, time_of
from entropice_core.fetch.plan import Wish, plan
from entropice_core.fetch.variables import LAND, VARIABLES
from tests.servers.cds import FIELDS, LAND_FIELDS, CdsServer
from tests.unit.fetch.conftest import Place

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def catalogue(real_data):
    return real_data / "protocols" / "cds"


def test_every_variable_is_in_the_real_mapping_with_the_same_grib_number(catalogue):
    mapping = json.loads((catalogue / "reanalysis-era5-single-levels" / "mapping.json").read_text())
    real = mapping["remap"]["variable"]
    assert {n: v.param for n, v in VARIABLES.items()} == {n: int(real[n]) for n in VARIABLES}
    assert {n: f[2] for n, f in FIELDS.items()} == {n: int(real[n]) for n in FIELDS}


def test_every_variable_of_era5_land_is_in_the_real_mapping_and_form(catalogue):
    for name in ("reanalysis-era5-land", "reanalysis-era5-land-monthly-means"):
        real = json.loads((catalogue / name / "adaptor.json").read_text())["mapping"]["remap"]["variable"]
        assert {n: v.param for n, v in LAND.items()} == {n: int(real[n]) for n in LAND}
        assert {n: f[2] for n, f in LAND_FIELDS.items()} == {n: int(real[n]) for n in LAND_FIELDS}
        form = json.loads((catalogue / name / "form.json").read_text())
        (widget,) = [w for w in form if w["name"] == "variable"]
        assert set(LAND) <= {v for group in widget["details"]["groups"] for v in group["values"]}


def test_every_request_of_a_daily_year_is_allowed_by_the_real_constraints(catalogue):
    rows = json.loads((catalogue / "reanalysis-era5-single-levels" / "constraints.json").read_text())
    rows = [r for r in rows if "reanalysis" in r["product_type"] and len(r["time"]) == 24]
    names = json.loads((catalogue / "reanalysis-era5-single-levels" / "mapping.json").read_text())["remap"]["month"]
    allowed = {
        (variable, year, names.get(month, month), day)
        for row in rows if "2021" in row["year"] or "2020" in row["year"]
        for variable in set(row["variable"]) & set(VARIABLES)
        for year in {"2020", "2021"} & set(row["year"]) for month in row["month"] for day in row["day"]
    }  # fmt: skip
    asked = {
        (v, r.inputs["year"], month, day)
        for r in plan(Wish("daily", 2021, tuple(VARIABLES))) for v in r.variables
        for month in r.inputs["month"] for day in r.inputs["day"]
    }  # fmt: skip
    assert len(asked) == 365 * len(VARIABLES)
    assert asked <= allowed
    assert FIRST_ARCTIC_YEARS == {"era5": 1941, "era5-land": 1951}


def test_a_year_is_fetched_from_a_service_with_the_real_constraints(catalogue, tmp_path):
    with CdsServer(catalogue) as server:
        assert (len(server.variables), len(server.catalogue.variables["era5-land"])) == (262, 50)
        report = Place(server, tmp_path).fetch()
        assert report.summary["provisional_months"] == []
        server.variables.discard("snow_depth")
        with pytest.raises(SourceError, match="valid combination of values.*snow_depth"):
            Place(server, tmp_path).fetch(variables=("sd",))


def test_real_files_of_the_service_are_opened_and_their_variables_found(real_data):
    path = real_data / "era5_hourly_yukon" / "era5_to.nc"
    with open_netcdf(path) as data:
        assert str(time_of(data, path)[0].date()) == "2000-01-01"
        assert str(data["expver"].values[0]) in ("0001", "0005")
    path = real_data / "era5_hourly_yukon" / "era5_re_resl_20230101_to_20230131.nc"
    with open_netcdf(path) as data:
        found = {n: short_in(data, v) for n, v in VARIABLES.items() if short_in(data, v)}
        assert {"2m_temperature": "t2m", "total_precipitation": "tp"}.items() <= found.items()
        assert len(time_of(data, path)) == 744
        assert float(np.mean(data["t2m"].values)) - 273.15 == pytest.approx(-17.1, abs=0.1)
    path = real_data / "era5_grib_samples" / "tuw_era5_example_downloaded_raw.nc"
    with open_netcdf(path) as data:
        assert short_in(data, VARIABLES["volumetric_soil_water_layer_1"]) == "swvl1"
        assert len(time_of(data, path)) == 4


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_real_file_cut_short_is_refused(real_data, tmp_path, share):
    files = {"era5_hourly_yukon/era5_to.nc": "z", "era5_grib_samples/tuw_era5_example_downloaded_raw.nc": "lsm"}
    for name, last in files.items():
        content = (real_data / name).read_bytes()
        torn = tmp_path / "torn.nc"
        torn.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(SourceError, match="torn.nc"), open_netcdf(torn) as data:
            nan_share(torn, data[last])


@pytest.mark.parametrize("product", ["monthly", "daily"])
@pytest.mark.parametrize("year", [1952, 2021, 2024])
def test_every_request_of_a_year_of_era5_land_is_allowed_by_the_real_constraints(catalogue, product, year):
    with CdsServer(catalogue) as server:
        requests = plan(Wish(product, year, tuple(LAND), family="era5-land"))
        assert {v for r in requests for v in r.variables} == set(LAND)
        for request in requests:
            assert server.catalogue.invalid(request.dataset, request.inputs, server.newest) is None, str(request)
        late = plan(Wish(product, 2031, ("t2m",), family="era5-land"))[-1]
        assert "2031" in str(server.catalogue.invalid(late.dataset, late.inputs, server.newest))
