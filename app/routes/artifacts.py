"""Stored things by their opaque id: the file itself, a PNG to look at, where it came from. Samples by id likewise."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import found, runtime_of
from backend.errors import UserError
from backend.jobs.contract import ArtifactView

router = APIRouter()

# Ids are url-safe tokens; anything else is not even looked up.
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_id(artifact_id: str) -> str:
    """The id itself. Raises ``UserError`` for what cannot be an id."""
    if not ID.fullmatch(artifact_id):
        raise UserError("There is nothing stored under this id.", what_to_do="Open it again from the page.")
    return artifact_id


def artifact_json(view: ArtifactView) -> dict[str, Any]:
    """An artifact as plain JSON values, with its provenance; no path is among them."""
    return {
        "id": view.id,
        "kind": view.kind,
        "name": view.name,
        "media_type": view.media_type,
        "size": view.size,
        "sha256": view.sha256,
        "synthetic": view.synthetic,
        "created_at": view.created_at.isoformat(),
        "created_by": view.created_by,
        "job_id": view.job_id,
        "properties": dict(view.properties),
        "provenance": view.provenance.as_dict(),
    }


async def _view(request: Request, artifact_id: str) -> ArtifactView:
    return await found(lambda: runtime_of(request).artifacts.view(check_id(artifact_id)))


@router.get("/api/artifacts/{artifact_id}")
async def download(request: Request, artifact_id: str) -> FileResponse:
    """The stored file, always as a download under its safe name. Supports range requests."""
    view = await _view(request, artifact_id)
    path = await found(runtime_of(request).artifacts.path, view.id)
    return FileResponse(path, media_type=view.media_type, filename=view.name, content_disposition_type="attachment")


@router.get("/api/artifacts/{artifact_id}/info")
async def info(request: Request, artifact_id: str) -> JSONResponse:
    """What is known about it, as JSON."""
    return JSONResponse(artifact_json(await _view(request, artifact_id)))


@router.get("/api/artifacts/{artifact_id}/image")
async def image(request: Request, artifact_id: str, frame: int = 0, side: int = 2048) -> Response:
    """PNG for display: one frame or slice, 8 bit, at most ``side`` pixels a side (64 to 4096), never lossy."""
    view = await _view(request, artifact_id)
    path = await found(runtime_of(request).artifacts.path, view.id)
    from app.routes.display import display_png

    slide = "slide" in (view.kind, view.properties.get("kind"))
    side = max(64, min(side, 4096))
    settings = runtime_of(request).settings
    png = await run_in_threadpool(
        lambda: display_png(path, view.media_type, settings, slide=slide, frame=frame, side=side)
    )
    return Response(png, media_type="image/png")


@router.get("/api/artifacts/{artifact_id}/provenance")
async def provenance(request: Request, artifact_id: str) -> Response:
    """The provenance record, canonical JSON."""
    view = await _view(request, artifact_id)
    return Response(view.provenance.to_json(), media_type="application/json")


@router.get("/api/samples/{sample_id}/image")
async def sample_image(request: Request, sample_id: str) -> Response:
    """PNG thumbnail of a sample, 404 when it is not installed."""
    from backend.samples import thumbnail

    png = await found(thumbnail, check_id(sample_id), runtime_of(request).settings)
    # Samples are public material that comes with packages, so the browser may keep their thumbnails.
    return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=86400"})
