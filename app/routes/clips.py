"""Stored clips for the player of the page: what one is, its grey frames and its labels as raw bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.components.clip_view import opened
from app.routes.artifacts import check_id
from app.routes.common import NotFound, found, runtime_of

if TYPE_CHECKING:
    from backend.media.stored_clip import StoredClip

router = APIRouter()
BYTES = "application/octet-stream"


@router.get("/api/clips/{artifact_id}")
async def clip(request: Request, artifact_id: str) -> JSONResponse:
    """Frames, size, rate, ED and ES frames of a stored clip, and whether it has labels."""
    shown = await _opened(request, artifact_id)
    count, height, width = shown.frames.shape
    return JSONResponse(
        {
            "frames": count,
            "height": height,
            "width": width,
            "fps": shown.fps,
            "labels": shown.labels is not None,
            "mm_per_px": shown.mm_per_px,
            "end_diastole": list(shown.end_diastole),
            "end_systole": list(shown.end_systole),
        }
    )


@router.get("/api/clips/{artifact_id}/frames")
async def frames(request: Request, artifact_id: str) -> Response:
    """Grey values of every frame, one byte a pixel, row after row, frame after frame."""
    return Response((await _opened(request, artifact_id)).frames.tobytes(), media_type=BYTES)


@router.get("/api/clips/{artifact_id}/labels")
async def labels(request: Request, artifact_id: str) -> Response:
    """Label codes in the same order, 404 when the clip has none."""
    shown = await _opened(request, artifact_id)
    if shown.labels is None:
        raise NotFound("This clip has no labels.", "Nothing was segmented in it.")
    return Response(shown.labels.tobytes(), media_type=BYTES)


async def _opened(request: Request, artifact_id: str) -> StoredClip:
    """The clip of an id; everything that is not to be had is 404 with its sentences."""
    return await found(opened, runtime_of(request), check_id(artifact_id))
