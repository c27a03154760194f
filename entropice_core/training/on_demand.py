"""The permuted-label control of a trained model, asked for again with another seed; nothing is published.

The study's own control is one shuffle, and a single one may fall outside the band of chance by chance. Whoever doubts a
model shuffles again: on the same folds, with the parameters of the final model.
"""

from dataclasses import replace
from typing import Any

import xarray as xr

from entropice_core.config import ModelConfig, Study
from entropice_core.grids.base import Grid
from entropice_core.training.controls import permuted_labels
from entropice_core.training.folds_of_study import folds_of_study
from entropice_core.training.persist import LoadedModel
from entropice_core.training.problem import Progress, child_seed
from entropice_core.training.train import make_problem, of_sources


def permute_again(
    name: str,
    study: Study,
    grid: Grid,
    table: xr.Dataset,
    model: LoadedModel,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the control once more; the folds stay those of the study, ``seed`` only shuffles and fits anew.

    Parameters
    ----------
    table : the training set
    model : the trained model, whose parameters are taken

    Returns
    -------
    dict
        ``mean_auc`` over folds (None where it is not defined), ``chance_low``, ``chance_high``, ``is_chance``,
        ``n_cells``, ``n_cells_kept``, ``seed``, and ``sentence``, which says it.
    """
    config = study.models[name]
    problem, places = make_problem(name, study, of_sources(table, config.sources))
    folds, inner = folds_of_study(study.folds, grid, places, study.study.seed, problem.rough_classes())
    fixed = ModelConfig(model=config.model, params=dict(model.extras["params"]))
    own_seed = child_seed(study.study.seed, "permuted again", str(seed))
    found = permuted_labels(
        replace(problem, config=fixed), folds, inner, places.cell_ids, places.year, own_seed, progress
    ).to_dict()
    names = ("mean_auc", "chance_low", "chance_high", "is_chance", "n_cells", "n_cells_kept")
    numbers = {**{key: found[key] for key in names}, "seed": seed}
    return {**numbers, "sentence": _in_words(numbers)}


def _in_words(found: dict[str, Any]) -> str:
    """Say what the control found in a sentence."""
    if found["mean_auc"] is None:
        return f"Labels shuffled with seed {found['seed']}: no fold has both classes, so that nothing can be said."
    verdict = "is chance" if found["is_chance"] else "is NOT chance: look for a leak before you believe the scores"
    return (
        f"Labels of {found['n_cells']:,} cells shuffled with seed {found['seed']}: AUC {found['mean_auc']:.3f} "
        f"{verdict} ({found['chance_low']:.3f} to {found['chance_high']:.3f})."
    )
