"""The pages of Dagster with 405 partitions (9 grids x 45 years) of every asset: what a reader waits for.

    PYTHONPATH=. python benchmarks/dagster_load.py [years]     # writes benchmarks/dagster_load.md; 45 years by default

The demo's assets (two of its models) on all grids; each published partition is a tiny one in a real store, and an event
in Dagster with metadata and a picture of the usual size. Then a webserver, and a browser that opens the pages.
"""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from entropice_assets.build import build_defs
from entropice_assets.metrics import dagster_families
from entropice_assets.sensors import _event, after, published, unreported
from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.status import states
from entropice_core.storage.recipe import Recipe
from tests.e2e.dagster_site import DagsterSite

GRIDS = [f"h3-{level}" for level in (3, 4, 5, 6)] + [f"healpix-{level}" for level in (6, 7, 8, 9, 10)]
PICTURE = 20_000
"""Bytes of a picture: as the median of the demo's."""
PAGES = {
    "catalogue of assets": "/assets",
    "lineage of all assets": "/asset-groups",
    "one asset with 405 partitions": "/assets/prediction_espa?view=partitions",
    "one partition of it, with its picture": "/assets/prediction_espa?view=partitions&partition=h3-4%7C2000",
    "its events": "/assets/prediction_espa?view=events",
    "runs": "/runs",
    "automation": "/automation",
}


def study_file(folder: Path, years: int) -> Path:
    """Write the demo on all grids and many years, with two of its models."""
    text = (Path("entropice_core") / "presets" / "demo.toml").read_text()
    text = text.replace('name = "demo"', 'name = "load"')
    text = text.replace('grids = ["h3-3", "healpix-6"]', f"grids = {GRIDS!r}".replace("'", '"'))
    text = text.replace("{ first = 2021, last = 2023 }", f"{{ first = {2025 - years}, last = 2024 }}")
    left_out = ("[models.prevalence]", "[models.random_forest]")
    head, *models = re.split(r"(?m)^(?=\[models\.)", text)
    file = folder / "load.toml"
    file.write_text(head + "".join(part for part in models if not part.startswith(left_out)))
    return file


def place_inputs(data: Path, years: int) -> Path:
    """Put files of the right names: their checksums are compared, and nothing of this reads them."""
    names = ["darts/DARTS_demo_level2.gpkg", "darts/DARTS_demo_coverage.parquet", "terrain/terrain_10km.tif"]
    for year in range(2024 - years, 2025):
        names += [f"era5/era5_monthly_{year}.nc", f"embedding/embedding_{year}.tif"]
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    return data


class Table:
    """What was measured, printed as it comes."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def add(self, what: str, value: str) -> None:
        print(f"{what}: {value}", flush=True)
        self.rows.append((what, value))

    def time(self, what: str, act: Any) -> Any:
        wall, cpu = time.monotonic(), time.process_time()
        result = act()
        self.add(what, f"{time.monotonic() - wall:.1f} s, {time.process_time() - cpu:.1f} s of processor")
        return result


def fill_store(context: Context, graph: Any, scratch: Path) -> int:
    """Publish a tiny bundle for every partition of the study."""
    scratch.mkdir()
    count = 0
    for product in graph.values():
        for partition in product.partitions(context.study):
            (scratch / "content.txt").write_text(f"{product.dataset} {partition}")
            context.store.publish(product.dataset, partition, scratch, Recipe(product.dataset, product.code_version))
            count += 1
    return count


def fill_dagster(instance: dg.DagsterInstance, context: Context, graph: Any) -> int:
    """Tell Dagster of every partition, each with a picture."""
    text = b64encode(os.urandom(PICTURE * 3 // 4)).decode()
    metadata: dict[str, Any] = {
        "preview": dg.MetadataValue.md(f"![picture](data:image/png;base64,{text})"),
        **{f"number_{index}": dg.MetadataValue.float(float(index)) for index in range(10)},
    }
    for product, partition in published(context, graph):
        digest = context.store.manifest(product.dataset, partition).digest
        instance.report_runless_asset_event(_event(product, partition, digest, metadata))
    return len(published(context, graph))


def look_through(instance: dg.DagsterInstance, context: Context, graph: Any) -> int:
    """Do what the sensor ``published_elsewhere`` does in all its looks together."""
    found = after(published(context, graph), None)
    return sum(unreported(instance, context, *seen, 0, print) is not None for seen in found)


class Visit:
    """What a page asks of GraphQL, until every kind of question was answered once; after that it only polls."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: dict[Any, float] = {}
        self.first: dict[str, tuple[float, float, int]] = {}
        page.on("request", self._ask)
        page.on("requestfinished", self._answer)

    def _ask(self, request: Any) -> None:
        if "graphql" in request.url:
            self.asked[request] = time.monotonic()

    def _answer(self, request: Any) -> None:
        if request in self.asked and not self.page.is_closed():
            size = int(request.sizes()["responseBodySize"])
            self.first.setdefault(operation(request), (self.asked[request], time.monotonic(), size))

    def settle(self) -> None:
        """Wait until no new kind of question has come for three seconds, and all are answered."""
        end, before = time.monotonic() + 180, -1
        while time.monotonic() < end:
            names = {operation(request) for request in self.asked}
            if names and len(names) == before and names <= set(self.first):
                return
            before = len(names)
            self.page.wait_for_timeout(3000)


