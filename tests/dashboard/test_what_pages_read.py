"""What pages show, put together without a browser: states, advice, scores, explanations; and nothing is written."""

import http.server
import json
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.text import Text

from entropice_core.cli.dashboard import PRIMARY, TEXT
from entropice_core.dashboard import explain, layers, overview, pictures, scores, tracking
from entropice_core.dashboard.library import Library, parse_place, position_of
from entropice_core.dashboard.views import training
from entropice_core.errors import ConfigError, MissingPartitionError, StoreError
from entropice_core.plots import interactive
from entropice_core.plots.contrast import ENOUGH, blend, contrast, ink_on
from entropice_core.plots.distributions import series
from entropice_core.plots.files import figure_bytes
from entropice_core.plots.multiples import maps_side_by_side
from entropice_core.plots.scores import search
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import PartitionStore
from entropice_core.training.tracking import Receipt, list_runs

HERE, YEAR = "h3-3", 2019


def spoil(place, dataset: str, partition: str) -> str:
    """Flip a byte of the largest file of a partition; return its name."""
    files = [p for p in (place.home / "store" / "tiny" / dataset / partition).rglob("*") if p.is_file()]
    path = max((p for p in files if p.suffix != ".json" and "v-" in str(p)), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    return path.name


def test_a_provisional_year_is_shown_as_such_with_what_to_do(built, tmp_path) -> None:
    place, year = built.copy(tmp_path), Partition("h3-3", 2019)
    store = PartitionStore(place.home / "store" / "tiny")
    recipe, content = store.manifest("features.climate", year).recipe, store.open("features.climate", year).load()
    store.publish("features.climate", year, content, recipe, provisional=True)
    library = place.library()
    found = overview.entries(library)
    marked = {(e.dataset, e.partition.year) for e in found if e.state == overview.PROVISIONAL}
    assert marked == {("features.climate", 2019)}
    assert any("not final yet (2019): fetch them again" in str(step) for step in overview.next_steps(library, found))


def test_nothing_is_written_whatever_is_asked_for(built) -> None:
    before = built.files()
    library = built.library()
    overview.entries(library)
    for dataset, year in (
        ("cells", None),
        ("labels.squares", YEAR),
        ("features.climate", YEAR),
        ("prediction.prevalence", YEAR),
    ):
        pictures.layer_of(library, dataset, Partition(HERE, year))
    pictures.reliability(library, "logistic_regression", HERE)
    explain.digests(library, "prediction.logistic_regression", Partition(HERE, YEAR))
    assert built.files() == before


def test_each_partition_is_published_or_missing_and_the_other_grid_is_what_comes_next(library) -> None:
    found = overview.entries(library)
    by_grid = {e.partition.grid: e.state for e in found if e.dataset == "cells"}
    assert by_grid == {"h3-3": overview.PUBLISHED, "healpix-6": overview.MISSING}
    grids, rows = overview.matrix(found)
    assert grids == ["h3-3", "healpix-6", overview.NO_GRID]
    row = next(row for row in rows if row.dataset == "labels.squares")
    assert row.fields == {
        HERE: ((overview.PUBLISHED, "2018–2019"),),
        "healpix-6": ((overview.MISSING, "2018–2019"),),
        overview.NO_GRID: (),
    }
    ranking = next(row for row in rows if row.dataset == "priority.logistic_regression")
    assert ranking.fields[HERE] == ((overview.PUBLISHED, "2019"), (overview.MISSING, "2018"))
    steps = overview.next_steps(library, found)
    assert "missing, the first is cells healpix-6/all" in steps[0].sentence
    assert steps[0].command.startswith("entropice run --study ")  # many: one command for all of them
    one = [e for e in found if e.state == overview.PUBLISHED or e.dataset == "cells"]
    assert "--grid healpix-6" in overview.next_steps(library, one)[0].command
    assert next(row for row in rows if row.dataset == "cells").size == sum(
        e.size for e in found if e.dataset == "cells"
    )
    times = [entry.created for entry in overview.latest(found, most=3)]
    assert len(times) == 3 and times == sorted(times, reverse=True) and times[0] == max(e.created for e in found)
    assert len(overview.listed(found)) == len(found)


def test_an_empty_store_is_told_with_the_one_command_that_fills_it(empty) -> None:
    library = empty.library()
    steps = overview.next_steps(library, overview.entries(library))
    assert len(steps) == 1 and steps[0].command.startswith("entropice run --study ")


def test_a_changed_study_a_changed_source_and_what_follows_from_them_are_stale(built, tmp_path) -> None:
    place = built.copy(tmp_path)
    toml = tmp_path / "changed.toml"
    toml.write_text(place.toml.read_text().replace("valid_range = [-60.0, 60.0]", "valid_range = [-50.0, 60.0]"))
    changed = replace(place, toml=toml).library()
    state = {(e.dataset, e.partition.key): e for e in overview.entries(changed, [HERE])}
    first = state["features.climate", "h3-3_2018"]
    assert (first.state, first.reason) == (overview.STALE, "the study was changed since")
    assert "features.climate" in state["training_set", "h3-3_all"].reason
    assert state["model.prevalence", "h3-3_all"].state == overview.STALE
    assert state["cells", "h3-3_all"].state == overview.PUBLISHED
    assert "stale" in overview.next_steps(changed, list(state.values()))[0].sentence


def test_a_flipped_byte_is_found_when_a_partition_is_opened_and_named(built, tmp_path) -> None:
    place = built.copy(tmp_path)
    name = spoil(place, "prediction.prevalence", "h3-3/2019")
    with pytest.raises(StoreError, match=name.split(".")[0]):
        layers.prediction_layer(place.library(), "prevalence", HERE, YEAR)


def test_a_torn_manifest_is_damaged_and_advised_to_be_built_again(built, tmp_path) -> None:
    place = built.copy(tmp_path)
    (place.home / "store" / "tiny" / "cells" / "h3-3" / "all" / "current.json").write_text('{"dataset": ')
    library = place.library()
    found = overview.entries(library, [HERE])
    assert found[0].state == overview.DAMAGED
    advice = overview.next_steps(library, found)[0]
    assert "cannot be read" in advice.sentence and "--force" in advice.command


def test_what_is_missing_says_how_to_build_it(library) -> None:
    with pytest.raises(MissingPartitionError, match="entropice build cells .* --grid healpix-6"):
        layers.cells_layer(library, "healpix-6", "land_fraction")


def test_maps_say_quantity_unit_date_grid_study_licence_and_digest(library) -> None:
    labels = layers.labels_layer(library, "squares", HERE, YEAR, "density")
    assert "[m2 m-2]" in labels.label and "Arctic year 2019" in labels.subtitle and HERE in labels.subtitle
    words = " ".join(labels.footer)
    assert "CC0-1.0" in words and library.manifest("labels.squares", Partition(HERE, YEAR)).digest[:12] in words
    climate = layers.feature_layer(library, "climate", HERE, YEAR, "warmth_mean")
    assert "[degC]" in climate.label and "licence not stated" in " ".join(climate.footer)
    assert layers.cells_layer(library, HERE, "area_km2").label.endswith("[km2]")
    with pytest.raises(ConfigError, match="warmth_mean"):
        layers.feature_layer(library, "climate", HERE, YEAR, "warmth")


def test_a_prediction_offers_all_it_holds_and_marks_what_lies_outside(library) -> None:
    found = library.open("prediction.logistic_regression", Partition(HERE, YEAR))
    known = layers.prediction_variables(found)
    assert list(known)[:3] == ["probability", layers.CLASS, "expected_density"]
    assert {"is_applicable", "set_size", "entropy"} <= set(known)
    p = layers.prediction_layer(library, "logistic_regression", HERE, YEAR)
    assert (p.low, p.high) == (0.0, 1.0)
    assert p.outside is not None and np.array_equal(p.outside, found["is_applicable"].values == 0)
    likeliest = layers.prediction_layer(library, "logistic_regression", HERE, YEAR, layers.CLASS)
    assert likeliest.kind == "classes" and np.array_equal(likeliest.values, (p.values >= 0.5).astype(float))
    for variable in known:
        assert (
            layers.prediction_layer(library, "logistic_regression", HERE, YEAR, variable).values.size == p.values.size
        )


def test_the_leaderboard_ranks_by_any_score_with_corrected_intervals(library) -> None:
    models = scores.trained_models(library)
    table = scores.leaderboard(models, "log_loss")
    assert (
        set(table["model"]) == {"logistic_regression", "prevalence"} and table["log loss [nat]"].is_monotonic_increasing
    )
    width = (table["log loss [nat]"] - table["95 % low"]).set_axis(table["model"])
    assert width["logistic_regression"] > 0 and width["prevalence"] >= 0
    assert table["feature set"].iloc[0] == "climate (2), relief (1)"
    assert scores.leaderboard(models, "roc_auc")["ROC AUC"].is_monotonic_decreasing
    assert scores.best_model(library, ["prevalence", "logistic_regression"]) == table["model"].iloc[0]
    assert scores.half_width(0.1, 5, 0.25) > scores.half_width(0.1, 5, 0.0) > 0
    assert scores.leaderboard([], "roc_auc").empty


def test_reports_of_older_versions_are_read_with_what_they_hold() -> None:
    old = scores.Trained("s", "m", "h3-3", "d" * 64, "", {"spatial": {"summary": {"roc_auc": {"mean": None}}}})
    assert np.isnan(old.value("roc_auc")) and np.isnan(old.value("brier", "random")) and old.sources() == ""
    assert scores.leaderboard([old], "roc_auc").shape[0] == 1
    assert scores.fold_table(old.cv).empty and scores.region_table(old.cv).empty
    assert scores.class_names({}) == ("negative", "positive")
    assert scores.importance_tables(None) == {} and scores.importance_tables({"own": {"w": [{"n": 1}]}}) == {}


def test_folds_confusion_and_importances_add_up(library) -> None:
    model = next(m for m in scores.trained_models(library) if m.model == "logistic_regression")
    rows = scores.out_of_fold(library, "logistic_regression", HERE)
    assert rows is not None and scores.fold_table(model.cv)["test rows"].sum() == len(rows)
    counts = scores.confusion_counts(rows, 2, 0.5)
    assert counts.sum() == len(rows) and counts[:, 1].sum() == (rows["p"] >= 0.5).sum()
    three = pd.DataFrame(
        {"y": [0, 1, 2], "p": 0.0, "p_class_0": [1, 0, 0], "p_class_1": [0, 1, 0], "p_class_2": [0, 0, 1]}
    )
    assert np.array_equal(scores.confusion_counts(three, 3, 0.5), np.eye(3))
    tables = scores.importance_tables(
        library.read_json("model.logistic_regression", Partition(HERE), "importance.json")
    )
    assert tables["features"]["name"].iloc[0] == "climate.warmth_mean" and "sources" in tables


def test_what_drives_a_cell_adds_to_its_probability_one_feature_at_a_time(library) -> None:
    found = library.open("prediction.logistic_regression", Partition(HERE, YEAR))
    at = int(np.nanargmax(found["probability"].values))
    cell = int(found["cell_ids"].values[at])
    ground = explain.background(library, HERE)
    features = explain.cell_features(library, HERE, YEAR, cell)
    table = explain.drivers(library, "logistic_regression", HERE, features, ground)
    assert table["feature"].iloc[0] == "climate.warmth_mean" and table["change of probability"].iloc[0] > 0.1
    near = explain.nearest_rows(features, ground, 130.0, 68.0, "h3")
    assert near["distance in features"].is_monotonic_increasing and (near["distance [km]"] >= 0).all()
    observed = np.isfinite(found["observed_positive"].values[at])
    assert (near["distance in features"].iloc[0] < 1e-5) == bool(observed)


def test_digests_lead_from_a_prediction_to_the_source_files(library) -> None:
    table = explain.digests(library, "prediction.logistic_regression", Partition(HERE, YEAR))
    assert {"climate_2018.tif", "climate_2019.tif", "relief.tif", "squares.gpkg"} <= set(table["name"])
    assert (table["note"] != "replaced since").all()


def test_a_cell_has_a_series_over_all_its_years(library) -> None:
    cell = int(library.cells(HERE)["cell_ids"].values[3])
    years, values = explain.series_of_cell(library, "climate", HERE, "warmth_mean", cell)
    assert years == [2018, 2019] and np.isfinite(values).all() and values[0] != values[1]


@pytest.mark.nightly
def test_the_series_of_a_cell_over_forty_years_is_that_which_was_published(built, tmp_path) -> None:
    place = built.copy(tmp_path)
    library = place.library()
    found = library.open("features.climate", Partition(HERE, 2018)).load()
    recipe = library.manifest("features.climate", Partition(HERE, 2018)).recipe
    for year in range(1980, 2018):
        grown = found.copy(deep=True)
        grown["features"] = found["features"] + np.float32(year - 2018)
        library.store.publish("features.climate", Partition(HERE, year), grown, recipe)
    cell = int(found["cell_ids"].values[7])
    begun = time.process_time()
    years, values = explain.series_of_cell(place.library(), "climate", HERE, "warmth_mean", cell)
    assert time.process_time() - begun < 5.0  # the first time, every byte compared with its checksums
    assert years == list(range(1980, 2020)) and np.isfinite(values).all()
    first = float(found["features"].values[7, found["feature"].values.tolist().index("warmth_mean")])
    assert np.allclose(values[:39], first + np.arange(-38, 1), atol=1e-4)
    figure = series(years, {"cell": values}, "warmth [degC]", "40 years")
    assert 8 <= len(figure.axes[0].get_xticks()) <= 14  # years that can be read


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        ("130.0, 68.0", True),
        ("130 68", True),
        ("8404a4dffffffff", True),
        ("1,2,3", False),
        ("north", False),
        ("1 95", False),
    ],
)
def test_a_cell_is_named_by_its_id_or_by_a_place(library, text: str, is_known: bool) -> None:
    assert (parse_place(text, library.grid(HERE)) is not None) == is_known
    assert position_of(np.array([3, 5], dtype=np.uint64), 4) is None


