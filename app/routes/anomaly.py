"""A finished detection over HTTP: what the page shows, verdicts on its findings, layers to draw; and corruptions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import found, runtime_of
from backend.errors import UserError
from backend.identity import LOCAL

router = APIRouter()


@router.get("/api/anomaly/{job_id}")
async def result(request: Request, job_id: str) -> JSONResponse:
    """Findings with their verdicts, steps of preparation, histogram and addresses of the layers."""
    from backend.services.anomaly.view import result_view

    return JSONResponse(await found(result_view, runtime_of(request), job_id))


@router.post("/api/anomaly/{job_id}/findings/{label}")
async def verdict(request: Request, job_id: str, label: int) -> JSONResponse:
    """Accept or reject a finding: ``{"verdict": "accepted", "rejected" or "", "reason"}``; answers all verdicts."""
    from backend.services.anomaly.verdicts import finished, judge

    runtime = runtime_of(request)
    try:
        asked = await request.json()
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or not all(isinstance(asked.get(name, ""), str) for name in ("verdict", "reason")):
        raise UserError("The verdict cannot be read.", "It is no JSON object with a verdict and a reason.")
    await found(finished, runtime, job_id)

    def say() -> dict[str, Any]:
        word: Any = asked.get("verdict", "")
        known = judge(runtime, job_id, label, word, actor=LOCAL, reason=asked.get("reason", "").strip())
        return {"verdicts": {str(number): word for number, word in known.items()}}

    return JSONResponse(await run_in_threadpool(say))


@router.get("/api/anomaly/{job_id}/input.nii.gz")
async def scan(request: Request, job_id: str) -> Response:
    """The scan that was looked at, as NIfTI, whatever format it came in."""
    from backend.services.anomaly.layers import input_volume

    return Response(await found(input_volume, runtime_of(request), job_id), media_type="application/gzip")


@router.get("/api/anomaly/{job_id}/slice.png")
async def one_slice(
    request: Request,
    job_id: str,
    layer: str = "input",
    axis: str = "z",
    index: int = 0,
    threshold: float | None = None,
    opacity: float = 0.0,
    at: str = "",
) -> Response:
    """One slice as PNG, with the heat-map over it; ``at`` is a voxel x,y,z to mark."""
    from backend.services.anomaly.layers import slice_png

    place = tuple(int(part) for part in at.split(",") if part.strip().isdigit())
    spot: Any = place if len(place) == 3 else None
    runtime = runtime_of(request)

    def draw() -> bytes:
        return slice_png(
            runtime, job_id, layer, axis, index, threshold=threshold, opacity=min(max(opacity, 0), 1), at=spot
        )

    return Response(await found(draw), media_type="image/png")


@router.get("/api/corruption")
async def corruption(
    request: Request,
    sequence: str = "flair",
    position: int = 0,
    shapes: str = "box,ball,library,blob",
    texture: bool = True,
    bias: bool = True,
    blur: bool = True,
    strongest: float = 1.0,
    seed: int = 0,
) -> JSONResponse:
    """One corruption of a healthy phantom slice as training makes it: pictures, and what the network is told."""
    from backend.services.anomaly.laboratory import corruption as draw

    runtime = runtime_of(request)
    names = tuple(name for name in shapes.split(",") if name)

    def one() -> dict[str, Any]:
        return draw(
            runtime,
            sequence=sequence,
            position=position,
            shapes=names,
            texture=texture,
            bias=bias,
            blur=blur,
            strongest=strongest,
            seed=seed,
        )

    return JSONResponse(await run_in_threadpool(one))
