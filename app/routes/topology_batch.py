"""A batch of topology repairs over HTTP: its table, and a picture of each file."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.routes.common import found, runtime_of

router = APIRouter()


@router.get("/api/topology-batch/{job_id}")
async def table(request: Request, job_id: str) -> JSONResponse:
    """Rows, means and sentences of a batch that is finished, cancelled or still runs."""
    from backend.services.topology.batch_view import batch_view

    return JSONResponse(await found(batch_view, runtime_of(request), job_id))


@router.get("/api/topology-batch/{job_id}/{number}/{name}.png")
async def picture(request: Request, job_id: str, number: int, name: str, side: int = 96) -> Response:
    """One file of it as PNG: ``before``, ``after`` or ``changes``, at most ``side`` pixels a side (16 to 2048)."""
    from backend.services.topology.batch_view import picture as draw

    png = await found(draw, runtime_of(request), job_id, number, name, side)
    return Response(png, media_type="image/png")
