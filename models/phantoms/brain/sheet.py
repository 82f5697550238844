"""Sample sheet: what the phantoms look like, for their card."""

from __future__ import annotations

import cv2
import numpy as np

from models.phantoms.brain.atlas import Atlas
from models.phantoms.brain.catalogue import lesions
from models.phantoms.brain.lesion import Lesion
from models.phantoms.brain.subject import Subject, subject
from models.phantoms.brain.volume import slices


def sample_sheet(atlas: Atlas, *, seeds: tuple[int, ...] = (1, 2, 3, 4), families: tuple[str, ...] = ()) -> bytes:
    """PNG, grey: a row per person or, given ``families``, per family; columns T1, T2, FLAIR and random.

    Persons are cut at 55 % of their height; families through the largest lesion's widest slice, in the first person of
    ``seeds``, with the mask beside (its outline has no grey of its own). Windows run to the 99.5th percentile.
    """
    if families:
        who = subject(atlas, seeds[0])
        rows = [_row(who, found, _widest(found)) for found in (lesions(who, family, 1) for family in families)]
    else:
        people = [subject(atlas, seed) for seed in seeds]
        rows = [_row(who, (), round(0.45 * who.window[2].start + 0.55 * who.window[2].stop)) for who in people]
    done, png = cv2.imencode(".png", np.vstack(rows))
    assert done
    return png.tobytes()


def _row(who: Subject, found: tuple[Lesion, ...], position: int) -> np.ndarray:
    tiles = []
    for sequence in ("t1", "t2", "flair", "random"):
        made = slices(who, sequence=sequence, positions=[position], lesions=found)
        picture = made.image[0] * made.mask[0]
        top = max(float(np.percentile(picture[made.mask[0]], 99.5)) if made.mask.any() else 1.0, 1e-6)
        tiles.append(np.rint(np.clip(picture / top, 0, 1) * 255).astype(np.uint8))
    if found:
        tiles.append(np.where(made.lesions[0], 255, np.where(made.mask[0], 60, 0)).astype(np.uint8))
    return np.hstack([np.rot90(tile) for tile in tiles])


def _widest(found: tuple[Lesion, ...]) -> int:
    largest = max(found, key=lambda lesion: lesion.volume_mm3)
    return largest.origin[2] + int(largest.truth.sum((0, 1)).argmax())
