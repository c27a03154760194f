"""The ``alphaearth`` kind: yearly embeddings of 64 numbers, from the public files or from Google Earth Engine."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import check_template
from entropice_core.config.sources.base import SourceBase

Part = Literal["mean", "direction", "std"]
ALL_PARTS: tuple[Part, ...] = ("mean", "direction", "std")
FIRST_YEAR = 2017
PIXEL_M = 10
RESOLUTIONS = tuple(PIXEL_M * 2**k for k in range(9))


class AlphaEarthConfig(SourceBase):
    """Which level of detail of which files, where they lie, and what is made of them.

    ``path`` is the list of tiles of a year that ``entropice fetch alphaearth`` writes; the tiles lie beside it.
    ``index`` is the list of all files, parquet or CSV, as both public copies have it. ``resolution_m`` chooses the
    overview of the files that is read: half of it is four times the bytes. ``missing`` lists ids of tiles that the
    server is known not to have. A label's year less ``lag`` is the calendar year of the embeddings.

    With ``route = "earth_engine"`` pixels stay at Google and sums of cells are asked for: ``asset`` is the collection,
    ``project`` the Google Cloud project that is charged (``GOOGLE_CLOUD_PROJECT`` when not given), ``endpoint`` the
    service, ``cells_per_request`` what is tried first. ``index`` and ``missing`` are not looked at then.
    """

    picture_feature: ClassVar[str] = "R"
    only_of_fetching: ClassVar[frozenset[str]] = frozenset({"project", "endpoint", "cells_per_request"})

    kind: Literal["alphaearth"]
    path: str
    index: str = "https://data.source.coop/tge-labs/aef/v1/annual/aef_index.parquet"
    resolution_m: int = 320
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = ALL_PARTS
    missing: tuple[str, ...] = ()
    route: Literal["files", "earth_engine"] = "files"
    asset: str = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
    project: str | None = None
    endpoint: str = "https://earthengine-highvolume.googleapis.com"
    cells_per_request: int = Field(default=500, ge=1, le=1000)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_template("path", self.path, ("data", "year"))
        if "{year" not in self.path or not self.path.endswith(".json"):
            raise ValueError(f"path {self.path!r} must hold {{year}} and end in .json: a list of a year's tiles")
        if not self.index.split("?")[0].endswith((".parquet", ".csv")):
            raise ValueError(f"index {self.index!r} must be the address of a .parquet or .csv file")
        if self.resolution_m not in RESOLUTIONS:
            known = ", ".join(map(str, RESOLUTIONS))
            raise ValueError(f"resolution_m {self.resolution_m} is no level of the files: take one of {known}")
        if not self.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"endpoint {self.endpoint!r} must be an address that begins with https://")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError("parts must differ")
        return self

    @property
    def is_yearly(self) -> bool:
        """True: embeddings are of one calendar year."""
        return True

    @property
    def adds_up_pixels(self) -> bool:
        """True where the pixels come here, and not their sums."""
        return self.route == "files"

    def bounds_of(self, feature: str) -> tuple[float, float]:
        """Give the range in which the values of a feature can lie.

        >>> one = AlphaEarthConfig(kind="alphaearth", title="t", path="{data}/{year}.json")
        >>> one.bounds_of("R"), one.bounds_of("A07_mean"), one.bounds_of("A63_std")
        ((0.0, 1.05), (-1.0, 1.0), (0.0, 1.0))
        """
        if feature == "R":
            return (0.0, 1.05)  # lengths of stored vectors are 1 to about a hundredth
        return (0.0 if feature.endswith("_std") else -1.0, 1.0)
