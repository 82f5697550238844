"""Whole-slide images: one contract for every format, and the way to open a file whatever it is called.

OpenSlide reads what scanners write (SVS, NDPI, MRXS, SCN, VMS, BIF, DICOM whole-slide, tiled TIFF); OME-TIFF pyramids
and other TIFFs that OpenSlide refuses go through tifffile; a plain PNG or JPEG is a slide of one level. Label and macro
images are never reachable from here, and of the properties only technical ones are.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Condition, Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

WHITE = (255, 255, 255)
MAX_REGION_PIXELS = 64_000_000
MAX_TILE_PIXELS = 64_000_000
# Microns per pixel outside this range are a printer's or a screen's resolution, not a microscope's.
PLAUSIBLE_MPP = (0.01, 50.0)

# An allow list, because scanners invent property names: what is not known to be technical is not shown.
TECHNICAL = re.compile(
    r"""openslide\.(vendor|mpp-[xy]|objective-power|level-count|background-color|icc-size
        |bounds-(x|y|width|height)|level\[\d+\]\.(downsample|width|height|tile-width|tile-height))
    |aperio\.(AppMag|MPP|StripeWidth|Filtered|Exposure\ (Time|Scale)|Gamma|ICC\ Profile|DisplayColor
        |Original[Ww]idth|Original[Hh]eight|Left|Top|Focus\ Offset|LineArea[XY]Offset|LineCameraSkew)
    |hamamatsu\.(SourceLens|XOffsetFromSlideCentre|YOffsetFromSlideCentre|ZOffsetFromSlideCentre
        |LogicalWidth|LogicalHeight|NoLayers|LayerSpacing|Objective\.Lens\.Magnificant)
    |mirax\.GENERAL\.(OBJECTIVE_MAGNIFICATION|CAMERA_BITDEPTH|IMAGENUMBER_[XY]|SLIDE_VERSION|CURRENT_SLIDE_VERSION)
    |mirax\.LAYER_\d+_LEVEL_\d+_SECTION\.(MICROMETER_PER_PIXEL_[XY]|IMAGE_FORMAT|IMAGE_COMPRESSION_FACTOR)
    |leica\.(objective|aperture|illumination-source)
    |ventana\.(Magnification|ScanRes|AnalysisImage|Z-layers)
    |trestle\.(Background\ Color|OverlapsXY|White\ Balance|Objective\ Power)
    |philips\.(DICOM_(PIXEL_SPACING|PHOTOMETRIC_INTERPRETATION|BITS_ALLOCATED|BITS_STORED|SAMPLES_PER_PIXEL
        |LOSSY_IMAGE_COMPRESSION(_METHOD|_RATIO)?|MANUFACTURER))
    |dicom\.(Modality|Manufacturer|PhotometricInterpretation|LossyImageCompression(Method|Ratio)?|ImageType
        |TotalPixelMatrix(Columns|Rows)|ImagedVolume(Width|Height|Depth)|DimensionOrganizationType)
    |tiff\.(ResolutionUnit|[XY]Resolution)""",
    re.VERBOSE,
)


class Slide(ABC):
    """An open slide. Everything but :meth:`close` may be called from any thread at any time.

    ``level_dimensions`` are (width, height) pixels, largest first; ``level_downsamples`` are relative to level 0;
    ``mpp`` is (x, y) microns per pixel of level 0, ``None`` where the file does not say; ``tile_size`` is the (width,
    height) at which level 0 is stored; ``background`` is the RGB of what lies off the slide; ``reader`` names the
    library that reads the file.
    """

    reader: str
    vendor: str
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    mpp: tuple[float, float] | None
    objective_power: float | None
    tile_size: tuple[int, int]
    properties: Mapping[str, str]
    background: tuple[int, int, int] = WHITE
    icc_profile: bytes | None = None

    def __init__(self) -> None:
        self._gate = Condition(Lock())
        self._readers = 0
        self._closed = False
        self._transform: ImageCmsTransform | bool | None = False

    @property
    def level_count(self) -> int:
        """Number of resolution levels."""
        return len(self.level_dimensions)

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        return self.level_dimensions[0]

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def best_level_for_downsample(self, downsample: float) -> int:
        """The smallest level that still has at least the resolution asked for."""
        fits = [k for k, d in enumerate(self.level_downsamples) if d <= downsample * 1.01]
        return max(fits, default=0, key=lambda k: self.level_downsamples[k])

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Pixels of one rectangle, uint8 [height, width, 3] RGB; what is off the slide has the background colour.

        ``location`` is the top left corner in level-0 pixels (may be negative), ``size`` is (width, height) in pixels
        of ``level``. Raises ``ValueError`` on an impossible request or a closed slide, ``UserError`` where the file is
        damaged.
        """
        width, height = int(size[0]), int(size[1])
        if not 0 <= level < self.level_count:
            raise ValueError(f"level {level} of {self.level_count}")
        if width <= 0 or height <= 0 or width * height > MAX_REGION_PIXELS:
            raise ValueError(f"region of {width} × {height} pixels")
        with self._reading():
            return self._read((int(location[0]), int(location[1])), level, (width, height))

    def thumbnail(self, longest: int = 512) -> np.ndarray:
        """The whole slide, uint8 [height, width, 3], its longer side ``longest`` pixels or less; never upsampled."""
        import cv2

        width, height = self.dimensions
        scale = max(1.0, max(width, height) / longest)
        level = self.best_level_for_downsample(scale)
        if np.prod(self.level_dimensions[level]) > MAX_REGION_PIXELS:
            return self._thumbnail_by_tiles(level, scale)
        picture = self.read_region((0, 0), level, self.level_dimensions[level])
        target = max(1, round(width / scale)), max(1, round(height / scale))
        return picture if target == self.level_dimensions[level] else cv2.resize(picture, target, None, 0, 0, 3)

    def _thumbnail_by_tiles(self, level: int, scale: float) -> np.ndarray:
        """A thumbnail of a slide whose smallest useful level is too large to hold: block means, tile by tile."""
        import cv2

        width, height = self.level_dimensions[level]
        shrink = scale / self.level_downsamples[level]
        columns, rows = max(1, round(width / shrink)), max(1, round(height / shrink))
        out = np.empty((rows, columns, 3), np.uint8)
        across, down, step = width / columns, height / rows, max(1, int(2048 / shrink))
        for top in range(0, rows, step):
            for left in range(0, columns, step):
                bottom, right = min(top + step, rows), min(left + step, columns)
                x, y, x1, y1 = (round(v * n) for v, n in ((left, across), (top, down), (right, across), (bottom, down)))
                place = round(x * self.level_downsamples[level]), round(y * self.level_downsamples[level])
                part = self.read_region(place, level, (x1 - x, y1 - y))
                out[top:bottom, left:right] = cv2.resize(part, (right - left, bottom - top), None, 0, 0, cv2.INTER_AREA)
        return out

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of this slide, uint8 [H, W, 3], in sRGB by its ICC profile; the same array when nothing is to do.

        Relative colorimetric intent with black point compensation, as viewers for pathology do.
        """
        transform = self._srgb_transform()
        if transform is None:
            return pixels
        from PIL import Image

        return np.asarray(transform.apply(Image.fromarray(pixels)))

    def _srgb_transform(self) -> Any:
        with self._gate:
            if self._transform is False:
                self._transform = srgb_transform(self.icc_profile)
            return self._transform

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keeps :meth:`close` from pulling the file away under a reader."""
        with self._gate:
            if self._closed:
                raise ValueError("the slide is closed")
            self._readers += 1
        try:
            yield
        finally:
            with self._gate:
                self._readers -= 1
                self._gate.notify_all()

    def close(self) -> None:
        """Wait for running reads, then let go of the file. Closing twice is allowed."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._gate.wait_for(lambda: self._readers == 0)
        self._release()

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """:meth:`read_region` once the request is known to be sane. Must be safe to call from several threads."""

    @abstractmethod
    def _release(self) -> None:
        """Free the file; no read is running and none will start."""


def open_slide(path: Path, limits: Limits | None = None) -> Slide:
    """Open a slide by its content. Raises ``UserError`` when it is no slide, or is damaged, truncated or too large.

    ``limits`` bounds what has to be decoded as a whole (a plain PNG or JPEG); tiled files are read piece by piece and
    may be of any size. One pixel of every level is decoded before the slide is handed out.
    """
    from backend.media.slides_openslide import OpenSlideSlide
    from backend.media.slides_plain import PlainSlide
    from backend.media.slides_tiff import TiffSlide, check_whole, is_tiff

    path, limits = Path(path), limits or Limits()
    if not path.is_file():
        raise UserError("The slide cannot be opened.", "The file does not exist or is a folder.", "Choose it again.")
    if not path.stat().st_size:
        raise UserError("The file is empty.", "It holds no bytes at all.", "Copy it again from where it came.")
    tiff = is_tiff(path)
    if tiff:
        check_whole(path)
    known = OpenSlideSlide.open(path)
    slide: Slide
    if known is not None:
        slide = _better(known, path, limits) if tiff and known.vendor == "generic-tiff" else known
    elif tiff:
        slide = TiffSlide.open(path, limits)
    elif path.suffix.lower() == ".mrxs":  # the file itself is a JPEG of the glass with its label
        raise UserError(
            "The slide cannot be opened.",
            "An MRXS slide is a file and a folder of the same name, and the folder is missing or incomplete.",
            "Put the folder beside it.",
        )
    else:
        slide = PlainSlide.open(path, limits)
    try:
        for level, (width, height) in enumerate(slide.level_dimensions):
            scale = slide.level_downsamples[level]
            slide.read_region((int(width * scale / 2), int(height * scale / 2)), level, (1, 1))
    except UserError:
        slide.close()
        raise damaged() from None
    except BaseException:
        slide.close()
        raise
    return slide


def strip_labels(path: Path, into: Path) -> tuple[str, ...]:
    """Write a copy of an uploaded TIFF slide without label, macro and identifying texts; see ``slides_labels``."""
    from backend.media import slides_labels

    return slides_labels.strip_labels(path, into)


def _better(slide: Slide, path: Path, limits: Limits) -> Slide:
    """Of two ways to read a plain tiled TIFF the one that shows more.

    tifffile shows an OME pyramid's levels, several channels as colours, and deep pixels in their own range; where there
    is none of that it is OpenSlide, with the µm/px of the OME-XML.
    """
    from backend.media.slides_tiff import TiffSlide, is_ome_or_deep

    if not is_ome_or_deep(path):
        return slide
    try:
        other = TiffSlide.open(path, limits)
    except UserError:
        return slide
    if other.level_count > slide.level_count or other.composed:
        slide.close()
        return other
    slide.mpp, slide.objective_power = other.mpp or slide.mpp, other.objective_power or slide.objective_power
    other.close()
    return slide


def plausible_mpp(x: float | None, y: float | None) -> tuple[float, float] | None:
    """(x, y) microns per pixel if both are what a microscope or a slide scanner can give, else ``None``."""
    low, high = PLAUSIBLE_MPP
    return (float(x), float(y)) if x and y and low <= x <= high and low <= y <= high else None


def srgb_transform(profile: bytes | None) -> Any:
    """Pillow transform from an ICC profile to sRGB, ``None`` when there is no usable profile or it is sRGB already."""
    if not profile:
        return None
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a profile that is broken, or of grey or CMYK pixels: the picture is shown as it is


def damaged(what: str = "The slide is damaged.") -> UserError:
    """The sentence for pixels that should be there and cannot be decoded."""
    return UserError(what, "A part of its picture data cannot be decoded.", "Copy it again from the scanner or source.")