def trained(model: str, grid: str, **spatial: object) -> scores.Trained:
    return scores.Trained("tiny", model, grid, "0" * 64, "", {"spatial": {"summary": spatial}})


def test_the_best_model_is_that_of_the_grid_or_of_most_grids(library, monkeypatch) -> None:
    losses = {("a", "h3-3"): 0.5, ("b", "h3-3"): 0.4, ("a", "h3-4"): 0.1, ("b", "h3-4"): 0.2, ("a", "h3-5"): 0.9,
              ("b", "h3-5"): 0.8}  # fmt: skip
    models = [trained(model, grid, log_loss={"mean": loss}) for (model, grid), loss in losses.items()]
    monkeypatch.setattr(scores, "trained_models", lambda _: models)
    assert scores.best_model(library, ["a", "b"]) == "b"  # not a, whose loss on h3-4 is the lowest of all
    assert scores.best_model(library, ["a", "b"], "h3-4") == "a"
    assert scores.best_model(library, ["c"], "h3-4") == "c"


def test_an_interval_that_would_leave_the_range_of_a_score_is_cut_at_one_end_only() -> None:
    each = trained("a", "h3-3", roc_auc={"mean": 0.95, "sd": 0.1, "n_folds_defined": 5})
    row = scores.leaderboard([each], "roc_auc").iloc[0]
    half = scores.half_width(0.1, 5, 0.0)
    assert row["95 % high"] == 1.0 and row["95 % low"] == pytest.approx(0.95 - half)
    below, above = training.spread(scores.leaderboard([each], "roc_auc"), "roc_auc")
    assert (below[0], above[0]) == pytest.approx((half, 0.05))


