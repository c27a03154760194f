"""``entropice fetch darts`` as a process of its own, and ``entropice labels`` on small files and studies."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from entropice_core.cli import labels as commands
from entropice_core.errors import ConfigError, SourceError
from entropice_core.fetch.darts import DOI
from entropice_core.labels.inspect import inspect_file
from tests.assets.conftest import make_tiny
from tests.servers.dataone import DataOneServer

Frame = Callable[..., gpd.GeoDataFrame]
Square = Callable[..., shapely.Polygon]


def entropice(*words: str, data: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ENTROPICE_")} | {"COLUMNS": "200"}
    env |= {"ENTROPICE_DATA": str(data)} if data else {}
    env |= {"ENTROPICE_HOME": str(home)} if home else {}
    return subprocess.run(
        [sys.executable, "-m", "entropice_core.cli", *words], capture_output=True, text=True, env=env, check=False
    )


def test_darts_is_listed_and_fetched_into_the_data_folder(tmp_path: Path) -> None:
    files = {"DARTS_v1_features_level2.parquet": b"x" * 2000, "DARTS_v1_coverage_level2.parquet": b"y" * 1000}
    with DataOneServer() as server:
        server.publish(DOI, {**files, "readme.txt": b"z"}, "DARTS of the tests")
        listed = entropice("fetch", "darts", "--node", server.url, "--dry-run")
        fetched = entropice("fetch", "darts", "--node", server.url, data=tmp_path)
        homeless = entropice("fetch", "darts", "--node", server.url)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.lstrip().startswith(f"DARTS of the tests (doi:{DOI})")
    assert listed.stdout.count("take DARTS_v1_") == 2 and "     readme.txt" in listed.stdout
    assert "2 files fetched (0.0 MB), 0 already there" in fetched.stdout, fetched.stderr
    assert (tmp_path / "darts" / "DARTS_v1_features_level2.parquet").read_bytes() == b"x" * 2000
    assert homeless.returncode == 1 and "ENTROPICE_DATA is not set" in homeless.stderr


def test_a_file_of_darts_is_described_without_a_study(
    tmp_path: Path, frame: Frame, square: Square, capsys: pytest.CaptureFixture[str]
) -> None:
    bow_tie = shapely.Polygon([(127, 72), (127.01, 72.01), (127.01, 72), (127, 72.01)])
    shapes = [square(126.0, 72.0), square(126.0, 72.0), bow_tie, None, shapely.Polygon(), square(190.0, 70.0)]
    columns = {"id": list("abcdef"), "year": [2021, 2021, 2022, 1900, 2022, None], "pval_mean": [0.6] * 6}
    path = tmp_path / "DARTS_v1-2_features_level2.gpkg"
    frame(shapes, **columns, colour=["red"] * 6).to_file(path, driver="GPKG")
    (found,) = inspect_file(path)
    assert (found.layout, found.release, found.crs, found.rows) == ("darts_level2", "1.2", "EPSG:4326", 6)
    assert found.understood == {"year": "year", "id": "id", "probability": "pval_mean"}
    assert (found.unknown, found.missing) == (["colour"], ["area"])
    assert found.years == {"year": {1900: 1, 2021: 2, 2022: 2}}
    assert found.problems == {
        "missing_geometry": 1,
        "empty_geometry": 1,
        "invalid": 1,
        "duplicate (whatever the year)": 1,
        "longitudes_beyond_180": 1,
        "no year in year": 1,
        "year outside 1940-2099 in year": 1,
    }
    commands.inspect(path)
    told = capsys.readouterr().out
    assert "  layout      darts_level2, release 1.2" in told and '  layout = "darts_level2"' in told
    assert "duplicate (whatever the year): 1" in told and "  unknown     colour" in told


def test_files_of_other_kinds_are_described_too(tmp_path: Path, frame: Frame, square: Square) -> None:
    pd.DataFrame({"lon": [126.0, 127.0], "lat": [72.0, 72.1], "Area_2018_": [1, 0], "Area_2019_": [2, 3]}).to_csv(
        tmp_path / "points.csv", index=False
    )
    (points,) = inspect_file(tmp_path / "points.csv")
    assert points.years == {"Area_{year}_": {2018: 1, 2019: 2}} and points.crs == "" and points.layout == ""
    assert any("no coordinate system" in note for note in points.notes)
    scene = tmp_path / "12_2013-10-02_RE1.shp"
    frame([square(126.0, 72.0)], n=[1]).to_file(scene)
    assert inspect_file(scene)[0].years == {"the file name": {2014: 1}}
    seen = frame([square(126.0, 72.0)], coverage_period=["2018,2020"])
    seen.to_file(tmp_path / "seen.gpkg", layer="one", driver="GPKG")
    seen.to_file(tmp_path / "seen.gpkg", layer="two", driver="GPKG")
    assert [each.years for each in inspect_file(tmp_path / "seen.gpkg")] == [
        {"coverage_period": {2018: 1, 2020: 1}}
    ] * 2
    swapped = frame([shapely.box(72.0, 126.0, 72.1, 126.1)], n=[1])
    swapped.to_file(tmp_path / "swapped.geojson")
    (wrong,) = inspect_file(tmp_path / "swapped.geojson")
    assert wrong.problems["coordinates_not_on_earth"] == 1 and wrong.bounds is None
    assert any("is longitude first" in note for note in wrong.notes)


def test_a_file_that_is_not_there_or_no_layer_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing.gpkg is not there"):
        inspect_file(tmp_path / "nothing.gpkg")
    (tmp_path / "page.gpkg").write_text("<html>")
    with pytest.raises(SourceError, match="page.gpkg cannot be read"):
        inspect_file(tmp_path / "page.gpkg")


def test_labels_are_built_by_name_and_compared_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("ENTROPICE_")]:
        monkeypatch.delenv(name)
    tiny = make_tiny(tmp_path, tmp_path / "data")
    again = SECOND + "[sources.climate]\n"
    tiny.toml.write_text(tiny.toml.read_text().replace("[sources.climate]\n", again, 1))
    monkeypatch.setenv("ENTROPICE_HOME", str(tiny.home))
    monkeypatch.setenv("ENTROPICE_DATA", str(tiny.data))
    commands.build(study=str(tiny.toml))
    assert "tiny: 7 partitions built, 0 already current" in capsys.readouterr().out
    commands.compare("squares", "twins", study=str(tiny.toml))
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["jaccard"] == ["1", "1", "1"] and lines["a"] == ["=", "squares,", "b", "=", "twins"]
    assert lines["cells_a"] == lines["cells_b"] == lines["cells"]
    with pytest.raises(ConfigError, match="no inventory 'twin' in the study; did you mean 'twins'"):
        commands.compare("squares", "twin", study=str(tiny.toml))
    with pytest.raises(ConfigError, match="agrees with itself"):
        commands.compare("twins", "twins", study=str(tiny.toml))


SECOND = """
[inventories.twins]
title = "The same squares once more"
geometry = "polygon"
files = ["{data}/squares.gpkg"]
year = { column = "year" }
footprint = { kind = "study_area" }
"""
