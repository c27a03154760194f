"""The whole chain through the command line: from files to scores and maps, again, after a kill, and with bad input."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import geopandas as gpd
import pytest
import xarray as xr

from entropice_core.cli import main
from tests.e2e.conftest import Workplace, tiny_toml


def test_a_run_ends_with_scores_and_says_where_map_and_tracking_are(finished):
    place, printed = finished
    for word in ("espa", "logistic_regression", "prevalence", "permuted AUC", "buffer 50 km", "tracking", "map.png"):
        assert word in printed
    picture = place.home / "store/tiny/map.espa/h3-3/2023"
    assert len(list(picture.glob("v-*/map.png"))) == 1
    assert len(list(picture.glob("v-*/map.svg"))) == 1


def test_a_second_run_rebuilds_nothing(finished):
    place, _ = finished
    before = place.digests()
    assert "nothing to rebuild" in place.run()
    assert place.digests() == before


@pytest.mark.nightly  # the killed run below is elsewhere too
def test_a_run_elsewhere_in_processes_gives_the_same_digests(finished, workplace):
    done = workplace.entropice("run", "-s", str(workplace.study), ENTROPICE_COMPUTE="processes:2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert workplace.digests() == finished[0].digests()


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        pytest.param(("run",), (3.0, 15.0), marks=pytest.mark.nightly, id="all of it"),
        pytest.param(("build", "model.logistic_regression"), (2.0, 8.0), id="up to a model"),
    ],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_digests(finished, workplace, words, seconds):
    command, chance = [*words, "-s", str(workplace.study)], random.Random(20260301)
    for _ in range(2):
        process = subprocess.Popen(
            workplace.command(*command), env=workplace.environment(), cwd=workplace.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(chance.uniform(*seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = workplace.entropice(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    built, expected = workplace.digests(), finished[0].digests()
    assert built == (expected if words == ("run",) else {name: expected[name] for name in built})
    assert "model.logistic_regression/h3-3/all" in built


def test_predictions_open_in_xarray_and_cells_in_a_gis(finished):
    place, _ = finished
    stored = next((place.home / "store/tiny/prediction.espa/h3-3/2023").glob("v-*.zarr"))
    opened = xr.open_zarr(stored, consolidated=False)
    p = opened["probability"].values
    assert ((p >= 0) & (p <= 1)).all()
    table = gpd.read_parquet(next((place.home / "store/tiny/map.espa/h3-3/2023").glob("v-*/cells.parquet")))
    assert len(table) == p.size
    assert table.crs == "EPSG:4326"
    assert (table["probability"].to_numpy() == p).all()


def test_a_map_is_explained_down_to_the_source_files(finished):
    place, _ = finished
    done = place.entropice("explain", "map.espa", "h3-3/2023", "-s", str(place.study))
    assert done.returncode == 0, done.stderr
    for name in ("era5_monthly_2023.nc", "terrain_10km.tif", "DARTS_demo_level2.gpkg", "sha256"):
        assert name in done.stdout


def test_verify_names_the_file_with_a_flipped_byte(finished, tmp_path):
    place, _ = finished
    copy = Workplace(tmp_path, place.data, place.study)
    shutil.copytree(place.home, copy.home)
    assert copy.entropice("verify", "--full", "-s", str(place.study)).returncode == 0
    chunk = max((copy.home / "store/tiny/features.era5").rglob("c/0/0"), key=lambda p: p.stat().st_size)
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    chunk.write_bytes(damaged)
    done = copy.entropice("verify", "--full", "-s", str(place.study))
    assert done.returncode == 3
    assert "c/0/0" in done.stdout


def test_a_source_file_that_changed_makes_stale_what_was_made_from_it_and_nothing_else(finished, tmp_path):
    place, _ = finished
    data = tmp_path / "data"
    shutil.copytree(place.data, data)
    copy = Workplace(tmp_path, data, place.study)
    shutil.copytree(place.home, copy.home)
    inventory = json.loads((data / "demo.json").read_text())
    assert inventory
    target = next(data.rglob("era5_monthly_2023.nc"))
    shutil.copy(next(data.rglob("era5_monthly_2022.nc")), target)
    done = copy.entropice("status", "-s", str(place.study))
    rows = [line.split() for line in done.stdout.splitlines() if len(line.split()) == 7]
    stale = [row[0] for row in rows if row[3] not in ("-", "stale")]
    assert stale[0] == "features.era5"
    assert "training_set" in stale and "model.espa" in stale and "map.espa" in stale and "comparison" in stale
    assert not {"cells", "inventory.darts", "labels.darts", "features.terrain", "features.embedding"} & set(stale)


def test_models_are_recorded_in_mlflow_with_scores_folds_and_input_digests(finished):
    from entropice_core.training.tracking import open_client

    place, _ = finished
    client = open_client(f"sqlite:///{place.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("entropice/tiny")
    models = client.search_runs([experiment.experiment_id], filter_string="tags.`entropice.kind` = 'model'")
    runs = {run.info.run_name: run for run in models}
    assert set(runs) == {f"{m} h3-3" for m in ("prevalence", "logistic_regression", "espa")}
    espa = runs["espa h3-3"]
    assert espa.info.status == "FINISHED"
    assert 0 < espa.data.metrics["spatial.log_loss.mean"] < 2
    assert espa.data.params["sources"] == "embedding,era5,terrain"
    digest = place.digests()["training_set/h3-3/all"]
    assert digest in espa.data.tags["entropice.input.training_set"]
    history = client.get_metric_history(espa.info.run_id, "fold.log_loss")
    assert len(history) == 3
    names = {item.path for item in client.list_artifacts(espa.info.run_id)}
    assert {"cv.json", "model.json", "arrays.npz", "reliability.png", "maps"} <= names
    assert espa.data.metrics["seconds"] > 0 and espa.data.tags["entropice.device"] == "cpu"
    assert any(i.dataset.name.startswith("training_set h3-3") for i in espa.inputs.dataset_inputs)


@pytest.mark.nightly  # as tests/unit/training/test_tracking.py, from further away
def test_a_tracking_server_that_is_down_costs_no_result_and_is_told_later(finished, tmp_path):
    place, _ = finished
    copy = Workplace(tmp_path, place.data, place.study)
    shutil.copytree(place.home / "store", copy.home / "store")
    done = copy.entropice("build", "model", "-s", str(place.study), ENTROPICE_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "the next run records it" in done.stdout
    again = copy.entropice("build", "model", "-s", str(place.study))
    assert again.returncode == 0
    assert "the next run records it" not in again.stdout
    assert (copy.home / "mlflow.db").stat().st_size > 0


BAD = [
    ({"n_folds = 3": "n_fold = 3"}, "did you mean 'n_folds'"),
    ({"DARTS_demo_level2.gpkg": "DARTS_none.gpkg"}, "DARTS_none.gpkg"),
    ({'year = { column = "year" }': 'year = { column = "yaer" }'}, "year"),
    ({"first = 2022, last = 2023": "first = 2022, last = 2024"}, "2024"),
    ({"terrain_10km.tif": "terrain_9km.tif"}, "terrain_9km.tif"),
    ({"\nn_folds = 3": "\nn_folds = 45"}, "block"),
    ({'positive = "presence"': 'positive = "density_above_quantile"\nquantile = 0.999999'}, "positive row"),
]


@pytest.mark.parametrize(("changes", "word"), BAD)
def test_bad_input_gives_one_sentence_and_loses_nothing(finished, tmp_path, changes, word):
    place, _ = finished
    text = place.study.read_text()
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    study = tmp_path / "tiny.toml"
    study.write_text(text)
    copy = Workplace(tmp_path, place.data, study)
    shutil.copytree(place.home, copy.home)
    before = copy.digests()
    done = copy.entropice("run", "-s", str(study))
    assert done.returncode == 1, done.stdout + done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    after = copy.digests()
    assert all(copy_key in after for copy_key in before)


def test_the_starter_study_is_valid_and_an_existing_file_is_left_alone(workplace):
    assert workplace.entropice("new", "mine.toml").returncode == 0
    checked = workplace.entropice("check", "-s", "mine.toml")
    assert "my_level2.gpkg' matches no file" in checked.stderr  # everything else was right
    starter = (workplace.folder / "mine.toml").read_text().lower()
    assert "generated" not in starter  # words about made-up data must not reach real maps
    refused = workplace.entropice("new", "mine.toml")
    assert refused.returncode == 1
    assert "is there already" in refused.stderr


def test_a_model_whose_library_is_missing_is_told_before_anything_is_built(workplace):
    study = workplace.folder / "boosted.toml"
    study.write_text(workplace.study.read_text() + '\n[models.boosted]\nmodel = "xgboost"\n')
    without = "import sys; sys.modules['xgboost'] = None; from entropice_core.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "check", "-s", str(study)],
        env=workplace.environment(), cwd=workplace.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "models.boosted: Model 'xgboost' needs the package XGBoost: pip install" in done.stderr


def test_an_unknown_grid_and_year_name_what_the_study_has(workplace):
    done = workplace.entropice("build", "labels", "-g", "h3-4", "-s", str(workplace.study))
    assert done.returncode == 1
    assert "did you mean 'h3-3'" in done.stderr
    done = workplace.entropice("build", "labels", "-y", "1999", "-s", str(workplace.study))
    assert "2022-2023" in done.stderr


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize(
    "command", ["run", "build", "status", "explain", "verify", "gc", "grids", "check", "new", "path"]
)
def test_every_command_explains_itself(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["entropice", command, "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    assert len(capsys.readouterr().out.splitlines()) > 6


def test_gc_keeps_what_is_current_and_what_tracking_refers_to(finished, tmp_path):
    place, _ = finished
    copy = Workplace(tmp_path, place.data, place.study)
    shutil.copytree(place.home, copy.home)
    before = copy.digests()
    tiny_toml(tmp_path / "tiny.toml", {"n_clusters = 10, eps_c = 1.0": "n_clusters = 10, eps_c = 0.5"})
    changed = Workplace(tmp_path, place.data, tmp_path / "tiny.toml")
    done = changed.entropice("build", "model.espa", "-s", str(changed.study))
    assert done.returncode == 0, done.stderr
    assert changed.digests()["model.espa/h3-3/all"] != before["model.espa/h3-3/all"]
    assert changed.entropice("gc", "--grace-hours", "0", "-s", str(changed.study)).returncode == 0
    models = {path.name[2:14] for path in (changed.home / "store/tiny/model.espa/h3-3/all").glob("v-*")}
    assert before["model.espa/h3-3/all"][:12] in models
    told = " ".join(changed.entropice("verify", "--full", "-s", str(changed.study)).stdout.split())
    findings = int(re.search(r"(\d+) findings", told).group(1))
    assert findings == told.count("which is now") > 0  # what was made from the old model, and nothing is missing


CHECKED = [
    ("n_init = 4", "n_inits = 4", "n_init"),
    ("n_clusters = 10", "n_clusters = -3", "n_clusters"),
    ("bounds = [100.0, 60.0, -140.0, 80.0]", "bounds = [100.0, 80.0, -140.0, 62.0]", "South"),
    ("block_level = { h3 = 1,", "block_level = { h3 = 5,", "not coarser"),
    ("terrain_10km.tif", "terrain_9km.tif", "terrain_9km.tif"),
    ('inventory = "darts"', 'inventory = "dart"', "[inventories]"),
]


@pytest.mark.parametrize(("before", "after", "word"), CHECKED)
def test_check_finds_what_a_run_would_find_hours_later(workplace, before, after, word):
    text = workplace.study.read_text()
    assert before in text
    workplace.study.write_text(text.replace(before, after))
    done = workplace.entropice("check", "-s", str(workplace.study))
    assert done.returncode == 1
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_a_run_of_some_grids_leaves_the_comparison_alone(workplace):
    text = workplace.study.read_text().replace('grids = ["h3-3"]', 'grids = ["h3-3", "healpix-6"]')
    workplace.study.write_text(text.replace("[models.espa]", "[models.later]"))
    done = workplace.entropice("run", "-g", "h3-3", "-s", str(workplace.study))
    assert done.returncode == 0, done.stderr
    assert "Some grids only" in done.stdout


@pytest.mark.nightly
def test_a_title_with_brackets_is_printed_as_it_is(workplace):
    text = workplace.study.read_text()
    workplace.study.write_text(text.replace('title = "Thaw slumps in a generated Arctic"', 'title = "RTS [/north]"'))
    assert "RTS [/north]" in workplace.run()


def test_what_is_published_under_changed_settings_meanwhile_is_not_mixed_in(finished, tmp_path):
    from entropice_core.config import Settings, load_study
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import materialize
    from entropice_core.storage.partition import Partition

    place, _ = finished
    copy = Workplace(tmp_path, place.data, place.study)
    shutil.copytree(place.home, copy.home)
    settings = Settings.from_environment({"ENTROPICE_HOME": str(copy.home), "ENTROPICE_DATA": str(place.data)})
    here = Partition("h3-3")
    other = tmp_path / "other.toml"
    other.write_text(place.study.read_text().replace("offset = -273.15", "offset = -263.15"))
    theirs, their_graph = Context(load_study(other), settings), build_graph(load_study(other))
    ours, our_graph = Context(load_study(place.study), settings), build_graph(load_study(place.study))
    product = our_graph["training_set"]
    calls = []

    def build(context, partition, folder):
        made = product.build(context, partition, folder)
        if not calls:  # another process republishes the features while we work
            calls.append(1)
            for year in (2022, 2023):
                materialize(theirs, their_graph, their_graph["features.era5"], Partition("h3-3", year))
        return made

    import dataclasses

    our_graph["training_set"] = dataclasses.replace(product, build=build)
    outcome = materialize(ours, our_graph, our_graph["training_set"], here, force=True)
    used = {ref.digest for ref in outcome.manifest.recipe.inputs if ref.dataset == "features.era5"}
    now = {ours.store.manifest("features.era5", Partition("h3-3", year)).digest for year in (2022, 2023)}
    assert used == now
    assert ours.store.open("training_set", here)["features"].sel(feature="era5.t2m_month_07").mean() > 15
