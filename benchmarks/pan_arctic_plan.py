"""What all land north of 60 N at H3 6 and HEALPix 10 over 40 years would take, from parts that were measured.

    PYTHONPATH=. python benchmarks/pan_arctic_plan.py      # writes docs/pan_arctic.md between its marks

Nothing here was run at that size. Every number is a measured part times a count, and says where it was measured; what
is assumed is marked so. Change a part after a new measurement and run it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOC = Path(__file__).parents[1] / "docs" / "pan_arctic.md"
BEGIN, END = "<!-- computed by benchmarks/pan_arctic_plan.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Part:
    """One measured or assumed figure."""

    value: float
    unit: str
    origin: str


GRIDS = ("h3-6", "healpix-10")
YEARS, LABEL_YEARS, EMBEDDING_YEARS = 40, 6, 9
MODELS = ("logistic_regression", "xgboost", "espa")
FEATURES = {"era5": 180, "terrain": 108, "alphaearth": 64}
GRIDS_MD, ERA5, STORAGE = "docs/grids.md", "docs/era5.md", "docs/storage.md"
TERRAIN, ALPHA = "benchmarks/terrain_unit.md", "benchmarks/alphaearth_tile.md, docs/alphaearth.md"
PARTS = {
    "cells h3-6": Part(482_958, "cells", GRIDS_MD),
    "cells healpix-10": Part(440_296, "cells", GRIDS_MD),
    "list h3-6": Part(33, "s", GRIDS_MD),
    "list healpix-10": Part(10, "s", GRIDS_MD),
    "era5 pixels": Part(2.2 + 36.5, "s a year", ERA5),
    "era5 h3-6": Part(6.5 / 237_680 * 1e6, "s a year and million cells", f"{ERA5}, H3 5"),
    "era5 healpix-10": Part(3.9 / 370_660 * 1e6, "s a year and million cells", f"{ERA5}, HEALPix 9"),
    "era5 weights h3-6": Part(4.3 / 237_680 * 1e6, "s a million cells", f"{ERA5}, H3 5"),
    "era5 weights healpix-10": Part(7.6 / 370_660 * 1e6, "s a million cells", f"{ERA5}, HEALPix 9"),
    "era5 requests": Part(84, "a year", f"{ERA5}, of 20 daily fields by --dry-run"),
    "era5 down": Part(2.05, "GB a year", f"{ERA5}, generated fields"),
    "era5 unpacked": Part(6.79, "GB a year", ERA5),
    "era5 kept": Part(6.6 / 40, "GB a year", f"{ERA5}, indices on pixels"),
    "queue": Part(600, "s a request", "assumed: the service was never asked"),
    "queue slots": Part(4, "requests at once", "docs/dagster.md, limit of one run"),
    "dem units": Part(1640, "units", TERRAIN),
    "dem units most": Part(2650, "units", TERRAIN),
    "dem unit": Part(12.6, "s a unit, all nine levels", TERRAIN),
    "dem down": Part(104, "GB at most", TERRAIN),
    "dem requests": Part(15_000, "at most", TERRAIN),
    "dem kept": Part(8, "GB at most", TERRAIN),
    "alpha files": Part(3_500, "files a year", "docs/alphaearth.md"),
    "alpha file": Part(0.15, "s a file at 320 m, all levels", ALPHA),
    "alpha down": Part(10.3, "GB a year at 320 m", "docs/alphaearth.md"),
    "alpha requests": Part(14_000, "a year", "docs/alphaearth.md"),
    "labels": Part(2.35, "s a grid and 77,000 outlines", "benchmarks/labels_density.md"),
    "publish": Part(1.6 / 30, "s a million values", f"{STORAGE}, 300,000 x 100"),
    "stored": Part(71e6 / 30e6, "bytes a value", f"{STORAGE}, 12 bits of mantissa"),
    "predict logistic_regression": Part(14.4, "s a million cells, 34 features", "benchmarks/prediction.md"),
    "predict xgboost": Part(16.0, "s a million cells, 34 features", "benchmarks/prediction.md"),
    "predict espa": Part(19.6, "s a million cells, 34 features", "benchmarks/prediction.md"),
    "more logistic_regression": Part(1e6 / 59_834, "s a million cells, 400 features", "benchmarks/training.md"),
    "more xgboost": Part(1e6 / 57_508, "s a million cells, 400 features", "benchmarks/training.md"),
    "more espa": Part(1e6 / 37_883, "s a million cells, 400 features", "benchmarks/training.md"),
    "predict peak": Part(813, "MB a process for a million cells", "benchmarks/prediction.md"),
    "prediction": Part(60, "bytes a cell", "15 variables of 4 bytes, before packing (docs/architecture.md)"),
    "figure": Part(2.63, "s a map of 470,000 cells", "benchmarks/dashboard.md"),
    "fit logistic_regression": Part(117.3, "s a fit of 1,000,000 x 400", "benchmarks/training.md"),
    "fit xgboost": Part(638.7, "s a fit of 1,000,000 x 400", "benchmarks/training.md"),
    "fit espa": Part(4250, "s a fit of 1,000,000 x 400, 8 restarts", "benchmarks/training.md, 8 times one restart"),
    "candidates": Part(4, "candidates of the search", "assumed"),
    "run": Part(7.3, "s of processor a run of Dagster", "benchmarks/scaling.md"),
    "partition": Part(0.84, "s of processor a partition in a run", "benchmarks/scaling.md"),
    "event": Part(50, "kB a partition in Dagster's database", "benchmarks/dagster_load.md"),
}


def v(name: str) -> float:
    """Give the value of a part."""
    return PARTS[name].value


@dataclass(frozen=True)
class Step:
    """What a step takes in all: core hours, GB in, GB kept, requests, partitions."""

    name: str
    hours: float
    down: float = 0.0
    kept: float = 0.0
    requests: float = 0.0
    partitions: int = 0
    used: Sequence[str] = ()


def stored(values: float) -> float:
    """Give GB of float32 values as the store packs them."""
    return values * v("stored") / 1e9


def each_grid(name: str) -> float:
    """Add a part that is given per million cells over the grids."""
    return sum(v(f"{name} {grid}") * v(f"cells {grid}") / 1e6 for grid in GRIDS)


def publish_hours(values: float) -> float:
    """Give the core hours of publishing values."""
    return values / 1e6 * v("publish") / 3600


def sources() -> list[Step]:
    """Give the steps up to the features."""
    cells = sum(v(f"cells {grid}") for grid in GRIDS)
    era5, dem, alpha = (cells * FEATURES[name] for name in ("era5", "terrain", "alphaearth"))
    era5_s = YEARS * (v("era5 pixels") + each_grid("era5")) + each_grid("era5 weights")
    alpha_s = EMBEDDING_YEARS * v("alpha files") * v("alpha file")
    return [
        Step("cells", sum(v(f"list {grid}") for grid in GRIDS) / 3600, partitions=2,
             used=["cells h3-6", "cells healpix-10", "list h3-6", "list healpix-10"]),
        Step("labels", LABEL_YEARS * 2 * v("labels") / 3600, partitions=2 * LABEL_YEARS, used=["labels"]),
        Step("ERA5, 20 daily fields", era5_s / 3600 + publish_hours(YEARS * era5), YEARS * v("era5 down"),
             YEARS * (v("era5 unpacked") + v("era5 kept")) + stored(YEARS * era5), YEARS * v("era5 requests"),
             2 * YEARS,
             ["era5 pixels", "era5 h3-6", "era5 healpix-10", "era5 weights h3-6", "era5 weights healpix-10",
              "era5 requests", "era5 down", "era5 unpacked", "era5 kept", "publish", "stored"]),
        Step("ArcticDEM at 32 m", v("dem units most") * v("dem unit") / 3600 + publish_hours(dem), v("dem down"),
             2 * v("dem down") + v("dem kept") + stored(dem), v("dem requests"), 2,
             ["dem units", "dem units most", "dem unit", "dem down", "dem requests", "dem kept"]),
        Step("AlphaEarth at 320 m, 9 years", alpha_s / 3600 + publish_hours(EMBEDDING_YEARS * alpha),
             EMBEDDING_YEARS * v("alpha down"), stored(EMBEDDING_YEARS * alpha), EMBEDDING_YEARS * v("alpha requests"),
             2 * EMBEDDING_YEARS, ["alpha files", "alpha file", "alpha down", "alpha requests"]),
    ]  # fmt: skip


def fits() -> float:
    """Count the fits of one nested validation with controls, as benchmarks/training.md does."""
    c = v("candidates")
    return 5 * (3 * c + 1) + 5 * c + 45


def models(rows: int) -> list[Step]:
    """Give training, prediction and maps, with so many labelled rows for each grid."""
    cells = sum(v(f"cells {grid}") for grid in GRIDS)
    scale, made = rows / 1_000_000 * 0.8, []
    for name in MODELS:
        hours = len(GRIDS) * fits() * v(f"fit {name}") * scale / 3600
        made.append(Step(f"{name}: train on {rows:,} rows", hours, kept=0.1, partitions=len(GRIDS),
                         used=[f"fit {name}", "candidates"]))  # fmt: skip
    for name in MODELS:
        hours = YEARS * cells / 1e6 * (v(f"predict {name}") + v(f"more {name}")) / 3600
        made.append(Step(f"{name}: predict {YEARS} years", hours, kept=YEARS * cells * v("prediction") / 1e9,
                         partitions=2 * YEARS, used=[f"predict {name}", f"more {name}", "prediction"]))  # fmt: skip
    hours = len(MODELS) * YEARS * len(GRIDS) * v("figure") / 3600
    made.append(Step(f"maps of {len(MODELS)} models", hours, kept=len(MODELS) * YEARS * cells * v("prediction") / 1e9,
                     partitions=len(MODELS) * 2 * YEARS, used=["figure"]))  # fmt: skip
    return made


def dagster(steps: Sequence[Step]) -> Step:
    """Add what Dagster itself takes: ten partitions a run at most, a run for each model."""
    count = sum(step.partitions for step in steps)
    runs = sum(max(1, step.partitions // 10) for step in steps)
    hours = (runs * v("run") + count * v("partition")) / 3600
    return Step(f"Dagster itself: {count} partitions in {runs} runs", hours, kept=count * v("event") / 1e6,
                used=["run", "partition", "event"])  # fmt: skip


def table(steps: Sequence[Step]) -> list[str]:
    """Write the steps and their sum."""
    rows = [(s.name, s.hours, s.down, s.kept, s.requests) for s in steps]
    total = ("**together**", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    lines = ["| step | core hours | GB fetched | GB kept | requests |", "|---|---|---|---|---|"]
    return lines + [f"| {n} | {h:,.1f} | {d:,.0f} | {k:,.0f} | {r:,.0f} |" for n, h, d, k, r in [*rows, total]]


def walls(steps: Sequence[Step]) -> list[str]:
    """Say how long it takes on some machines, where the work divides as it should."""
    hours = sum(step.hours for step in steps)
    training = max(step.hours for step in steps if "train on" in step.name) / len(GRIDS)
    lines = ["| cores | work divided | with the longest training in one piece |", "|---|---|---|"]
    alike = [(cores, hours / cores) for cores in (2, 16, 64, 256)]
    return lines + [f"| {cores} | {each:,.1f} h | {max(each, training):,.1f} h |" for cores, each in alike]


def network(steps: Sequence[Step]) -> list[str]:
    """Say how long the network and the service let one wait."""
    down = sum(step.down for step in steps)
    queue = YEARS * v("era5 requests") * v("queue") / v("queue slots") / 3600
    lines = ["| | hours |", "|---|---|"]
    lines += [f"| {down:,.0f} GB at {mbit:,} Mbit/s | {down * 8000 / mbit / 3600:,.1f} |" for mbit in (100, 1000)]
    return [
        *lines,
        f"| {YEARS * v('era5 requests'):,.0f} requests in the queue of the Climate Data Store | {queue:,.0f} |",
    ]


def number(value: float) -> str:
    """Write a number with three digits that count, large ones in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the computed part of the document."""
    steps = sources() + models(300_000)
    steps.append(dagster(steps))
    more = sources() + models(1_500_000)
    used = list(dict.fromkeys(name for step in steps for name in step.used)) + ["queue", "queue slots"]
    extra = sum(s.hours for s in more) - sum(s.hours for s in steps[:-1])
    counts = [f"{v(f'cells {grid}'):,.0f}" for grid in GRIDS]
    origins = [f"| {name} | {number(PARTS[name].value)} {PARTS[name].unit} | {PARTS[name].origin} |" for name in used]
    lines = [
        BEGIN, "",
        f"{YEARS} years, {' and '.join(GRIDS)} ({' and '.join(counts)} cells with 10 % land), "
        f"labels of {LABEL_YEARS} years, {len(MODELS)} models, {sum(FEATURES.values())} features, CPU only.", "",
        *table(steps), "",
        f"With 1,500,000 labelled rows a grid instead of 300,000: {extra:,.0f} core hours more, all training.", "",
        "## By the clock", "", *walls(steps), "", *network(steps), "",
        "## Where the numbers come from", "", "| part | | measured in |", "|---|---|---|",
        *origins, "", END,
    ]  # fmt: skip
    text = DOC.read_text() if DOC.exists() else f"{BEGIN}\n{END}\n"
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOC.write_text(before + "\n".join(lines) + after)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
