"""The brain atlas of an optional pack: MNI152 with grey and white matter, as the package nilearn ships it.

The maps are those of the ICBM 2009a nonlinear atlas. The notice below is the template's own; nilearn's licence file is
about its code, and its description of the template calls the licence unknown. Nothing of the maps is in the project.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.samples import inside_package, packs

if TYPE_CHECKING:
    from models.phantoms.brain import Atlas

PACK = "nilearn"
SOURCE = (
    "MNI152, ICBM 2009a nonlinear (Fonov et al., NeuroImage 2011), T1, grey- and white-matter maps, 1 mm, in nilearn"
)
LICENCE = "ICBM template, McConnell Brain Imaging Centre: use, change and sharing allowed with its notice kept"
NOTICE = (
    "Copyright (C) 1993–2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill "
    "University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose "
    "and without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and "
    "McGill University make no representations about the suitability of this software for any purpose. It is provided "
    "“as is” without express or implied warranty. The authors are not responsible for any data loss, equipment damage, "
    "property loss, or injury to subjects or patients resulting from the use or misuse of this software package."
)
"""Notice of the MNI templates as third parties quote it (they name nist.mni.mcgill.ca), not read on its own page."""

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def brain_atlas() -> Atlas:
    """The atlas on its grid of 197×233×189 voxels of 1 mm, read once.

    Fluid is what neither map explains inside the mask; the mask is where the stripped T1 is above 0, with its frayed
    edge made smooth. Raises ``UserError`` when the pack is not installed or its files cannot be read.
    """
    found = [inside_package(PACK, "datasets", "data", _FILE.format(name)) for name in ("t1", "gm", "wm")]
    paths = [path for path in found if path is not None]
    if len(paths) < len(found):
        get = next((f"Install it with `{pack.how_to_get}`." for pack in packs() if pack.name == PACK), "")
        raise UserError("The brain atlas is not installed.", "It comes with an optional package.", get)
    return _read(*paths)


@cache
def _read(t1_path: Path, grey_path: Path, white_path: Path) -> Atlas:
    import nibabel as nib
    import numpy as np
    from scipy import ndimage

    from models.phantoms.brain import Atlas

    images = [nib.Nifti1Image.from_filename(path) for path in (t1_path, grey_path, white_path)]
    t1, grey, white = (np.asarray(image.dataobj).astype(np.float32) for image in images)
    # The stripped T1 is frayed where the brain lies on the skull's base.
    rough = np.pad(t1 > 0, 4, mode="edge")
    mask = ndimage.binary_opening(ndimage.binary_closing(rough, iterations=3), iterations=2)[4:-4, 4:-4, 4:-4]
    grey, white = grey * mask / 255, white * mask / 255
    # Where the two maps add up to more than 1 (their smoothing does that), both are taken down alike.
    over = np.maximum(grey + white, 1)
    grey, white = grey / over, white / over
    return Atlas(
        grey, white, np.where(mask, np.maximum(1 - grey - white, 0), 0), t1, mask, np.asarray(images[0].affine, float)
    )
