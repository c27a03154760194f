"""Fill the tables and figures of docs/results_ne_siberia.md from the store of a finished run.

    ENTROPICE_DATA=... ENTROPICE_HOME=... entropice run --preset ne_siberia
    ENTROPICE_HOME=... python benchmarks/results_ne_siberia.py docs/results_ne_siberia.md

What stands between the marks ``<!-- name -->`` and ``<!-- end -->`` of the page is written anew; the sentences are not.
The numbers that the sentences name are printed, to be read beside them.
"""

import json
import sys
from itertools import product
from pathlib import Path
from shutil import copyfile

import numpy as np
import pandas as pd

from entropice_core.comparison.paired import compare_pairs, read_entry
from entropice_core.config import Settings, load_study
from entropice_core.plots import comparison as figures
from entropice_core.plots.files import write_figure
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import PartitionStore

SHOWN = "h3-4"
METRICS = {"ROC AUC": "roc_auc", "AP": "average_precision", "log loss": "log_loss", "Brier": "brier", "ECE": "ece",
           "skill": "log_loss_skill", "over climatology": "climatology_log_loss_skill"}  # fmt: skip
GRID_ORDER = ["h3-3", "healpix-6", "h3-4", "healpix-7"]
"""Small grids, then large ones."""
WANTED = ("espa", "xgboost")
"""Pairs that the page shows: each of these against all others."""


def main(page: Path) -> None:
    study, settings = load_study("ne_siberia"), Settings.from_environment()
    store = PartitionStore(settings.store_root(study))
    folders = {(g, m): store.path(f"model.{m}", Partition(g)) for g, m in product(GRID_ORDER, study.models)}
    read = {key: json.loads((folder / "cv.json").read_text()) for key, folder in folders.items()}
    entries = [read_entry(folder, "ne_siberia") for folder in folders.values()]
    pairs = compare_pairs(entries)
    text = page.read_text()
    for name, table in (("scores", scores(read)), ("pairs", pair_table(pairs))):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        if rest:
            text = f"{before}<!-- {name} -->\n{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    page.write_text(text)
    copy_figures(page.parent / "images", store, folders, read, pairs, study)
    facts(folders, read, pairs)


def scores(read: dict) -> str:
    """One row for each model and grid."""
    head = [*METRICS, "2019 from 2018: skill", "over climatology", "random AUC", "permuted AUC", "rows"]
    lines = ["| grid | model | " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * len(head)]
    for (grid, model), cv in read.items():
        spatial, later = cv["spatial"]["summary"], cv["temporal"]["summary"]
        cells = [spread(spatial[metric]) for metric in METRICS.values()]
        cells += [f"{later[name]['mean']:.3f}" for name in ("log_loss_skill", "climatology_log_loss_skill")]
        cells += [spread(cv["random"]["summary"]["roc_auc"]), spread(cv["permuted"]["summary_raw"]["roc_auc"])]
        lines.append(f"| {grid} | {model} | " + " | ".join([*cells, f"{cv['rows']:,}"]) + " |")
    return "\n".join(lines)


