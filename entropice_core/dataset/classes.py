"""Classes of RTS density or count: their edges, learned on training rows only, and back from classes to a density.

Most cells hold no slump and the rest are skewed over four orders of magnitude, so a model learns ordered classes: none,
and quantiles of what is not zero. Edges must never see a test row, hence they are learned anew in each fold, and those
of the final model are stored with it. How to plug it in::

    classes = learn_classes(train_density, rule="quantiles", n_classes=4)       # inside a fold, training rows only
    model.fit(X_train, classes.apply(train_density))                            # int64, 0 .. n_classes - 1
    truth = classes.apply(test_density)                                         # the fold's own edges
    mean, low, high = expected_density(model.predict_proba(X_test), classes)    # m2 m-2
    json.dumps(classes.to_dict()); ClassEdges.from_dict(...)                    # beside the final model

For classes of counts pass ``learn_classes(train_count, quantity="count", density=train_density, ...)``; the expected
density works for them, and for presence (``rule="presence"``, two classes), in the same way. ``rule="above_quantile"``
is the two-class target with the edge at a quantile of all rows. What a model is, is not known here.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SchemaError, TrainingError, nearest_hint

VERSION = "1"

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Quantity = Literal["density", "count"]
Rule = Literal["presence", "above_quantile", "quantiles", "given"]

KNOTS = 101
"""The distribution of densities inside a class is kept as this many quantiles, 0 to 1 in even steps."""
_BLOCK = 20_000


@dataclass(frozen=True)
class ClassEdges:
    """Ordered classes: class k holds the values with ``edges[k - 1] < value <= edges[k]``.

    Attributes
    ----------
    edges : tuple of float, (n_classes - 1,), increasing
        In m2 m-2, or slumps per cell. A first edge of 0 keeps the cells without slumps in a class of their own.
    quantity : "density" or "count"
    n_rows : tuple of int, (n_classes,)
        Training rows in each class.
    mean_density : tuple of float, (n_classes,), m2 m-2
        Mean density of the training rows of each class.
    density_quantiles : tuple of tuples of float, (n_classes, KNOTS), m2 m-2
        How densities are spread inside each class.

    Examples
    --------
    >>> classes = learn_classes([0, 0, 0, 0, 1, 2, 3, 4], rule="quantiles", n_classes=3)
    >>> classes.edges, classes.apply([0, 1, 2, 3, 99]).tolist(), classes.mean_density
    ((0.0, 2.0), [0, 1, 1, 2, 2], (0.0, 1.5, 3.5))
    >>> classes.names()
    ['0', '> 0 to 2', '> 2']
    """

    edges: tuple[float, ...]
    quantity: Quantity
    n_rows: tuple[int, ...]
    mean_density: tuple[float, ...]
    density_quantiles: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        _check_edges(self.edges)
        if self.quantity not in get_args(Quantity):
            raise SchemaError(f"Classes of {self.quantity!r}: {nearest_hint(self.quantity, get_args(Quantity))}.")
        per_class = {len(self.n_rows), len(self.mean_density), len(self.density_quantiles)}
        if per_class != {self.n_classes}:
            raise SchemaError(
                f"{len(self.edges)} class edges make {self.n_classes} classes, but there are {len(self.n_rows)} row "
                f"counts, {len(self.mean_density)} means and {len(self.density_quantiles)} spreads."
            )

    @property
    def n_classes(self) -> int:
        """One more than there are edges."""
        return len(self.edges) + 1

    def apply(self, values: npt.ArrayLike) -> Int64:
        """Give the class of each value: (n,) finite -> (n,) int64, 0 to n_classes - 1."""
        numbers = _finite(values, f"The {self.quantity} to be put into classes")
        return np.searchsorted(np.array(self.edges), numbers, side="left").astype(np.int64)

    def names(self) -> list[str]:
        """Name the classes by their edges, for tables and legends."""
        return [_name(self.edges, k) for k in range(self.n_classes)]

    def to_dict(self) -> dict[str, Any]:
        """Give plain lists and numbers, for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` gave, also after a trip through JSON."""
        missing = sorted(set(cls.__dataclass_fields__) ^ set(stored))
        if missing:
            raise SchemaError(f"Stored class edges lack or do not know {', '.join(missing)}; train the model again.")
        return cls(
            edges=tuple(float(edge) for edge in stored["edges"]),
            quantity=stored["quantity"],
            n_rows=tuple(int(n) for n in stored["n_rows"]),
            mean_density=tuple(float(mean) for mean in stored["mean_density"]),
            density_quantiles=tuple(tuple(float(q) for q in row) for row in stored["density_quantiles"]),
        )


def learn_classes(
    values: npt.ArrayLike,
    *,
    rule: Rule,
    quantity: Quantity = "density",
    density: npt.ArrayLike | None = None,
    n_classes: int = 4,
    quantile: float = 0.75,
    edges: tuple[float, ...] = (),
) -> ClassEdges:
    """Learn class edges, and the densities inside each class, from training rows.

    Parameters
    ----------
    values : (n,) finite, >= 0
        What is put into classes: densities in m2 m-2, or counts.
    rule : how edges are found
        ``presence``: 0. ``above_quantile``: the ``quantile`` of all rows. ``quantiles``: 0, and those quantiles of the
        values above 0 that make ``n_classes`` in all; where values tie, as counts do, the next distinct values are
        taken, so that every fold has the same number of classes. ``given``: ``edges`` as they are.
    quantity : "density" or "count"
    density : (n,) float, m2 m-2
        Densities of the same rows, when ``values`` are counts.
    n_classes, quantile, edges : see ``rule``

    Raises
    ------
    TrainingError
        When the rows cannot make that many classes, or a class has no training row.
    """
    numbers = _finite(values, f"The training {quantity}")
    densities = numbers if density is None else _finite(density, "The training density")
    if densities.shape != numbers.shape:
        raise SchemaError(f"There are {densities.size} densities for {numbers.size} values: give one for each row.")
    if quantity == "count" and density is None:
        raise SchemaError("Classes of counts need the densities of the same rows: pass density=.")
    if (numbers < 0.0).any():
        raise SchemaError(f"{int((numbers < 0).sum())} of {numbers.size} values are negative: no {quantity} can be.")
    chosen = _find_edges(numbers, rule, n_classes, quantile, edges)
    _check_edges(chosen)
    return _with_densities(chosen, quantity, numbers, densities)


class Expected(NamedTuple):
    """A density and its interval, each (n,) float64 in m2 m-2."""

    mean: Float64
    low: Float64
    high: Float64


def expected_density(probabilities: npt.ArrayLike, classes: ClassEdges, coverage: float = 0.9) -> Expected:
    """Turn class probabilities into the expected density and the interval in which the density lies.

    The predicted distribution is the mixture of the densities of the training rows in each class, weighted by the
    probabilities. Its mean is ``sum_k p_k m_k``; the interval leaves out (1 - coverage) / 2 on either side. It is the
    interval of the density of a cell, not of the mean, and as good as the probabilities are calibrated.

    Parameters
    ----------
    probabilities : (n, n_classes) float
        Rows sum to 1; a row with NaN (a cell without features) gives NaN.
    classes : ClassEdges
        Those that the model was trained with.
    coverage : share of cells whose density should lie inside

    Examples
    --------
    >>> classes = learn_classes([0, 0, 0, 0, 0.01, 0.02, 0.03], rule="presence")
    >>> [part.round(3).tolist() for part in expected_density([[1.0, 0.0], [0.5, 0.5]], classes)]
    [[0.0, 0.01], [0.0, 0.0], [0.0, 0.028]]
    """
    p = _checked_probabilities(probabilities, classes)
    if not 0.0 < coverage < 1.0:
        raise SchemaError(f"The coverage of an interval lies between 0 and 1; got {coverage}.")
    knots = np.array(classes.density_quantiles)
    values = np.unique(knots)
    reached = np.array([_cdf(row, values, "right") for row in knots])
    before = np.array([_cdf(row, values, "left") for row in knots])
    bounds = np.empty((2, len(p)))
    for start in range(0, len(p), _BLOCK):  # all cells of a fine grid at once would need gigabytes
        part = p[start : start + _BLOCK]
        for bound, level in zip(bounds, ((1.0 - coverage) / 2.0, (1.0 + coverage) / 2.0), strict=True):
            bound[start : start + _BLOCK] = _quantile(part @ reached, part @ before, values, level)
    return Expected(p @ np.array(classes.mean_density), bounds[0], bounds[1])


def _find_edges(
    values: Float64, rule: Rule, n_classes: int, quantile: float, given: tuple[float, ...]
) -> tuple[float, ...]:
    match rule:
        case "presence":
            return (0.0,)
        case "above_quantile":
            return (float(np.quantile(values, quantile)),)
        case "quantiles":
            return (0.0, *_quantiles_of_distinct(values[values > 0.0], n_classes - 1))
        case "given":
            return tuple(float(edge) for edge in given)
    raise SchemaError(f"There is no rule {rule!r} for class edges; {nearest_hint(rule, get_args(Rule))}.")


def _quantiles_of_distinct(positive: Float64, n_parts: int) -> tuple[float, ...]:
    """Cut positive values into parts of about equal size, each with at least one distinct value."""
    distinct, n = np.unique(positive, return_counts=True)
    if n_parts < 1:
        raise SchemaError("quantiles need n_classes of 2 or more: one for zero, and one above it.")
    if distinct.size < n_parts:
        raise TrainingError(
            f"{positive.size} training rows above zero hold {distinct.size} distinct values, which cannot make "
            f"{n_parts} classes: ask for fewer classes, or give edges."
        )
    reached = np.cumsum(n) / positive.size
    edges: list[float] = []
    at = -1
    for part in range(1, n_parts):
        wanted = int(np.searchsorted(reached, part / n_parts - 1e-12))
        at = min(max(wanted, at + 1), distinct.size - 1 - (n_parts - part))
        edges.append(float(distinct[at]))
    return tuple(edges)


def _with_densities(edges: tuple[float, ...], quantity: Quantity, values: Float64, densities: Float64) -> ClassEdges:
    of_row = np.searchsorted(np.array(edges), values, side="left")
    inside = [densities[of_row == k] for k in range(len(edges) + 1)]
    for k, found in enumerate(inside):
        if not found.size:
            raise TrainingError(
                f"Class {k} of {len(inside)} ({quantity} {_name(edges, k)}) has none of the {values.size} "
                "training rows: take other edges, fewer classes, or larger folds."
            )
    levels = np.linspace(0.0, 1.0, KNOTS)
    return ClassEdges(
        edges=edges,
        quantity=quantity,
        n_rows=tuple(int(found.size) for found in inside),
        mean_density=tuple(float(found.mean()) for found in inside),
        density_quantiles=tuple(tuple(np.quantile(found, levels).tolist()) for found in inside),
    )


def _check_edges(edges: tuple[float, ...]) -> None:
    numbers = np.array(edges, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all() or (np.diff(numbers) <= 0.0).any() or numbers[0] < 0.0:
        raise SchemaError(f"Class edges must be one or more numbers >= 0 in increasing order; got {list(edges)}.")


def _checked_probabilities(probabilities: npt.ArrayLike, classes: ClassEdges) -> Float64:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != classes.n_classes:
        raise SchemaError(f"Probabilities of shape {p.shape} do not fit {classes.n_classes} classes: one column each.")
    known = np.isfinite(p).all(axis=1)
    wrong = known & ((np.abs(p.sum(axis=1) - 1.0) > 1e-6) | (p < -1e-12).any(axis=1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise SchemaError(
            f"{int(wrong.sum())} rows of probabilities do not sum to 1, the first is row {row}: {p[row]}."
        )
    return p


def _cdf(knots: Float64, at: Float64, side: Literal["left", "right"]) -> Float64:
    """Share of a class at or below (right), or below (left), each value: (KNOTS,), (m,) -> (m,)."""
    below = np.searchsorted(knots, at, side=side)
    inside = np.clip(below, 1, knots.size - 1)
    width = knots[inside] - knots[inside - 1]
    part = np.divide(at - knots[inside - 1], width, out=np.ones(at.size), where=width > 0.0)
    share = (inside - 1 + np.clip(part, 0.0, 1.0)) / (knots.size - 1)
    return np.where(below == 0, 0.0, np.where(below == knots.size, 1.0, share))


def _quantile(reached: Float64, before: Float64, values: Float64, level: float) -> Float64:
    """Smallest value at which each row of a distribution reaches a level: (n, m) -> (n,).

    ``reached`` is the share at or below each value, ``before`` the share below it; they differ where many cells have
    one density (none, or a capped one). Between values the distribution rises along a line.
    """
    row = np.arange(len(reached))
    at = np.minimum((reached < level - 1e-12).sum(axis=1), values.size - 1)
    last = np.maximum(at - 1, 0)
    rise = before[row, at] - reached[row, last]
    part = np.divide(level - reached[row, last], rise, out=np.ones(len(reached)), where=(rise > 0.0) & (at > 0))
    found = values[last] + np.clip(part, 0.0, 1.0) * (values[at] - values[last])
    return np.where(np.isfinite(reached).all(axis=1), found, np.nan)


def _finite(values: npt.ArrayLike, what: str) -> Float64:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise SchemaError(
            f"{what} must be one finite number for each row; got shape {numbers.shape} with "
            f"{int((~np.isfinite(numbers)).sum())} that are not finite: keep observed rows only."
        )
    return numbers


def _name(edges: tuple[float, ...], k: int) -> str:
    """Name class k by its edges."""
    if k == 0:
        return "0" if edges[0] == 0.0 else f"up to {edges[0]:.3g}"
    return f"> {edges[k - 1]:.3g}" + (f" to {edges[k]:.3g}" if k < len(edges) else "")
