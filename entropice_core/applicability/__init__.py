"""Where a model may be believed: how unlike the training cells a cell is, and how far away they are."""
