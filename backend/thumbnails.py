"""Small pictures of samples for the strip that offers them: read as far as needed, kept in memory as PNG."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

THUMBNAIL_SIZE = 160
"""Longer side of a thumbnail, in pixels."""


_importing = threading.Lock()


@lru_cache(maxsize=64)
def thumbnail_of(path: Path, kind: str) -> bytes:
    """PNG of at most :data:`THUMBNAIL_SIZE` pixels a side: the slide, first frame, middle slice or picture in small."""
    _import_readers()
    image = _PICTURES.get(kind, _open_image)(path).convert("RGB")
    image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _import_readers() -> None:
    """Import the readers of volumes and of DICOM, one thread at a time."""
    # A page asks for many thumbnails at once, and nibabel imports pydicom: of two threads that begin with one each,
    # the second would find pydicom half-imported.
    with _importing:
        import_module("nibabel")
        import_module("pydicom.pixels")


def _open_image(path: Path) -> Image.Image:
    return Image.open(path)


def _open_mask(path: Path) -> Image.Image:
    """A mask as it is; of a volume the greatest value along the slices, nearer voxels brighter, uint8."""
    if not path.name.endswith((".nii", ".nii.gz")):
        return Image.open(path)
    import nibabel

    volume = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj, np.float32)
    shade = np.linspace(0.35, 1, volume.shape[2], dtype=np.float32)
    return Image.fromarray(_stretched(np.rot90((volume * shade).max(axis=2))))


def _open_slide(path: Path) -> Image.Image:
    import openslide

    with openslide.OpenSlide(path) as slide:
        return slide.get_thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))


def _open_clip(path: Path) -> Image.Image:
    """First frame of a clip, in DICOM or a video container."""
    if path.suffix == ".dcm":
        return _open_dicom(path)
    from backend.media.limits import Limits
    from backend.media.video import read_clip

    return Image.fromarray(read_clip(path, Limits()).frames[0])


def _open_dicom(path: Path) -> Image.Image:
    """First frame, uint8."""
    from pydicom.pixels import pixel_array

    frame = pixel_array(path, index=0)  # converts YBR to RGB
    return Image.fromarray(frame if frame.ndim == 3 else _stretched(frame.astype(np.float32)))


def _open_volume(path: Path) -> Image.Image:
    """Middle axial slice, uint8, head up."""
    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    middle = np.asarray(image.dataobj[:, :, image.shape[2] // 2], dtype=np.float32)
    return Image.fromarray(_stretched(np.rot90(middle)))


def _stretched(pixels: np.ndarray) -> np.ndarray:
    """Grey values stretched from their 1st to their 99th percentile, uint8."""
    low, high = np.percentile(pixels, [1, 99])
    return np.clip((pixels - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)


_PICTURES: dict[str, Callable[[Path], Image.Image]] = {
    "slide": _open_slide,
    "clip": _open_clip,
    "dicom": _open_dicom,
    "volume": _open_volume,
    "mask": _open_mask,
}
