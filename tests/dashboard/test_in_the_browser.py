"""The dashboard in a real browser: no error in its console, and what a scientist does works."""

import re
from pathlib import Path

import pytest

from entropice_core.cli.dashboard import PRIMARY

from .conftest import CHROMIUM, INSTALL, Place, Served
from .test_pages_without_a_browser import PAGES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM, reason=INSTALL),
]


@pytest.fixture(scope="module")
def site(built: Place, serve) -> Served:
    """The tiny study in a browser."""
    return serve(built)


def everybody_can_read(page) -> None:
    """Check the contrast of all words, and that each picture and map is told in words."""
    found = page.evaluate((Path(__file__).parent / "contrast.js").read_text())
    assert found["seen"] > 30 and not found["bad"], found["bad"]
    untold = "[...document.querySelectorAll('img, .stPlotlyChart')].filter(e => !(e.alt || e.ariaLabel)).length"
    assert page.evaluate(untold) == 0


def tour(site: Served) -> None:
    """Open every page from the margin; its name is in the address, so that a page can be linked to."""
    page = site.show(PAGES[0])
    for name in PAGES[1:]:
        page.get_by_test_id("stSidebar").get_by_text(name, exact=True).click()
        page.get_by_role("heading", level=1, name=name).wait_for()
        site.settle()
        assert page.url.endswith(f"?show={name.lower()}")
        site.no_problem()
        everybody_can_read(page)
        if name == "Training":
            page.get_by_text("Importance", exact=True).first.click()
            page.get_by_text("Is the ranking stable?").wait_for()
            site.settle()
            site.no_problem()


def test_every_page_opens_without_an_error_in_the_console_and_asks_no_other_machine(site: Served) -> None:
    tour(site)


def test_the_first_page_asks_for_a_few_scripts_only(site: Served) -> None:
    """Those of maps, of Streamlit's tables and of coloured program text are six megabytes, which take seconds."""
    asked: list[str] = []
    site.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page = site.show("Overview")
    assert page.get_by_role("cell", name="labels.squares").is_visible()  # a table that is read aloud
    assert any(name.startswith("StreamlitMarkdown") for name in asked)
    slow = ("PlotlyChart", "DataFrame", "arrowFormatUtils", "StreamlitSyntaxHighlighter")
    assert not [name for name in asked if name.startswith(slow)]
    site.no_problem()


COLOUR = ", ".join(str(int(PRIMARY[i : i + 2], 16)) for i in (1, 3, 5))
FRAMED = f"""() => {{
  for (let each = document.activeElement, i = 0; each && i < 4; each = each.parentElement, i++)
    if (getComputedStyle(each).borderColor.includes("{COLOUR}")) return true;
  return false;
}}"""
"""Whether what has the focus is framed in the colour of the pages."""


def middle_of_the_map(site: Served) -> tuple[float, float]:
    box = site.page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    return box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5


def test_a_reader_chooses_grid_year_and_model_clicks_a_cell_and_saves_the_map(site: Served, tmp_path: Path) -> None:
    page = site.show("Predictions")
    site.choose("Model", "logistic_regression")
    site.choose("Grid and level", "h3-3")
    site.choose("Arctic year", "2018")
    site.choose("Variable", "entropy")
    x, y = middle_of_the_map(site)
    page.mouse.move(x, y)
    page.locator(".hoverlayer .hovertext").first.wait_for()
    page.mouse.click(x, y)
    page.get_by_role("heading", name=re.compile("^Cell 8[0-9a-f]{14}$")).wait_for()
    page.get_by_text("What drives it").wait_for()
    site.settle()
    for label, start in (("PNG", b"\x89PNG"), ("SVG", b"<?xml"), ("GeoParquet", b"PAR1"), ("CSV", b"cell_id")):
        with page.expect_download() as saved:
            page.get_by_role("button", name=label).first.click()
        saved.value.save_as(tmp_path / label)
        assert (tmp_path / label).read_bytes().startswith(start)
    page.get_by_role("button", name="Closer").click()
    site.settle()
    page.get_by_role("button", name="Whole area").click()
    site.settle()
    site.no_problem()


def test_a_box_redraws_a_part_of_the_map(site: Served) -> None:
    page = site.show("Labels")
    before = page.locator(".js-plotly-plot image").first.get_attribute("href")
    x, y = middle_of_the_map(site)
    page.locator(".js-plotly-plot").first.hover()
    page.locator("[data-attr=dragmode][data-val=select]").first.click()
    page.mouse.move(x - 60, y - 40)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "before => document.querySelector('.js-plotly-plot image')?.getAttribute('href') !== before", arg=before
    )
    site.settle()
    site.no_problem()


@pytest.mark.nightly
def test_a_reader_without_a_mouse_chooses_a_page_a_model_and_a_cell_and_sees_where_they_are(site: Served) -> None:
    page = site.show("Overview")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to main content"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")  # the pages are a ring: above the first is the last
    page.get_by_role("heading", level=1, name="Priority").wait_for()
    page.keyboard.press("ArrowUp")
    page.get_by_role("heading", level=1, name="Predictions").wait_for()
    site.settle()
    names = []
    while "Cell id, or longitude, latitude" not in names:
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText") or "")
        assert len(names) < 40, names
        if names[-1] == "Model":
            page.keyboard.type("prev")
            page.keyboard.press("Enter")
            site.settle()
    order = ["Model", "Grid and level", "Arctic year", "Variable", "Polar projection", "Closer", "PNG", "GeoParquet"]
    at = [next(i for i, name in enumerate(names) if name.endswith(words)) for words in order]
    assert at == sorted(at)
    page.wait_for_function(FRAMED)
    page.keyboard.type("132, 69")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("^Cell 8[0-9a-f]{14}$")).wait_for()
    site.settle()
    site.no_problem()


@pytest.mark.nightly  # Streamlit's own runner opens all pages of an empty store in a second
def test_an_empty_store_is_a_helpful_page(empty: Place, serve) -> None:
    site = serve(empty)
    site.show("Overview").get_by_text("Nothing of this study was built yet").wait_for()
    site.no_problem()


@pytest.mark.real
def test_the_real_study_opens_where_it_was_built(serve, real_data: Path) -> None:
    """Names its store by a variable of its own, as building it takes five minutes."""
    import os

    home = os.environ.get("DASHBOARD_REAL_HOME", "")
    if not Path(home, "store", "ne_siberia").is_dir():
        pytest.skip("DASHBOARD_REAL_HOME names no home with a store of ne_siberia (entropice run --preset ne_siberia)")
    tour(serve(Place(Path("ne_siberia"), real_data, Path(home))))