def test_regions_are_listed_from_west_to_east() -> None:
    names = ["-120 to -90 E", "0 to 30 E", "120 to 150 E", "30 to 60 E", "-30 to 0 E"]
    table = scores.region_table({"regions": {name: {"n": 5, "prevalence": 0.2} for name in names}})
    assert table["region"].tolist() == ["-120 to -90 E", "-30 to 0 E", "0 to 30 E", "30 to 60 E", "120 to 150 E"]


def test_no_word_of_a_figure_is_cut_off_or_pale(library) -> None:
    figures = {
        "importance": pictures.importance(library, "logistic_regression", HERE),
        "proxies": pictures.proxies(library, "logistic_regression", HERE),
        "coverage": pictures.coverage(library, "logistic_regression", HERE),
        "dissimilarity": pictures.trust_figure(library, "logistic_regression", HERE, "dissimilarity"),
        "land": pictures.saved_land(library, "logistic_regression", Partition(HERE, YEAR)),
    }
    for name, figure in figures.items():
        figure.canvas.draw()
        whole = figure.bbox
        words = [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts)]
        words += [title for axes in figure.axes for title in (axes.title, axes._left_title)]
        written = [text for text in figure.findobj(Text) if text.get_text()]
        assert min(contrast(text.get_color()) for text in written) >= ENOUGH, name
        for text in words:
            box = text.get_window_extent()
            assert not text.get_text() or (box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1), (name, text.get_text())


