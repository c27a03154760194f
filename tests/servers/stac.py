"""A STAC service and its files on this machine, in the layout of the Polar Geospatial Center.

Catalogue, collections, items and search answer as documents of that server do (STAC 1.0, projection extension, paging
by POST with a token); files are served by byte ranges with ETags. Faults are told per path: how often to answer with
which status and ``Retry-After``, after how many bytes to cut the connection, whether ranges are known, other bytes.
"""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine

from entropice_core.features.tiles import Tile

COLLECTION = "arcticdem-mosaics-v4.1-32m"


def write_cog(path: Path, tile: Tile, z: np.ndarray, nodata: float | None = -9999.0, block: int = 512) -> None:
    """Write heights as a tiled GeoTIFF with overviews, float32 and LZW."""
    transform = Affine(tile.step_x, 0.0, tile.left, 0.0, tile.step_y, tile.top)
    stored = z if nodata is None or z.dtype.kind != "f" else np.where(np.isnan(z), nodata, z).astype(np.float32)
    profile = {"driver": "GTiff", "count": 1, "dtype": stored.dtype, "compress": "lzw", "nodata": nodata}
    if min(z.shape) >= block:
        profile |= {"tiled": True, "blockxsize": block, "blockysize": block}
    with rasterio.open(
        path, "w", height=z.shape[0], width=z.shape[1], crs=tile.crs.to_wkt(), transform=transform, **profile
    ) as file:
        file.write(stored, 1)
        file.build_overviews([2, 4], Resampling.average)


@dataclass
class Fault:
    """What goes wrong with a path. ``statuses`` are given one after the other before the answer is right."""

    statuses: list[int] = field(default_factory=list)
    retry_after: str | None = None
    cut_after: list[int] = field(default_factory=list)
    no_ranges: bool = False
    body: list[bytes] = field(default_factory=list)


