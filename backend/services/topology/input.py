"""What somebody's file of a segmentation means: a foreground probability, or one clear sentence why it cannot be.

Everything here works on arrays, [H, W] or [X, Y, Z]; ``read`` and ``volume_read`` open the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backend.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Reading = Literal["auto", "binary", "probability", "labels"]
Kind = Literal["binary", "probability", "labels"]

EVERY_LABEL = -1  # a label to choose: everything that is not background, together
SMALLEST_SIDE = 16  # pixels; below this a window holds no structure a refiner could know
FEWEST_SLICES = 3  # of a volume; with two there is nothing between them
MANY = 4_000_000  # values of an array from which on they are not all sorted
FEW_COLOURS = 16  # a picture of more colours than this is not a drawing of labels
NAMED_LABELS = 12  # labels named in a sentence before "and N more"
FRAME_FOREGROUND = 0.02  # share of the second line that must be foreground before an empty frame is an artefact


@dataclass(frozen=True)
class LabelShare:
    """One label of a label map: its value and the share of all pixels that carry it, 0 to 1."""

    value: int
    share: float


@dataclass(frozen=True)
class InputMap:
    """A segmentation as the refiner takes it.

    ``probability`` is float32 [H, W] or [X, Y, Z] in 0..1 (0 and 1 only where ``kind`` is not ``probability``);
    ``labels`` are the labels found in a label map, largest first; ``notes`` say in plain words how the file was read.
    """

    probability: np.ndarray
    kind: Kind
    labels: tuple[LabelShare, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a file holds, before anybody has chosen a label: enough to offer the right choices.

    ``width``, ``height`` and ``depth`` are the sides in pixels or voxels; ``depth`` is 0 for a picture.
    """

    kind: Kind
    height: int
    width: int
    labels: tuple[LabelShare, ...] = ()
    notes: tuple[str, ...] = ()
    depth: int = 0


def interpret(
    array: np.ndarray,
    *,
    reading: Reading = "auto",
    label: int | None = None,
    invert: bool = False,
    mend_frame: bool = True,
    volume: bool = False,
) -> InputMap:
    """Turn an array [H, W] or a picture [H, W, 1|3|4] of any real type into a foreground probability.

    With ``volume`` the array is [X, Y, Z], which a picture with a few columns could be taken for.

    Two values are a binary mask (the larger is foreground); 8- and 16-bit integers that look like grey levels are a
    probability over the full scale; a few small integers or flat colours are a label map, of which ``label`` names
    the one to repair (``EVERY_LABEL``: all of them as one foreground). ``reading`` overrules the guess. ``mend_frame``
    fills a one-pixel frame that some segmenters leave empty from its neighbours (not in volumes). Raises ``UserError``
    for anything that is not a segmentation, and for a label map of several labels of which none is chosen.
    """
    import numpy as np

    flat, contents = _describe(array, reading, volume)
    notes = list(contents.notes)
    if contents.kind == "labels":
        probability = _one_label(flat, contents.labels, label, notes)
    elif contents.kind == "binary":
        probability = (flat == flat.max()).astype(np.float32)
    else:
        probability = _unit_scale(flat)
    if invert:
        probability = 1 - probability
        notes.append("Foreground and background were exchanged as asked.")
    if mend_frame and not volume and _has_empty_frame(probability):
        probability = _with_mended_frame(probability)
        notes.append("The outermost line of pixels was empty on all four sides and was copied from the line inside it.")
    return InputMap(np.ascontiguousarray(probability), contents.kind, contents.labels, tuple(notes))


def describe(array: np.ndarray, *, reading: Reading = "auto", volume: bool = False) -> Contents:
    """What :func:`interpret` would make of the array, without choosing a label. Raises the same ``UserError``."""
    return _describe(array, reading, volume)[1]


def require_two_sides(probability: np.ndarray, threshold: float) -> None:
    """Raise ``UserError`` unless the map [H, W] or [X, Y, Z] has both foreground and background at the threshold."""
    highest, lowest = float(probability.max()), float(probability.min())
    whole, element = ("volume", "voxel") if probability.ndim == 3 else ("image", "pixel")
    if highest < threshold:
        raise UserError(
            f"No {element} reaches the threshold of {threshold:.2f}: the mask is empty.",
            f"The highest value in the map is {highest:.3f}.",
            f"Lower the threshold below {highest:.3f}, or upload another map.",
        )
    if lowest >= threshold:
        raise UserError(
            f"Every {element} reaches the threshold of {threshold:.2f}: the whole {whole} is foreground.",
            f"The lowest value in the map is {lowest:.3f}, so there is no background and nothing to repair.",
            "Raise the threshold, exchange foreground and background, or upload another map.",
        )