def test_colours_of_pages_and_maps_carry_words_that_can_be_read() -> None:
    pale = blend(TEXT, 0.6), blend(TEXT, 0.6, "#f8f8f7")  # quiet words, on the page and in the margin
    assert contrast(pale[0]) >= ENOUGH and contrast(pale[1], "#f8f8f7") >= ENOUGH
    assert contrast(PRIMARY) >= ENOUGH and contrast(PRIMARY, blend(PRIMARY, 0.2)) >= ENOUGH
    assert contrast(interactive.QUIET) >= ENOUGH and contrast(interactive.NOTE, interactive.SEA) >= ENOUGH
    for name in ("viridis_r", "Blues"):
        colours = colormaps[name](np.linspace(0, 1, 64))[:, :3]
        assert min(contrast(ink_on(colour), colour) for colour in colours) >= ENOUGH


def test_figures_of_trust_are_not_drawn_again_from_other_data(built, library, tmp_path) -> None:
    assert pictures.why_not_again(library, "logistic_regression", HERE) == ""
    toml = tmp_path / "changed.toml"
    toml.write_text(built.toml.read_text().replace("valid_range = [-60.0, 60.0]", "valid_range = [-50.0, 60.0]"))
    changed = replace(built, toml=toml).library()
    with pytest.raises(MissingPartitionError, match=r"is stale .* cannot be drawn again: entropice build"):
        pictures.trust_figure(changed, "logistic_regression", HERE, "distances")
    with pytest.raises(ConfigError, match="did you mean 'distances'"):
        pictures.trust_figure(library, "logistic_regression", HERE, "distance")


