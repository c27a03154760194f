"""The command line: one file for each group of commands, found by itself; a new command is a new file.

Other packages add commands by the entry point ``entropice.commands``, which names a module to import.
"""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules


def main() -> None:
    """Run the command line, with the commands of every module of this package and of those that add some."""
    from entropice_core.cli.app import run_app

    for module in sorted(found.name for found in iter_modules(__path__)):
        if not module.startswith("__"):
            import_module(f"{__name__}.{module}")
    for point in entry_points(group="entropice.commands"):
        point.load()
    run_app()
