"""The demo and a larger generated study on one and on two Dask workers: time per step, and what Dagster adds.

    PYTHONPATH=. python benchmarks/scaling.py [demo|larger|dagster|all]     # writes benchmarks/scaling.md

A real scheduler and real workers of one thread on this machine. Each way builds into a home of its own; the generated
input files are made before and are not part of the times. Digests of all ways must be equal, or the script fails.
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import distributed
import psutil

from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.parallel import bring_up_to_date, with_what_they_need
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import select, tasks
from tests.cluster.conftest import Cluster, free_port, wait_for

RESULTS = Path(__file__).with_name("scaling.json")
LARGER = (
    ('grids = ["h3-3", "healpix-6"]', 'grids = ["h3-3", "healpix-6", "healpix-7"]'),
    ("years = { first = 2021, last = 2023 }", "years = { first = 2019, last = 2023 }"),
)
WANTED = {
    "demo": ("labels", "features", "training_set", "model.logistic_regression", "prediction.logistic_regression"),
    "larger": ("labels", "features", "training_set"),
}
RANGES = {1: "h3-3|2023...h3-3|2023", 3: "h3-3|2021...h3-3|2023", 5: "h3-3|2019...h3-3|2023"}
ONLY_LABELS = """
import dagster as dg
from entropice_assets.build import build_defs
job = dg.define_asset_job("only_labels", selection=[dg.AssetKey("labels_darts")])
defs = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[job]))
"""


def study_file(name: str, folder: Path) -> Path:
    """Write the demo, or the demo with more grids and years."""
    text = (Path("entropice_core") / "presets" / "demo.toml").read_text()
    for old, new in LARGER if name == "larger" else ():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


@contextmanager
def workers(count: int, folder: Path) -> Iterator[str]:
    """Give the setting for so many workers."""
    if count == 0:
        yield "serial"
        return
    folder.mkdir()
    port = free_port()
    cluster = Cluster(folder, {**os.environ, "OMP_NUM_THREADS": "1"}, port)
    try:
        cluster.start_scheduler()
        for _ in range(count):
            cluster.start_worker()
        with distributed.Client(cluster.address, timeout=120) as client:
            wait_for(lambda: len(client.scheduler_info()["workers"]) == count, 120, "the workers are there")
        yield cluster.address.replace("tcp", "dask")
    finally:
        cluster.stop()


def cpu_of_all() -> float:
    """Add up the processor seconds of this process and of all that it started, workers included."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def measure(name: str, count: int, folder: Path, data: Path) -> dict[str, object]:
    """Build a study with so many workers; 0 is one process without Dask."""
    home = folder / f"{name}-{count}"
    shutil.copytree(data, home / "demo-data")
    study = load_study(study_file(name, folder))
    graph = build_graph(study)
    with workers(count, folder / f"cluster-{name}-{count}") as compute:
        context = Context(study, Settings.from_environment({"ENTROPICE_HOME": str(home), "ENTROPICE_COMPUTE": compute}))
        _ = context.data_root
        todo = with_what_they_need(graph, study, tasks(context, select(graph, WANTED[name]), None, None))
        steps: dict[str, float] = defaultdict(float)
        digests, begun, before, last = {}, time.monotonic(), cpu_of_all(), time.monotonic()
        for done in bring_up_to_date(context, graph, todo, force=False):
            digests[f"{done.dataset} {done.partition}"] = done.digest
            steps[done.dataset.split(".")[0]] += time.monotonic() - last
            last = time.monotonic()
        wall, cpu = time.monotonic() - begun, cpu_of_all() - before
    shutil.rmtree(home)
    load = [round(value, 1) for value in os.getloadavg()]
    return {"study": name, "workers": count, "partitions": len(digests), "wall": wall, "cpu": cpu,
            "steps": dict(steps), "load": load, "digests": digests}  # fmt: skip


