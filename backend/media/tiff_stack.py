"""TIFF as microscopes and segmenters use it: several pages as one stack of slices, and how large a pixel is.

Pages make a stack when all are grey, of one size and one type. Sizes are the resolution tags (TIFF 6.0, section 8), and
for the distance of slices ImageJ's ``spacing`` in the description.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.images import BROKEN, NO_MEMORY
from backend.media.limits import Limits
from backend.media.tiff import TiffError, read_directories

UNITS = {2: 25.4, 3: 10.0}  # Resolution Unit: millimetres in an inch, in a centimetre
LENGTHS_MM = {"inch": 25.4, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "\\u00B5m": 1e-3, "micron": 1e-3, "nm": 1e-6}
IMAGEJ = "ImageJ="


@dataclass(frozen=True)
class TiffScale:
    """How large a pixel is, as the file says it.

    ``resolution`` holds pixels per unit along x and y as (numerator, denominator), ``unit`` the tag's number (1 none, 2
    inch, 3 centimetre); ``spacing`` is the distance of slices in ImageJ's ``length`` ('um', 'mm' …), 0 where unknown.
    """

    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    unit: int = 1
    spacing: float = 0.0
    length: str = ""

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(slices, rows, columns) in mm; ``None`` unless all three are known."""
        if self.resolution is None or not self.spacing or self.length not in LENGTHS_MM:
            return None
        # ImageJ counts its pixels per its own unit and leaves the tag at 'none'.
        per = UNITS.get(self.unit, LENGTHS_MM[self.length])
        (xn, xd), (yn, yd) = self.resolution
        if not xn or not yn:
            return None
        return self.spacing * LENGTHS_MM[self.length], per * yd / yn, per * xd / xn


def read_scale(path: Path) -> TiffScale:
    """The scale in a TIFF's first page; an empty one where there is none or the file cannot be followed."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages.first.tags
            x, y = tags.valueof(282), tags.valueof(283)
            unit = int(tags.valueof(296, 2))
            description = str(tags.valueof(270, ""))
    except Exception:  # tifffile raises whatever a damaged file leads it to
        return TiffScale()
    known = all(isinstance(value, tuple) and len(value) == 2 and value[0] > 0 < value[1] for value in (x, y))
    words = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
    if not description.startswith(IMAGEJ):
        words = {}
    try:
        spacing = float(words.get("spacing", 0))
    except ValueError:
        spacing = 0.0
    length = words.get("unit", "").strip()
    if not known or (x == y and Fraction(*x) == 1 and unit != 3 and length not in LENGTHS_MM):
        return TiffScale(spacing=0.0)
    if length not in LENGTHS_MM or not math.isfinite(spacing) or spacing <= 0:
        spacing = 0.0
    return TiffScale((tuple(x), tuple(y)), unit, spacing, length if length in LENGTHS_MM else "")


def read_stack(path: Path, limits: Limits) -> np.ndarray | None:
    """The pages of a TIFF as [D, H, W] of any real type; ``None`` when they are not one stack of grey slices.

    Raises ``UserError`` when the file is damaged or over the limits.
    """
    import tifffile

    stored = limits.check_file(path)
    try:
        pages = read_directories(path)
        if any(page.sub_directories for page in pages):
            return None
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.series) != 1:
                return None
            series = tiff.series[0]
            if len(series.shape) != 3 or series.shape[0] < 2 or not str(series.axes).endswith("YX"):
                return None
            first = tiff.pages.first
            if int(first.photometric) not in (0, 1) or first.samplesperpixel != 1:
                return None
            limits.check_frames(series.shape[0])
            limits.check_pixels(*series.shape)
            limits.check_ratio(int(np.prod(series.shape)) * series.dtype.itemsize, stored)
            array = series.asarray()
            if int(first.photometric) == 0:
                array = ~array if array.dtype.kind in "ub" else array.max() - array
    except UserError:
        raise
    except TiffError:
        raise BROKEN from None
    except MemoryError:
        raise NO_MEMORY from None
    except Exception:  # tifffile and its codecs raise whatever a damaged file leads them to
        raise BROKEN from None
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def imagej_description(scale: TiffScale, slices: int) -> str:
    """The lines by which ImageJ and Fiji know a stack and the distance of its slices."""
    lines = [f"{IMAGEJ}1.54f", f"images={slices}", f"slices={slices}"]
    if scale.length:
        lines.append(f"unit={scale.length}")
    if scale.spacing:
        lines.append(f"spacing={scale.spacing!r}")
    return "\n".join([*lines, "loop=false"]) + "\n"
