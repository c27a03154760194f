"""How long a reader waits: the first page, and a map of 100,000 cells after it was selected.

    python benchmarks/dashboard.py HOME STUDY        # a home with results, and the study's preset or TOML

Pages are timed in headless Chromium from the navigation to the drawn page, once the server answers its health check,
with the CPU seconds of the server (those of its warm-up too, where that begins meanwhile); its start is timed too. A
map of 100,000 cells is timed from the choice of another year to the new picture in the browser, by this file served as
a page of its own. Maps are also timed in this process, as the page makes them: picture, Plotly figure and its JSON.
Wall and CPU times of one run.
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from entropice_core.cli.dashboard import streamlit_command
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea
from entropice_core.plots.interactive import interactive_map
from entropice_core.plots.layer import Layer, thin
from entropice_core.plots.maps import map_figure
from entropice_core.plots.view import whole_view, zoom

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), "")


def layer_of(key: str, most: int) -> Layer:
    """Give so many cells north of 60 N with made-up values."""
    grid = parse_grid_key(key)
    ids = grid.cells(StudyArea.from_files(60.0, None, []))[:most]
    lon, lat = grid.centers(ids)
    return Layer(
        grid, ids, np.sin(np.radians(3 * lon)) + lat / 30, "made up [1]", title="Benchmark", footer=("made up",)
    )


def time_maps(key: str, most: int) -> list[str]:
    """Time the first map of some cells, another variable of the same view, a closer view, and the saved picture."""
    layer = layer_of(key, most)
    rows = []

    def timed(what: str, do) -> object:  # type: ignore[no-untyped-def]
        wall, cpu = time.perf_counter(), time.process_time()
        made = do()
        size = f"{len(made[0].to_json()) / 1e6:.2f}" if isinstance(made, tuple) else ""
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        drawn = made[1].layer.grid.key if isinstance(made, tuple) else thin(layer).grid.key
        rows.append(f"| {key}, {layer.cell_ids.size:,} cells | {what} | {drawn} | {wall:.2f} | {cpu:.2f} | {size} |")
        return made

    view = whole_view(*layer.grid.centers(layer.cell_ids))
    timed("first map of a view", lambda: interactive_map(layer, view))
    timed("another variable or year", lambda: interactive_map(layer, view))
    left, right, bottom, top = view.extent
    part = zoom(view, (left * 0.1, left * 0.1 + (right - left) / 8), (bottom * 0.5, bottom * 0.5 + (top - bottom) / 8))
    timed("an eighth of it", lambda: interactive_map(layer, part))
    timed("saved as a figure", lambda: map_figure(layer))
    return rows


@contextmanager
def served(command: list[str], port: int, **variables: str) -> Iterator[tuple[str, int]]:
    """Serve pages while the block runs; give their address and the process."""
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield address, server.pid
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def cpu(pid: int) -> float:
    """Give the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def map_page() -> None:
    """Show 100,000 cells as a page of the dashboard does (what ``time_choices`` serves)."""
    import streamlit as st

    from entropice_core.dashboard.widgets import show_map
    from entropice_core.plots.view import TURNED

    layer = st.cache_resource(layer_of)("h3-5", 100_000)
    year = st.selectbox("Arctic year", (2018, 2019, 2020, 2021))
    made_up = np.roll(layer.values, int(year) * 1000)
    show_map(replace(layer, values=made_up, title=f"Year {year}"), f"benchmark {year}", TURNED)


def time_choices() -> list[str]:
    """Time the choice of another year of 100,000 cells: from the click to the new picture in the browser."""
    from playwright.sync_api import sync_playwright

    command = streamlit_command(8651)
    command[command.index("run") + 1] = str(Path(__file__).absolute())
    rows = []
    with served([*command, "map"], 8651) as (address, server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        begun = time.perf_counter()
        page.goto(address)
        picture = page.locator(".js-plotly-plot image").first
        picture.wait_for()
        wall = time.perf_counter() - begun
        rows.append(f"| 100,000 cells of h3-5, the page opened on a cold server | {wall:.2f} | {cpu(server):.2f} |")
        for year in (2019, 2020, 2021):
            before = picture.get_attribute("href")
            page.get_by_role("combobox").first.click()
            option = page.get_by_role("option", name=str(year), exact=True)
            option.wait_for()
            begun, spent = time.perf_counter(), cpu(server)
            option.click()
            page.locator(".gtitle", has_text=f"Year {year}").wait_for()
            page.wait_for_function(
                "old => document.querySelector('.js-plotly-plot image')?.getAttribute('href') !== old", arg=before
            )
            wall = time.perf_counter() - begun
            rows.append(f"| 100,000 cells of h3-5, the year {year} chosen | {wall:.2f} | {cpu(server) - spent:.2f} |")
        browser.close()
    return rows


def time_pages(home: str, study: str) -> list[str]:
    """Time the first page and two pages with maps in a browser."""
    from playwright.sync_api import sync_playwright

    rows = []
    begun = time.perf_counter()
    with (
        served(streamlit_command(8650), 8650, ENTROPICE_HOME=home, ENTROPICE_STUDY=study) as (address, server),
        sync_playwright() as playwright,
    ):
        rows.append(
            f"| from the command to the server's answer | {time.perf_counter() - begun:.2f} | {cpu(server):.2f} |"
        )
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for what, name, ready in (
            ("first page, cold server", "overview", "table"),
            ("first page, warm server", "overview", "table"),
            ("predictions with its map, first time", "predictions", ".js-plotly-plot image"),
            ("predictions with its map, again", "predictions", ".js-plotly-plot image"),
        ):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(120_000)
            begun, spent = time.perf_counter(), cpu(server)
            page.goto(f"{address}/?show={name}", wait_until="commit")
            page.locator(ready).first.wait_for()
            rows.append(f"| {what} | {time.perf_counter() - begun:.2f} | {cpu(server) - spent:.2f} |")
            page.wait_for_timeout(6000)  # what the server does after a page is not part of the next one
            page.close()
        browser.close()
    return rows


def main() -> None:
    """Print the figures as Markdown."""
    begun, cpu = time.perf_counter(), time.process_time()
    from entropice_core.grids.land import is_land

    is_land(np.array([0.0]), np.array([80.0]))
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    mask = f"unpacking the land mask, once, in the background: {wall:.2f} s, CPU {cpu:.2f} s"
    names = ("streamlit", "plotly", "matplotlib", "numpy", "h3ronpy", "healpix-geo")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {mask}\n")
    print("| cells | what | drawn as | wall s | CPU s | MB to the browser |\n|---|---|---|---:|---:|---:|")
    for key, most in (("h3-5", 100_000), ("healpix-9", 100_000), ("h3-6", 470_000)):
        print("\n".join(time_maps(key, most)), flush=True)
    if CHROMIUM:
        print("\n| in the browser | wall s | CPU s of the server |\n|---|---:|---:|")
        print("\n".join(time_choices()), flush=True)
    if CHROMIUM and len(sys.argv) == 3:
        print("\n".join(time_pages(*sys.argv[1:])))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    map_page() if sys.argv[1:] == ["map"] else main()
