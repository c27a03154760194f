"""Run the command line by ``python -m entropice_core.cli``."""

from entropice_core.cli import main

if __name__ == "__main__":
    main()
