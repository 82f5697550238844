"""The refined mask once more, in the format and with the values and geometry of the file that it was made from.

The mask that every job stores is a plain PNG or NIfTI of foreground and background. Where the source was something
else (a DICOM SEG, an array, a stack, one label of a label map), people want it back as that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.topology.cut import MaskKeeper
from backend.services.topology.input import Kind
from backend.services.topology.outputs import output_format, restore_values, write_like
from backend.settings import get_settings

if TYPE_CHECKING:
    import numpy as np

PLAIN = {2: ((".png",), {0, 255}), 3: ((".nii.gz", ".nii"), {0, 1})}
"""Suffixes and values of the masks that are stored anyway, by dimension."""


def keep_own(
    keeper: MaskKeeper,
    source: Path,
    given: np.ndarray,
    mask: np.ndarray,
    *,
    kind: Kind,
    label: int | None,
    invert: bool,
    channel: str,
    suffix: str = "",
) -> tuple[str, tuple[str, ...]]:
    """Id of the mask in the format of ``source``, '' where the plain mask is that already, and notes about it.

    ``given`` is the raw array that was read from the file and ``mask`` the refined one, bool: [H, W] (``given`` may
    have colours behind), or [D, H, W] with slices first. ``suffix`` ends the name.
    """
    import numpy as np

    form = output_format(source, mask.ndim)
    values = restore_values(mask, given, kind=kind, label=label, invert=invert)
    suffixes, plain = PLAIN[mask.ndim]
    if form.suffix in suffixes and set(np.unique(values).tolist()) <= plain:
        return "", ()
    limits = Limits.from_settings(get_settings())

    def write(path: Path, provenance: Provenance) -> None:
        write_like(path, values, source, provenance, limits, channel=channel)

    try:
        made = keeper.add(f"refined-as-given{suffix}{form.suffix}", form.media_type, write, "mask")
    except UserError as error:
        # The plain mask is there all the same.
        return "", (f"There is no result in the format of the input. {error.what} {error.why}".strip(),)
    return made, form.notes
