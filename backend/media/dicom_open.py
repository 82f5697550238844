"""Opening a DICOM data set from an untrusted file, and saying plainly why one has no picture to show."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileDataset

log = logging.getLogger(__name__)

# pydicom warns of odd values by quoting them, in the log and on the console: they may be a patient's name.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.8.1")
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# What a data set without pixels is, by its modality.
NO_PICTURE = {
    "RTPLAN": "a radiotherapy plan",
    "RTSTRUCT": "a set of radiotherapy contours",
    "RTRECORD": "a radiotherapy treatment record",
    "RTDOSE": "a radiotherapy dose without a dose grid",
    "SR": "a structured report",
    "KO": "a key-object note",
    "PR": "a presentation state",
    "ECG": "an electrocardiogram waveform",
    "EPS": "an electrophysiology waveform",
    "HD": "a haemodynamic waveform",
    "DOC": "a document",
    "REG": "a spatial registration",
    "PLAN": "a plan",
    "SEG": "a segmentation without pixels",
    "M3D": "a surface model",
}


def damaged(why: str) -> UserError:
    """The error for a DICOM file that breaks off or contradicts itself; ``why`` is one plain sentence."""
    return UserError("This DICOM file is damaged.", why, "Export it again from where it came.")


def open_dataset(path: Path, limits: Limits, *, headers_only: bool = False) -> FileDataset:
    """Read one DICOM file, with or without preamble and file meta information.

    ``headers_only`` stops before the pixel data. The transfer syntax is filled in from the encoding found when the
    file does not state it. Raises ``UserError`` when the file is empty, too large, damaged or a deflate bomb.
    """
    import pydicom
    from pydicom import config
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    limits.check_file(path)
    _check_deflate(path, limits)
    # What is odd in a file is for its reader to judge; checking each value against its type would only make a noise.
    config.settings.reading_validation_mode = config.IGNORE
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=headers_only)
        # Parsing is lazy: touching the first elements tells a file that only looks like DICOM.
        meaningful = any(element.tag.group >= 0x0008 for element in dataset)
        for keyword in PIXEL_KEYWORDS:
            dataset.get(keyword)
        implicit, little = dataset.original_encoding
    except MemoryError:
        raise damaged("One of its elements claims more memory than this machine has.") from None
    except Exception as error:
        # pydicom raises whatever its parser meets on corrupt bytes; each of them means the same to a person.
        log.debug("dicom parser refused a file: %s", type(error).__name__)
        raise damaged("Its data elements cannot be followed to the end.") from None
    if not meaningful and not getattr(dataset, "file_meta", None):
        raise damaged("There is no data element in it.")
    if "TransferSyntaxUID" not in dataset.file_meta:
        native = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = native
    return dataset


def require_pixels(dataset: Dataset) -> None:
    """Raise ``UserError`` when a data set has no picture, saying what it is instead."""
    if any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        return
    if "DirectoryRecordSequence" in dataset or _text(dataset, "MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
        raise UserError(
            "This is a DICOMDIR, a table of contents without pictures.",
            "",
            "Pack the folder it belongs to as ZIP, or choose one of the images.",
        )
    modality = _text(dataset, "Modality")
    if modality in NO_PICTURE:
        raise UserError(
            f"This DICOM file is {NO_PICTURE[modality]}.", "It holds no picture.", "Choose the images it refers to."
        )
    if "WaveformSequence" in dataset:
        raise UserError("This DICOM file is a waveform.", "It holds no picture.", "Choose an image.")
    raise UserError("This DICOM file has no pixel data.", "It holds only a description.", "Choose an image.")


def whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """An integer element. Raises ``UserError`` when it is missing (and has no default) or not a number."""
    value = None
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            value = default
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, AttributeError):
        pass
    except Exception as error:
        log.debug("element %s refused: %s", keyword, type(error).__name__)
    from pydicom.datadict import dictionary_description

    name = dictionary_description(keyword)
    raise damaged(f"It does not say its {name}." if value is None else f"Its {name} is not a whole number.")


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The numbers of an element, empty when it is absent or damaged: never an exception."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return ()
        values = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
        return tuple(float(item) for item in values)
    except Exception as error:
        log.debug("element %s refused: %s", keyword, type(error).__name__)
        return ()


def text(dataset: Dataset, keyword: str) -> str:
    """The text of an element, '' when it is absent or damaged: never an exception."""
    return _text(dataset, keyword)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
        if value is None and hasattr(dataset, "file_meta"):
            value = dataset.file_meta.get(keyword)
        return "" if value is None else str(value).strip()
    except Exception as error:
        log.debug("element %s refused: %s", keyword, type(error).__name__)
        return ""


def _check_deflate(path: Path, limits: Limits) -> None:
    """Walk the file meta information by hand: pydicom inflates a deflated file whole before anybody can count."""
    with path.open("rb") as file:
        head = file.read(132)
        if head[128:132] != b"DICM":
            return
        syntax, start = b"", 132
        while True:
            file.seek(start)
            element = file.read(12)
            if len(element) < 8 or element[:2] != b"\x02\x00":
                break
            if element[4:6] in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
                if len(element) < 12:
                    return
                length, value = struct.unpack_from("<I", element, 8)[0], start + 12
            else:
                length, value = struct.unpack_from("<H", element, 6)[0], start + 8
            if element[2:4] == b"\x10\x00":
                file.seek(value)
                syntax = file.read(min(length, 64))
            start = value + length
        if syntax.rstrip(b"\x00 ").decode("ascii", "replace") not in DEFLATED:
            return
        stored = file.seek(0, io.SEEK_END) - start
        file.seek(start)
        try:
            limits.check_deflated(file, stored)
        except zlib.error:
            raise damaged("Its compressed part cannot be unpacked.") from None
