"""Echo: measure a beating heart. What the jobs take and give; nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass

from backend.jobs.contract import Action, JobContext

METER = "echo/meter2d"
SIDE = 112  # pixels a side of every clip that is computed with
MAX_FRAMES = 512
"""Frames of one clip that are measured; a longer one is cut."""


@dataclass(frozen=True)
class LabelKind:
    """One structure that the meter finds: its code, title and colour '#rrggbb' (Okabe and Ito's palette)."""

    code: int
    title: str
    colour: str


LABELS = (
    LabelKind(1, "Left ventricle", "#E69F00"),
    LabelKind(2, "Myocardium", "#56B4E9"),
    LabelKind(3, "Left atrium", "#009E73"),
    LabelKind(4, "Right ventricle", "#CC79A7"),
    LabelKind(5, "Right atrium", "#F0E442"),
)


@dataclass(frozen=True)
class Measured:
    """What the meter found in one clip, as plain values.

    ``volumes`` of the left ventricle by frame, by area-length, ``None`` where none was found: ml where ``mm_per_px`` is
    known, else in a unit of its own; ``smooth`` is the curve that beats are found in. ``end_diastole`` and
    ``end_systole`` are frames from 0. ``ef`` in % is the median of ``beat_ef``, ``None`` without a ventricle; where
    ``whole`` is false there was no whole beat and ``ef`` is a lower bound; ``discs_ef`` is the same by Simpson's discs.
    ``heart_rate`` in beats per minute. ``confidence`` 0…1 is the mean probability inside the outlined ventricle, as the
    network states it. ``notes`` are sentences on what limits all this.
    """

    volumes: tuple[float | None, ...]
    smooth: tuple[float | None, ...]
    end_diastole: tuple[int, ...]
    end_systole: tuple[int, ...]
    ef: float | None
    beat_ef: tuple[float, ...]
    heart_rate: float | None
    whole: bool
    mm_per_px: float | None
    fps: float
    discs_ef: float | None = None
    confidence: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of the volumes."""
        return "ml" if self.mm_per_px else "relative"


@dataclass(frozen=True)
class MeasureRequest:
    """Measure the left ventricle in a clip.

    ``source`` is the artifact id of an upload or sample. ``fps`` and ``mm_per_px`` stand in for what the file says, or
    does not say; 0 takes the file's own.
    """

    source: str
    fps: float = 0.0
    mm_per_px: float = 0.0
    weights: str = METER


@dataclass(frozen=True)
class KnownTruth:
    """What is known of a phantom because it was drawn so: EF in % and the volumes by frame in ml, if they are known."""

    ef: float
    volumes: tuple[float, ...] = ()


@dataclass(frozen=True)
class MeasureResult:
    """Artifact ids: ``clip`` (NPZ: frames, labels, volumes), ``table`` (CSV of the curve), ``video`` (MP4, labels on).

    ``truth`` is of phantoms only: nobody knows it for a real clip. ``notes`` say how the file was read. ``seconds`` is
    the network's time.
    """

    clip: str
    table: str
    video: str
    frames: int
    measured: Measured
    truth: KnownTruth | None
    synthetic: bool
    notes: tuple[str, ...]
    weights_sha256: str
    seconds: float


def measure(request: MeasureRequest, ctx: JobContext) -> MeasureResult:
    """Segment every frame, store labels, curve and overlay, and tell the ejection fraction."""
    from backend.services.echo.measure import run_measure

    return run_measure(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="echo",
        name="measure",
        run=measure,
        request=MeasureRequest,
        result=MeasureResult,
        summary="Measure volumes, ejection fraction and heart rate in an echo clip.",
    ),
)
