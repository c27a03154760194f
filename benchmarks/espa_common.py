"""What the benchmarks of eSPA share: data, splits, scores, finished cells and tables.

A cell is one model on one split. Finished cells are lines of JSON in a file, keyed by table, model, split and the
version of what made them, so that a run which is interrupted goes on, and a change of the classifier runs only its own
cells again. Spread is the standard deviation over the splits; seconds are CPU seconds of one fit, all tuning included.
"""

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import xgboost
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

import entropice_core.espa

Split = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
Row = dict[str, Any]
Model = Callable[[int], Any]
SMALL_GRID = {"n_clusters": (6, 12, 24), "eps_c": (0.1, 0.3, 1.0), "eps_w": (0.1, 0.2, 0.5, 1.5)}
DIGITS_GRID = {"n_clusters": (40, 80), "eps_c": (0.3, 1.0), "eps_w": (0.5, 1.5), "n_init": 4}
CHOSEN = [""]  # parts of the names of the models to run; all by default


def worms(n_rows: int, n_features: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Three parallel elongated Gaussians, turned by 45 degrees; the middle one is class 1; the rest is uniform noise.

    After the description of the first synthetic example in Horenko (2020); lengths are ours (sd 1 and 0.2, 1.5 apart).
    No feature alone and no linear rule tells the classes apart well.
    """
    size, turn = n_rows // 3, np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
    parts = [rng.normal(size=(size, 2)) * [0.2, 1.0] + [1.5 * place, 0.0] for place in (-1, 0, 1)]
    signal = np.vstack(parts) @ turn.T
    noise = rng.uniform(size=(3 * size, n_features - 2))
    return np.column_stack([signal, noise]), np.repeat([0, 1, 0], size)


def heavy_tailed(n_rows: int, n_features: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Worms whose useless features are Student t with two degrees of freedom."""
    X, y = worms(n_rows, n_features, rng)
    X[:, 2:] = rng.standard_t(2, size=(len(X), n_features - 2))
    return X, y


def drawn(make: Any, n_rows: int, n_features: int, n_sets: int = 5) -> list[Split]:
    """Training sets of their own, with 2001 test rows each."""
    splits = []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        splits.append((*make(n_rows, n_features, rng), *make(2001, n_features, rng)))
    return splits


def outer(X: NDArray[Any], y: NDArray[Any], n_repeats: int) -> list[Split]:
    """Five stratified folds, repeated."""
    splits = []
    for seed in range(n_repeats):
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
            splits.append((X[train], y[train], X[test], y[test]))
    return splits


def expected_calibration_error(y: NDArray[Any], P: NDArray[Any], n_bins: int = 15) -> float:
    """Gap between confidence and accuracy of the predicted class, averaged over equal bins of confidence."""
    confidence, right = P.max(1), P.argmax(1) == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


def measure(model: Any, split: Split) -> Row:
    """Fit and score one model on one split; y are codes 0..M-1."""
    X, y, X_test, y_test = split
    start = time.process_time()
    P = np.asarray(model.fit(X, y).predict_proba(X_test), dtype=np.float64)
    seconds = time.process_time() - start
    P = P / P.sum(1, keepdims=True)
    auc = roc_auc_score(y_test, P[:, 1]) if P.shape[1] == 2 else roc_auc_score(y_test, P, multi_class="ovr")
    scores: Row = {
        "accuracy": float((P.argmax(1) == y_test).mean()),
        "auc": float(auc),
        "log_loss": float(log_loss(y_test, P, labels=np.arange(P.shape[1]))),
        "ece": expected_calibration_error(y_test, P),
        "seconds": seconds,
        "predicted": float(P[:, -1].sum()),
        "positive": float((y_test == P.shape[1] - 1).sum()),
        "train": len(y),
        "test": len(y_test),
    }
    if P.shape[1] == 2:
        scores["average_precision"] = float(average_precision_score(y_test, P[:, 1]))
        scores["share_ratio"] = scores["predicted"] / scores["positive"]
    return scores


@dataclass(frozen=True)
class Table:
    """Models on splits; ``splits`` are made only when a cell is missing."""

    title: str
    splits: Callable[[], list[Split]]
    n_splits: int
    models: dict[str, Model]
    columns: tuple[str, ...] = ("accuracy", "auc", "log_loss", "ece", "seconds")


class Cells:
    """Finished cells of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known = {tuple(entry["key"]): entry["scores"] for entry in map(json.loads, lines)}

    def find(self, table: Table, model: str, split: int) -> Row | None:
        """Scores of a cell, or None when it was not run with what there is now."""
        found: Row | None = self._known.get(self._key(table, model, split))
        return found

    def column(self, table: Table, model: str) -> list[Row]:
        """Scores of the finished cells of a model, in the order of the splits."""
        found = [self.find(table, model, split) for split in range(table.n_splits)]
        return [row for row in found if row is not None]

    def run(self, table: Table, model: str) -> None:
        """Run the missing cells of a model."""
        left = [split for split in range(table.n_splits) if self.find(table, model, split) is None]
        splits = table.splits() if left else []
        for split in left:
            scores = measure(table.models[model](split), splits[split])
            key = self._key(table, model, split)
            self._known[key] = scores
            with self._path.open("a") as stream:
                stream.write(json.dumps({"key": key, "scores": scores}) + "\n")
            print(f"{table.title}; {model}; {split}: {scores['log_loss']:.4f}, {scores['seconds']:.1f} s", flush=True)

    def _key(self, table: Table, model: str, split: int) -> tuple[Any, ...]:
        return table.title, model, split, espa_version() if "eSPA" in model else rival_version()


def espa_version() -> str:
    """Digest of the classifier's source."""
    files = sorted(Path(entropice_core.espa.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def rival_version() -> str:
    """Versions of the libraries of the rivals."""
    return f"scikit-learn {sklearn.__version__}, XGBoost {xgboost.__version__}"


def compare(models: dict[str, Model], splits: list[Split]) -> dict[str, list[Row]]:
    """Scores of every chosen model on every split."""
    chosen = {name: build for name, build in models.items() if any(part in name for part in CHOSEN)}
    return {name: [measure(build(seed), split) for seed, split in enumerate(splits)] for name, build in chosen.items()}


COLUMNS = ("accuracy", "auc", "log_loss", "ece", "seconds")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} ± {deviation:.3f}"


def markdown(scores: dict[str, list[Row]], columns: tuple[str, ...] = COLUMNS) -> str:
    """Render a Markdown table of mean ± standard deviation."""
    lines = [f"| model | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for name, rows in scores.items():
        lines.append(f"| {name} | {' | '.join(spread([row[c] for row in rows]) for c in columns)} |")
    return "\n".join(lines)


def show(title: str, scores: dict[str, list[Row]], columns: tuple[str, ...] = COLUMNS) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n{markdown(scores, columns)}", flush=True)


def run(parts: dict[str, Callable[[], dict[str, Any]]], doc: str) -> None:
    """Run one part and, if asked, keep all single scores as JSON."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*parts])
    parser.add_argument("--models", default="", help="parts of names, separated by commas, of the models to run")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    CHOSEN[:] = arguments.models.split(",")
    warnings.simplefilter("ignore")
    results = parts[arguments.part]()
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1))