def _describe(array: np.ndarray, reading: Reading, volume: bool) -> tuple[np.ndarray, Contents]:
    """The array as one plane [H, W] or volume [X, Y, Z] of float32 or integers, and what it holds."""
    import numpy as np

    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise UserError(
            "The array does not hold numbers.",
            f"Its type is {array.dtype}.",
            "Save the mask as integers or floating-point numbers.",
        )
    notes: list[str] = []
    if volume:
        plane = array
        _check_volume(plane)
    else:
        plane = _one_plane(array, notes)
        _check_shape(plane)
    plane = _finite(plane)
    values = _values(plane)
    if len(values) == 1:
        raise _one_value(float(values[0]), plane.ndim)
    kind = _guess(plane, values) if reading == "auto" else _overruled(plane, values, reading)
    labels: tuple[LabelShare, ...] = ()
    if kind == "binary":
        if set(values.tolist()) not in ({0, 1}, {0, 255}, {0, 65535}):
            notes.append(f"Two values, {_number(values[0])} and {_number(values[1])}: the larger is the foreground.")
        share = float((plane == values[-1]).mean())
        if share > 0.6:
            whole = "volume" if volume else "image"
            notes.append(
                f"The foreground covers {share:.0%} of the {whole}; exchange it if it should be the dark part."
            )
    elif kind == "labels":
        labels = _shares(plane)
        if reading == "auto" and len(labels) > 1:
            notes.append(f"A label map with {len(labels)} labels: {_list_labels(labels)}.")
    elif plane.dtype.kind != "f":
        top = int(np.iinfo(plane.dtype).max)
        notes.append(f"Grey levels 0 to {top} were read as probability 0 to 1.")
    if volume:
        return plane, Contents(kind, plane.shape[1], plane.shape[0], labels, tuple(notes), plane.shape[2])
    return plane, Contents(kind, plane.shape[0], plane.shape[1], labels, tuple(notes))


def _one_plane(array: np.ndarray, notes: list[str]) -> np.ndarray:
    """[H, W] from [H, W], [H, W, 1] or a colour picture whose colours stand for two or a few labels."""
    import numpy as np

    if array.ndim == 2:
        return array
    if array.ndim != 3 or array.shape[-1] not in (1, 2, 3, 4):
        shape = " × ".join(str(side) for side in array.shape)
        raise UserError(
            "This is not a single two-dimensional mask.",
            f"The array measures {shape or 'a single number'}.",
            "Upload one slice or one channel: height × width.",
        )
    colours = array.shape[-1]
    if colours == 1:
        return array[..., 0]
    if colours in (2, 4):
        alpha, array = array[..., -1], array[..., :-1]
        if alpha.min() != alpha.max() and all(np.ptp(array[..., c]) == 0 for c in range(array.shape[-1])):
            notes.append("The picture is one colour; its transparency was read as the mask.")
            return alpha
    first = array[..., 0]
    if all(np.array_equal(first, array[..., c]) for c in range(1, array.shape[-1])):
        return first
    return _from_colours(array, notes)


def _from_colours(picture: np.ndarray, notes: list[str]) -> np.ndarray:
    """Labels [H, W] uint8, 0 the darkest colour, from an [H, W, 3] drawing. Raises ``UserError`` on a photograph."""
    import numpy as np

    flat = picture.reshape(-1, 3)
    colours, index = np.unique(flat, axis=0, return_inverse=True)
    if len(colours) > FEW_COLOURS:
        raise UserError(
            "This is a colour picture, not a segmentation.",
            f"It has {len(colours):,} different colours, where a mask has two and a label map a few.",
            "Upload what the segmenter gave for it: a mask, a label map or a probability map.",
        )
    order = np.argsort(colours.astype(np.float64) @ (0.299, 0.587, 0.114), kind="stable")
    rank = np.empty(len(colours), np.uint8)
    rank[order] = np.arange(len(colours))
    notes.append(
        "Two colours: the brighter is the foreground."
        if len(colours) == 2
        else f"{len(colours)} flat colours were numbered by brightness, 0 the darkest."
    )
    return rank[index.reshape(-1)].reshape(picture.shape[:2])


def _check_shape(plane: np.ndarray) -> None:
    height, width = plane.shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"The mask is too small: {width} × {height} pixels.",
            f"Both sides must be at least {SMALLEST_SIDE} pixels.",
            "Upload the mask at its full size.",
        )


