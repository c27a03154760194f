"""What the fetch lays down is what the climate reads: a year from the local Climate Data Store to features of cells."""

from datetime import date

import numpy as np
import pytest

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles
from entropice_core.config.sources import CONFIGS
from entropice_core.fetch.cds import ClimateDataStore, Credentials
from entropice_core.fetch.era5 import fetch_year
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.plan import Wish
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import era5, open_source
from tests.servers.cds import CdsServer

BOX = (75.0, 95.0, 57.5, 120.0)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(era5, "_KEPT", type(era5._KEPT)())
    wish = Wish("daily", 2021, ("t2m", "tp", "sd"), BOX, ("mean",), allow_provisional=True)
    with CdsServer() as server:
        server.expver = lambda year, month: "0005" if (year, month) == (2021, 9) else "0001"
        store = ClimateDataStore(Credentials(server.url, server.key), Patience(sleep=lambda _: None))
        fetch_year(wish, store, data=tmp_path / "data", home=tmp_path / "home", today=date(2021, 11, 1))
    return tmp_path / "data"


def test_a_year_that_was_fetched_becomes_features_and_its_era5t_is_told(data):
    grid = parse_grid_key("healpix-6")
    cells = cell_coordinates(grid, grid.cells(StudyArea(62.0, (100.0, 62.0, 115.0, 72.0))))
    source = open_source("era5", CONFIGS["era5_daily"](kind="era5_daily", title="ERA5"), data)
    made = source.features(grid, cells, 2021)
    names = made["feature"].values.tolist()
    assert {"thawing_degree_days_year_sum_K_d", "rx5day_year_max_mm", "swe_year_max_mm"} <= set(names)
    assert np.isfinite(made["features"].values[:, names.index("t2m_jja_mean_degC")]).all()
    np.testing.assert_allclose(made["valid_fraction"], 1.0, rtol=1e-6)
    assert "2021-09" in made.attrs["provisional_months"]
    calendar = ArcticCalendar(2021)
    with DailyFiles(data / "era5" / "daily" / "2021", calendar) as year:
        assert year.fields == {("t2m", "mean"), ("tp", "sum"), ("sd", "mean")}
        t = np.empty((365, *year.layout.shape), np.float32)
        year.read(("t2m", "mean"), slice(0, year.layout.shape[0]), t)
    july = t[calendar.month_slices[9]].mean() - 273.15
    values = made["features"].values[:, names.index("t2m_jja_mean_degC")]
    assert values.min() - 10.0 < july < values.max() + 10.0


def test_a_year_of_era5_land_gets_the_totals_of_its_days_from_midnights(tmp_path):
    wish = Wish("daily", 2021, ("t2m", "tp"), BOX, ("mean",), family="era5-land")
    with CdsServer() as server:
        store = ClimateDataStore(Credentials(server.url, server.key), Patience(sleep=lambda _: None))
        fetch_year(wish, store, data=tmp_path / "data", home=tmp_path / "home", today=date(2024, 6, 1))
    with DailyFiles(tmp_path / "data" / "era5-land" / "daily" / "2021", ArcticCalendar(2021)) as year:
        assert year.fields == {("t2m", "mean"), ("tp", "sum")} and year.provisional_months == ()
        totals = np.empty((365, *year.layout.shape), np.float32)
        year.read(("tp", "sum"), slice(0, year.layout.shape[0]), totals)
    assert np.isfinite(totals).any() and np.nanmin(totals) >= 0.0
