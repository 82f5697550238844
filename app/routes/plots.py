"""The program that draws plots in the page, as its package ships it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from app.routes.common import error_response
from backend.errors import UserError

FRONTEND = Path(__file__).resolve().parents[1] / "frontend"
PLOTLY = FRONTEND / "node_modules" / "plotly.js-basic-dist-min" / "plotly-basic.min.js"

router = APIRouter()


@router.get("/static/vendor/plotly/plotly.js")
async def plotly() -> Response:
    """Plotly's basic bundle (lines, bars, pies), which asks for nothing else."""
    if not PLOTLY.is_file():
        return error_response(
            UserError(
                "The program for plots is not installed.",
                "The package plotly.js-basic-dist-min is missing from app/frontend.",
                "Run `make setup`, or `npm ci` in app/frontend.",
            ),
            503,
        )
    return FileResponse(PLOTLY, media_type="text/javascript", headers={"cache-control": "no-cache"})
