"""The command line: one file for each group of commands, found by itself; a new command is a new file."""

from importlib import import_module
from pkgutil import iter_modules


def main() -> None:
    """Run the command line, with the commands of every module of this package."""
    from entropice_core.cli.app import run_app

    for module in sorted(found.name for found in iter_modules(__path__)):
        if not module.startswith("__"):
            import_module(f"{__name__}.{module}")
    run_app()
