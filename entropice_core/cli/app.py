"""What all commands share: the application, how it prints, how it reads a study.

Commands are thin: each calls one core function and prints what it returns. Messages of errors are the sentences of the
exceptions; exit status 1 means that something must be changed by the user, 2 that the command was misspelt, 3 that
``verify`` found damage.
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape

from entropice_core import __version__
from entropice_core.config import Settings, Study, load_study
from entropice_core.errors import ConfigError, EntropiceError, nearest_hint

app = App(
    name="entropice",
    version=__version__,
    default_parameter=Parameter(negative=()),
    help="Calibrated, spatially validated maps of retrogressive thaw slump density in the Arctic.\n\n"
    "Start with `entropice run --preset demo`, look at `entropice status`, then `entropice new my_study.toml`.\n\n"
    "Environment: ENTROPICE_HOME (store and tracking file, default .entropice), ENTROPICE_DATA (input files), "
    "ENTROPICE_STUDY (preset or TOML used when none is named, default demo), ENTROPICE_TRACKING_URI (MLflow).",
)
fetching = App(name="fetch", help="Fetch source files into the data folder that ENTROPICE_DATA names.")
app.command(fetching)
console = Console()
complaints = Console(stderr=True)

StudyName = Annotated[str | None, Parameter(name=["--preset", "--study", "-s"], help="Preset name or path of a TOML.")]
Grids = Annotated[tuple[str, ...], Parameter(name=["--grid", "-g"], help="Only these grids, such as h3-4.")]
Sources = Annotated[tuple[str, ...], Parameter(name=["--source"], help="Only these sources.")]
YearList = Annotated[tuple[int, ...], Parameter(name=["--year", "-y"], help="Only these Arctic years.")]


def run_app() -> None:
    """Run the command line; print an Entropice error as its sentence, without a traceback."""
    try:
        app()
    except EntropiceError as error:
        complain(type(error).__name__, str(error))
    except OSError as error:
        complain("Files", f"{error}: free some space, or let ENTROPICE_HOME name a folder that can be written to.")
    except KeyboardInterrupt:
        complaints.print("Stopped. What was published stays; run the same command again to go on.")
        sys.exit(130)


def complain(kind: str, sentence: str) -> None:
    """Print an error as a sentence and leave with status 1."""
    complaints.print(f"[bold red]{kind}[/]: {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(1)


def say(text: str, *, dim: bool = False) -> None:
    """Print text as it is: brackets in it are no markup, and paths are not folded."""
    console.print(text, highlight=False, markup=False, soft_wrap=not dim, style="dim" if dim else None)


def load(name: str | None) -> tuple[Study, Settings]:
    """Read the study that was named, or that the environment names, and the settings of this machine."""
    settings = Settings.from_environment()
    return load_study(name or settings.study), settings


def checked_grids(grids: tuple[str, ...], study: Study) -> set[str] | None:
    """Return the grids asked for, or None for all; a grid that the study lacks is refused."""
    for key in grids:
        if key not in study.study.grids:
            hint = nearest_hint(key, study.study.grids)
            raise ConfigError(f"Grid {key!r} is not in study {study.study.name!r}; {hint}.")
    return set(grids) or None


def checked_years(years: tuple[int, ...], study: Study) -> set[int] | None:
    """Return the years asked for, or None for all; a year that the study lacks is refused."""
    known = study.study.years
    for year in years:
        if year not in known.offered():
            raise ConfigError(
                f"Year {year} is not in study {study.study.name!r}: it has {known.first}-{known.offered()[-1]}; "
                "change [study] years in the TOML."
            )
    return set(years) or None


def data_folder(settings: Settings) -> Path:
    """Return the folder that files are fetched into."""
    if settings.data is None:
        raise ConfigError("ENTROPICE_DATA is not set: set it to the folder that the files are to be fetched into.")
    if not settings.data.is_dir():
        raise ConfigError(f"ENTROPICE_DATA names {settings.data}, which is not a folder: make it, or name another one.")
    return settings.data
