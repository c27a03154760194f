"""Scores of models, grids and feature sets beside each other, always on the same folds."""
