"""How good the models are: leaderboard, curves, folds, search, regions, importances, and where the run is recorded."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from entropice_core.dashboard import pictures, scores, tracking
from entropice_core.dashboard.layers import table_layer
from entropice_core.dashboard.library import Library
from entropice_core.dashboard.scores import METRICS, Trained
from entropice_core.dashboard.widgets import choose, show_figure, show_map, show_published, show_table
from entropice_core.dashboard.words import explain_missing, plain, readable, say, show_command
from entropice_core.errors import StoreError
from entropice_core.pipeline.words import score_notes
from entropice_core.plots import scores as figures
from entropice_core.plots.view import TURNED
from entropice_core.storage.partition import Partition

BASELINE = (
    "Cells of all held-out folds are ranked together. The baseline “prevalence” gives all cells of a fold what is "
    "usual in the others, so that it ranks folds, not cells, and may be worse than any order."
)


def show(library: Library) -> None:
    """Show the leaderboard, then one model from all sides."""
    every = st.toggle("Also other studies in this folder", key="every study")
    left_out: list[str] = []
    models = scores.trained_models(library, every, left_out)
    if left_out:
        say(f"Left out, as they cannot be read: {', '.join(left_out)}. Overview says why.")
    if not models:
        explain_missing("No model was trained yet.", library.command("model"))
        return
    _leaderboard(library, models)
    own = [m for m in models if m.study == library.study.study.name]
    if not own:
        explain_missing("No model of this study was trained yet.", library.command("model"))
        return
    first, second = st.columns(2)
    with first:
        grid = choose("Grid and level", sorted({m.grid for m in own}), "grid")
    here = [m for m in own if m.grid == grid]
    with second:
        name = choose(
            "Model", [m.model for m in here], "model", default=scores.best_model(library, [m.model for m in here], grid)
        )
    chosen = next(m for m in here if m.model == name)
    parts = {
        "Curves": _curves,
        "Folds and regions": _folds,
        "Trust": _trust,
        "Search": _search,
        "Importance": _importance,
        "Where it errs": _errors,
        "Runs": _runs,
    }
    part = st.segmented_control(
        "Show", list(parts), default="Curves", required=True, key="part", label_visibility="collapsed"
    )
    parts[part or "Curves"](library, chosen, here)


def _leaderboard(library: Library, models: list[Trained]) -> None:
    known = [m for m in METRICS if any(np.isfinite(each.value(m)) for each in models)]
    metric = choose("Score", known, "metric", "roc_auc", show=METRICS.__getitem__)
    table = scores.leaderboard(models, metric)
    names = [
        f"{r.model} · {r.grid}" + (f" · {r.study}" if table["study"].nunique() > 1 else "") for r in table.itertuples()
    ]
    empty = np.full(len(table), np.nan)
    groups = {"spatial folds, 95 %": (table[METRICS[metric]].to_numpy(dtype=float), spread(table, metric))}
    for column in ("random folds", "permuted labels"):
        if table[column].notna().any():
            groups[column] = (table[column].to_numpy(dtype=float), empty)
    show_figure(
        figures.intervals(names, groups, library.study.study.title, METRICS[metric]), f"leaderboard_{metric}",
        f"Leaderboard by {METRICS[metric]}",
    )  # fmt: skip
    shown = table if table["study"].nunique() > 1 else table.drop(columns="study")
    show_table(shown.round(4), f"leaderboard_{metric}")
    _pairs(library)
    with st.expander("How to read these scores"):
        for line in score_notes(library.study):
            st.markdown("- " + plain(line))


def spread(table: pd.DataFrame, metric: str) -> np.ndarray:
    """Give how far intervals reach below and above the mean: (2, rows); an end may be cut where a score cannot be."""
    mean, low, high = (table[c].to_numpy(dtype=float) for c in (METRICS[metric], "95 % low", "95 % high"))
    return np.stack([mean - low, high - mean])


def _pairs(library: Library) -> None:
    """Show paired differences of models, grids and feature sets, where the comparison was built."""
    if not library.has("comparison", Partition()):
        explain_missing("Models were not compared pair by pair yet.", library.command("comparison"))
        return
    pairs = library.read_table("comparison", Partition(), "pairs.csv")
    if pairs is not None:
        with st.expander("Is one better than another? Paired differences with corrected intervals"):
            show_table(pairs, "pairs")


def _curves(library: Library, chosen: Trained, here: list[Trained]) -> None:
    models, grid, stem = [m.model for m in here], chosen.grid, f"{chosen.model}_{chosen.grid}"
    models = [chosen.model, *(m for m in models if m != chosen.model)]
    left, right = st.columns(2)
    with left:
        figure = pictures.reliability(library, chosen.model, grid)
        show_figure(figure, f"reliability_{stem}", "Reliability diagram")
        figure = pictures.precision_recall(library, models, grid)
        show_figure(figure, f"precision_recall_{grid}", "Precision and recall of all models")
    with right:
        show_figure(pictures.gain(library, models, grid), f"gain_{grid}", "Gain curves of all models")
        if "prevalence" in models:
            st.caption(BASELINE)
        names = scores.class_names(chosen.cv)
        threshold = st.slider(
            "Probability from which a cell is called positive", 0.01, 0.99, 0.5, 0.01, key="threshold"
        )
        rows = pictures.tested_rows(library, chosen.model, grid)
        counts = scores.confusion_counts(rows, len(names), threshold)
        figure = figures.confusion(counts, names, f"{chosen.name}, spatial folds")
        show_figure(figure, f"confusion_{stem}", "Confusion of classes")


def _folds(library: Library, chosen: Trained, _: list[Trained]) -> None:
    table = scores.fold_table(chosen.cv)
    show_table(table, f"folds_{chosen.model}_{chosen.grid}")
    regions = scores.region_table(chosen.cv)
    if regions.empty:
        st.caption("The study names no regions ([folds.regions] in its TOML): the folds stand for them.")
    else:
        show_table(regions, f"regions_{chosen.model}_{chosen.grid}")
        value = regions[METRICS["roc_auc"]].to_numpy(dtype=float) if METRICS["roc_auc"] in regions else np.empty(0)
        if value.size:
            named = zip(regions["region"], regions["rows"], regions["positive"], strict=True)
            figure = figures.intervals(
                [f"{name} ({n:,.0f} rows, {n * share:,.0f} positive)" for name, n, share in named],
                {"region": (value, np.full(value.size, np.nan))},
                chosen.name,
                METRICS["roc_auc"],
            )
            show_figure(figure, f"regions_{chosen.model}_{chosen.grid}", "Scores of regions")
    rows = pictures.tested_rows(library, chosen.model, chosen.grid)
    names = sorted(rows["fold"].astype(str).unique().tolist())
    cells = rows.drop_duplicates("cell_ids")
    code = cells["fold"].astype(str).map({name: i for i, name in enumerate(names)}).to_numpy(dtype=float)
    layer = table_layer(
        library, f"model.{chosen.model}", Partition(chosen.grid), cells["cell_ids"].to_numpy(dtype=np.uint64), code,
        "fold in which a cell was tested", "classes", tuple(names),
    )  # fmt: skip
    show_map(layer, f"fold_map_{chosen.model}_{chosen.grid}", TURNED)


def _trust(library: Library, chosen: Trained, _: list[Trained]) -> None:
    dataset, partition = f"model.{chosen.model}", Partition(chosen.grid)
    trust = library.read_json(dataset, partition, "trust.json")
    if not trust:
        words = f"{dataset} {partition} holds no conformal sets and no area of applicability: train it again."
        explain_missing(words, library.command(dataset, partition, "--force"))
        return
    stem = f"{chosen.model}_{chosen.grid}"
    show_figure(pictures.coverage(library, chosen.model, chosen.grid), f"coverage_{stem}", "Coverage of conformal sets")
    verdict = str(trust.get("distances", {}).get("verdict", ""))
    say(verdict[:1].upper() + verdict[1:])
    folder, problem = library.folder(dataset, partition), pictures.why_not_again(library, chosen.model, chosen.grid)
    if problem:
        say(f"As PNG only. {problem}")
    for name, words in pictures.TRUST.items():
        if (folder / f"{name}.png").is_file():  # an older version holds fewer
            again = None if problem else partial(pictures.trust_figure, library, chosen.model, chosen.grid, name)
            show_published((folder / f"{name}.png").read_bytes(), f"{name}_{stem}", words, again)


def _search(_: Library, chosen: Trained, __: list[Trained]) -> None:
    candidates = (chosen.cv.get("final") or {}).get("candidates") or []
    if len(candidates) < 2:
        st.info("This model was not searched: its TOML gives one value for each parameter ([models.*] search).")
        return
    varied = figures.varied_params(candidates)
    if len(varied) > 2:
        pair = st.multiselect(
            "Two parameters for the surface", varied, default=varied[:2], max_selections=2, key="pair"
        )
        if len(pair) == 2:
            show_figure(
                figures.search(scores.best_of(candidates, pair), f"{chosen.name}: best over the other parameters"),
                f"surface_{chosen.model}_{chosen.grid}", "Search surface",
            )  # fmt: skip
    show_figure(figures.search(candidates, chosen.name), f"search_{chosen.model}_{chosen.grid}", "Search of parameters")
    table = pd.DataFrame([{**c["params"], "log loss": c["log_loss"]} for c in candidates])
    show_table(table.sort_values("log loss"), f"search_{chosen.model}_{chosen.grid}")


def _proxies(library: Library, chosen: Trained) -> None:
    dataset, partition = f"proxies.{chosen.model}", Partition(chosen.grid)
    st.subheader("Is the ranking stable?")
    if dataset not in library.products or not library.has(dataset, partition):
        known = dataset in library.products
        words = (
            "Proxies over folds and seeds were not measured yet."
            if known
            else f"{chosen.model} has no features to rank."
        )
        explain_missing(words, library.command(dataset if known else "proxies", partition))
        return
    words = "Every measure of importance with its stability"
    show_figure(pictures.proxies(library, chosen.model, chosen.grid), f"proxies_{chosen.model}_{chosen.grid}", words)
    table = library.read_table(dataset, partition, "proxies.csv")
    if table is not None:
        show_table(table, f"proxies_{chosen.model}_{chosen.grid}")


def _importance(library: Library, chosen: Trained, _: list[Trained]) -> None:
    tables = scores.importance_tables(
        library.read_json(f"model.{chosen.model}", Partition(chosen.grid), "importance.json")
    )
    if not tables:
        explain_missing(
            "No importance was measured: set importance_repeats in [training] of the study, then train again.",
            library.command(f"model.{chosen.model}", Partition(chosen.grid)),
        )
        return
    measure = choose(
        "Measure", list(tables), f"measure {chosen.model}", show=lambda m: scores.IMPORTANCE_LABELS.get(m, m)
    )
    figure = pictures.importance(library, chosen.model, chosen.grid, measure)
    label = scores.IMPORTANCE_LABELS.get(measure, measure)
    show_figure(figure, f"importance_{measure}_{chosen.model}_{chosen.grid}", label)
    table = tables[measure]
    steady = table.assign(stability=(table["mean"] / table["sd_over_folds"]).round(2)).rename(columns=readable)
    st.caption("Stability is the mean in units of its spread over folds: below 1 a feature matters in some folds only.")
    show_table(steady, f"importance_{measure}_{chosen.model}_{chosen.grid}")
    _proxies(library, chosen)


def _errors(library: Library, chosen: Trained, _: list[Trained]) -> None:
    rows = pictures.tested_rows(library, chosen.model, chosen.grid)
    error = (rows["p"] - (rows["y"] > 0)).groupby(rows["cell_ids"]).mean()
    layer = table_layer(
        library, f"model.{chosen.model}", Partition(chosen.grid), error.index.to_numpy(dtype=np.uint64),
        error.to_numpy(), "probability minus what was observed, mean over years, out of fold [1]", "diverging",
    )  # fmt: skip
    st.caption("Orange: more was forecast than observed. Violet: slumps that the model did not expect.")
    show_map(layer, f"error_map_{chosen.model}_{chosen.grid}", TURNED)


def _runs(library: Library, chosen: Trained, _: list[Trained]) -> None:
    dataset, partition = f"model.{chosen.model}", Partition(chosen.grid)
    say(f"{dataset} {partition} · digest {chosen.digest} · published {chosen.created}")
    problem = tracking.why_unreachable(library.settings.tracking_uri)
    if problem:
        st.warning(plain(problem))
    receipt = tracking.receipt_of(library, dataset, partition, chosen.digest)
    if receipt is None or not receipt.run_id:
        why = receipt.problem if receipt else "no receipt of this version is there"
        st.info(plain(f"This version is not recorded in MLflow ({why}); the next run records it."))
    else:
        st.text(f"MLflow run {receipt.run_id} in {receipt.tracking_uri}")
        _link("Open the MLflow run", tracking.run_address(receipt, library.links.get("mlflow")))
    show_command(tracking.how_to_open(library.settings.tracking_uri))
    address = tracking.dagster_address(library.links.get("dagster"), dataset, partition)
    _link("Open the asset's materializations in Dagster", address)
    if not address:
        st.caption("Start the dashboard with --dagster, and with --mlflow, to get links to their pages.")
    if not problem:
        _tracked(library)


def _tracked(library: Library) -> None:
    """List what the tracking server holds of this study; what it does not tell is said and costs nothing else."""
    st.subheader("All runs of this study in MLflow")
    try:
        with st.spinner("MLflow is asked"):
            table = tracking.runs_table(library)
    except StoreError as error:
        st.warning(plain(error))
        return
    if table.empty:
        st.info(plain(f"{library.settings.tracking_uri} holds no run of this study: the next training records it."))
        return
    has_pages = bool(table[tracking.PAGE].any())
    shown = table if has_pages else table.drop(columns=tracking.PAGE)
    show_table(shown, "mlflow_runs", links=[tracking.PAGE] if has_pages else [])


def _link(label: str, address: str) -> None:
    if address:
        st.link_button(label, address, icon=":material/open_in_new:")