def compare(name: str) -> list[dict[str, object]]:
    """Measure all ways of a study and see that they made the same."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        study = load_study(study_file(name, folder))
        data = Context(study, Settings.from_environment({"ENTROPICE_HOME": str(folder / "made")})).data_root
        rows = [measure(name, count, folder, data) for count in (0, 1, 2)]
    digests = [row.pop("digests") for row in rows]
    assert digests[0] == digests[1] == digests[2], "the ways made different things"
    return rows


def of_dagster() -> list[dict[str, object]]:
    """Ask Dagster for partitions that are current already: all of the time is overhead."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = study_file("larger", folder)
        (folder / "only_labels.py").write_text(ONLY_LABELS)
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        environment = {**os.environ, "ENTROPICE_HOME": str(folder / "home"), "ENTROPICE_STUDY": str(file),
                       "DAGSTER_HOME": str(folder), "PYTHONPATH": str(Path.cwd())}  # fmt: skip
        settings = Settings.from_environment({"ENTROPICE_HOME": str(folder / "home")})
        study = load_study(file)
        graph, context = build_graph(study), Context(study, settings)
        wanted = select(graph, ["labels.darts"])
        todo = with_what_they_need(graph, study, tasks(context, wanted, {"h3-3"}, None))
        list(bring_up_to_date(context, graph, todo, force=False))
        begun, cpu = time.monotonic(), time.process_time()
        list(bring_up_to_date(context, graph, todo, force=False))
        took = {"wall": time.monotonic() - begun, "cpu": time.process_time() - cpu}
        rows: list[dict[str, object]] = [{"partitions": len(todo), "way": "entropice, in one process", **took}]
        for number, keys in RANGES.items():
            rows.append({"partitions": number, "way": "one run of Dagster", **run(keys, environment)})
    return rows


def run(keys: str, environment: dict[str, str]) -> dict[str, object]:
    """Execute one run of one asset in processes of its own, as the daemon does."""
    first, last = keys.split("...")
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    words = ["-m", "dagster", "job", "execute", "-f", "only_labels.py", "-j", "only_labels", "--tags", json.dumps(tags)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=environment["DAGSTER_HOME"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - begun, "cpu": cpu}


def write(found: dict[str, list[dict[str, object]]]) -> None:
    """Write the figures."""
    lines = [
        "# The same study on one and on two workers, and what Dagster adds",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, Dask {distributed.__version__}, Dagster "
        f"{dg.__version__}, a shared machine of {os.cpu_count()} cores. Workers are processes of one thread.",
        "Load is that of the whole machine, with other work: compare processor seconds, and walls only at equal load.",
        "Written by `benchmarks/scaling.py`; digests of all ways were compared and are equal.",
        "",
    ]
    for name in ("demo", "larger"):
        rows = found.get(name, [])
        if not rows:
            continue
        kinds = list(rows[0]["steps"])  # type: ignore[call-overload]
        lines += [f"## {name}: {rows[0]['partitions']} partitions, seconds by the clock", ""]
        lines += [
            "| workers | together | processor s | " + " | ".join(kinds) + " | load |",
            "|---" * (len(kinds) + 4) + "|",
        ]
        for row in rows:
            steps, load = row["steps"], ", ".join(map(str, row["load"]))  # type: ignore[call-overload]
            who = row["workers"] or "none, one process"
            cells = " | ".join(f"{steps[kind]:.1f}" for kind in kinds)  # type: ignore[index]
            cpu = "-" if row["cpu"] is None else f"{row['cpu']:.1f}"
            lines.append(f"| {who} | {row['wall']:.1f} | {cpu} | {cells} | {load} |")
        lines.append("")
    if rows := found.get("dagster", []):
        lines += ["## Partitions that are current: all of it is overhead", ""]
        lines += ["| way | partitions | wall s | processor s |", "|---|---|---|---|"]
        lines += [f"| {r['way']} | {r['partitions']} | {r['wall']:.2f} | {r['cpu']:.2f} |" for r in rows]
        (one, few), (many, most) = ((float(str(r["cpu"])), int(str(r["partitions"]))) for r in (rows[1], rows[-1]))
        more = (many - one) / (most - few)
        lines += [
            "",
            f"So a run costs about {one - more * few:.1f} processor seconds whatever it holds (two processes that",
            f"import the libraries and load the definitions), and {more:.2f} for each partition in it (description,",
            "picture, checks and three events).",
            "",
        ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines))


def main(which: str) -> None:
    """Measure one part, keep what was measured before, write all."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in ("demo", "larger", "dagster") if which == "all" else (which,):
        found[name] = of_dagster() if name == "dagster" else compare(name)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        write(found)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
