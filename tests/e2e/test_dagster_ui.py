"""The Dagster UI in a real browser: start it as a newcomer would, build a partition, look at what it shows."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), "")
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


class Site:
    """A running webserver and daemon on this machine."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/server_info", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def materialize(self, asset: str, partition: str) -> tuple[str, str]:
        """Launch one asset as the button does; wait for the end; return run id and status."""
        selector = {
            "repositoryLocationName": "entropice",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset.replace("/", "_")]}],
            "assetCheckSelection": None,
        }
        tags = {"tags": [{"key": "dagster/partition", "value": partition}]}
        params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": tags}
        run: str = self.ask(LAUNCH, {"params": params})["launchPipelineExecution"]["run"]["runId"]

        def status() -> str:
            return str(self.ask(STATUS, {"id": run})["runOrError"]["status"])

        wait_for(lambda: status() in ("SUCCESS", "FAILURE", "CANCELED"), 400)
        return run, status()


def wait_for(is_true: Callable[[], bool], seconds: float) -> None:
    """Look every second until it is true."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo study in its own Dagster home; both processes end with the test."""
    home = tmp_path_factory.mktemp("dagster")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, home)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ENTROPICE_", "DAGSTER_"))}
    environment |= {"DAGSTER_HOME": str(home), "ENTROPICE_HOME": str(home / "store"), "PYTHONPATH": str(ROOT)}
    port = free_port()
    commands = (
        ["dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"],
        ["dagster-daemon", "run", "-w", "workspace.yaml"],
    )
    processes, found = [], Site(port)
    try:
        for name, *arguments in commands:
            program = str(Path(sys.executable).with_name(name))
            log = (home / f"{name}.log").open("w")
            processes.append(
                subprocess.Popen(
                    [program, *arguments],
                    cwd=home,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            wait_for(found.is_up, 180)  # two that make a new instance at the same time spoil it: docs/dagster.md
        yield found
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            process.wait(60)


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Any]:
    """A page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1500, "height": 1000})
        opened.set_default_timeout(90_000)
        yield opened
        browser.close()


@pytest.fixture(scope="module")
def built(site: Site) -> str:
    """The cells of one grid, built from the UI."""
    run, status = site.materialize("cells", "h3-3")
    assert status == "SUCCESS"
    return run


def test_the_lineage_shows_the_rooms_of_the_science(site: Site, page: Any) -> None:
    page.goto(f"{site.address}/asset-groups")
    for room in ("grids", "labels", "features", "dataset", "models", "predictions", "comparison"):
        page.get_by_text(room, exact=True).first.wait_for()


def test_no_sign_up_dialog_covers_the_first_page(site: Site, page: Any) -> None:
    page.goto(site.address)
    page.get_by_text("Catalog", exact=True).first.wait_for()
    assert page.locator("[role=dialog]").count() == 0


def test_the_page_of_an_asset_shows_cells_columns_and_checks(site: Site, page: Any, built: str) -> None:
    page.goto(f"{site.address}/assets/cells?view=overview")
    page.get_by_text("1,665", exact=True).first.wait_for()
    page.get_by_text("share of the cell that is land, inland water and ice included [1]").first.wait_for()
    page.goto(f"{site.address}/assets/cells?view=checks")
    for check in ("areas_are_positive", "cells_are_sorted_and_unique", "land_fraction_in_range"):
        page.get_by_text(check, exact=True).first.wait_for()
    page.get_by_text("Every cell has an area (1,665 looked at).").first.wait_for()


def test_the_picture_of_a_partition_is_drawn(site: Site, page: Any, built: str) -> None:
    page.goto(f"{site.address}/assets/cells?view=partitions&partition=h3-3")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("[role=dialog] img")
    picture.wait_for()
    wait_for(lambda: bool(picture.evaluate("image => image.complete && image.naturalWidth > 300")), 30)


def test_a_run_without_its_inputs_says_what_to_build_first(site: Site, page: Any) -> None:
    run, status = site.materialize("labels/darts", "healpix-6|2022")
    assert status == "FAILURE"
    page.goto(f"{site.address}/runs/{run}")
    page.get_by_text("labels.darts healpix-6/2022 is made from").first.wait_for()