def pair_table(pairs: pd.DataFrame) -> str:
    """Differences of models on one grid: each of ``WANTED`` less the others."""
    lines = ["| grid | second less first | difference in skill [95 %] | difference in AUC [95 %] |",
             "| --- | --- | ---: | ---: |"]  # fmt: skip
    rows = pairs[pairs["matched_by"] == "fold"]
    for grid in GRID_ORDER:
        for wanted, other in product(WANTED, ("xgboost", "random_forest", "logistic_regression", "knn")):
            if wanted == other:
                continue
            found = [difference(rows, f"{grid} {wanted}", f"{grid} {other}", m) for m in ("log_loss_skill", "roc_auc")]
            lines.append(f"| {grid} | {wanted} - {other} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def between_grids(pairs: pd.DataFrame) -> str:
    """Say which differences of one model on two grids are clear of zero."""
    rows = pairs[(pairs["matched_by"] == "place") & (pairs["metric"] == "log_loss_skill")]
    clear = rows[(rows["low"] > 0) | (rows["high"] < 0)]
    said = [f"{r.second} - {r.first}: {interval(r.difference, r.low, r.high)}" for r in clear.itertuples()]
    return f"Of {len(rows)} pairs of grids, {len(clear)} are clear of zero in skill" + (
        f" ({'; '.join(said)})." if said else "."
    )


def difference(rows: pd.DataFrame, one: str, other: str, metric: str) -> str:
    of_metric = rows[rows["metric"] == metric]
    for first, second, sign in ((other, one, 1), (one, other, -1)):
        found = of_metric[(of_metric["first"] == first) & (of_metric["second"] == second)]
        if len(found):
            row = found.iloc[0]
            ends = sorted([sign * row["low"], sign * row["high"]])
            return interval(sign * row["difference"], *ends)
    raise SystemExit(f"There is no pair of {one} and {other}.")


def interval(mean: float, low: float, high: float) -> str:
    text = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def spread(entry: dict) -> str:
    return f"{entry['mean']:.3f}±{entry['sd']:.3f}"


def copy_figures(images: Path, store: PartitionStore, folders: dict, read: dict, pairs: pd.DataFrame, study) -> None:
    from entropice_core.comparison.table import write_comparison

    copyfile(folders[SHOWN, "espa"] / "reliability.png", images / "ne_siberia_reliability.png")
    map_folder = store.path("map.espa", Partition(SHOWN, study.study.years.last))
    copyfile(map_folder / "map.png", images / "ne_siberia_espa_2019.png")
    write_figure(figures.pairs(of_models(pairs), "Models on the same grid and folds"), images / "ne_siberia_pairs.png")
    scratch = images / "scores"
    scratch.mkdir()
    write_comparison(scratch, study, {(model, grid): cv for (grid, model), cv in read.items()})
    (scratch / "scores.png").replace(images / "ne_siberia_scores.png")
    for file in scratch.iterdir():
        file.unlink()
    scratch.rmdir()


def of_models(pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep pairs of models that learn, on one grid, grid by grid."""
    learns = ~pairs["first"].str.endswith("prevalence") & ~pairs["second"].str.endswith("prevalence")
    kept = pairs[learns & (pairs["matched_by"] == "fold")]
    return kept.iloc[np.argsort(kept["first"].str.split().str[0].map(GRID_ORDER.index), kind="stable")]


def facts(folders: dict, read: dict, pairs: pd.DataFrame) -> None:
    """Print the numbers that sentences of the page name."""
    for (grid, model), cv in read.items():
        if model == "prevalence":
            continue
        regions = {name: round(found["roc_auc"], 2) for name, found in cv["regions"].items() if found["roc_auc"]}
        gap = cv["random"]["summary"]["roc_auc"]["mean"] - cv["spatial"]["summary"]["roc_auc"]["mean"]
        control = cv["permuted"]
        importance = json.loads((folders[grid, model] / "importance.json").read_text())["sources"]
        told = {row["name"]: round(row["log_loss_increase"], 3) for row in importance}
        trust = json.loads((folders[grid, model] / "trust.json").read_text())
        cover = trust["conformal"]["measured"]["summary"]
        sets = [round(e["mean"], 3) for e in (cover["coverage"], *cover["coverage_by_class"], cover["mean_size"])]
        seconds = json.loads((folders[grid, model] / "cost.json").read_text())
        print(f"{grid} {model}: random less spatial AUC {gap:+.3f}; permuted {control['mean_auc']:.3f} "
              f"[{control['chance_low']:.3f}, {control['chance_high']:.3f}] {control['is_chance']}; sources {told}; "
              f"sets: coverage, by class, size {sets}; W {trust['distances']['w_km']:.0f} km "
              f"gap {trust['distances']['mean_gap_km']:+.0f} km; params {cv['final']['params']}")  # fmt: skip
        print(f"    regions {regions}; cost {seconds}")
    sd = {key: cv["spatial"]["summary"]["log_loss"]["sd"] for key, cv in read.items()}
    means = {model: round(float(np.mean([v for k, v in sd.items() if k[1] == model])), 3) for _, model in read}
    print("mean sd of log loss over folds:", means)
    print(between_grids(pairs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
