"""The program that draws volumes in the page, as its package ships it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from app.routes.common import error_response
from backend.errors import UserError

NIIVUE = Path(__file__).resolve().parents[1] / "frontend" / "node_modules" / "@niivue" / "niivue" / "dist" / "index.js"

router = APIRouter()


@router.get("/static/vendor/niivue/niivue.js")
async def niivue() -> Response:
    """NiiVue as one module, which asks for nothing else."""
    if not NIIVUE.is_file():
        return error_response(
            UserError(
                "The viewer of volumes is not installed.",
                "The package @niivue/niivue is missing from app/frontend.",
                "Run `make setup`, or `npm ci` in app/frontend.",
            ),
            503,
        )
    return FileResponse(NIIVUE, media_type="text/javascript", headers={"cache-control": "no-cache"})
