"""Embeddings by way of Earth Engine: the same features as from files; what is refused, cut or killed is made good."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from entropice_core.cli.fetch_alphaearth import alphaearth
from entropice_core.config import Settings, load_study
from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.errors import ConfigError, SourceError
from entropice_core.fetch.embeddings import bring_embeddings, describe_need
from entropice_core.fetch.patience import Patience
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize
from entropice_core.sources import open_source
from entropice_core.storage.partition import Partition
from tests.servers.alphaearth import AefServer, around_the_pole, two_zones, write_index, write_tile
from tests.servers.earthengine import EarthEngineServer, EeFault, images_of_tiles, service_account
from tests.unit.alphaearth.test_features import STUDY

AREA, GRIDS = StudyArea(60.0, (83.2, 67.6, 84.8, 68.4)), ["h3-5", "healpix-8"]


@pytest.fixture(scope="session")
def images(published):
    return images_of_tiles(two_zones(), published[1])


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """The key file of a service account, whose token server is filled in by each test."""
    with EarthEngineServer() as server:
        return json.loads(service_account(tmp_path_factory.mktemp("keys") / "key.json", server).read_text())


@pytest.fixture
def engine(images, keys, tmp_path, monkeypatch):
    """The service, and an account that it knows."""
    with EarthEngineServer(images, tokens=set()) as server:
        path = tmp_path / "key.json"
        path.write_text(json.dumps({**keys, "token_uri": f"{server.url}/token"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        yield server


def source(server, **more):
    table = {"kind": "alphaearth", "title": "t", "path": "{data}/ee/{year}.json", "resolution_m": 160, **more}
    return AlphaEarthConfig(**table, route="earth_engine", endpoint=server.url)


def bring(config, data, patience, grids=GRIDS, **more):
    return bring_embeddings(config, AREA, grids, data, 2021, patience, **more)


def features(config, data, key="healpix-8", area=AREA):
    grid = parse_grid_key(key)
    return open_source("e", config, data).features(grid, cell_coordinates(grid, grid.cells(area)), 2021)


def apart(one, other, part):
    """Largest difference of features whose name ends in some way; both have values in the same cells."""
    names = [str(name).endswith(part) for name in one["feature"].values]
    a, b = one["features"].values[:, names], other["features"].values[:, names]
    assert (np.isfinite(a) == np.isfinite(b)).all() and np.isfinite(a).any()
    return float(np.nanmax(np.abs(a - b)))


# --- both routes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolution_m", "grids", "tolerance"),
    [(80, ("h3-6", "healpix-9"), 3e-6), (320, ("h3-6", "healpix-10"), 0.02)],
    ids=["pixel centres", "coverage"],
)
def test_both_routes_give_the_same_features(config, engine, tmp_path, waits, resolution_m, grids, tolerance):
    """The tolerances of docs/alphaearth.md; at 320 m the cells have some 40 to 150 pixels, half of them on an edge."""
    files = config.model_copy(update={"resolution_m": resolution_m})
    asked = source(engine, resolution_m=resolution_m)
    for one in (files, asked):
        bring(one, tmp_path, waits[1], grids)
    for key in grids:
        a, b = (features(one, tmp_path, key) for one in (files, asked))
        assert list(a["feature"].values) == list(b["feature"].values) and len(a["feature"]) == 193
        for part in ("mean", "std", "direction", "R"):
            assert apart(a, b, part) <= tolerance, (key, part)
        assert np.abs(a["valid_fraction"].values - b["valid_fraction"].values).max() < max(2e-5, tolerance / 4)
        assert (b.attrs["route"], a.attrs["route"]) == ("earth_engine", "files")
        way = "coverage" if resolution_m == 320 else "pixel_centres"
        assert way in a.attrs["method"] and way in b.attrs["method"]


@pytest.mark.parametrize(
    ("tiles", "area", "cells_there"),
    [
        (two_zones(west_zone=60)[1:3], StudyArea(60.0, (179.2, 67.6, -179.2, 68.4)), {"h3-6": 1, "healpix-9": 1}),
        (around_the_pole()[1:], StudyArea(89.4), {"h3-5": 1, "healpix-9": 4}),
    ],
    ids=["180 degrees", "the pole"],
)
def test_both_routes_agree_at_180_degrees_and_at_the_pole(tiles, area, cells_there, engine, tmp_path, waits):
    """The cell that holds the pole of H3, the four that meet there of HEALPix; cells that lie on 180 degrees."""
    stored = {tile.name: write_tile(tmp_path, tile) for tile in tiles}
    engine.images = images_of_tiles(tiles, stored)
    with AefServer(tmp_path) as server:
        write_index(tmp_path / "aef_index.parquet", tiles, server.files)
        index = f"{server.files}/aef_index.parquet"
        table = {"kind": "alphaearth", "title": "t", "path": "{data}/a/{year}.json", "resolution_m": 80}
        files, asked = AlphaEarthConfig(**table, index=index), source(engine, resolution_m=80)
        for one in (files, asked):
            bring_embeddings(one, area, list(cells_there), tmp_path, 2021, waits[1])
    for key, count in cells_there.items():
        a, b = (features(one, tmp_path, key, area) for one in (files, asked))
        assert apart(a, b, "mean") < 3e-6 and apart(a, b, "std") < 3e-6
        valid = np.flatnonzero(a["valid_fraction"].values[:, 0])
        assert valid.size >= count
        pixels = (a["valid_fraction"].values[:, 0] * parse_grid_key(key).areas_m2(a["cell_ids"].values)).sum() / 6400.0
        assert json.loads(b.attrs["counts"])["bands"]["embedding"]["used"] == pytest.approx(pixels, rel=2e-3)


def test_without_std_half_as_much_is_asked_for_and_std_later_is_asked_anew(engine, tmp_path, waits):
    few = source(engine, parts=("mean",))
    report = bring(few, tmp_path, waits[1]).report
    kept = report.bytes_kept
    made = features(few, tmp_path)
    assert len(made["feature"]) == 65 and "squared_length" not in made.attrs["counts"]
    with pytest.raises(SourceError, match="fetched without squares"):
        features(source(engine), tmp_path)
    again = bring(source(engine), tmp_path, waits[1]).report
    assert report.fetched == again.fetched == 2 and kept < 0.6 * again.bytes_kept
    assert json.loads(features(source(engine), tmp_path).attrs["counts"])["bands"]["embedding"][
        "mean_squared_length_of_pixels"
    ] == pytest.approx(1.0, abs=0.01)


# --- what the service refuses ----------------------------------------------------------------------------------------


def test_a_busy_service_and_a_cut_line_are_waited_for_as_long_as_it_says(engine, tmp_path, waits):
    slept, patience = waits
    config = source(engine)
    engine.faults = [EeFault(429, "Quota exceeded.", {"Retry-After": "17"}), EeFault(503), EeFault(cut=True)]
    engine.faults.append(EeFault(403, "User Rate Limit Exceeded."))
    report = bring(config, tmp_path, patience, parallel=1).report
    assert report.fetched == 2 and slept[0] == 17.0 and len(slept) == 4 and 1.8 <= slept[1] <= 2.2
    plain = features(config, tmp_path)
    engine.faults = []
    bring(source(engine, path="{data}/calm/{year}.json"), tmp_path, patience)
    calm = features(source(engine, path="{data}/calm/{year}.json"), tmp_path)
    np.testing.assert_array_equal(plain["features"], calm["features"])


def test_a_service_that_stays_busy_is_given_up_and_what_came_is_kept(engine, tmp_path, waits):
    config = source(engine, cells_per_request=4)
    engine.faults = [EeFault(429, "listing", {"Retry-After": "1"})]
    told = []
    patience = Patience(budget_s=5.0, first_s=1.0, sleep=lambda _: None, tell=told.append)

    def break_down(progress):
        if progress.done == 2:
            engine.faults = [EeFault(429, "Quota exceeded for EECU-hours of the project.")] * 99

    with pytest.raises(
        SourceError, match=r"batches could not be fetched; the others are kept.*Quota exceeded for EECU"
    ):
        bring(config, tmp_path, patience, tell=break_down, parallel=1)
    assert not (tmp_path / "ee" / "2021.json").exists() and any("waiting" in line for line in told)
    engine.faults = []
    report = bring(config, tmp_path, waits[1]).report
    assert report.there == 2 and report.fetched > 2


@pytest.mark.parametrize("what", ["memory", "payload", "own limit"])
def test_batches_that_are_too_large_are_halved_until_they_are_not(engine, tmp_path, waits, what, monkeypatch):
    whole = source(engine, path="{data}/whole/{year}.json")
    bring(whole, tmp_path, waits[1])
    if what == "memory":
        engine.memory = 3 * 130 * 16 * 32
    elif what == "payload":
        engine.payload = 30_000
    else:
        monkeypatch.setattr("entropice_core.fetch.earth_engine.cells.PAYLOAD_BYTES", 60_000)
    engine.cells.clear()
    config = source(engine)
    report = bring(config, tmp_path, waits[1], parallel=1).report
    assert report.split >= 1 and report.fetched > 2 and engine.cells[-1] <= 6
    # the second image begins with what was possible for the first
    assert report.split < report.fetched and str(report.split) in str(report)
    np.testing.assert_array_equal(features(config, tmp_path)["features"], features(whole, tmp_path)["features"])
    engine.cells.clear()
    again = bring(config, tmp_path, waits[1]).report
    assert not engine.cells and (again.there, again.split, again.requests) == (report.fetched, 0, 0)


def test_a_single_cell_that_is_too_much_is_tried_with_less_memory_a_worker_and_then_named(engine, tmp_path, waits):
    engine.memory = 130 * 16 * 32 // 6
    config = source(engine)
    bring(config, tmp_path, waits[1], grids=["h3-5"])
    assert max(engine.scales) == 8
    engine.memory //= 16
    with pytest.raises(
        SourceError, match=r"Cell \d+ of healpix-8 in image x4.* is too much for Earth Engine even alone"
    ):
        bring(config, tmp_path, waits[1], grids=["healpix-8"])


def test_pages_are_put_together(engine, tmp_path, waits):
    engine.page = 4
    config = source(engine)
    bring(config, tmp_path, waits[1])
    engine.page = 1000
    other = source(engine, path="{data}/other/{year}.json")
    bring(other, tmp_path, waits[1])
    np.testing.assert_array_equal(features(config, tmp_path)["features"], features(other, tmp_path)["features"])
    assert sum("computeFeatures" in call for call in engine.calls) > 4


def test_no_more_requests_at_a_time_than_asked_for(engine, tmp_path, waits):
    engine.compute_s = 0.05
    bring(source(engine, cells_per_request=3), tmp_path, waits[1], parallel=3)
    assert engine.most_at_once == 3
    with pytest.raises(ConfigError, match="41 requests at a time were asked for; Earth Engine allows 1 to 40"):
        bring(source(engine), tmp_path, waits[1], parallel=41)


def test_a_service_that_allows_fewer_at_a_time_is_waited_for(engine, tmp_path, waits):
    engine.at_a_time, engine.compute_s = 1, 0.05
    report = bring(
        source(engine, cells_per_request=3), tmp_path, Patience(first_s=0.05, budget_s=60), parallel=3
    ).report
    assert report.fetched >= 6 and report.split == 0


# --- accounts --------------------------------------------------------------------------------------------------------


def test_a_service_account_gets_a_token_and_its_own_project_is_charged(engine, tmp_path, waits, monkeypatch):
    bring(source(engine), tmp_path, waits[1])
    assert all(call.endswith("of of-the-account") for call in engine.calls)
    engine.calls.clear()
    bring(source(engine, project="charged-project", resolution_m=80), tmp_path, waits[1])
    assert all(call.endswith("of charged-project") for call in engine.calls)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    engine.calls.clear()
    bring(source(engine, resolution_m=320), tmp_path, waits[1])
    assert all(call.endswith("of of-the-environment") for call in engine.calls)


def test_expired_credentials_say_what_to_do(engine, tmp_path, waits):
    engine.give_token = False
    with pytest.raises(ConfigError, match="expired or were withdrawn.*earthengine authenticate.*GOOGLE_APPLICATION"):
        bring(source(engine), tmp_path, waits[1])


def test_credentials_that_expire_on_the_way_are_renewed_once_and_else_told(engine, tmp_path, waits):
    def expire(progress):
        if progress.done == 2:
            engine.tokens.clear()

    config = source(engine, cells_per_request=4)
    assert bring(config, tmp_path, waits[1], tell=expire, parallel=1).report.fetched > 3
    engine.tokens = {"none of ours"}
    engine.answer_token, engine.give_token = None, False
    with pytest.raises(ConfigError, match="expired or were withdrawn"):
        bring(source(engine, resolution_m=80), tmp_path, waits[1])


def test_without_credentials_the_way_to_them_is_told(engine, tmp_path, waits, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"names .*none.json, which is no JSON.*earthengine authenticate"):
        bring(source(engine), tmp_path, waits[1])
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    for name in ("HOME", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ConfigError, match="no credentials for Earth Engine on this machine.*earthengine authenticate"):
        bring(source(engine), tmp_path, waits[1])


GRANT = {
    "client_id": "764086051850-x.apps.googleusercontent.com",
    "client_secret": "not one",
    "refresh_token": "of a person",
}


@pytest.fixture
def person(engine, tmp_path, monkeypatch):
    """A home without credentials; Google's addresses for tokens, which no file can change, are those of the service.

    Gives the two files that a person may have: of `earthengine authenticate`, and of `gcloud auth application-default`.
    """
    import ee
    from google.oauth2 import credentials

    monkeypatch.setattr(ee.oauth, "TOKEN_URI", f"{engine.url}/token")
    monkeypatch.setattr(credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{engine.url}/token")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", str(tmp_path))  # a gcloud that is installed would be asked for its project: seconds
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    engine.refresh_tokens = {"of a person"}
    files = tmp_path / ".config/earthengine/credentials", tmp_path / "gcloud/application_default_credentials.json"
    for file in files:
        file.parent.mkdir(parents=True)
    return files


def authorized_user(file, **more):
    file.write_text(json.dumps({"type": "authorized_user", **GRANT, **more}))


@pytest.mark.parametrize("way", ["earthengine authenticate", "gcloud", "named file"])
def test_default_credentials_get_a_token_and_their_project_is_charged(
    engine, person, tmp_path, waits, monkeypatch, way
):
    persistent, default = person
    if way == "earthengine authenticate":
        persistent.write_text(json.dumps({**GRANT, "project": "of-the-person"}))
    else:
        authorized_user(default, quota_project_id="of-the-person")
    if way == "named file":
        # what is named goes before what `earthengine authenticate` left
        persistent.write_text(json.dumps({**GRANT, "refresh_token": "an old one"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(default.rename(tmp_path / "named.json")))
    bring(source(engine), tmp_path, waits[1], grids=["h3-5"])
    assert engine.calls and all(call.endswith("of of-the-person") for call in engine.calls)
    assert engine.charged == {"of-the-person"} and waits[0] == []


@pytest.mark.parametrize("way", ["earthengine authenticate", "gcloud"])
def test_a_withdrawn_refresh_token_is_told_with_what_to_do_and_a_new_one_is_taken(engine, person, tmp_path, waits, way):
    persistent, default = person

    def give(token):
        if way == "gcloud":
            authorized_user(default, refresh_token=token)
        else:
            persistent.write_text(json.dumps({**GRANT, "refresh_token": token}))

    give("withdrawn")
    asked = source(engine, project="charged-project")
    with pytest.raises(ConfigError, match=r"expired or were withdrawn.*invalid_grant.*run `earthengine authenticate`"):
        bring(asked, tmp_path, waits[1], grids=["h3-5"])
    assert waits[0] == [] and not engine.calls
    give("of a person")
    assert bring(asked, tmp_path, waits[1], grids=["h3-5"]).report.fetched == 2


def test_what_a_person_has_to_do_when_project_or_file_is_missing(engine, person, tmp_path, waits, monkeypatch):
    persistent, default = person
    authorized_user(default)
    with pytest.raises(ConfigError, match=r"project.*GOOGLE_CLOUD_PROJECT"):
        bring(source(engine), tmp_path, waits[1])
    persistent.write_text(json.dumps({"project": "set-by-set-project"}))  # `earthengine set_project`, without a token
    bring(source(engine), tmp_path, waits[1], grids=["h3-5"])
    assert all(call.endswith("of set-by-set-project") for call in engine.calls)
    persistent.write_text("{")
    with pytest.raises(ConfigError, match=r"earthengine/credentials cannot be read .*remove it and run"):
        bring(source(engine), tmp_path, waits[1])
    persistent.unlink()
    default.write_text(json.dumps({"type": "nobody"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(default))
    with pytest.raises(ConfigError, match=r"no credentials.*does not have a valid type.*earthengine authenticate"):
        bring(source(engine), tmp_path, waits[1])


def test_a_project_that_may_not_be_used_is_told_with_the_words_of_the_service(engine, tmp_path, waits):
    engine.faults = [EeFault(403, "Earth Engine API has not been used in project 7 before or it is disabled.")]
    with pytest.raises(ConfigError, match=r"has not been used in project 7.*GOOGLE_CLOUD_PROJECT"):
        bring(source(engine), tmp_path, waits[1])


def test_restricted_mode_is_told(engine, tmp_path, waits):
    engine.restricted = True
    with pytest.warns(UserWarning, match="exceeded its noncommercial compute quota"):
        bring(source(engine), tmp_path, waits[1])


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_answers_are_kept_verified_and_used_again(engine, tmp_path, waits):
    config = source(engine, cells_per_request=4)
    first = bring(config, tmp_path, waits[1])
    content = first.listing.read_bytes()
    made = features(config, tmp_path)
    kept = [
        first.listing.parent / entry["file"] for entry in json.loads(content)["tiles"] if GRIDS[1] in entry["grids"]
    ]
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    with pytest.raises(SourceError, match="is not what was fetched: run `entropice fetch alphaearth`"):
        features(config, tmp_path)
    kept[1].unlink()
    with pytest.raises(SourceError, match="lacks 1 of"):
        features(config, tmp_path)
    again = bring(config, tmp_path, waits[1])
    assert (again.report.fetched, again.report.there) == (2, first.report.fetched - 2)
    assert again.listing.read_bytes() == content
    np.testing.assert_array_equal(features(config, tmp_path)["features"], made["features"])


def test_an_image_of_another_version_is_asked_anew(engine, images, tmp_path, waits):
    bring(source(engine), tmp_path, waits[1])
    engine.images = [images[0], type(images[1])(**{**vars(images[1]), "version": 2})]
    report = bring(source(engine), tmp_path, waits[1]).report
    assert (report.there, report.fetched) == (1, 1)


def test_other_cells_than_were_fetched_are_an_error(engine, tmp_path, waits):
    config = source(engine)
    bring_embeddings(config, StudyArea(60.0, (83.2, 67.6, 83.99, 68.0)), GRIDS, tmp_path, 2021, waits[1])
    with pytest.raises(SourceError, match=r"lacks \d cells of healpix-8: the study has other cells"):
        features(config, tmp_path)
    with pytest.raises(SourceError, match="lacks .* cells of h3-6"):
        features(config, tmp_path, "h3-6")
    with pytest.raises(ConfigError, match="lists tiles of route 'earth_engine', but sources.e has 'files'"):
        features(config.model_copy(update={"route": "files"}), tmp_path)
    with pytest.raises(ConfigError, match="has 2 images of 2021 around the study area, and none touches"):
        bring_embeddings(config, StudyArea(60.0, (82.2, 67.0, 82.4, 67.2)), ["h3-6"], tmp_path, 2021, waits[1])


def toml(server, **more):
    text = STUDY.format(index="https://none.example/i.csv").replace("resolution_m = 40", "resolution_m = 80")
    keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
    return text.replace("lag = 1", f'lag = 1\nroute = "earth_engine"\nendpoint = "{server.url}"\n{keys}')


@pytest.mark.nightly
def test_a_client_that_is_killed_goes_on_where_it_was(engine, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "tiny.toml").write_text(toml(engine, cells_per_request=2))
    engine.compute_s = 0.2
    env = {**os.environ, "ENTROPICE_DATA": str(tmp_path / "data"), "ENTROPICE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "entropice_core.cli", "fetch", "alphaearth", "--year", "2022", "--parallel", "2"]
    command += ["--study", str(tmp_path / "tiny.toml")]
    killed = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "data").rglob("*.npz"))) < 3 and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = len(list((tmp_path / "data").rglob("*.npz")))
    assert kept >= 3 and not (tmp_path / "data" / "alphaearth" / "2021.json").exists()
    engine.compute_s = 0.0
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f": {kept} batches were there" in " ".join(done.stdout.split())
    assert (tmp_path / "data" / "alphaearth" / "2021.json").exists()


def test_from_the_command_to_features_of_two_grids(engine, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    study = Path(tmp_path / "tiny.toml")
    study.write_text(toml(engine))
    monkeypatch.setenv("ENTROPICE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ENTROPICE_HOME", str(tmp_path / "home"))
    alphaearth(study=str(study), year=(2022,), dry_run=True)
    assert "embedding: 2 images of 2021, 80 m, 21 sums of cells in 2 requests" in capsys.readouterr().out
    alphaearth(study=str(study), year=(2022,))
    assert "2 images, 21 sums of cells: 0 batches were there, 2 fetched" in capsys.readouterr().out
    context = Context(load_study(study), Settings.from_environment(), lambda _: None)
    graph = build_graph(context.study)
    for key in context.study.study.grids:
        materialize(context, graph, graph["cells"], Partition(key))
        assert materialize(context, graph, graph["features.embedding"], Partition(key, 2022)).built
        made = context.open("features.embedding", Partition(key, 2022))
        assert (made.attrs["lag"], made.attrs["file_year"], made.attrs["route"]) == (1, "2021", "earth_engine")
    study.write_text(toml(engine, project="another-project", cells_per_request=7))
    context = Context(load_study(study), Settings.from_environment(), lambda _: None)
    graph = build_graph(context.study)
    assert not materialize(context, graph, graph["features.embedding"], Partition("h3-5", 2022)).built


def test_how_much_there_is_to_ask_is_told_before(engine, waits, tmp_path):
    told = describe_need(source(engine, cells_per_request=5), AREA, GRIDS, tmp_path, 2021, waits[1])
    assert told == "2 images of 2021, 160 m, 21 sums of cells in 5 requests"
