"""The perturbation laboratory over HTTP: one damaged mask at a time, computed at once and never stored."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import runtime_of
from backend.errors import UserError

router = APIRouter()


@router.get("/api/perturbation")
async def one_draw(
    request: Request, mask: str, recipe: str = "clustered", errors: str = "{}", seed: int = 0
) -> JSONResponse:
    """One clean mask damaged as training would: pictures, shares, Betti numbers and errors by kind."""
    from backend.services.topology.laboratory import preview

    runtime = runtime_of(request)
    return JSONResponse(await run_in_threadpool(preview, runtime, mask, recipe, _settings(errors), seed))


@router.get("/api/perturbation/choices")
async def offered(request: Request) -> JSONResponse:
    """Recipes, families, settings with their ends, and masks to damage."""
    from backend.services.topology.laboratory import choices

    return JSONResponse(await run_in_threadpool(choices, runtime_of(request)))


@router.get("/api/perturbation/basis")
async def functions(family: str, order: int) -> JSONResponse:
    """The functions of a family, and the mean spectrum of the fields made of them."""
    from backend.services.topology.laboratory import basis

    return JSONResponse(await run_in_threadpool(basis, family, order))


def _settings(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UserError("The settings of the errors cannot be read.", "They are no JSON object.")
    return values