@dataclass
class StacServer:
    """Serves a folder of GeoTIFFs as one collection. Use as a context manager."""

    folder: Path
    collection: str = COLLECTION
    asset: str = "dem"
    with_checksums: bool = False
    epsg_spelling: bool = False
    page: int = 2
    faults: dict[str, Fault] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> "StacServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self, None)

            def do_POST(self) -> None:
                server.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def api(self) -> str:
        return f"{self.root}/api/v1/"

    # --- answering ---------------------------------------------------------------------------------------------------

    def answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> None:
        path = urlsplit(request.path).path
        self.calls[path] += 1
        fault = self.faults.get(path, Fault())
        if fault.statuses:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return self._send(request, fault.statuses.pop(0), b"busy", headers)
        if path.startswith("/files/"):
            return self._file(request, self.folder / path.removeprefix("/files/"), fault)
        found = self._document(path, body)
        if found is None:
            return self._send(request, 404, b'{"code": "NotFoundError"}', {})
        return self._send(request, 200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def _file(self, request: BaseHTTPRequestHandler, path: Path, fault: Fault) -> None:
        if not path.is_file():
            return self._send(request, 404, b"<Error><Code>NoSuchKey</Code></Error>", {})
        data = fault.body.pop(0) if fault.body else path.read_bytes()
        headers = {"ETag": f'"{md5(data, usedforsecurity=False).hexdigest()}"', "Accept-Ranges": "bytes"}
        asked, same = request.headers.get("Range"), request.headers.get("If-Range")
        self.ranges.append(f"{path.name} {asked}")
        status, start, stop = 200, 0, len(data)
        if asked and not fault.no_ranges and same in (None, headers["ETag"]):
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
            if start >= len(data):
                return self._send(request, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{len(data)}"
        part = data[start:stop]
        if fault.cut_after:
            request.send_response(status)
            for name, value in {"Content-Length": str(len(part)), **headers}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(part[: fault.cut_after.pop(0)])
            request.wfile.flush()
            request.close_connection = True
            return None
        return self._send(request, status, part, headers)

    # --- documents ---------------------------------------------------------------------------------------------------

    def _document(self, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        name = path.removeprefix("/api/v1").strip("/")
        if name == "":
            return self._root()
        if name == "collections":
            return {"collections": [self._collection()], "links": [self._link("self", "collections")]}
        if name == f"collections/{self.collection}":
            return self._collection()
        if name == "search" and body is not None:
            return self._search(body)
        return None

    def _link(self, rel: str, path: str = "", **more: Any) -> dict[str, Any]:
        return {"rel": rel, "href": f"{self.api}{path}", "type": "application/json", **more}

    def _root(self) -> dict[str, Any]:
        searches = [self._link("search", "search", method=method, title="STAC search") for method in ("GET", "POST")]
        return {
            "type": "Catalog",
            "id": "pgc-data-stac",
            "stac_version": "1.0.0",
            "description": "PGC Data Catalog of open digital elevation models",
            "title": "PGC Data Catalog",
            "links": [
                self._link("self"),
                self._link("root", title="PGC Data Catalog"),
                self._link("data", "collections"),
                self._link("conformance", "conformance"),
                *searches,
                self._link("child", f"collections/{self.collection}"),
            ],
            "conformsTo": [
                "https://api.stacspec.org/v1.0.0/core",
                "https://api.stacspec.org/v1.0.0/collections",
                "https://api.stacspec.org/v1.0.0/item-search",
                "https://api.stacspec.org/v1.0.0/ogcapi-features",
                "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
            ],
        }

    def _collection(self) -> dict[str, Any]:
        return {
            "type": "Collection",
            "id": self.collection,
            "stac_version": "1.0.0",
            "title": "ArcticDEM DEM mosaics v4.1 32m",
            "description": "ArcticDEM DEM mosaics, version 4.1, 32m resolution",
            "license": "CC-BY-4.0",
            "links": [self._link("self", f"collections/{self.collection}"), self._link("root")],
            "extent": {
                "spatial": {"bbox": [[-180.0, 50.0, 180.0, 90.0]]},
                "temporal": {"interval": [["2007-11-27T00:00:00Z", None]]},
            },
            "item_assets": {"dem": {"title": "32m DEM"}, "datamask": {"title": "Valid data mask"}},
        }

    def items(self) -> list[dict[str, Any]]:
        return [self._item(path) for path in sorted(self.folder.glob("*_dem.tif"))]

    def _item(self, path: Path) -> dict[str, Any]:
        with rasterio.open(path) as file:
            crs, shape, t = CRS(file.crs.to_wkt()), list(file.shape), file.transform
        tile = Tile(path.stem, crs, t.c, t.f, t.a, t.e, (shape[0], shape[1]))
        lon, lat = tile.border()
        wide = np.ptp(lon) > 180.0
        west, east = (lon[lon > 0].min(), lon[lon < 0].max()) if wide else (lon.min(), lon.max())
        code = int(crs.to_epsg())
        name = path.stem.removesuffix("_dem")
        assets = {self.asset: self._asset(path)}
        mask = path.with_name(f"{name}_datamask.tif")
        if mask.exists():
            assets["datamask"] = self._asset(mask)
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
            "id": name,
            "collection": self.collection,
            "bbox": [float(west), float(lat.min()), float(east), float(lat.max())],
            "geometry": {"type": "Point", "coordinates": [float(lon[-1]), float(lat[-1])]},
            "links": [self._link("collection", f"collections/{self.collection}")],
            "properties": {
                "datetime": None,
                "start_datetime": "2011-03-12T00:00:00Z",
                "end_datetime": "2020-09-05T00:00:00Z",
                "gsd": 32.0,
                "license": "CC-BY-4.0",
                "pgc:supertile": name[:5],
                "proj:shape": shape,
                "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f, 0.0, 0.0, 1.0],
                **({"proj:epsg": code} if self.epsg_spelling else {"proj:code": f"EPSG:{code}"}),
            },
            "assets": assets,
        }

    def _asset(self, path: Path) -> dict[str, Any]:
        asset = {"href": f"{self.root}/files/{path.name}", "roles": ["data"]}
        asset["type"] = "image/tiff; application=geotiff; profile=cloud-optimized"
        if self.with_checksums:
            data = path.read_bytes()
            asset |= {"file:size": len(data), "file:checksum": "1220" + sha256(data).hexdigest()}
        return asset

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        self.searches.append(body)
        west, south, east, north = body["bbox"]
        found = [
            item
            for item in self.items()
            if item["bbox"][1] <= north and item["bbox"][3] >= south and _meet(item["bbox"], west, east)
        ]
        start = int(body.get("token", "next:0").split(":")[1])
        shown, rest = found[start : start + self.page], found[start + self.page :]
        links = [self._link("root"), self._link("self", "search")]
        if rest:
            more = {**body, "token": f"next:{start + self.page}"}
            links.append(self._link("next", "search", method="POST", body=more))
        return {"type": "FeatureCollection", "features": shown, "links": links, "numberMatched": len(found)}


def _meet(box: list[float], west: float, east: float) -> bool:
    """Whether longitudes of a box and of a search meet; a box may cross 180 degrees."""
    parts = [(box[0], box[2])] if box[0] <= box[2] else [(box[0], 180.0), (-180.0, box[2])]
    return any(a <= east and b >= west for a, b in parts)
