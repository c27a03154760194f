"""Every page as Streamlit runs it: on a whole store, an empty one, half of one, a damaged one, and without MLflow."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .conftest import EVIL, ROOT, Place, as_a_reader
from .test_what_pages_read import spoil

testing = pytest.importorskip("streamlit.testing.v1", reason="Streamlit is not installed (the extra 'dashboard')")
streamlit = pytest.importorskip("streamlit")
PAGES = ("Overview", "Grids", "Labels", "Features", "Training", "Predictions", "Priority")
PARTS = ("Curves", "Folds and regions", "Trust", "Search", "Importance", "Where it errs", "Runs")


def run(place: Place, monkeypatch: pytest.MonkeyPatch, page: str, **state: Any) -> Any:
    """Run the script for one page; a trace is never what a reader gets."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    app = testing.AppTest.from_file(str(ROOT / "entropice_core" / "dashboard" / "app.py"), default_timeout=200)
    app.session_state["page"] = page
    for name, value in state.items():
        app.session_state[name] = value
    app.run()
    assert not app.exception, app.exception[0].value
    assert [title.value for title in app.title] == [page]
    return app


def elements(app: Any) -> list[tuple[str, str]]:
    """Kind and label of all that is shown, in order."""
    found: list[tuple[str, str]] = []

    def walk(node: Any) -> None:
        proto = getattr(node, "proto", None)
        found.append((str(getattr(node, "type", "")), str(getattr(proto, "label", ""))))
        for child in getattr(node, "children", {}).values():
            walk(child)

    walk(app.main)
    return found


FILES = {"image": {"PNG", "SVG"}, "dataframe": {"CSV"}, "plotly_chart": {"PNG", "SVG", "GeoParquet", "CSV"}}
"""What each kind of element must be followed by, before the next one comes."""


def everything_can_be_saved(app: Any) -> dict[str, int]:
    """Check that every figure is there as PNG and SVG, every table as CSV, every map as GeoParquet too; count them."""
    shown: list[tuple[str, set[str]]] = []
    for kind, label in elements(app):
        if kind in FILES:
            shown.append((kind, set()))
        elif kind == "download_button" and shown:
            shown[-1][1].add(label)
    assert all(FILES[kind] <= buttons for kind, buttons in shown), shown
    return {kind: sum(k == kind for k, _ in shown) for kind in FILES}


def words(app: Any) -> str:
    return " ".join(str(e.value) for kind in ("info", "error", "warning", "markdown", "code") for e in app.get(kind))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_the_published_half_of_a_store_and_writes_nothing(built, monkeypatch, page: str) -> None:
    before = built.files()
    app = run(built, monkeypatch, page)
    assert not app.error, app.error[0].value
    assert built.files() == before
    least = {"Overview": (0, 0, 0), "Grids": (2, 1, 1), "Labels": (7, 4, 1), "Features": (2, 0, 1)}
    least |= {"Training": (5, 1, 0), "Predictions": (1, 0, 1), "Priority": (1, 1, 1)}
    saved = tuple(everything_can_be_saved(app).values())
    assert all(n >= m for n, m in zip(saved, least[page], strict=True)), saved
    if page == "Overview":
        assert ("download_button", "CSV") in elements(app)  # its table is text


