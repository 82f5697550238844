"""Takes who, where and when out of a DICOM data set: the Basic Application Level Confidentiality Profile of PS3.15.

The table of the standard comes first. What it does not list is judged by its kind: names, dates, addresses and
unknown values go, UIDs are replaced, free text goes, and any other text that repeats a name or number of the patient
is emptied. Private elements, overlays and curves go whole.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any

from backend.media.deidentify_table import PROFILE
from backend.media.dicom_open import damaged

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.dataset import FileDataset

log = logging.getLogger(__name__)

METHOD = "DICOM PS3.15 Basic Confidentiality Profile, SynthScope"
CODES = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "pixels": ("113101", "Clean Pixel Data Option"),
}
DUMMY = {
    "DA": "19000101",
    "TM": "000000",
    "DT": "19000101000000",
    "AS": "000Y",
    "PN": "REMOVED",
    "UI": "2.25.0",
    "UR": "urn:removed",
    "OB": b"\x00\x00",
    "UN": b"\x00\x00",
}
# Values that identify a person, a place or an order; their words must not survive in any other text.
IDENTIFYING = (
    "PatientName PatientID OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName PatientAddress "
    "PatientTelephoneNumbers AccessionNumber ReferringPhysicianName PerformingPhysicianName OperatorsName "
    "NameOfPhysiciansReadingStudy PhysiciansOfRecord RequestingPhysician InstitutionName StationName "
    "DeviceSerialNumber"
)
# Words of such values that are no secret and occur in every header.
COMMON = {"the", "and", "for", "hospital", "clinic", "department", "center", "centre", "none", "unknown", "test"}
TEXT_VR = ("LO", "SH")
# Attributes whose values come from the standard's lists or describe the machine's doing, never the patient.
DEFINED = {"CodeMeaning", "CodeValue", "CodingSchemeDesignator", "ImageType", "SpecificCharacterSet", "Modality"}


class Identities:
    """New UIDs for old ones, the same for the same within one object; nobody can go back without its salt."""

    def __init__(self, salt: bytes | None = None) -> None:
        self._salt = salt or secrets.token_bytes(32)

    def uid(self, uid: str) -> str:
        """A UID under 2.25 (PS3.5 B.2) from 126 bits of a keyed hash. UIDs of the standard itself stay."""
        from pydicom.uid import UID_dictionary

        uid = str(uid)
        if not uid or uid in UID_dictionary or uid.startswith("1.2.840.10008."):
            return uid
        digest = hashlib.blake2b(uid.encode("utf-8", "replace"), key=self._salt, digest_size=16).digest()
        return f"2.25.{int.from_bytes(digest, 'big') >> 2}"


def deidentify(dataset: FileDataset, identities: Identities, *, pixels_cleaned: bool = False) -> tuple[str, ...]:
    """Apply the profile to a data set in place, file meta information and preamble included.

    ``pixels_cleaned`` records that burned-in text was masked. Returns what was done in plain words, without any of
    the values. Raises ``UserError`` when the data set is too damaged to be walked.
    """
    from pydicom import Dataset

    words = _identifying_words(dataset)
    counts = {"removed": 0, "private": 0, "overlays": 0}
    try:
        _walk(dataset, identities, words, counts)
    except RecursionError:
        raise damaged("Its elements are nested without end.") from None
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    codes = []
    for name in ("basic", "pixels") if pixels_cleaned else ("basic",):
        item = Dataset()
        item.CodeValue, item.CodeMeaning = CODES[name]
        item.CodingSchemeDesignator = "DCM"
        codes.append(item)
    dataset.DeidentificationMethodCodeSequence = codes
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    if pixels_cleaned:
        dataset.BurnedInAnnotation = "NO"
    _fresh_file_meta(dataset, identities)
    notes = ["Names, dates, numbers and places were removed from the header, and its UIDs were replaced."]
    if counts["private"]:
        notes.append(f"{counts['private']} private elements were removed.")
    if counts["overlays"]:
        notes.append("Overlays were removed.")
    return tuple(notes)


def _fresh_file_meta(dataset: FileDataset, identities: Identities) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

    old, meta = dataset.file_meta, FileMetaDataset()
    # Secondary Capture is what a picture without a stated class is.
    sop_class: Any = dataset.get("SOPClassUID") or old.get("MediaStorageSOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"
    instance: Any = dataset.get("SOPInstanceUID") or identities.uid(
        old.get("MediaStorageSOPInstanceUID") or secrets.token_hex()
    )
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID = old.TransferSyntaxUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = "SYNTHSCOPE"
    dataset.file_meta = meta
    dataset.preamble = b"\x00" * 128


def _walk(dataset: Dataset, identities: Identities, words: frozenset[str], counts: dict[str, int]) -> None:
    from pydicom.datadict import keyword_for_tag

    for tag in list(dataset.keys()):
        if tag.group % 2 or tag.group < 0x0008:
            counts["private"] += tag.group % 2
            del dataset[tag]
            continue
        if 0x5000 <= tag.group <= 0x50FF or 0x6000 <= tag.group <= 0x60FF or tag.element == 0:
            counts["overlays"] += tag.group >= 0x6000
            del dataset[tag]
            continue
        action = PROFILE.get(keyword_for_tag(tag), "")
        try:
            element = dataset[tag] if action != "X" else None
        except RecursionError:
            raise
        except Exception as error:
            # A value that cannot be read cannot be judged either.
            log.debug("element dropped: %s", type(error).__name__)
            element = None
        if element is None or not _clean(element, action, identities, words, counts):
            counts["removed"] += 1
            del dataset[tag]


def _clean(
    element: DataElement, action: str, identities: Identities, words: frozenset[str], counts: dict[str, int]
) -> bool:
    """Clean one element in place; ``False`` when it has to go."""
    if element.VR == "SQ":
        if action in ("D", "Z"):
            return False
        for item in element.value:
            _walk(item, identities, words, counts)
        return True
    if action == "Z":
        element.value = None if element.VR in ("OB", "OW", "UN") else ""
        return True
    if action == "D":
        element.value = DUMMY.get(element.VR, "REMOVED")
        return True
    if element.VR == "UI":
        values = element.value if element.VM > 1 else [element.value]
        replaced = [identities.uid(value) for value in values if value]
        element.value = replaced if len(replaced) > 1 else (replaced[0] if replaced else "")
        return True
    if element.VR in ("PN", "DA", "TM", "DT", "AE", "AS", "UR", "UN", "LT", "ST", "UT", "UC") or action == "U":
        return False
    return not (element.VR in TEXT_VR and element.keyword not in DEFINED and words & _words(str(element.value or "")))


def _identifying_words(dataset: Dataset) -> frozenset[str]:
    found: set[str] = set()
    for keyword in IDENTIFYING.split():
        try:
            value = dataset.get(keyword)
        except Exception as error:
            log.debug("element %s refused: %s", keyword, type(error).__name__)
            continue
        if value:
            found |= _words(str(value))
    return frozenset(found)


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[\W_]+", text.lower()) if len(word) >= 3 and word not in COMMON}