def test_a_search_is_a_surface_where_it_was_a_grid_and_points_where_values_were_drawn() -> None:
    grid = [{"params": {"depth": d, "rate": r}, "log_loss": 0.5 + d * r} for d in (2, 3) for r in (0.1, 0.3, 1.0)]
    surface = search(grid[:-1], "one is missing").axes[0]
    assert len(surface.images) == 1 and sorted(t.get_text() for t in surface.texts)[:2] == ["", "0.7000"]
    drawn = [{"params": {"n": n, "rate": 10.0**-n, "kind": "a"}, "log_loss": 0.5 + n} for n in range(6)]
    points = search(drawn, "drawn").axes[0]
    assert not points.images and points.get_xscale() == "log" and points.get_yscale() == "linear"
    mixed = [{"params": {"n": n, "most": "sqrt" if n == 3 else n / 10}, "log_loss": 0.5 + n} for n in range(6)]
    assert "sqrt" in [label.get_text() for label in search(mixed, "words").axes[0].get_yticklabels()]
    three = [{"params": {"a": i % 2, "b": i % 3, "c": i}, "log_loss": float(i)} for i in range(6)]
    assert scores.best_of([*three, {"params": {"a": 0, "b": 0, "c": 9}, "log_loss": -1.0}], ["a", "b"])[0] == {
        "params": {"a": 0, "b": 0},
        "log_loss": -1.0,
    }


