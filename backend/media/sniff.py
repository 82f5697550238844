"""What a file is, told from its bytes. File names are never asked: they lie, and they carry names of patients."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError
from backend.media.tiff import TiffError, read_directories

HEAD = 4096

KIND = {
    "png": "image",
    "jpeg": "image",
    "jpeg2000": "image",
    "tiff": "image",
    "bmp": "image",
    "webp": "image",
    "gif": "clip",
    "mp4": "clip",
    "mov": "clip",
    "avi": "clip",
    "webm": "clip",
    "dicom": "dicom",
    "nifti": "volume",
    "nifti.gz": "volume",
    "npy": "arrays",
    "npz": "arrays",
    "zip": "archive",
    "gzip": "archive",
    "slide-tiff": "slide",
}
MEDIA_TYPE = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "jpeg2000": "image/jp2",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "webm": "video/webm",
    "dicom": "application/dicom",
    "nifti": "application/x-nifti",
    "nifti.gz": "application/x-nifti",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "zip": "application/zip",
    "gzip": "application/gzip",
    "slide-tiff": "image/tiff",
}
SUFFIX = {
    "png": ".png",
    "jpeg": ".jpg",
    "jpeg2000": ".jp2",
    "tiff": ".tif",
    "bmp": ".bmp",
    "webp": ".webp",
    "gif": ".gif",
    "mp4": ".mp4",
    "mov": ".mov",
    "avi": ".avi",
    "webm": ".webm",
    "dicom": ".dcm",
    "nifti": ".nii",
    "nifti.gz": ".nii.gz",
    "npy": ".npy",
    "npz": ".npz",
    "zip": ".zip",
    "gzip": ".gz",
    "slide-tiff": ".tif",
}
SLIDE_SUFFIX = {"aperio": ".svs", "hamamatsu": ".ndpi", "ventana": ".bif", "leica": ".scn"}

# Formats a person may well try, that we know and do not read: name → how to say it.
REFUSED = (
    (b"%PDF", "a PDF document", "Export the pictures in it as PNG."),
    (b"\x7fELF", "a program", ""),
    (b"MZ", "a Windows program", ""),
    (b"Rar!", "a RAR archive", "Pack it as ZIP."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Pack it as ZIP."),
    (b"BZh", "a bzip2 file", "Unpack it first."),
    (b"\xfd7zXZ\x00", "an xz file", "Unpack it first."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Save the arrays as NPZ."),
    (b"ZISRAWFILE", "a Zeiss CZI file", "Export it as OME-TIFF."),
    (b"NRRD", "an NRRD file", "Save it as NIfTI."),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "Save the arrays as NPZ."),
    (b"\x80\x02}", "a pickle", "Save the arrays as NPZ."),
)


@dataclass(frozen=True)
class Sniffed:
    """``format`` is a key of :data:`KIND`; ``flavour`` the slide vendor, 'ome' or ''; ``suffix`` begins with a dot."""

    format: str
    kind: str
    media_type: str
    suffix: str
    flavour: str = ""


def sniff(path: Path) -> Sniffed:
    """Tell a file's format by its content. Raises ``UserError`` for an empty, unknown or unsupported one."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        raise UserError("The file cannot be read.", "It is not there any more.", "Choose it again.") from None
    if not head:
        raise UserError("The file is empty.", "It holds no bytes at all.", "Export it again and retry.")
    format_ = _by_magic(head)
    if format_ == "gzip":
        format_ = _inside_gzip(head)
    if format_ == "tiff":
        return _tiff(path)
    if format_ == "zip" and _is_npz(path):
        format_ = "npz"
    if not format_ and looks_like_dicom(head):
        format_ = "dicom"
    if not format_:
        _refuse(head)
    return _sniffed(format_)


def _sniffed(format_: str, flavour: str = "") -> Sniffed:
    suffix = SLIDE_SUFFIX.get(flavour, SUFFIX[format_])
    return Sniffed(format_, KIND[format_], MEDIA_TYPE[format_], suffix, flavour)


