"""The candidates of a search: all combinations of lists, or parameters drawn at random (Bergstra & Bengio 2012).

Which candidate is best is found in ``search``.
"""

from itertools import product
from typing import Any

import numpy as np

from entropice_core.config import ModelConfig, Range
from entropice_core.training.problem import Params, child_seed

VERSION = "1"
DRAWS_PER_CANDIDATE = 20  # draws before lists that are too short count as exhausted


def list_candidates(config: ModelConfig, seed: int = 0) -> list[Params]:
    """List the parameters of every candidate of a search; of a grid, the last name varies fastest.

    >>> list_candidates(ModelConfig(model="espa", params={"n_init": 4}, search={"eps_w": [0.1, 0.3]}))
    [{'n_init': 4, 'eps_w': 0.1}, {'n_init': 4, 'eps_w': 0.3}]
    >>> list_candidates(ModelConfig(model="knn", search={"n_neighbors": Range(low=5, high=99, log=True)},
    ...                             method="random", n_candidates=3), seed=1)
    [{'n_neighbors': 5}, {'n_neighbors': 16}, {'n_neighbors': 26}]
    """
    if config.method == "grid":
        names, lists = list(config.search), [list(values) for values in config.search.values()]
        return [{**config.params, **dict(zip(names, values, strict=True))} for values in product(*lists)]
    rng = np.random.default_rng(child_seed(seed, "candidates"))
    drawn: dict[str, Params] = {}
    for _ in range(DRAWS_PER_CANDIDATE * config.n_candidates):
        params = {**config.params, **{name: _draw(values, rng) for name, values in config.search.items()}}
        drawn.setdefault(repr(params), params)
        if len(drawn) == config.n_candidates:
            break
    return list(drawn.values())


def _draw(values: Range | list[Any], rng: np.random.Generator) -> Any:
    if not isinstance(values, Range):
        return values[int(rng.integers(len(values)))]
    low, high = float(values.low), float(values.high) + (1.0 if values.is_whole else 0.0)
    found = float(np.exp(rng.uniform(np.log(low), np.log(high))) if values.log else rng.uniform(low, high))
    if values.is_whole:
        return min(int(np.floor(found)), int(values.high))
    return float(f"{found:.4g}")  # what is tried is what is shown
