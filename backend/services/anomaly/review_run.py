"""The job that stores the findings of a detection as a reader judged them."""

from __future__ import annotations

import numpy as np
from pydantic import TypeAdapter

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.media.limits import Limits
from backend.services.anomaly.keep import FindingsKeeper
from backend.services.anomaly.requests import FindingRow, ReviewRequest, ReviewResult
from backend.settings import get_settings


def run_review(request: ReviewRequest, ctx: JobContext) -> ReviewResult:
    """See :func:`backend.services.anomaly.requests.review`."""
    from backend.media.nifti import read_nifti

    ctx.progress(0, 1, "Keeping what was accepted")
    view = ctx.view(request.labels)
    if "findings" not in view.properties:
        raise UserError("This is no label map of findings.", "", "Open the result from its job.")
    limits = Limits.from_settings(get_settings())
    rows = TypeAdapter(tuple[FindingRow, ...]).validate_python(list(view.properties["findings"]))
    judged = {
        **dict.fromkeys(request.accepted, "accepted"),
        **dict.fromkeys(request.rejected, "rejected"),
    }
    unknown = set(judged) - {row.label for row in rows}
    if unknown or set(request.accepted) & set(request.rejected):
        raise UserError(
            "These verdicts do not fit the findings.",
            "A finding is unknown, or both accepted and rejected.",
            "Judge them in the table again.",
        )
    volume = read_nifti(ctx.open(request.labels), limits)
    kept = [row for row in rows if judged.get(row.label) != "rejected"]
    labels = np.where(np.isin(volume.array, [row.label for row in kept]), volume.array, 0).astype(np.uint16)
    source = str(view.properties.get("source", ""))
    keeper = FindingsKeeper(ctx, view.synthetic, (request.labels,), dict(view.provenance.weights), request.seed)
    segmentation = ""
    path = ctx.open(source)
    if kept and path.name.lower().endswith((".dcm", ".zip")):
        try:
            segmentation = keeper.segmentation("reviewed-findings.dcm", path, labels, rows, limits)
        except UserError:
            segmentation = ""  # the detection has said why its source cannot have one
    facts = {"source": source, "reviewed": True}
    result = ReviewResult(
        labels=keeper.volume("reviewed-findings.nii.gz", labels, volume.affine, "mask", facts),
        table=keeper.table("reviewed-findings.csv", rows, judged),
        segmentation=segmentation,
        kept=len(kept),
    )
    ctx.progress(1, 1)
    return result
