"""Which variables tell where slumps are, and whether that is stable."""
