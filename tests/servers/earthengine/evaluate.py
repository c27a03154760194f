"""Evaluates expression graphs of Earth Engine for the algorithms that we use, by NumPy, pyproj and shapely alone.

An image is a function from a raster to bands; nothing is known of the code under test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from pyproj import Proj, Transformer

from tests.servers.earthengine.images import COLLECTION, EeStoredImage

NAMES = [f"A{band:02d}" for band in range(64)]
SUBPIXELS = 16


class EeError(Exception):
    """What the service says about an expression that it does not compute."""


@dataclass(frozen=True)
class Raster:
    """Pixels that are asked for: ``x``, ``y`` of the centres along columns and rows."""

    crs: str
    step_x: float
    step_y: float
    left: float
    top: float
    shape: tuple[int, int]

    @property
    def x(self) -> np.ndarray:
        return self.left + (np.arange(self.shape[1]) + 0.5) * self.step_x

    @property
    def y(self) -> np.ndarray:
        return self.top + (np.arange(self.shape[0]) + 0.5) * self.step_y

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.meshgrid(self.x, self.y)
        return Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(x, y)


@dataclass(frozen=True)
class Bands:
    """(bands, rows, columns) values and masks."""

    names: list[str]
    values: np.ndarray
    mask: np.ndarray


Image = Callable[[Raster], Bands]


@dataclass
class Feature:
    geometry: Any
    crs: str
    properties: dict[str, Any] = field(default_factory=dict)


def evaluate(expression: Mapping[str, Any], images: Sequence[EeStoredImage], limit: Callable[..., None]) -> Any:
    """The value of an expression; ``limit(cells, pixels, bands, tile_scale)`` may refuse a reduction."""
    return _Evaluator(expression["values"], images, limit).value(expression["values"][expression["result"]], {})


class _Evaluator:
    def __init__(self, values: Mapping[str, Any], images: Sequence[EeStoredImage], limit: Callable[..., None]) -> None:
        self.values, self.images, self.limit = values, {image.id: image for image in images}, limit
        self.loaded: list[EeStoredImage] = []
        self.known: dict[str, Any] = {}

    def value(self, node: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
        ((kind, content),) = node.items()
        if kind not in self.kinds:
            raise EeError(f"Unknown kind of node {kind}.")
        return self.kinds[kind](content, scope)

    @property
    def kinds(self) -> dict[str, Callable[..., Any]]:
        return {
            "constantValue": lambda content, _: content,
            "integerValue": lambda content, _: int(content),
            "arrayValue": lambda content, scope: [self.value(each, scope) for each in content["values"]],
            "dictionaryValue": lambda content, scope: self._dictionary(content["values"], scope),
            "argumentReference": lambda content, scope: scope[content],
            "valueReference": self._reference,
            "functionDefinitionValue": self._definition,
            "functionInvocationValue": lambda content, scope: self.call(
                content["functionName"], self._dictionary(content["arguments"], scope)
            ),
        }

    def _dictionary(self, content: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.value(each, scope) for key, each in content.items()}

    def _reference(self, name: str, scope: Mapping[str, Any]) -> Any:
        if scope:
            return self.value(self.values[name], scope)
        if name not in self.known:
            self.known[name] = self.value(self.values[name], scope)
        return self.known[name]

    def _definition(self, content: Mapping[str, Any], scope: Mapping[str, Any]) -> Callable[..., Any]:
        names, body = content["argumentNames"], self.values[content["body"]]
        return lambda *given: self.value(body, {**scope, **dict(zip(names, given, strict=True))})

    def call(self, name: str, given: dict[str, Any]) -> Any:
        if name == "Image.load":
            return self._load(given["id"])
        if name == "Image.reduceRegions":
            return self._reduce_regions(**given)
        if name == "ImageCollection.load":
            if given["id"] != COLLECTION:
                raise EeError(f"ImageCollection.load: ImageCollection asset '{given['id']}' not found.")
            return [(image, NAMES) for image in self.images.values()]
        if name == "Collection.map":
            return [given["baseAlgorithm"](each) for each in given["collection"]]
        if name not in ALGORITHMS:
            raise EeError(f"{name}: not in this stand-in.")
        return ALGORITHMS[name](**given)

    def _load(self, asset: str) -> Image:
        if asset not in self.images:
            raise EeError(
                f"Image.load: Image asset '{asset}' not found (does not exist or caller does not have access)."
            )
        stored = self.images[asset]
        self.loaded.append(stored)
        return lambda raster: _read(stored, raster)

    def _reduce_regions(
        self,
        image: Image,
        collection: list[Feature],
        reducer: dict[str, Any],
        crs: str,
        crsTransform: list[float],  # noqa: N803 - as the service spells it
        tileScale: float = 1,  # noqa: N803
    ) -> list[Feature]:
        a, _, left, _, e, top = crsTransform
        stored = self.loaded[-1]
        if stored.crs != crs:
            raise EeError("This stand-in reduces an image on its own raster only.")
        factor = round(abs(a) / 10)
        _, rows, columns = stored.levels[factor].shape
        raster = Raster(crs, a, e, left, top, (rows, columns))
        bands = image(raster)
        self.limit(len(collection), rows * columns, len(bands.names), tileScale)
        return [_reduced(bands, raster, feature, reducer["weighted"]) for feature in collection]


def _read(stored: EeStoredImage, raster: Raster) -> Bands:
    """The level whose pixels are asked for; no pixel is moved."""
    factor = round(abs(raster.step_x) / 10)
    if stored.crs != raster.crs or factor not in stored.levels or abs(raster.step_x) != 10 * factor:
        raise EeError("This stand-in has no level of that size.")
    level = stored.levels[factor]
    if (raster.left, raster.top, raster.shape) != (stored.west, stored.south, level.shape[1:]):
        raise EeError("This stand-in reads pixels where they are only.")
    return Bands(list(NAMES), np.nan_to_num(level), np.isfinite(level))


def _reduced(bands: Bands, raster: Raster, feature: Feature, weighted: bool) -> Feature:
    """Sums of one region: by pixel centres, or by shares of pixels in steps of 1/256."""
    if feature.crs != raster.crs:
        raise EeError("This stand-in knows regions in the raster's coordinate system only.")
    west, south, east, north = feature.geometry.bounds
    columns = _between(raster.x, west, east, raster.step_x)
    rows = _between(raster.y, south, north, raster.step_y)
    share = _share(feature.geometry, raster, rows, columns, weighted)
    part = (slice(None), rows, columns)
    sums = (bands.values[part] * bands.mask[part] * share).sum(axis=(1, 2))
    found = {name: float(sums[i]) for i, name in enumerate(bands.names)}
    return Feature(feature.geometry, feature.crs, {**feature.properties, **found})


def _between(centres: np.ndarray, low: float, high: float, step: float) -> slice:
    half = abs(step) / 2
    inside = np.flatnonzero((centres + half > low) & (centres - half < high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def _share(region: Any, raster: Raster, rows: slice, columns: slice, weighted: bool) -> np.ndarray:
    n = SUBPIXELS if weighted else 1
    offset = (np.arange(n) + 0.5) / n - 0.5
    x = (raster.x[columns][:, None] + offset * raster.step_x).ravel()
    y = (raster.y[rows][:, None] + offset * raster.step_y).ravel()
    shapely.prepare(region)
    inside = shapely.contains_xy(region, *np.meshgrid(x, y))
    return inside.reshape(len(y) // n, n, len(x) // n, n).mean(axis=(1, 3))


# --- algorithms ------------------------------------------------------------------------------------------------------


def _constant(value: float) -> Image:
    def image(raster: Raster) -> Bands:
        made = np.full((1, *raster.shape), float(value))
        return Bands(["constant"], made, np.ones_like(made, dtype=bool))

    return image


def _layers(names: list[str], make: Callable[[Raster], Sequence[np.ndarray]]) -> Image:
    def image(raster: Raster) -> Bands:
        made = np.array(make(raster), dtype=float)
        return Bands(names, made, np.ones_like(made, dtype=bool))

    return image


def _true_area(raster: Raster) -> np.ndarray:
    lon, lat = raster.lonlat()
    return abs(raster.step_x * raster.step_y) / Proj(raster.crs).get_factors(lon, lat).areal_scale


def _in_projection(projection: str) -> Image:
    def make(raster: Raster) -> Sequence[np.ndarray]:
        return Transformer.from_crs("EPSG:4326", projection, always_xy=True).transform(*raster.lonlat())

    return _layers(["x", "y"], make)


def _two(operation: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Image]:
    def algorithm(image1: Any, image2: Any) -> Image:
        def image(raster: Raster) -> Bands:
            one, two = (each(raster) if callable(each) else _constant(each)(raster) for each in (image1, image2))
            if len(one.names) != len(two.names) and 1 not in (len(one.names), len(two.names)):
                raise EeError("Images must have the same number of bands, or one of them one.")
            names = one.names if len(one.names) >= len(two.names) else two.names
            return Bands(names, operation(one.values, two.values).astype(float), one.mask & two.mask)

        return image

    return algorithm


def _one(operation: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Image]:
    def algorithm(value: Image) -> Image:
        def image(raster: Raster) -> Bands:
            one = value(raster)
            return Bands(one.names, operation(one.values).astype(float), one.mask)

        return image

    return algorithm


def _select(input: Any, bandSelectors: list[str]) -> Any:  # noqa: A002, N803
    if isinstance(input, tuple):  # an image of the collection that is only described
        return input[0], [name for name in bandSelectors if name in input[1]]

    def image(raster: Raster) -> Bands:
        one = input(raster)
        at = [one.names.index(name) for name in bandSelectors]
        return Bands(list(bandSelectors), one.values[at], one.mask[at])

    return image


def _mask(image: Image) -> Image:
    def made(raster: Raster) -> Bands:
        one = image(raster)
        return Bands(one.names, one.mask.astype(float), np.ones_like(one.mask))

    return made


def _update_mask(image: Image, mask: Image) -> Image:
    def made(raster: Raster) -> Bands:
        one, other = image(raster), mask(raster)
        return Bands(one.names, one.values, one.mask & other.mask & (other.values > 0))

    return made


def _rename(input: Image, names: list[str]) -> Image:  # noqa: A002
    def image(raster: Raster) -> Bands:
        one = input(raster)
        return Bands(list(names), one.values, one.mask)

    return image


def _add_bands(dstImg: Image, srcImg: Image) -> Image:  # noqa: N803
    def image(raster: Raster) -> Bands:
        one, two = dstImg(raster), srcImg(raster)
        if set(one.names) & set(two.names):
            raise EeError("Bands of the same name.")
        values, mask = np.concatenate([one.values, two.values]), np.concatenate([one.mask, two.mask])
        return Bands([*one.names, *two.names], values, mask)

    return image


def _select_properties(input: Feature, propertySelectors: list[str], retainGeometry: bool = True, **_: Any) -> Feature:  # noqa: A002, N803
    kept = {name: input.properties[name] for name in propertySelectors if name in input.properties}
    return Feature(input.geometry if retainGeometry else None, input.crs, kept)


def _polygon(coordinates: Any, crs: str = "EPSG:4326", geodesic: bool = True, **_: Any) -> tuple[Any, str]:
    if geodesic:
        raise EeError("This stand-in knows plane edges only.")
    return shapely.Polygon(coordinates[0]), crs


def _rectangle(coordinates: Any, crs: str = "EPSG:4326", geodesic: bool = True, **_: Any) -> tuple[Any, str]:
    if geodesic:
        raise EeError("This stand-in knows plane edges only.")
    (west, south), (east, north) = (
        coordinates if isinstance(coordinates[0], list) else (coordinates[:2], coordinates[2:])
    )
    return shapely.box(west, south, east, north), crs


def _filter(collection: list[Any], filter: Callable[[Any], bool]) -> list[Any]:  # noqa: A002
    return [each for each in collection if filter(each)]


def _in_years(leftValue: Any, rightField: str) -> Callable[[Any], bool]:  # noqa: N803
    assert rightField == "system:time_start"
    return lambda each: leftValue[0] <= f"{each[0].year}-01-01" < leftValue[1]


def _touches(leftField: str, rightValue: Any) -> Callable[[Any], bool]:  # noqa: N803
    assert leftField == ".all"
    region = rightValue.geometry if isinstance(rightValue, Feature) else rightValue[0]

    def test(each: Any) -> bool:
        stored = each[0]
        _, rows, columns = stored.levels[1].shape
        lon, lat = Raster(stored.crs, 10, 10, stored.west, stored.south, (rows, columns)).lonlat()
        return bool(shapely.contains_xy(region, lon.ravel()[::97], lat.ravel()[::97]).any())

    return test


ALGORITHMS: dict[str, Callable[..., Any]] = {
    "Image.constant": _constant,
    "Image.select": _select,
    "Image.rename": _rename,
    "Image.addBands": _add_bands,
    "Image.mask": _mask,
    "Image.updateMask": _update_mask,
    "Image.pixelArea": lambda: _layers(["area"], lambda raster: [_true_area(raster)]),
    "Image.pixelLonLat": lambda: _layers(["longitude", "latitude"], lambda raster: raster.lonlat()),
    "Image.pixelCoordinates": _in_projection,
    "Image.add": _two(np.add),
    "Image.subtract": _two(np.subtract),
    "Image.multiply": _two(np.multiply),
    "Image.mod": _two(np.fmod),
    "Image.lt": _two(np.less),
    "Image.lte": _two(np.less_equal),
    "Image.gte": _two(np.greater_equal),
    "Image.and": _two(lambda a, b: (a != 0) & (b != 0)),
    "Image.or": _two(lambda a, b: (a != 0) | (b != 0)),
    "Image.abs": _one(np.abs),
    "Image.not": _one(lambda a: a == 0),
    "Projection": lambda crs: crs,
    "Reducer.sum": lambda: {"weighted": True},
    "Reducer.unweighted": lambda reducer: {**reducer, "weighted": False},
    "GeometryConstructors.Polygon": _polygon,
    "GeometryConstructors.Rectangle": _rectangle,
    "Feature": lambda geometry, metadata=None: Feature(*geometry, dict(metadata or {})),
    "Collection": lambda features: features,
    "Collection.filter": _filter,
    "Feature.select": _select_properties,
    "DateRange": lambda start, end: (start, end),
    "Filter.dateRangeContains": _in_years,
    "Filter.intersects": _touches,
}
