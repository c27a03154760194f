"""Models: one file each, found by name through ``entropice_core.registry.MODELS``.

``base`` says what a model module must offer, ``preprocess`` is the imputation and scaling that all of them share.
A new model is one file here and one line in the registry; ``tests/contracts/test_every_model.py`` then tests it.
Nothing about folds, calibration or files belongs here: that is ``entropice_core.training``.
"""