def test_a_gain_curve_is_drawn_for_the_ranking_and_its_ids_are_those_of_the_cells(library) -> None:
    where = Partition(HERE, YEAR)
    assert len(figure_bytes(pictures.saved_land(library, "logistic_regression", where))) > 5000
    ranked = library.read_table("priority.logistic_regression", where, "priority.parquet")
    ids = pictures.ids_of(ranked["cell_id"].tolist(), HERE)
    assert ids.size > 0 and np.isin(ids, library.cells(HERE)["cell_ids"].values).all()
    assert len(figure_bytes(pictures.coverage(library, "logistic_regression", HERE))) > 5000


def test_a_tracking_server_that_is_down_is_told_within_seconds() -> None:
    words = tracking.why_unreachable("http://127.0.0.1:9")
    assert "does not answer" in words and "ENTROPICE_TRACKING_URI" in words
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert tracking.why_unreachable(f"http://127.0.0.1:{server.server_port}") == ""
    server.server_close()


def test_runs_that_mlflow_holds_are_listed_with_scores_and_pages_and_nothing_is_written(built, library) -> None:
    before = built.files()
    linked = Library(library.study, library.settings, {"mlflow": "http://127.0.0.1:5000/"})
    table = tracking.runs_table(linked).set_index("run")
    assert sorted(table.index) == ["logistic_regression h3-3", "prevalence h3-3"]
    model = next(m for m in scores.trained_models(library) if m.model == "logistic_regression")
    row = table.loc["logistic_regression h3-3"]
    assert row["ROC AUC"] == pytest.approx(model.value("roc_auc")) and row["status"] == "finished"
    assert model.digest.startswith(row["digest"]) and row[tracking.PAGE].startswith("http://127.0.0.1:5000/#/")
    assert built.files() == before


def test_a_tracking_server_that_takes_the_call_and_is_silent_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreError, match=r"no answer in 0\.2 s.*ENTROPICE_TRACKING_URI"):
            list_runs(uri, "tiny", patience_s=0.2)


def test_inventories_beside_each_other_share_view_and_colours(library) -> None:
    drawn = [layers.labels_layer(library, name, HERE, 2018, "density") for name in ("squares", "half")]
    figure = maps_side_by_side(drawn, ["squares", "half"], "EPSG:3995")
    first, second, bar = figure.axes
    assert first.get_xlim() == second.get_xlim() and first.get_ylim() == second.get_ylim()
    positive = np.concatenate([layer.values[layer.values > 0] for layer in drawn])
    assert bar.get_ylim() == pytest.approx((positive.min(), positive.max()))
    unseen = int(np.isnan(drawn[0].values).sum())
    assert unseen > 0 and f"{unseen} of {drawn[0].values.size} cells" in first.get_title(loc="left")


def test_links_lead_to_the_run_and_to_the_materialization() -> None:
    receipt = Receipt("d", "http://tracking:5000", "abc", "1")
    assert tracking.run_address(receipt, None) == "http://tracking:5000/#/experiments/1/runs/abc"
    local = Receipt("d", "sqlite:////x.db", "abc", "1")
    assert tracking.run_address(local, None) == ""
    assert tracking.run_address(local, "http://127.0.0.1:5000/").startswith("http://127.0.0.1:5000/#/")
    assert tracking.dagster_address(None, "cells", Partition(HERE)) == ""
    assert tracking.dagster_address("http://d", "labels.x", Partition(HERE, 2019)).endswith(
        "labels_x?view=partitions&partition=h3-3%7C2019"
    )


def test_the_run_of_a_model_is_found_by_its_receipt(library) -> None:
    model = scores.trained_models(library)[0]
    receipt = tracking.receipt_of(library, f"model.{model.model}", Partition(HERE), model.digest)
    assert receipt is not None and (receipt.run_id or receipt.problem)


def test_json_of_a_bundle_that_is_no_json_is_named(built, tmp_path) -> None:
    place = built.copy(tmp_path)
    library = place.library()
    folder = library.folder("model.prevalence", Partition(HERE))
    size = (folder / "importance.json").stat().st_size
    (folder / "importance.json").write_text(" " * size)
    with pytest.raises(StoreError, match=r"importance\.json"):
        library.read_json("model.prevalence", Partition(HERE), "importance.json")
    assert json.loads((folder / "cv.json").read_text())["model"] == "prevalence"
