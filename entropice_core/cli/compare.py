"""The command that compares models, grids, feature sets and tasks, within a study and across studies."""

from pathlib import Path
from typing import TYPE_CHECKING

from entropice_core.cli.app import app, load, say
from entropice_core.storage.partition import Partition

if TYPE_CHECKING:
    from entropice_core.comparison.paired import Entry


@app.command
def compare(*studies: str, out: Path | None = None) -> None:
    """Compare published models on the same places: paired differences in skill with corrected intervals.

    Within a study models, grids and levels are compared; between studies, what differs in them (features, task, years).
    Build the models first: `entropice build model --study NAME`.

    Parameters
    ----------
    studies
        Presets or TOML files; without any, the study that ENTROPICE_STUDY names.
    out
        Folder for pairs.csv and pairs.png; without it they are only printed.
    """
    from entropice_core.comparison.paired import compare_pairs, pairs_in_words, write_pairs

    entries = [entry for name in studies or (None,) for entry in _entries(name)]
    title = ", ".join(sorted({entry.study for entry in entries}))
    say(f"{len(entries)} models on grids; differences in log loss skill, 95 % intervals by Nadeau & Bengio (2003):\n")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        pairs = write_pairs(out, entries, title)
    else:
        pairs = compare_pairs(entries)
    for line in pairs_in_words(pairs) or ["Nothing differs in one thing only: there is no pair to compare."]:
        say(line)
    if out is not None:
        say(f"\nWritten to {out}: pairs.csv, pairs.png")


def _entries(name: str | None) -> list["Entry"]:
    from entropice_core.comparison.paired import read_entry
    from entropice_core.pipeline.product import Context

    study, settings = load(name)
    store = Context(study, settings).store
    return [
        read_entry(store.path(f"model.{model}", Partition(grid)), study.study.name)
        for grid in study.study.grids
        for model in study.models
    ]
