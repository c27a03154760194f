"""The command that shuffles labels again, on demand."""

from entropice_core.cli.app import StudyName, app, checked_grids, load, say
from entropice_core.errors import ConfigError, nearest_hint


@app.command
def control(model: str, study: StudyName = None, *, grid: str | None = None, seed: int = 1, repeats: int = 1) -> None:
    """Shuffle the labels of a trained model among its cells and train again: nothing must be found.

    Every study with `permuted_control = true` does this once; here it is done again, and nothing is published.

    Parameters
    ----------
    model
        Name of a model of the study.
    grid
        Such as h3-4; the study's first grid otherwise.
    seed
        Another seed shuffles otherwise.
    repeats
        How many shuffles, with seeds from `seed` on.
    """
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.steps import permuted_again
    from entropice_core.storage.partition import Partition

    loaded, settings = load(study)
    if model not in loaded.models:
        raise ConfigError(f"Study {loaded.study.name!r} has no model {model!r}; {nearest_hint(model, loaded.models)}.")
    checked_grids((grid,) if grid else (), loaded)
    where, context = Partition(grid or loaded.study.grids[0]), Context(loaded, settings)
    for number in range(seed, seed + repeats):
        say(f"{model} {where}: {permuted_again(model, context, where, number)['sentence']}")
