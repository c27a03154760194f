"""From samples to models whose skill is known.

``nested_cv`` chooses, calibrates and scores in space; ``metrics`` and ``calibrate`` are its yardsticks; ``controls``
show that the skill is real, ``importance`` which features carry it; ``persist`` keeps a model as arrays; ``tracking``
is the only room that talks to MLflow. Making folds belongs to ``dataset``, the models to ``models``.
"""
