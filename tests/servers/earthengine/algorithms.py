"""The algorithms of Earth Engine that we use, by NumPy, pyproj and shapely alone: images are functions of a raster."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely
from pyproj import Proj, Transformer

from tests.servers.earthengine.rasters import Bands, EeError, Feature, Image, Raster


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
