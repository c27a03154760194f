"""eSPA+ against tuned rivals on data that need no download, with the targets it should meet and whether it does.

Usage::

    python benchmarks/espa_statistics.py run [--models eSPA,XGBoost] [--tables worms,wine] --cells espa_cells.jsonl
    python benchmarks/espa_statistics.py report --cells espa_cells.jsonl > benchmarks/espa_statistics.md

``run`` goes on where it was stopped; cheap models come first, so that an early stop leaves whole columns. ``report``
writes Markdown of what is finished and says what is not. eSPA has its defaults, all tuning included, but for the
number of boxes of digits. Rivals: ``espa_rivals.py``.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from espa_common import (
    Cells,
    Model,
    Row,
    Split,
    Table,
    drawn,
    espa_version,
    heavy_tailed,
    markdown,
    outer,
    rival_version,
    worms,
)
from espa_rivals import FOREST, RIVALS
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from entropice_core.espa import ESPAEnsemble, ESPASearch

OURS = "eSPA ensemble"
Z_SCORED, MIN_MAX = f"{OURS}, z-scored", f"{OURS}, min-max"
RARE = (0.01, 0.03, 0.05, 0.1)


def ensemble(**fixed: Any) -> Model:
    """Build ensembles that differ from the default by what is given."""
    return lambda seed: ESPAEnsemble(**fixed, random_state=seed)


def worms_tables() -> list[Table]:
    """Two features of use among many, five sizes, both scalings, and noise with heavy tails."""
    sizes = [(100, 50, worms), (100, 200, worms), (200, 100, worms), (400, 50, worms), (200, 500, worms)]
    models = {Z_SCORED: ensemble(scaling="standard"), MIN_MAX: ensemble(scaling="minmax"), **RIVALS}
    found = []
    for n_rows, n_features, make in [*sizes, (200, 50, heavy_tailed)]:
        kind = "" if make is worms else ", heavy-tailed noise"
        title = f"worms{kind}, {n_rows} rows, {n_features} features; 5 training sets, 2001 test rows each"
        found.append(Table(title, lambda r=n_rows, d=n_features, m=make: drawn(m, r, d), 5, models))
    return found


def real_tables() -> list[Table]:
    """Two small tables and one of ten classes."""
    found = []
    for name, load, repeats in (("wine", load_wine, 5), ("breast_cancer", load_breast_cancer, 2)):
        X, y = load(return_X_y=True)
        models = {"eSPA search": lambda seed: ESPASearch(random_state=seed), OURS: ensemble(), **RIVALS}
        title = f"{name}, {len(X)} rows, {X.shape[1]} features; {repeats} x 5 outer folds"
        found.append(Table(title, lambda X=X, y=y, r=repeats: outer(X, y, r), 5 * repeats, models))
    X, y = load_digits(return_X_y=True)
    models = {OURS: ensemble(n_clusters=(40, 80), eps_c=(0.3, 1.0), eps_w=(0.5, 1.5), n_init=4), **RIVALS}
    found.append(Table(f"digits, {len(X)} rows, 64 features; 5 outer folds", lambda: outer(X, y, 1), 5, models))
    return found


def rare_worms(share: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """1500 rows of 20 features, the given share of them positive."""
    rng = np.random.default_rng(0)
    X, y = worms(6000, 20, rng)
    few = round(1500 * share)
    rows = np.concatenate([rng.choice(np.flatnonzero(y == 0), 1500 - few, False), np.flatnonzero(y == 1)[:few]])
    return X[rows], y[rows]


def rare_malignant() -> tuple[NDArray[Any], NDArray[Any]]:
    """377 rows of breast_cancer, 20 of them malignant."""
    X, y = load_breast_cancer(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]])
    return X[rows], 1 - y[rows]


def rare_tables() -> list[Table]:
    """Few positives."""
    makers: dict[str, Callable[[], tuple[NDArray[Any], NDArray[Any]]]] = {
        f"worms, 1500 rows, 20 features, {share:.0%} positive": lambda share=share: rare_worms(share) for share in RARE
    }
    makers["breast_cancer, 377 rows, 20 malignant (5%)"] = rare_malignant

    def splits(make: Callable[[], tuple[NDArray[Any], NDArray[Any]]]) -> list[Split]:
        return outer(*make(), 1)

    columns = ("auc", "average_precision", "log_loss", "ece", "seconds")
    return [
        Table(f"{name}; 5 outer folds", lambda m=make: splits(m), 5, {OURS: ensemble(), **RIVALS}, columns)
        for name, make in makers.items()
    ]


def all_tables() -> list[Table]:
    """Cheap ones first."""
    return [*real_tables()[:2], *rare_tables(), *worms_tables(), real_tables()[2]]


def values(rows: list[Row], what: str) -> NDArray[np.float64]:
    """One score of all splits."""
    return np.array([row[what] for row in rows])


def standard_error(rows: list[Row], of: NDArray[np.float64]) -> tuple[float, float]:
    """Error of a mean over splits: as if they were independent, and corrected for the training rows they share.

    Nadeau and Bengio (2003, doi 10.1023/A:1024068626366): the variance of a split counts 1/n + test/train times. With
    repeats of the folds the first shrinks with every repeat although no row is new.
    """
    ratio = rows[0]["test"] / rows[0]["train"]
    deviation = float(of.std(ddof=1))
    return deviation / math.sqrt(len(of)), deviation * math.sqrt(1 / len(of) + min(ratio, 1.0))


def verdict(scores: dict[str, list[Row]], our: str, is_shared: bool) -> list[str]:
    """Whether the log-loss is within one standard error of the best rival's and the ECE below the forest's."""
    rivals = [name for name in scores if "eSPA" not in name and len(scores[name]) == len(scores[our])]
    if not rivals:
        return []
    best = min(rivals, key=lambda name: values(scores[name], "log_loss").mean())
    gap = values(scores[our], "log_loss") - values(scores[best], "log_loss")
    error, corrected = standard_error(scores[best], values(scores[best], "log_loss"))
    paired, paired_corrected = standard_error(scores[our], gap)
    of_rival, of_gap = f"{error:.4f}", f"{paired:.4f}"
    met = "met" if gap.mean() <= error else "not met"
    if is_shared:
        of_rival += f", corrected for rows that folds share {corrected:.4f}"
        of_gap += f", corrected {paired_corrected:.4f}"
        if error < gap.mean() <= corrected:
            met = "met with the corrected error only"
    text = [
        f"{our}: log-loss {gap.mean():+.4f} against {best}, whose standard error is {of_rival} "
        f"(of the paired difference {of_gap}): {met}."
    ]
    if FOREST in rivals:
        ours, theirs = (float(values(scores[name], "ece").mean()) for name in (our, FOREST))
        text.append(f"{our}: ECE {ours:.3f}, random forest {theirs:.3f}: {'met' if ours < theirs else 'not met'}.")
    return text


def failures(scores: dict[str, list[Row]]) -> list[str]:
    """Mean accuracy and the worst seed of both scalings."""
    text = []
    for name in (Z_SCORED, MIN_MAX):
        if name in scores:
            accuracy = values(scores[name], "accuracy")
            met = "met" if accuracy.mean() >= 0.99 and accuracy.min() >= 0.9 else "not met"
            text.append(f"{name}: mean accuracy {accuracy.mean():.3f}, worst set {accuracy.min():.3f}: {met}.")
    return text


def rates(scores: dict[str, list[Row]]) -> list[str]:
    """Mean predicted rate over prevalence, all held-out rows together."""
    ratios = {n: values(rows, "predicted").sum() / values(rows, "positive").sum() for n, rows in scores.items()}
    text = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    return [f"Mean predicted rate over prevalence, all held-out rows: {text}."]


def report(cells: Cells) -> str:
    """Markdown of the finished cells."""
    parts, absent = [], []
    for table in all_tables():
        found = {name: cells.column(table, name) for name in table.models}
        scores = {name: rows for name, rows in found.items() if rows}
        if not scores:
            absent.append(f"- {table.title}")
            continue
        notes = []
        for our in (OURS, Z_SCORED, MIN_MAX):
            if our in scores:
                notes += verdict(scores, our, is_shared="outer folds" in table.title)
        notes += failures(scores)
        if "positive" in table.title or "malignant" in table.title:
            notes += rates(scores)
        partial = [f"{name} ({len(rows)} of {table.n_splits} splits)" for name, rows in found.items()
                   if len(rows) < table.n_splits]  # fmt: skip
        if partial:
            notes.append(f"Not run or not finished: {', '.join(partial)}.")
        parts.append(f"### {table.title}\n\n{markdown(scores, table.columns)}\n\n" + "\n".join(f"- {n}" for n in notes))
    if absent:
        told = "Figures of 2026-11-22, with the rivals of wine and breast_cancer on the same folds: `espa_earlier.md`."
        parts.append("### Not run with this source\n\n" + "\n".join(absent) + f"\n\n{told}")
    return "\n\n".join(parts)


HEADER = """# eSPA+ against tuned rivals

Made by `benchmarks/espa_statistics.py report`, {date}. eSPA source {ours}, NumPy {numpy}; {rivals}. One thread of a
machine of two cores shared with other work; seconds are CPU seconds of one fit, all tuning included.
Spread is the standard deviation over the splits. eSPA has its defaults (digits: 40 and 80 boxes, two values each of
eps_c and eps_w, 4 restarts); rivals are tuned on four inner folds of each training part (`benchmarks/espa_rivals.py`).
Not run on a GPU.
"""


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--models", default="", help="parts of names, separated by commas; all by default")
    parser.add_argument("--tables", default="", help="parts of titles, separated by commas; all by default")
    parser.add_argument("--cells", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cells = Cells(arguments.cells)
    if arguments.what == "report":
        today = datetime.now(UTC).date()
        print(HEADER.format(date=today, ours=espa_version(), numpy=np.__version__, rivals=rival_version()))
        print(report(cells))
        return
    for part in arguments.models.split(","):
        for table in all_tables():
            if any(name in table.title for name in arguments.tables.split(",")):
                for model in (name for name in table.models if part in name):
                    cells.run(table, model)


if __name__ == "__main__":
    main()
