"""A finished detection as the page shows it: sentences, findings with verdicts, steps of preparation, histogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.services.anomaly.requests import DetectRequest, DetectResult
from backend.services.anomaly.verdicts import finished, verdicts

if TYPE_CHECKING:
    import numpy as np

    from backend.runtime import Runtime

SEQUENCES = {"t1": "T1", "t2": "T2", "flair": "FLAIR", "unknown": "unknown"}
SCORES = {
    "absolute": "|input − restored|",
    "brighter": "input − restored, where brighter",
    "combined": "combined: smoothed grey values and change",
}
MASK_WORDS = {
    "given": "The mask that was given with the scan.",
    "stripped": "All voxels that are not 0: the scan came without skull.",
    "atlas": "Ours: the brain of the MNI152 template is laid over the head, then fitted to what is bright. Measured on "
    "phantom heads only, where our tests ask that at least 97 % of the brain tissue lies inside; on patients it was "
    "not measured. Give a mask of your own if you have one.",
    "threshold": "Ours and rough: all that is bright (Otsu's threshold), as no atlas could be laid over this scan. How "
    "well it fits was not measured.",
}


def result_view(runtime: Runtime, job_id: str) -> dict[str, Any]:
    """All that the page draws of a finished detection, plain JSON values. Raises ``UserError`` for other jobs."""
    made = finished(runtime, job_id)
    request = request_of(runtime, job_id)
    table = healthy_of(runtime, request, made)
    known = verdicts(runtime, job_id)
    x, y, z = made.spacing_mm or (1.0, 1.0, 1.0)
    return {
        "job": job_id,
        "summary": summary(made),
        "unlike": made.unlike,
        "findings": [{**asdict(row), "verdict": known.get(row.label, "")} for row in made.findings],
        "count": made.count,
        "shape": list(made.shape),
        "spacing_mm": made.spacing_mm and list(made.spacing_mm),
        "flat": made.shape[2] == 1,
        "window": list(made.window),
        "top": made.top,
        "threshold": made.threshold,
        "threshold_from": made.threshold_from,
        "score": SCORES.get(request.score, request.score),
        "slice": made.slice,
        "voxel_ml": x * y * z / 1000,
        "brain_ml": made.brain_ml,
        "layers": {
            "input": f"/api/anomaly/{job_id}/input.nii.gz",
            "restored": f"/api/artifacts/{made.restored}",
            "heat": f"/api/artifacts/{made.heat}",
        },
        "slices": f"/api/anomaly/{job_id}/slice.png",
        "panel": f"/api/artifacts/{made.panel}/image",
        "histogram": list(made.histogram),
        "healthy": table,
        "steps": [{"title": title, "text": text} for title, text in steps(runtime, request, made)],
        "notes": list(made.notes),
    }


def request_of(runtime: Runtime, job_id: str) -> DetectRequest:
    """What the detection was asked for."""
    from pydantic import TypeAdapter

    return TypeAdapter(DetectRequest).validate_python(dict(runtime.jobs.view(job_id).request))


def summary(made: DetectResult) -> list[str]:
    """What was found, in two sentences."""
    if not made.count:
        return [
            "Nothing stands out above the threshold.",
            f"{millilitres(made.brain_ml)} of brain were looked at. Nothing shown does not mean nothing there.",
        ]
    places = "1 place stands" if made.count == 1 else f"{made.count:,} places stand"
    lines = [
        f"{places} out: {made.total_ml:,.2f} ml of {millilitres(made.brain_ml)} of brain.",
        "A heat-map marks what the network would change, not what ails a person: judge every finding.",
    ]
    if made.count > len(made.findings):
        lines.append(f"The {len(made.findings)} largest are listed here; the table to download has all.")
    return lines


def healthy_of(runtime: Runtime, request: DetectRequest, made: DetectResult) -> list[tuple[float, float]]:
    """(score, share of healthy voxels above it) as the weights tell, ascending scores; empty where they do not."""
    from models.anomaly.healthy import RATES, table_of

    try:
        weight = runtime.weights.find(request.weights)
    except UserError:
        return []
    if weight.sha256 != made.weights_sha256:
        return []
    table = table_of(weight.config, made.sequence, request.score)
    return [] if table is None else [(score, rate) for score, rate in zip(table, RATES, strict=True)]


def steps(runtime: Runtime, request: DetectRequest, made: DetectResult) -> list[tuple[str, str]]:
    """Title and text of what was done with the scan, in order."""
    from models.anomaly.preprocess import Grid, working_grid

    affine = affine_of(runtime, made)
    grid = working_grid(Grid(made.shape, affine))
    source = runtime.artifacts.view(request.source)
    kind = "DICOM" if source.media_type in ("application/dicom", "application/zip") else "NIfTI"
    if source.media_type.startswith("image/"):
        kind = "a picture"
    spacing = "of unknown size" if made.spacing_mm is None else f"of {times(made.spacing_mm)} mm"
    told = [("Read", f"{kind}, {times(made.shape)} voxels {spacing}.")]
    if made.spacing_mm is None:
        turned = (
            "The file does not say how the scan lies: its voxels were taken as 1 mm, in the order of an axial slice."
        )
    else:
        same = grid.shape == made.shape and _codes(affine) == "RAS"
        turned = f"The axes of the file run to {_codes(affine)}. " + (
            "They were taken as they are."
            if same
            else f"Turned to RAS, {times(grid.shape)} voxels of {times(grid.spacing_mm)} mm; all results were brought "
            "back to the voxels of the file."
        )
    told.append(("Orientation", turned))
    told.append(("Brain mask", f"{MASK_WORDS.get(made.mask_from, made.mask_from)} {millilitres(made.brain_ml)}."))
    told.append(("Grey values", _scaling(made)))
    guessed = {True: "told from the greys of fluid, grey and white matter", False: "as chosen"}[made.guessed]
    word = SEQUENCES.get(made.sequence, made.sequence)
    told.append(
        ("Sequence", f"{word}, {guessed}." if made.sequence != "unknown" else "Unknown; the network is told so.")
    )
    told.append(("Registration", _registration(request, made)))
    several = "in one step" if request.steps == 1 else f"in {request.steps} steps"
    told.append(
        (
            "Restoration",
            f"Each slice, {several}, told of the severities {', '.join(f'{value:g}' for value in request.severities)}; "
            f"windows {request.stride} pixels apart. The score is {SCORES.get(request.score, request.score)}, the mean "
            f"over severities. {made.seconds:.1f} s.",
        )
    )
    told.append(("Threshold", f"{made.threshold:.4g}: {made.threshold_from}."))
    return told


def affine_of(runtime: Runtime, made: DetectResult) -> np.ndarray:
    """Where the voxels of the source lie: float64 [4, 4], indices to mm in RAS+."""
    import nibabel
    import numpy as np

    image: Any = nibabel.load(runtime.artifacts.path(made.mask))
    return np.asarray(image.affine, np.float64)


def millilitres(ml: float) -> str:
    """``1,383 ml``, ``0.06 ml``."""
    return f"{ml:,.0f} ml" if ml >= 10 else f"{ml:.2g} ml"


def times(values: Any) -> str:
    """``182 × 218 × 182``, ``0.9 × 0.9 × 3``."""
    return " × ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)


def _codes(affine: np.ndarray) -> str:
    import nibabel

    return "".join(str(code) for code in nibabel.aff2axcodes(affine))


def _scaling(made: DetectResult) -> str:
    from models.anomaly.preprocess import HIGH, LOW, TOP

    low, high = made.window
    return (
        f"Percentiles {LOW:g} and {HIGH:g} inside the mask became 0 and {TOP:g}, so that {low:,.4g} to {high:,.4g} in "
        "the file are 0 to 1."
    )


def _registration(request: DetectRequest, made: DetectResult) -> str:
    if made.registered is not None:
        return (
            f"Laid over the MNI152 template by an affine map, mutual information {made.registered:.3f}: MNI "
            "coordinates and names of regions are as good as that map. The heat-map does not depend on it."
        )
    if made.shape[2] == 1 or made.mask_from == "threshold":
        return "Not done: the scan is too thin, or could not be laid over the template. No MNI coordinates, no regions."
    if not request.names:
        return "Not asked for: no MNI coordinates, no names of regions."
    return "Not possible here (see the notes): no MNI coordinates, no names of regions."


def scan_facts(runtime: Runtime, artifact_id: str) -> Mapping[str, Any]:
    """Of a scan that was chosen: ``text`` in one line, ``notes``, ``slices``. Raises ``UserError`` for what is none."""
    from backend.media.limits import Limits
    from backend.services.anomaly.read import read_scan

    scan = read_scan(runtime.artifacts.path(artifact_id), Limits.from_settings(runtime.settings))
    spacing = f"of {times(scan.grid.spacing_mm)} mm" if scan.known else "of unknown size"
    modality = f"{scan.modality}, " if scan.modality else ""
    return {
        "text": f"{modality}{times(scan.grid.shape)} voxels {spacing}",
        "notes": list(scan.notes),
        "slices": scan.grid.shape[2],
    }
