"""What a study says about itself in words: on maps, under score tables. Part of the recipes of what shows them."""

from entropice_core.config import Study, TargetConfig


def score_notes(study: Study) -> list[str]:
    """Say in words which data, folds, features and lag the scores are for, and what to doubt about them."""
    folds, target = study.folds, study.target
    lines = [
        f"labels: {study.inventories[target.inventory].title}, {study.study.years.first}-{study.study.years.last}; "
        f"{_classes(target)}",
        f"folds: {_folds(study)}; {folds.inner_folds} inner folds for search and calibration; seed {study.study.seed}",
    ]
    for name, source in study.sources.items():
        lag = f"lag {source.lag} a" if source.is_yearly else "static"
        lines.append(f"features {name}: {source.title} ({lag}). {source.statement}".rstrip())
    lines.append(
        "random AUC: cells dealt at random, which flatters; permuted AUC: labels shuffled among cells, chance is 0.5."
    )
    return lines


def _classes(target: TargetConfig) -> str:
    if target.task == "binary":
        what = "density > 0" if target.positive == "presence" else f"density above its {target.quantile:g} quantile"
        said = f"positive: {what} (edge learned on training folds)"
    else:
        what = "counts" if target.task == "count_class" else "densities"
        how = f"edges {list(target.edges)}" if target.edges else "none, and equal parts learned on training folds"
        said = f"{target.n_classes} classes of {what} ({how}); p: any class but the first"
    return said + ("; rows weighted by observed land" if target.weights == "observed_area" else "")


def _folds(study: Study) -> str:
    folds = study.folds
    if folds.kind == "temporal":
        return f"years up to {folds.train_until} train, later ones test, in the same places"
    if folds.kind == "random":
        return f"{folds.n_folds} random folds of cells, no buffer"
    if folds.kind == "leave_one_region_out":
        return f"one region left out at a time ({', '.join(folds.regions)}), buffer {folds.buffer_km:g} km"
    levels = {grid: dict(folds.block_level).get(grid.split("-")[0]) for grid in study.study.grids}  # type: ignore[call-overload]
    blocks = ", ".join(f"{grid}: blocks of level {level}" for grid, level in levels.items())
    return f"{folds.n_folds} spatial blocks ({blocks}), buffer {folds.buffer_km:g} km"


def credit_words(study: Study) -> list[str]:
    """Name the title, the labels and the predictors, as a map prints them."""
    inventory = study.inventories[study.target.inventory]
    sources = "; ".join(source.title for source in study.sources.values())
    return [study.study.title, f"Labels: {inventory.title}. Predictors: {sources}."]


def feature_set_words(study: Study, model: str) -> str:
    """Name the feature sets of a model with their lag, as its maps carry them: what they know, and of which year.

    A lag of 0 means that the features are of the year that is mapped.
    """
    used = study.models[model].sources or tuple(study.sources)
    lags = {name: study.sources[name].lag if study.sources[name].is_yearly else None for name in used}
    return ", ".join(f"{n} ({'static' if lag is None else f'lag {lag} a'})" for n, lag in sorted(lags.items()))
