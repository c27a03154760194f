"""From labels and features to samples: ``training_set`` joins them, ``folds`` splits them in space.

What a model learns from the samples belongs to ``models`` and ``training``.
"""
