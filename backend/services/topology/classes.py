"""Each label by itself: every class of a label map or softmax stack refined on its own, then put together again.

How the page calls it: for ``label == EACH_LABEL`` (title :data:`EACH_TITLE`) in the choice of labels submit the action
``classes`` with :class:`ClassesRequest` instead of ``refine``::

    job.submit(run.click, "classes", lambda …: ClassesRequest(source=artifact, channel=…, threshold=…), inputs)

and show the finished job with ``app.tabs.topology.classes_view.show(runtime, view)``. Pictures go to the weights for
two dimensions, volumes to those for three; the file decides.

A pixel goes to the class of the highest refined probability among those whose cleaned mask has it, else to background;
where two are equal, to the class it had. Label values stay what they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backend.jobs.contract import Action, JobContext
from backend.services.topology.requests import (
    DEFAULT_WEIGHTS,
    FILL_BELOW,
    FILL_SHARE,
    REMOVE_BELOW,
    Betti,
)
from backend.services.topology.volume import VOLUME_WEIGHTS

EACH_LABEL = -2  # in a choice of labels: each by itself
EACH_TITLE = "each label by itself"
MOST_CLASSES = 64

ClassesKind = Literal["labels", "softmax", "probabilities"]


@dataclass(frozen=True)
class ClassesRequest:
    """Refine each class of one file.

    ``source`` is the artifact id of a label map, of a stack of class probabilities, or of a DICOM segmentation, 2D or
    3D; ``channel`` names the array of an NPZ ('' takes the likeliest). ``threshold`` cuts each class's refined
    probability, 0..1; ``remove_below``, ``fill_below`` (pixels or voxels) and ``fill_share`` (of the median hole) clean
    each class. ``cubic`` as for volumes. The result depends on nothing else.
    """

    source: str
    channel: str = ""
    mend_frame: bool = True
    cubic: bool = True
    threshold: float = 0.5
    weights: str = DEFAULT_WEIGHTS
    volume_weights: str = VOLUME_WEIGHTS
    remove_below: int = REMOVE_BELOW
    fill_below: int = FILL_BELOW
    fill_share: float = FILL_SHARE
    seed: int = 0


@dataclass(frozen=True)
class ClassRow:
    """One class before and after: its label value, its name ('' where the file has none) and what was changed.

    ``pixels_before`` and ``pixels_after`` are pixels or voxels of the class, ``changed`` those it gained or lost,
    ``places`` the connected places among them, of which ``topological`` alter a Betti number; ``dice`` compares after
    with before.
    """

    label: int
    name: str
    pixels_before: int
    pixels_after: int
    before: Betti
    after: Betti
    changed: int
    places: int
    topological: int
    dice: float


@dataclass(frozen=True)
class ClassesResult:
    """What was made: ``labels`` (label map in the input's format), three pictures and the change table are artifacts.

    ``before_picture``, ``after_picture`` and ``change_picture`` are PNG in the classes' colours, of a volume the slice
    ``slice`` (from 0, ``None`` for a picture) in which most was changed. ``changed`` counts pixels or voxels whose
    label is another one now. ``shape`` is (H, W) or (X, Y, Z).
    """

    labels: str
    before_picture: str
    after_picture: str
    change_picture: str
    change_table: str
    shape: tuple[int, ...]
    slice: int | None
    kind: ClassesKind
    classes: tuple[ClassRow, ...]
    changed: int
    threshold: float
    notes: tuple[str, ...]
    weights_sha256: str
    seconds: float
    megapixels: float


def refine_classes(request: ClassesRequest, ctx: JobContext) -> ClassesResult:
    """Refine each class by itself, combine, and store label map, pictures and change table."""
    from backend.services.topology.classes_run import run_classes

    return run_classes(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="topology",
        name="classes",
        run=refine_classes,
        request=ClassesRequest,
        result=ClassesResult,
        summary="Repair the topology of every label of a label map, each by itself.",
    ),
)
