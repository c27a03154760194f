"""[target] and [folds]: what a model learns, and how its skill is validated in space and time."""

from typing import Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Bounds, Strict


class TargetConfig(Strict):
    """What a model learns: one inventory's density or count, made into classes.

    ``task``: two classes ("binary"), or ordered classes of counts or densities. Of a binary task, ``positive`` is a
    density above 0 ("presence"), or above the ``quantile`` of all observed cell-years. Of the others the first class
    holds the cells without slumps and the rest is cut into parts of equal size, ``n_classes`` in all, or at the given
    ``edges``. Learned edges come from training folds only and are stored with the model.

    ``weights``: each row counts once ("none"), or by its observed land area ("observed_area").
    """

    inventory: str
    task: Literal["binary", "count_class", "density_class"] = "binary"
    positive: Literal["presence", "density_above_quantile"] = "presence"
    quantile: float = Field(default=0.75, gt=0, lt=1)
    n_classes: int = Field(default=4, ge=3, le=10)
    edges: tuple[float, ...] = ()
    weights: Literal["none", "observed_area"] = "none"
    min_observed_fraction: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _edges_fit(self) -> Self:
        if not self.edges:
            return self
        if self.task == "binary":
            raise ValueError("edges belong to task = 'count_class' or 'density_class'")
        if len(self.edges) + 1 != self.n_classes:
            raise ValueError(f"{len(self.edges)} edges make {len(self.edges) + 1} classes: say so in n_classes")
        if self.edges[0] < 0 or any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"edges {list(self.edges)} must be 0 or more and rise")
        return self

    @property
    def n_learned(self) -> int:
        """Number of classes that a model tells apart."""
        return 2 if self.task == "binary" else self.n_classes


class FoldsConfig(Strict):
    """How skill is validated. Blocks are parent cells; all years of a block stay in one fold.

    ``pixel_degrees``: width of the coarsest source's pixel (ERA5: 0.25); cells whose centres lie in one pixel are never
    on both sides of a fold; 0 for no such source. ``train_until``: the last training year of the temporal hold-out,
    which is reported beside the folds, or is the only one with kind = "temporal". ``regions`` are what is left out
    with kind = "leave_one_region_out"; with other kinds scores are reported for them.
    """

    kind: Literal["spatial_block", "leave_one_region_out", "temporal", "random"] = "spatial_block"
    n_folds: int = Field(default=5, ge=2, le=50)
    inner_folds: int = Field(default=3, ge=2, le=20)
    block_level: dict[Literal["h3", "healpix"], int] = {"h3": 1, "healpix": 3}
    buffer_km: float = Field(default=50.0, ge=0)
    pixel_degrees: float = Field(default=0.25, ge=0, le=10)
    train_until: int | None = Field(default=None, ge=1940, le=2100)
    regions: dict[str, Bounds] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _regions_given(self) -> Self:
        if self.kind == "leave_one_region_out" and len(self.regions) < 2:
            raise ValueError("leave_one_region_out needs at least two regions in [folds.regions]")
        if self.kind == "temporal" and self.train_until is None:
            raise ValueError("kind = 'temporal' needs train_until, the last year to train on")
        return self