def test_the_first_page_needs_nothing_that_draws(built) -> None:
    """A reader would wait for what it imports."""
    program = (
        "import sys\n"
        "from entropice_core.config import Settings, load_study\n"
        "from entropice_core.dashboard import app, overview, serve\n"
        "from entropice_core.dashboard.library import Library\n"
        "from entropice_core.dashboard.views import overview as page\n"
        "assert set(serve.FIRST_PAGE) <= set(sys.modules)\n"
        "settings = Settings.from_environment()\n"
        "found = overview.entries(Library(load_study(settings.study), settings))\n"
        "assert page._matrix(found).count('●') > 10\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=built.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slow = {"matplotlib", "pandas", "pyarrow", "xarray", "zarr", "geopandas", "scipy", "sklearn", "mlflow", "rasterio"}
    assert not slow & set(done.stdout.split())


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_training_shows_what_was_found(built, monkeypatch, part: str) -> None:
    app = run(built, monkeypatch, "Training", part=part, **{"kept model": "logistic_regression"})
    assert not app.error
    figures = everything_can_be_saved(app)["image"]
    assert figures >= {"Curves": 5, "Trust": 5, "Search": 2, "Importance": 3}.get(part, 1)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_says_what_to_run(empty, monkeypatch, page: str) -> None:
    app = run(empty, monkeypatch, page)
    assert not app.error and "entropice " in words(app)


@pytest.mark.parametrize("page", ["Overview", "Training", "Predictions"])
def test_another_user_reads_a_store_that_is_not_theirs(public, monkeypatch, page: str) -> None:
    run(public, monkeypatch, page)
    before = public.files()
    with as_a_reader(public):
        app = run(public, monkeypatch, page)
    assert not app.error and not app.warning and public.files() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_store_that_may_not_be_read_is_told_with_the_command_that_opens_it(public, monkeypatch) -> None:
    run(public, monkeypatch, "Grids")
    run(public, monkeypatch, "Overview")
    streamlit.cache_resource.clear()  # the library remembers what it read when it was allowed
    (public.home / "store" / "tiny" / "cells").chmod(0o700)
    with as_a_reader(public):
        grids, overview = (run(public, monkeypatch, page) for page in ("Grids", "Overview"))
    assert "may not be read by the user of this dashboard" in grids.error[0].value.replace("\\", "")
    assert f"chmod -R o+rX {public.home}" in words(grids)
    assert "not ours to read" in words(overview) and f"chmod -R o+rX {public.home}" in words(overview)
    assert "Nothing of this study was built yet" not in words(overview)


def test_a_damaged_partition_is_named_with_the_command_that_finds_all_damage(
    built, monkeypatch, tmp_path: Path
) -> None:
    place = built.copy(tmp_path)
    spoil(place, "cells", "h3-3/all")
    app = run(place, monkeypatch, "Grids")
    assert "damaged" in app.error[0].value and "entropice verify" in words(app)


def test_a_model_that_cannot_be_read_is_named_where_models_are_compared(built, monkeypatch, tmp_path: Path) -> None:
    place = built.copy(tmp_path)
    next((place.home / "store/tiny/model.prevalence/h3-3/all").glob("v-*/cv.json")).write_text("{")
    shown = " ".join(line.value for line in run(place, monkeypatch, "Training").caption).replace("\\", "")
    assert "Left out, as they cannot be read: tiny prevalence h3-3. Overview says why." in shown


def test_a_tracking_server_that_is_down_costs_the_page_nothing_else(built, monkeypatch) -> None:
    app = run(replace(built, tracking="http://127.0.0.1:9"), monkeypatch, "Training", part="Runs")
    assert "does not answer" in app.warning[0].value.replace("\\", "")
    assert len(app.dataframe) >= 1  # the leaderboard is there all the same


def test_a_study_that_cannot_be_read_is_told_in_a_sentence(built, monkeypatch, tmp_path: Path) -> None:
    toml = tmp_path / "broken.toml"
    toml.write_text(built.toml.read_text().replace("n_folds = 2", "n_fold = 2"))
    for name, value in replace(built, toml=toml).environment.items():
        monkeypatch.setenv(name, value)
    app = testing.AppTest.from_file(str(ROOT / "entropice_core" / "dashboard" / "app.py"), default_timeout=100).run()
    assert not app.exception and "n_folds" in app.error[0].value.replace("\\", "")


def test_a_chosen_cell_is_explained(built, library, monkeypatch) -> None:
    cell = int(library.cells("h3-3")["cell_ids"].values[10])
    app = run(built, monkeypatch, "Predictions", **{"chosen cell": ("h3-3", cell), "kept model": "logistic_regression"})
    assert f"Cell {cell:x}" in [heading.value for heading in app.subheader]
    drivers = [frame.value for frame in app.dataframe if "change of probability" in frame.value.columns]
    near = [frame.value for frame in app.dataframe if "distance in features" in frame.value.columns]
    assert len(drivers) == 1 and len(near) == 1 and len(near[0]) == 8
    assert any(metric.label.replace("\\", "") == "expected density" for metric in app.metric)


def test_a_cell_is_found_by_its_place_and_what_is_no_cell_is_told(built, monkeypatch) -> None:
    app = run(built, monkeypatch, "Predictions", **{"kept model": "prevalence"})
    app.text_input(key="find cell").set_value("132, 69").run()
    assert not app.exception and any(heading.value.startswith("Cell 8") for heading in app.subheader)
    app.text_input(key="find cell").set_value("-20, 80").run()
    assert "is no cell of h3-3" in app.warning[0].value.replace("\\", "")


def test_a_difference_of_years_and_models_is_shown(built, monkeypatch) -> None:
    app = run(built, monkeypatch, "Predictions", compare=True, **{"kept other year": 2018})
    assert any(box.label == "Minus model" for box in app.selectbox) and not app.error


def test_titles_of_data_are_escaped(built, monkeypatch) -> None:
    app = run(built, monkeypatch, "Overview")
    shown = [caption.value for caption in app.caption if "Slumps" in caption.value]
    assert shown and all("<script>" not in text.replace("\\<", "") for text in shown)
    assert EVIL not in " ".join(shown)
