"""Assets, one module per room of the science; ``factory`` makes each from a product of the pipeline."""