def _check_volume(volume: np.ndarray) -> None:
    if volume.ndim != 3:
        raise UserError(
            "This is not a single volume.",
            f"The array measures {' × '.join(map(str, volume.shape)) or 'a single number'}.",
            "Upload one map of three dimensions.",
        )
    sides = sorted(volume.shape)
    if sides[0] < FEWEST_SLICES or sides[1] < SMALLEST_SIDE:
        raise UserError(
            f"The volume is too small: {' × '.join(map(str, volume.shape))} voxels.",
            f"It must have at least {FEWEST_SLICES} slices of {SMALLEST_SIDE} × {SMALLEST_SIDE}.",
            "Upload the volume at its full size, or its slices as pictures.",
        )


def _values(plane: np.ndarray) -> np.ndarray:
    """The different values, ascending; of many fractions only the least and the greatest are sure to be among them."""
    import numpy as np

    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:
        return np.flatnonzero(np.bincount(plane.ravel())).astype(plane.dtype)
    if plane.dtype.kind == "f" and plane.size > MANY:
        # Sorting a large volume takes seconds; a few thousand of its values tell as well that there are many.
        ends = np.array([plane.min(), plane.max()], plane.dtype)
        between = plane[(plane > ends[0]) & (plane < ends[1])]
        return np.unique(np.concatenate([ends, between[:: max(1, between.size // 10_000)]]))
    return np.unique(plane)


def _finite(plane: np.ndarray) -> np.ndarray:
    """The plane as float32 or non-negative integers; whole-numbered floats above 1 become integers."""
    import numpy as np

    if plane.dtype.kind == "b":
        return plane.astype(np.uint8)
    if plane.dtype.kind == "f":
        bad = int(plane.size - np.isfinite(plane).sum())
        if bad:
            raise UserError(
                f"The map holds {bad:,} values that are not numbers (NaN or infinite).",
                f"That is {bad / plane.size:.2%} of its {_elements(plane)}, and a probability cannot be guessed there.",
                "Replace them, for example by 0, and upload the map again.",
            )
        if np.array_equal(plane, np.rint(plane)) and plane.min() >= 0 and plane.max() < 2**31:
            return _smallest_integers(plane)
    lowest, highest = plane.min(), plane.max()
    if lowest < (-1e-3 if plane.dtype.kind == "f" else 0) or (plane.dtype.kind == "f" and highest > 1 + 1e-3):
        raise UserError(
            f"The values run from {_number(lowest)} to {_number(highest)}.",
            "A probability lies between 0 and 1, and labels are whole numbers from 0 upwards.",
            "If these are logits, apply a sigmoid or softmax first; otherwise divide by the largest value.",
        )
    if plane.dtype.kind == "f":
        return np.clip(plane, 0, 1).astype(np.float32)
    return plane if plane.dtype.kind == "u" else _smallest_integers(plane)


def _smallest_integers(plane: np.ndarray) -> np.ndarray:
    """The same whole numbers as uint8, uint16 or uint32, whichever holds them."""
    import numpy as np

    top = int(plane.max())
    return plane.astype(np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.uint32)


def _one_value(value: float, dimensions: int) -> UserError:
    whole, element = ("volume", "voxel") if dimensions == 3 else ("image", "pixel")
    if value == 0:
        return UserError(
            "The mask is empty.",
            f"Every {element} is 0, so there is no structure to repair.",
            "Upload a mask with some foreground in it.",
        )
    return UserError(
        f"The whole {whole} is foreground.",
        f"Every {element} has the value {_number(value)}, so there is no background and no topology to repair.",
        "Upload a mask with both foreground and background.",
    )


def _guess(plane: np.ndarray, values: np.ndarray) -> Kind:
    """Binary, labels or probability, from the values alone and how flat the picture is."""
    if len(values) == 2 and (plane.dtype.kind != "f" or values[0] == 0):
        return "binary"
    if plane.dtype.kind == "f":
        return "probability"
    top = int(values[-1])
    if plane.dtype.itemsize > 2:
        return "labels"
    small = top <= (50 if plane.dtype.itemsize == 1 else 4096)
    if small or (len(values) <= FEW_COLOURS and _flatness(plane) > 0.9):
        return "labels"
    scaled = plane / (255 if plane.dtype.itemsize == 1 else 65535)
    grey = float(((scaled > 0.25) & (scaled < 0.75)).mean())
    if grey > 0.5:
        raise UserError(
            f"This looks like a grey {'scan' if plane.ndim == 3 else 'picture'}, not a segmentation.",
            f"{grey:.0%} of its {_elements(plane)} are middle greys; a segmenter's output is mostly near black or near "
            "white.",
            "Upload the segmenter's output, or choose 'Read as: probability' if this is one.",
        )
    return "probability"


def _overruled(plane: np.ndarray, values: np.ndarray, reading: Reading) -> Kind:
    """The reading somebody asked for, or a ``UserError`` where the values forbid it."""
    if reading == "binary" and len(values) != 2:
        raise UserError(
            f"The mask holds {len(values):,} different values, not two.",
            "A binary mask has one value for background and one for foreground.",
            "Choose another way to read it, or upload a binary mask.",
        )
    if reading == "labels" and plane.dtype.kind == "f":
        raise UserError(
            "The map holds fractions, so it is not a label map.",
            f"Its values run from {_number(values[0])} to {_number(values[-1])}.",
            "Read it as a probability.",
        )
    if reading == "probability" and plane.dtype.kind != "f" and plane.dtype.itemsize > 2:
        raise UserError(
            f"Whole numbers up to {int(values[-1]):,} cannot be read as a probability.",
            "Only 8-bit and 16-bit grey levels have a full scale to divide by.",
            "Divide by the largest value and save floating-point numbers.",
        )
    return "binary" if reading == "binary" else "labels" if reading == "labels" else "probability"


def _flatness(plane: np.ndarray) -> float:
    """Share of neighbours along the last axis with equal value among pairs of which one is not background, 0 to 1."""
    left, right = plane[..., :-1], plane[..., 1:]
    pairs = (left > 0) | (right > 0)
    return float((left == right)[pairs].mean()) if pairs.any() else 0.0


def _shares(plane: np.ndarray) -> tuple[LabelShare, ...]:
    """The labels other than 0 (or, without a 0, other than the smallest), largest share first."""
    import numpy as np

    if plane.dtype.itemsize <= 2:
        every = np.bincount(plane.ravel())
        values = np.flatnonzero(every)
        counts = every[values]
    else:
        values, counts = np.unique(plane, return_counts=True)
    background = values[0]
    found = [LabelShare(int(v), float(n / plane.size)) for v, n in zip(values, counts, strict=True) if v != background]
    return tuple(sorted(found, key=lambda entry: (-entry.share, entry.value)))


def _one_label(plane: np.ndarray, labels: tuple[LabelShare, ...], label: int | None, notes: list[str]) -> np.ndarray:
    """Float32 of the plane's shape, 1 where the chosen label is."""
    import numpy as np

    known = {entry.value for entry in labels}
    if label is None and len(labels) == 1:
        label = labels[0].value
    if label is None:
        raise UserError(
            f"This is a label map with {len(labels)} labels: {_list_labels(labels)}.",
            "Topology is repaired one label at a time, because each label has holes and parts of its own.",
            "Choose a label, or all labels together.",
        )
    if label == EVERY_LABEL:
        notes.append("All labels together were taken as foreground.")
        return np.isin(plane, list(known)).astype(np.float32)
    if label not in known:
        raise UserError(
            f"There is no label {label} in this map.",
            f"It has {_list_labels(labels)}.",
            "Choose one of these.",
        )
    notes.append(f"Label {label} was taken as foreground.")
    return (plane == label).astype(np.float32)


def _list_labels(labels: tuple[LabelShare, ...]) -> str:
    named = ", ".join(f"{entry.value} ({entry.share:.1%})" for entry in labels[:NAMED_LABELS])
    more = len(labels) - NAMED_LABELS
    return f"{named} and {more} more" if more > 0 else named


def _unit_scale(plane: np.ndarray) -> np.ndarray:
    """Float32 of the plane's shape in 0..1; integers are divided by the full scale of their type."""
    import numpy as np

    if plane.dtype.kind == "f":
        return plane.astype(np.float32)
    return (plane / np.float32(np.iinfo(plane.dtype).max)).astype(np.float32)


def _has_empty_frame(probability: np.ndarray) -> bool:
    """Whether the outermost line is empty on all sides although foreground runs along inside it."""
    import numpy as np

    edge = (probability[0], probability[-1], probability[:, 0], probability[:, -1])
    inside = (probability[1], probability[-2], probability[:, 1], probability[:, -2])
    if any(side.max() >= 0.5 for side in edge):
        return False
    return float(np.mean([(line >= 0.5).mean() for line in inside])) > FRAME_FOREGROUND


def _with_mended_frame(probability: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.pad(probability[1:-1, 1:-1], 1, mode="edge")


def _number(value: float) -> str:
    return f"{float(value):.4g}"


def _elements(plane: np.ndarray) -> str:
    return "voxels" if plane.ndim == 3 else "pixels"
