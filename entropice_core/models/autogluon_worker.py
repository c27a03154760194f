"""Train with AutoGluon and write the trees of its ensemble as arrays; runs in AutoGluon's own interpreter.

AutoGluon wants another pandas than Entropice, so that this file is run by path in an environment that has AutoGluon and
need not have Entropice: it imports nothing of it. AutoGluon keeps its models as pickles, in a temporary folder that
ends with this process; what leaves it are numbers.

    python -I autogluon_worker.py given.npz settings.json trees.npz about.json
"""

import json
import sys
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

CHECKED = 200
"""Training rows whose probabilities are written as AutoGluon gives them, for whoever reads the trees to compare."""
Tree = dict[str, list[Any]]
FIELDS = ("feature", "threshold", "left", "right", "value")


def main(given: str, settings: str, trees: str, about: str) -> None:
    """Train on ``X`` (n, n_features), ``y`` (n,) and perhaps ``weight`` (n,) of the first file."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor, __version__

    with np.load(given, allow_pickle=False) as stored, open(settings, encoding="utf-8") as file:
        arrays, wanted = dict(stored), json.load(file)
    table = pd.DataFrame(arrays["X"], columns=[f"f{i}" for i in range(arrays["X"].shape[1])])
    rows = table.iloc[np.linspace(0, len(table) - 1, min(CHECKED, len(table))).round().astype(int)]
    table["label"] = arrays["y"]
    if "weight" in arrays:
        table["weight"] = arrays["weight"]
    with TemporaryDirectory() as folder:
        predictor = TabularPredictor(
            label="label",
            problem_type="binary" if wanted["n_classes"] == 2 else "multiclass",
            eval_metric="log_loss",
            sample_weight="weight" if "weight" in arrays else None,
            path=folder,
            verbosity=0,
            learner_kwargs={"random_state": wanted["seed"]},
        ).fit(
            table,
            hyperparameters=wanted["hyperparameters"],
            calibrate=False,
            num_bag_folds=0,
            num_stack_levels=0,
            num_cpus=wanted["n_jobs"],
            num_gpus=0,
        )
        members = weights_of(predictor)
        read = [read_member(predictor, name, wanted["n_classes"]) for name in members]
        expected = predictor.predict_proba(rows).to_numpy()
        if expected.shape[1] != wanted["n_classes"]:
            raise SystemExit(f"AutoGluon left out classes of few rows: it knows {list(predictor.class_labels)} only")
        best = predictor.leaderboard()[["model", "score_val", "fit_time"]].to_dict("records")
    np.savez(
        trees,
        **joined([tree for found, _ in read for tree in found]),
        member=np.repeat(np.arange(len(read)), [len(found) for found, _ in read]),
        is_sum=np.array([is_sum for _, is_sum in read]),
        weight=np.array(list(members.values()), dtype=np.float64),
        rows=rows.index.to_numpy(),
        p=expected,
    )
    told = {"version": __version__, "members": list(members), "leaderboard": best}
    with open(about, "w", encoding="utf-8") as file:
        json.dump(told, file, default=float)


def weights_of(predictor: Any) -> dict[str, float]:
    """Give the members of the best model and their weights: of an ensemble, or of the one model that was best."""
    best = predictor._trainer.load_model(predictor.model_best)
    if not hasattr(best, "_get_model_weights"):
        return {predictor.model_best: 1.0}
    return {name: float(weight) for name, weight in best._get_model_weights().items()}


def read_member(predictor: Any, name: str, n_classes: int) -> tuple[list[Tree], bool]:
    """Return the trees of a member, and whether their values are summed to scores; otherwise shares are averaged."""
    member = predictor._trainer.load_model(name)
    if hasattr(member.model, "dump_model"):
        return lightgbm_trees(member.model.dump_model(), n_classes), True
    columns = np.array([int(column[1:]) for column in member.features])
    return [sklearn_tree(estimator.tree_, columns) for estimator in member.model.estimators_], False


def sklearn_tree(tree: Any, columns: Any) -> Tree:
    """Copy a tree of scikit-learn; ``columns`` : the columns of X that its features are."""
    is_leaf = tree.children_left < 0
    return {
        "feature": np.where(is_leaf, -1, columns[np.maximum(tree.feature, 0)]).tolist(),
        "threshold": tree.threshold.tolist(),
        "left": tree.children_left.tolist(),
        "right": tree.children_right.tolist(),
        "value": tree.value[:, 0, :].tolist(),
    }


def lightgbm_trees(dumped: dict[str, Any], n_classes: int) -> list[Tree]:
    """Copy the trees of a booster; of two classes the score is that of the second, of more they take turns."""
    columns = [int(name[1:]) for name in dumped["feature_names"]]
    per_turn = 1 if n_classes == 2 else n_classes
    found = []
    for number, info in enumerate(dumped["tree_info"]):
        tree: Tree = {name: [] for name in FIELDS}
        of_class = 1 if n_classes == 2 else number % per_turn
        add_node(tree, info["tree_structure"], columns, np.eye(n_classes)[of_class])
        found.append(tree)
    return found


def add_node(tree: Tree, node: dict[str, Any], columns: list[int], unit: Any) -> int:
    """Add a node and all below it; return its number."""
    here = len(tree["feature"])
    is_leaf = "split_feature" not in node
    if not is_leaf and node["decision_type"] != "<=":
        raise ValueError(f"a tree of LightGBM decides by {node['decision_type']!r}, expected '<='")
    row = (-1, 0.0, -1, -1, (node["leaf_value"] * unit).tolist()) if is_leaf else (
        columns[node["split_feature"]], node["threshold"], -1, -1, (0.0 * unit).tolist()
    )  # fmt: skip
    for name, value in zip(FIELDS, row, strict=True):
        tree[name].append(value)
    if not is_leaf:
        tree["left"][here] = add_node(tree, node["left_child"], columns, unit)
        tree["right"][here] = add_node(tree, node["right_child"], columns, unit)
    return here


def joined(trees: list[Tree]) -> dict[str, Any]:
    """Set trees one after the other; children are numbered within their own tree."""
    counts = [len(tree["feature"]) for tree in trees]
    kinds = (np.int64, np.float64, np.int64, np.int64, np.float64)
    arrays = {n: np.concatenate([np.array(t[n], k) for t in trees]) for n, k in zip(FIELDS, kinds, strict=True)}
    return {**arrays, "n_nodes": np.array(counts, dtype=np.int64)}


if __name__ == "__main__":
    main(*sys.argv[1:])
