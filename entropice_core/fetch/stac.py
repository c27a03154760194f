"""Which tiles of a collection a study needs: asked of a STAC service through its usual client.

The client repeats nothing by itself and does not read ``Retry-After``; here every call goes through an adapter that
waits as the server says, within a budget (``patience``). STAC 1.0 items with the projection extension are understood in
both spellings (``proj:code`` and ``proj:epsg``), on the item or on the asset.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entropice_core.errors import RetryableSourceError, SourceError
from entropice_core.fetch.patience import Patience, retry_after_seconds

if TYPE_CHECKING:
    import requests

Box = tuple[float, float, float, float]
AGAIN = {408, 429, 500, 502, 503, 504}
_TIMEOUT_S = (20.0, 60.0)
_PAGE = 250


@dataclass(frozen=True, order=True)
class TileRef:
    """One file of a collection, as its catalogue describes it; what is not said is None.

    ``bbox`` : west, south, east, north in degrees; west is larger than east across 180 degrees.
    ``transform`` : (step x, 0, left, 0, step y, top) of the projection extension.
    """

    id: str
    asset: str
    href: str
    bbox: Box
    crs: str | None = None
    shape: tuple[int, int] | None = None
    transform: tuple[float, ...] | None = None
    size: int | None = None
    sha256: str | None = None


def patient_session(patience: Patience) -> "requests.Session":
    """Give a session that waits and tries again when a server is busy or a connection breaks."""
    import requests
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> "requests.Response":
            waits = patience.begin()
            kwargs["timeout"] = kwargs.get("timeout") or _TIMEOUT_S
            while True:
                try:
                    answer = super().send(request, *args, **kwargs)
                except (requests.ConnectionError, requests.Timeout) as error:
                    waits.again(f"{request.url} did not answer ({type(error).__name__})")
                    continue
                if answer.status_code not in AGAIN:
                    return answer
                answer.close()
                waits.again(f"{request.url} answered {answer.status_code}", retry_after_seconds(answer.headers))

    session = requests.Session()
    session.mount("http://", Patient())
    session.mount("https://", Patient())
    return session


def search_tiles(api: str, collection: str, asset: str, boxes: list[Box], patience: Patience) -> list[TileRef]:
    """List the tiles of a collection that touch one of some boxes, sorted by id, each once.

    Raises
    ------
    SourceError
        When the service has no such collection, an item lacks the asset, or the answer is no STAC.
    RetryableSourceError
        When the service does not answer within the budget.
    """
    found: dict[str, TileRef] = {}
    for item in _items(api, collection, boxes, patience):
        found[str(item["id"])] = _tile_ref(item, asset, collection)
    return [found[name] for name in sorted(found)]


def _items(api: str, collection: str, boxes: list[Box], patience: Patience) -> list[dict[str, Any]]:
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    io = StacApiIO(max_retries=None)
    io.session = patient_session(patience)
    items: list[dict[str, Any]] = []
    try:
        client = Client.open(api, stac_io=io)
        if client.get_collection(collection) is None:
            raise SourceError(f"The catalogue {api} has no collection {collection!r}: check the source's collection.")
        for box in boxes:
            search = client.search(collections=[collection], bbox=box, limit=_PAGE)
            items.extend(dict(item) for item in search.items_as_dicts())
    except APIError as error:
        given_up = error.__cause__ or error.__context__
        if isinstance(given_up, RetryableSourceError):
            raise given_up from error
        status = getattr(error, "status_code", None)
        what = f"answered {status}" if status else f"gave no usable answer ({str(error)[:200]})"
        raise SourceError(
            f"The catalogue {api} {what} for the collection {collection!r}: check api and collection of the source."
        ) from error
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise SourceError(f"The answer of {api} is no STAC ({type(error).__name__}: {error}): check api.") from error
    return items


def _tile_ref(item: Mapping[str, Any], asset: str, collection: str) -> TileRef:
    assets, properties = item.get("assets", {}), item.get("properties", {})
    name = str(item.get("id"))
    if asset not in assets:
        known = ", ".join(sorted(assets)) or "none"
        raise SourceError(f"Item {name!r} of {collection!r} has no asset {asset!r}; it has: {known}.")
    one = assets[asset]
    said = {**properties, **one}  # what an asset says goes before what its item says
    epsg = said.get("proj:epsg")
    shape, transform = said.get("proj:shape"), said.get("proj:transform")
    return TileRef(
        id=name,
        asset=asset,
        href=web_address(str(one["href"])),
        bbox=_flat_box(item.get("bbox"), name),
        crs=said.get("proj:code") or (f"EPSG:{epsg}" if epsg else None),
        shape=(int(shape[0]), int(shape[1])) if shape else None,
        transform=tuple(float(x) for x in transform[:6]) if transform else None,
        size=int(said["file:size"]) if "file:size" in said else None,
        sha256=_sha256_of(said.get("file:checksum")),
    )


def _flat_box(box: Any, name: str) -> Box:
    if not isinstance(box, list) or len(box) not in (4, 6):
        raise SourceError(f"Item {name!r} has the bbox {box!r}; four or six numbers were expected.")
    half = len(box) // 2
    return float(box[0]), float(box[1]), float(box[half]), float(box[half + 1])


def _sha256_of(multihash: str | None) -> str | None:
    """Read a multihash of the file extension: ``1220`` and 64 digits are SHA-256.

    >>> _sha256_of("1220" + "ab" * 32) == "ab" * 32, _sha256_of("d50110" + "0" * 32)
    (True, None)
    """
    match = re.fullmatch(r"1220([0-9a-f]{64})", multihash or "")
    return match.group(1) if match else None


def web_address(href: str) -> str:
    """Turn the address of a public bucket into one for the web.

    >>> web_address("s3://copernicus-dem-30m/a/b.tif")
    'https://copernicus-dem-30m.s3.amazonaws.com/a/b.tif'
    """
    match = re.fullmatch(r"s3://([a-z0-9.-]+)/(.+)", href)
    return f"https://{match.group(1)}.s3.amazonaws.com/{match.group(2)}" if match else href
