"""Slides over HTTP: facts, tiles, thumbnail, pictures of the view, and the viewer page with its own files.

Tiles are the busiest route of the house, so theirs is plain ASGI: a tile in memory is answered without leaving the
event loop, any other is computed in the engine's own threads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.routes.common import NotFound, error_response, found, runtime_of
from backend.errors import UserError
from backend.identity import LOCAL
from backend.notices import RESEARCH_ONLY, SYNTHETIC
from backend.services.slides import MAX_VIEW_SIDE, close_library, library
from backend.tiles.geometry import Box

FRONTEND = Path(__file__).resolve().parents[1] / "frontend"
VIEWER = FRONTEND / "viewer"
OPENSEADRAGON = FRONTEND / "node_modules" / "openseadragon" / "build" / "openseadragon"

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TILE = re.compile(r"/api/slides/([A-Za-z0-9_-]{1,64})/tiles/(\d{1,2})/(\d{1,7})_(\d{1,7})\.jpg")
TILE_POLICY = (b"cache-control", b"private, max-age=3600")
# The hash is that of an empty style element, which keeps OpenSeadragon from adding one with rules in it.
VIEWER_POLICY = (
    "default-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
UNKNOWN = UserError(
    "There is no such tile.", "The slide or the position in it does not exist.", "Open the slide again."
)
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".html": "text/html", ".svg": "image/svg+xml"}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close the slides when the server stops."""
    yield
    runtime = getattr(app.state, "runtime", None)
    if runtime is not None:
        await run_in_threadpool(close_library, runtime)


router = APIRouter(lifespan=_lifespan)


class Tiles:
    """``GET /api/slides/{id}/tiles/{level}/{column}_{row}.jpg``: one deep-zoom tile.

    404 for no such slide or tile, 422 with sentences where the file is damaged; the server stays up either way.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await error_response(UserError("Tiles can only be read."), 405)(scope, receive, send)
            return
        match = TILE.fullmatch(scope["path"])
        if match is None:
            await error_response(UNKNOWN, 404)(scope, receive, send)
            return
        slide_id, level, column, row = match[1], int(match[2]), int(match[3]), int(match[4])
        engine = library(scope["app"].state.runtime).engine
        tile = engine.cached(slide_id, level, column, row)
        if tile is None:
            loop = asyncio.get_running_loop()
            try:
                tile = await loop.run_in_executor(engine.threads, engine.tile, slide_id, level, column, row)
            except KeyError:
                await error_response(UNKNOWN, 404)(scope, receive, send)
                return
            except UserError as error:
                status = 404 if not engine.is_open(slide_id) else 422
                await error_response(error, status)(scope, receive, send)
                return
        etag = tile.etag.encode()
        if any(name == b"if-none-match" and etag in value for name, value in scope["headers"]):
            headers = [(b"etag", etag), TILE_POLICY]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [
            (b"content-type", b"image/jpeg"),
            (b"content-length", str(len(tile.data)).encode()),
            (b"etag", etag),
            TILE_POLICY,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else tile.data})


router.add_route("/api/slides/{slide_id}/tiles/{level}/{name}", Tiles())  # type: ignore[arg-type]  # an ASGI application, which Starlette takes as well


def _checked(slide_id: str) -> str:
    if not ID.fullmatch(slide_id):
        raise NotFound("There is no such slide.", what_to_do="Open it again from the Slides tab.")
    return slide_id


@router.get("/api/slides/{slide_id}/info")
async def info(request: Request, slide_id: str) -> JSONResponse:
    """Size, scale, levels and technical properties of a slide, and how its tiles are cut."""
    slides = library(runtime_of(request))
    view = await found(slides.describe, _checked(slide_id))
    with slides.engine.use(view.id) as opened:
        pyramid = opened.pyramid
    content: dict[str, Any] = asdict(view)
    content.update(
        tile_size=pyramid.tile_size,
        overlap=pyramid.overlap,
        deep_zoom_levels=pyramid.levels,
        max_view_side=MAX_VIEW_SIDE,
        notice=RESEARCH_ONLY,
        synthetic_notice=SYNTHETIC if view.synthetic else "",
    )
    return JSONResponse(content)


@router.get("/api/slides/{slide_id}/thumbnail.jpg")
async def thumbnail(request: Request, slide_id: str, side: int = 512) -> Response:
    """The whole slide as a JPEG of at most ``side`` pixels (16 to 2048) a side."""
    slides = library(runtime_of(request))
    data = await found(_thumbnail, slides, _checked(slide_id), max(16, min(side, 2048)))
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _thumbnail(slides: Any, slide_id: str, side: int) -> bytes:
    from backend.tiles.codec import encode_jpeg

    with slides.engine.use(slide_id) as opened:
        width, height = opened.pyramid.width, opened.pyramid.height
        scale = max(1.0, width / side, height / side)
        out = max(1, round(width / scale)), max(1, round(height / scale))
        return encode_jpeg(opened.region(0, 0, width, height, out))


@router.get("/api/slides/{slide_id}/region.png")
async def region(
    request: Request,
    slide_id: str,
    x: int,
    y: int,
    width: int,
    height: int,
    longest: int = 2048,
    rotate: int = 0,
) -> Response:
    """A rectangle in slide pixels as a lossless PNG with provenance and the research-use mark, at most 4096 a side.

    ``rotate`` turns it clockwise by 90, 180 or 270 degrees.
    """
    slides = library(runtime_of(request))
    await found(slides.describe, _checked(slide_id))
    box = Box(x, y, width, height)
    data = await run_in_threadpool(lambda: slides.view_png(slide_id, box, longest, rotate=rotate, actor=LOCAL))
    headers = {"content-disposition": 'attachment; filename="synthscope-view.png"', "cache-control": "no-store"}
    return Response(data, media_type="image/png", headers=headers)


@router.get("/viewer/slide/{slide_id}")
async def viewer(slide_id: str) -> Response:
    """The viewer page; it asks for the slide by the id in its own address."""
    _checked(slide_id)
    if not (OPENSEADRAGON / "openseadragon.min.js").is_file():
        return error_response(
            UserError(
                "The slide viewer is not installed.",
                "The package openseadragon is missing from app/frontend.",
                "Run `make setup`, or `npm ci` in app/frontend.",
            ),
            503,
        )
    return FileResponse(VIEWER / "slide.html", headers={"content-security-policy": VIEWER_POLICY})


@router.get("/static/viewer/{name}")
async def viewer_file(name: str) -> Response:
    """Our own script and style of the viewer."""
    return _file(VIEWER, name)


@router.get("/static/vendor/openseadragon/{name}")
async def vendor_file(name: str) -> Response:
    """OpenSeadragon as its package ships it."""
    return _file(OPENSEADRAGON, name)


def _file(folder: Path, name: str) -> Response:
    path = folder / name
    if not re.fullmatch(r"[a-z][a-z0-9_.-]*", name) or path.suffix not in MEDIA_TYPES or not path.is_file():
        raise NotFound("There is no such file.")
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"cache-control": "no-cache"})
