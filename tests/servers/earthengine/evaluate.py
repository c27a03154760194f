"""Evaluates expression graphs of Earth Engine for the algorithms that we use; knows nothing of the code under test."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely

from tests.servers.earthengine.algorithms import ALGORITHMS
from tests.servers.earthengine.images import COLLECTION, EeStoredImage
from tests.servers.earthengine.rasters import NAMES, Bands, EeError, Feature, Image, Raster

SUBPIXELS = 16


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
