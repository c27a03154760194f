"""From a stored model to probabilities of cells, and to maps of them."""
