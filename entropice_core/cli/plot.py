"""Commands that write the pictures of the dashboard to files, for papers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from entropice_core.cli.app import StudyName, app, load, say
from entropice_core.errors import ConfigError, nearest_hint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from entropice_core.dashboard.library import Library

plotting = App(name="plot", help="Write a picture of published results to a file: .png, .svg or .pdf.")
app.command(plotting)

Out = Annotated[Path, Parameter(name=["--out", "-o"], help="File to write; its ending says the format.")]
OneGrid = Annotated[
    str | None, Parameter(name=["--grid", "-g"], help="Such as h3-4; the coarsest that was trained by default.")
]


@plotting.command(name="map")
def map_(
    dataset: str,
    partition: str,
    *,
    out: Out,
    study: StudyName = None,
    variable: str | None = None,
    minus: tuple[str, str] | None = None,
    inches: float = 8.0,
) -> None:
    """Draw a map of cells, labels, features or a prediction.

    Parameters
    ----------
    dataset
        Such as `prediction.espa`, `labels.darts`, `features.era5` or `cells`.
    partition
        Such as `h3-4/2019`, or `h3-4/all` for what does not change over years.
    variable
        Such as probability, entropy, density, or the name of a feature.
    minus
        Dataset and partition of a map to subtract, such as `prediction.espa h3-4/2018`.
    inches
        Width of the picture.
    """
    from entropice_core.dashboard.pictures import layer_of
    from entropice_core.plots.maps import difference_map, map_figure
    from entropice_core.storage.partition import Partition

    library = _library(study)
    layer = layer_of(library, dataset, Partition.parse(partition), variable)
    if minus is not None:
        other = layer_of(library, minus[0], Partition.parse(minus[1]), variable)
        layer = difference_map(layer, other, f"{dataset} {partition} minus {minus[0]} {minus[1]}")
    _write(map_figure(layer, size_inches=inches), out)


@plotting.command
def reliability(model: str, *, out: Out, study: StudyName = None, grid: OneGrid = None) -> None:
    """Draw the reliability diagram of a model, out of fold, before and after calibration."""
    from entropice_core.dashboard import pictures

    library = _library(study)
    _write(pictures.reliability(library, _known(model, library), _grid(grid, library, model)), out)


@plotting.command
def importance(
    model: str, *, out: Out, study: StudyName = None, grid: OneGrid = None, measure: str = "features"
) -> None:
    """Draw which features matter, with their spread over folds.

    Parameters
    ----------
    measure
        features, sources, or what a model says itself, such as feature_weight (eSPA's W).
    """
    from entropice_core.dashboard import pictures

    library = _library(study)
    _write(pictures.importance(library, _known(model, library), _grid(grid, library, model), measure), out)


@plotting.command
def gain(*models: str, out: Out, study: StudyName = None, grid: OneGrid = None) -> None:
    """Draw what share of all slumps is found when the likeliest cells are visited first; all models by default."""
    from entropice_core.dashboard import pictures

    library = _library(study)
    names = [_known(model, library) for model in models] or list(library.study.models)
    _write(pictures.gain(library, names, _grid(grid, library, names[0])), out)


@plotting.command
def coverage(model: str, *, out: Out, study: StudyName = None, grid: OneGrid = None) -> None:
    """Draw how often the conformal sets of a model hold the truth, held out, beside what they promise."""
    from entropice_core.dashboard import pictures

    library = _library(study)
    _write(pictures.coverage(library, _known(model, library), _grid(grid, library, model)), out)


@plotting.command
def trust(model: str, figure: str, *, out: Out, study: StudyName = None, grid: OneGrid = None) -> None:
    """Draw how far a model may be trusted: held-out reliability by class and region, distances, dissimilarity.

    Parameters
    ----------
    figure
        reliability_by, distances or dissimilarity.
    """
    from entropice_core.dashboard import pictures

    library = _library(study)
    _write(pictures.trust_figure(library, _known(model, library), _grid(grid, library, model), figure), out)


@plotting.command(name="precision-recall")
def precision_recall(*models: str, out: Out, study: StudyName = None, grid: OneGrid = None) -> None:
    """Draw precision against recall, out of fold; all models by default."""
    from entropice_core.dashboard import pictures

    library = _library(study)
    names = [_known(model, library) for model in models] or list(library.study.models)
    _write(pictures.precision_recall(library, names, _grid(grid, library, names[0])), out)


def _library(study: str | None) -> "Library":
    from entropice_core.dashboard.library import Library

    loaded, settings = load(study)
    return Library(loaded, settings.model_copy(update={"study": study or settings.study}))


def _known(model: str, library: "Library") -> str:
    if model not in library.study.models:
        raise ConfigError(f"The study has no model {model!r}; {nearest_hint(model, library.study.models)}.")
    return model


def _grid(grid: str | None, library: "Library", model: str) -> str:
    """Take the grid that was named, or the coarsest on which the model was trained."""
    known = library.study.study.grids
    if grid is not None and grid not in known:
        raise ConfigError(f"The study has no grid {grid!r}; {nearest_hint(grid, known)}.")
    return grid or next(iter(library.grids(f"model.{model}")), known[0])


def _write(figure: "Figure", out: Path) -> None:
    from entropice_core.plots.files import write_figure

    say(str(write_figure(figure, out)))