def _by_magic(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "jpeg2000"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "webm"
    if head[4:8] == b"ftyp":
        return "mov" if head[8:12] == b"qt  " else "mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide") and len(head) > 16:
        return "mov"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if is_nifti_header(head):
        return "nifti"
    if head.startswith(b"BM") and len(head) >= 26 and struct.unpack("<I", head[14:18])[0] in (12, 40, 52, 56, 108, 124):
        return "bmp"
    return ""


def is_nifti_header(head: bytes) -> bool:
    """Whether the first bytes are a single-file NIfTI-1 or NIfTI-2 header, of either byte order."""
    if len(head) >= 348 and head[344:348] in (b"n+1\x00", b"ni1\x00"):
        return 348 in (struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0])
    if len(head) >= 540 and head[4:8] in (b"n+2\x00", b"ni2\x00"):
        return 540 in (struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0])
    return False


def _inside_gzip(head: bytes) -> str:
    try:
        inner = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        inner = b""
    return "nifti.gz" if is_nifti_header(inner) else "gzip"


def _is_npz(path: Path) -> bool:
    from backend.media.archive import entry_names

    names = entry_names(path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def looks_like_dicom(head: bytes) -> bool:
    """Whether bytes without the 128-byte preamble begin with plausible DICOM elements (file meta or group 0008)."""
    if head[:4] == b"DICM":
        return True
    offset, seen, last = 0, 0, (0, 0)
    while offset + 8 <= len(head) and seen < 3:
        little = struct.unpack_from("<HH", head, offset)
        big = struct.unpack_from(">HH", head, offset)
        order, tag = ("<", little) if little[0] in (0x0002, 0x0008) else (">", big)
        if tag[0] not in (0x0002, 0x0008) or tag <= last or tag[1] > 0x3100:
            return False
        vr = head[offset + 4 : offset + 6]
        if vr in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF", b"UC", b"UR"):
            if offset + 12 > len(head):
                break
            step = 12 + struct.unpack_from(order + "I", head, offset + 8)[0]
        elif vr.isalpha() and vr.isupper():
            step = 8 + struct.unpack_from(order + "H", head, offset + 6)[0]
        else:
            step = 8 + struct.unpack_from(order + "I", head, offset + 4)[0]
            if step > 0xFFFF and vr != b"\xff\xff":
                return False
        offset, seen, last = offset + step, seen + 1, tag
        if seen and offset >= len(head):
            break
    return seen >= 2 or (seen == 1 and offset <= len(head))


def _tiff(path: Path) -> Sniffed:
    try:
        pages = read_directories(path)
    except TiffError:
        raise UserError(
            "This TIFF file is damaged.", "Its directory of images cannot be followed.", "Export it again."
        ) from None
    first = pages[0]
    description = first.text("ImageDescription")
    software = first.text("Software")
    flavour = ""
    if description.startswith("Aperio"):
        flavour = "aperio"
    elif 65420 in first.tags:
        flavour = "hamamatsu"
    elif "iScan" in first.text("XMP") or any("iScan" in page.text("XMP") for page in pages[:3]):
        flavour = "ventana"
    elif "www.leica-microsystems.com/scn" in description:
        flavour = "leica"
    elif software.startswith("Philips"):
        flavour = "philips"
    elif "<OME" in description[:2000]:
        flavour = "ome"
    elif software.startswith("MedScan"):
        flavour = "trestle"
    pyramid = len(pages) > 1 and any(0 < page.width < first.width for page in pages[1:])
    tiled = "TileWidth" in first
    vendor = flavour not in ("", "ome")
    if vendor or (tiled and (pyramid or first.sub_directories or first.width * first.height > 25_000_000)):
        return _sniffed("slide-tiff", flavour)
    return _sniffed("tiff", flavour)


def _refuse(head: bytes) -> None:
    for magic, name, advice in REFUSED:
        if head.startswith(magic):
            raise UserError(f"This is {name}, which is not read here.", "", advice or "Choose a medical image.")
    raise UserError(
        "This kind of file is not known here.",
        "Its content is none of DICOM, NIfTI, PNG, JPEG, TIFF, a slide, a video, NPY, NPZ or ZIP.",
        "Export the picture in one of those formats.",
    )