def operation(request: Any) -> str:
    """Give the name of a question."""
    data = request.post_data_json
    return str(data.get("operationName", "?")) if isinstance(data, dict) else "?"


def browse(site: DagsterSite, table: Table) -> None:
    """Open the pages as a reader does, twice, and note the slowest questions."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for name, path in PAGES.items():
            walls, slowest, size = [], ("", 0.0), 0
            for _ in range(2):
                page = browser.new_page(viewport={"width": 1400, "height": 900})
                visit, begun = Visit(page), time.monotonic()
                page.goto(f"http://127.0.0.1:{site.port}{path}", timeout=300_000)
                visit.settle()
                walls.append(max(end for _, end, _ in visit.first.values()) - begun)
                size = max(size, *(length for _, _, length in visit.first.values()))
                took = [(asked, end - start) for asked, (start, end, _) in visit.first.items()]
                slowest = max([slowest, *took], key=lambda pair: pair[1])
                if "SCREENSHOTS" in os.environ:
                    page.screenshot(path=str(Path(os.environ["SCREENSHOTS"]) / f"{name.replace(' ', '_')}.png"))
                page.close()
            said = f"{walls[0]:.1f} s, again {walls[1]:.1f} s; slowest question {slowest[0]} {slowest[1]:.1f} s"
            table.add(f"page: {name}", f"{said}, largest answer {size / 1e6:.2f} MB")
        browser.close()


def memory(table: Table) -> None:
    """Add up the memory of all processes of the site."""
    family = psutil.Process().children(recursive=True)
    named = [p for p in family if "chrom" not in p.name() and "node" not in p.name()]
    table.add("memory of webserver, code server and helpers", f"{sum(p.memory_info().rss for p in named) / 1e9:.2f} GB")


def main(years: int) -> None:
    """Fill, open, write."""
    table, load = Table(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = study_file(folder, years)
        data = place_inputs(folder / "data", years)
        given = {"ENTROPICE_HOME": str(folder / "home"), "ENTROPICE_DATA": str(data), "ENTROPICE_STUDY": str(file)}
        context = Context(load_study(file), Settings.from_environment(given))
        graph = build_graph(context.study)
        os.environ.update(given)
        table.time("definitions of the code location made", build_defs)
        count = table.time("all partitions published, tiny", lambda: fill_store(context, graph, folder / "bundle"))
        table.add("assets, partitions", f"{len(graph)}, {count}")
        with DagsterSite(folder / "dagster", {**os.environ, **given}) as site, site.instance() as instance:
            table.time("all events reported", lambda: fill_dagster(instance, context, graph))
            size = sum(p.stat().st_size for p in site.home.rglob("*.db")) / 1e6
            table.add("database of Dagster (SQLite)", f"{size:.0f} MB, {size / count * 1000:.0f} kB a partition")
            missed = table.time(
                "published_elsewhere: all partitions looked at", lambda: look_through(instance, context, graph)
            )
            assert missed == 0, f"{missed} partitions were not known"
            table.time("entropice metrics: numbers of Dagster", lambda: list(dagster_families(instance)))
            table.time("entropice status: all recipes compared", lambda: states(context, graph))
            table.time("webserver until it answers", site.start_webserver)
            answers = []
            for _ in range(20):
                begun = time.monotonic()
                site.ask("{ version }")
                answers.append(time.monotonic() - begun)
            table.add("smallest question to GraphQL, median of 20", f"{statistics.median(answers) * 1000:.0f} ms")
            browse(site, table)
            memory(table)
    write(table, years, load)


def write(table: Table, years: int, load: float) -> None:
    """Write the figures."""
    rows = [f"| {what} | {value} |" for what, value in table.rows]
    end = os.getloadavg()[0]
    head = [
        f"# Dagster with {len(GRIDS)} grids x {years} years of every asset",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, Dagster {dg.__version__}, SQLite in",
        f"memory, Chromium, a shared machine of {os.cpu_count()} cores, **load {load:.1f} at the start, {end:.1f} at",
        "the end**: walls are several times those of an idle machine. A page has come when each kind of its questions",
        "to GraphQL was answered once; opened twice, by a browser without a cache. Written by",
        "`TMPDIR=/dev/shm python benchmarks/dagster_load.py`.",
        "",
        "| what | |",
        "|---|---|",
    ]
    name = "dagster_load.md" if years == 45 else f"dagster_load_{years}.md"
    Path(__file__).with_name(name).write_text("\n".join([*head, *rows]) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 45)
