"""Echo: many clips in one job, for training sets. What the job takes and gives; nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass

from backend.jobs.contract import Action, JobContext
from backend.services.echo.making import Made, ModelName, Sampler
from backend.services.echo.needs import AUTOENCODER, IMAGE_MODEL, VIDEO_MODEL


@dataclass(frozen=True)
class BatchRequest:
    """``count`` clips of made-up patients, ejection fractions spread evenly from ``ef_low`` to ``ef_high`` in %.

    Clip i has the seed ``seed`` + i; heart rates are drawn from ``rate_low`` to ``rate_high`` beats per minute. The
    rest as in :class:`backend.services.echo.making.Wish`. ``dicom`` makes a second ZIP with every clip as DICOM.
    """

    count: int = 12
    ef_low: float = 15.0
    ef_high: float = 75.0
    rate_low: float = 55.0
    rate_high: float = 95.0
    seed: int = 0
    frames: int = 64
    fps: float = 32.0
    model: ModelName = "jvid"
    guidance: float = 1.5
    steps: int | None = None
    sampler: Sampler = "dpm"
    schedule: str = ""
    dicom: bool = False
    autoencoder: str = AUTOENCODER
    image: str = IMAGE_MODEL
    video: str = VIDEO_MODEL


@dataclass(frozen=True)
class BatchResult:
    """The clips with their numbers; artifact ids of the ZIP in the layout of EchoNet-Dynamic, of the table of requested
    and measured values, and of the ZIP of DICOM files, '' where none was asked for.

    The EF in the ZIP's own table is the one that was asked for, which is what a clip made to order is labelled with;
    what the meter found stands beside it in a column of its own.
    """

    made: tuple[Made, ...]
    archive: str
    table: str
    dicoms: str
    seconds: float


@dataclass(frozen=True)
class CollectRequest:
    """Pack what a cancelled batch had finished: ``clips`` and ``dicoms`` are the artifacts it stored, in order.

    ``seed`` draws which clips are for training, validation and test, as the batch would have.
    """

    clips: tuple[str, ...]
    dicoms: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class CollectResult:
    """Artifact ids as of :class:`BatchResult`, and how many clips are in the ZIP."""

    archive: str
    table: str
    dicoms: str
    clips: int


def batch(request: BatchRequest, ctx: JobContext) -> BatchResult:
    """Make the clips one after another, each stored as soon as it is finished, then pack them."""
    from backend.services.echo.batch_run import run_batch

    return run_batch(request, ctx)


def collect(request: CollectRequest, ctx: JobContext) -> CollectResult:
    """Pack the finished clips of a batch that was cancelled."""
    from backend.services.echo.batch_pack import run_collect

    return run_collect(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="echo",
        name="batch",
        run=batch,
        request=BatchRequest,
        result=BatchResult,
        summary="Make many clips over a range of ejection fractions, as a ZIP in the layout of EchoNet-Dynamic.",
    ),
    Action(
        system="echo",
        name="collect",
        run=collect,
        request=CollectRequest,
        result=CollectResult,
        summary="Pack what a cancelled batch had finished.",
    ),
)
