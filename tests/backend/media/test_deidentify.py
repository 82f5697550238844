from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import DicomDictionary, keyword_for_tag, tag_for_keyword
from pydicom.uid import UID

from backend.errors import UserError
from backend.media.deidentify import METHOD, Identities, deidentify
from backend.media.deidentify_dicom import clean_dicom
from backend.media.deidentify_images import strip_gif, strip_jpeg, strip_png
from backend.media.deidentify_nifti import strip_nifti
from backend.media.deidentify_table import PROFILE, STANDARD
from backend.media.dicom import read_dicom
from backend.media.dicom_open import open_dataset
from backend.media.images import read_image
from backend.media.limits import Limits
from backend.media.nifti import read_nifti
from backend.media.sniff import sniff
from tests.backend.media.intake_samples import (
    PATIENT,
    TRACES,
    dicom_file,
    dicom_files,
    make_dicom,
    make_pictures,
    make_volumes,
)

# What pydicom and Pillow say of odd files; the application silences it, and pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits()


def without_trace(data: bytes) -> bool:
    return not any(trace in data for trace in TRACES)


def cleaned(path: Path, folder: Path) -> tuple[pydicom.Dataset, bytes]:
    target = folder / "clean.dcm"
    clean_dicom(path, target, Identities(), LIMITS)
    return pydicom.dcmread(target), target.read_bytes()


def test_the_table_holds_every_attribute_of_the_standard_s_profile() -> None:
    assert len(STANDARD) == 617
    assert all(tag_for_keyword(keyword) for keyword in STANDARD)
    published = {
        "PatientName": "Z",
        "PatientID": "Z/D",
        "PatientBirthDate": "Z",
        "StudyDate": "Z",
        "SeriesDate": "X/D",
        "ContentDate": "Z/D",
        "AcquisitionDateTime": "X/Z/D",
        "StudyInstanceUID": "U",
        "SOPInstanceUID": "U",
        "FrameOfReferenceUID": "U",
        "InstitutionName": "X/Z/D",
        "OperatorsName": "X/Z/D",
        "PatientAge": "X",
        "ImageComments": "X",
        "ReferencedImageSequence": "X/Z/U*",
        "VerifyingObserverName": "D",
        "DeviceSerialNumber": "X/Z/D",
    }
    assert {keyword: STANDARD[keyword] for keyword in published} == published
    assert set(PROFILE.values()) == {"X", "Z", "D", "U"}


def test_no_name_date_or_time_of_the_dictionary_survives() -> None:
    """Every attribute that pydicom knows of these kinds, listed by the standard or not, goes or is emptied."""
    dataset = pydicom.dcmread(dicom_file("CT_small.dcm"))
    values = {"PN": PATIENT, "DA": "20240131", "TM": "121314", "DT": "20240131121314", "AE": "ZEBEDEE", "AS": "044Y"}
    added = []
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in values and keyword and 0x0008 <= tag >> 16 < 0x5000:
            dataset.add_new(tag, vr, values[vr])
            added.append(keyword)
    assert len(added) > 200
    deidentify(dataset, Identities())
    for keyword in added:
        value = dataset.get(keyword)
        assert not value or PROFILE[keyword] == "D", keyword
        assert not value or str(value) in ("REMOVED", "19000101", "000000", "19000101000000", "000Y"), keyword


def test_a_file_that_names_its_patient_everywhere_comes_out_without_a_trace(tmp_path: Path) -> None:
    path = make_dicom(tmp_path, ManufacturerModelName="Scanner of Magdalena", LUTExplanation=PATIENT)
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(0x0009, "ZEBEDEE PRIVATE", create=True)
    block.add_new(1, "LO", PATIENT)
    nested, deeper = pydicom.Dataset(), pydicom.Dataset()
    deeper.PatientName, deeper.ReferencedSOPInstanceUID = PATIENT, dataset.SOPInstanceUID
    deeper.private_block(0x0011, "ZEBEDEE DEEP", create=True).add_new(2, "LT", PATIENT)
    nested.PurposeOfReferenceCodeSequence = [deeper]
    nested.ReferencedSOPInstanceUID = dataset.StudyInstanceUID
    dataset.ReferencedImageSequence = [nested]
    dataset.add_new(0x60000022, "LO", PATIENT)
    dataset.add_new(0x60003000, "OW", bytes(2048))
    dataset.add_new(0x50000030, "SH", "MAGDALENA")
    dataset.file_meta.SourceApplicationEntityTitle = "ZEBEDEE"
    dataset.file_meta.PrivateInformationCreatorUID, dataset.file_meta.PrivateInformation = "1.2.3", b"MAGDALENA "
    dataset.preamble = b"ZEBEDEE".ljust(128, b"\x00")
    dataset.save_as(path)
    assert not without_trace(path.read_bytes())
    before = pydicom.dcmread(path)

    after, data = cleaned(path, tmp_path)
    assert without_trace(data)
    assert data[:128] == bytes(128)
    assert after.PatientName == after.StudyDate == after.AccessionNumber == ""
    assert "PatientAge" not in after
    assert "ImageComments" not in after
    assert not any(tag.is_private or 0x5000 <= tag.group <= 0x60FF for tag in after.keys())  # noqa: SIM118
    assert after.PatientIdentityRemoved == "YES"
    assert after.DeidentificationMethod == METHOD
    assert len(METHOD) <= 64
    assert after.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert "SourceApplicationEntityTitle" not in after.file_meta
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
    # References hold among themselves, and what the machine did is kept.
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == after.StudyInstanceUID
    inner = after.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert inner.ReferencedSOPInstanceUID == after.SOPInstanceUID
    assert after.KVP == before.KVP
    assert after.SOPClassUID == before.SOPClassUID
    np.testing.assert_array_equal(after.pixel_array, before.pixel_array)


def test_uids_are_replaced_alike_within_a_call_and_differently_in_the_next() -> None:
    one, other = Identities(), Identities()
    assert one.uid("1.2.3.4") == one.uid("1.2.3.4") != other.uid("1.2.3.4")
    assert one.uid("1.2.3.4") != one.uid("1.2.3.5")
    assert Identities(b"salt").uid("1.2.3.4") == Identities(b"salt").uid("1.2.3.4")
    for number in range(200):
        new = UID(one.uid(f"1.2.{number}"))
        assert new.is_valid
        assert new.startswith("2.25.")
        assert len(new) <= 64
    for known in ("1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2"):
        assert one.uid(known) == known


def test_every_readable_test_file_keeps_its_picture_and_loses_its_patient(tmp_path: Path) -> None:
    """Pixels, spacing, time and window survive; nothing that named the patient does."""
    count = 0
    for path in dicom_files():
        try:
            before = read_dicom(path, LIMITS)
        except UserError:
            continue
        if before.pixels.nbytes > 3_000_000 or sniff(path).format != "dicom":
            continue
        dataset = open_dataset(path, LIMITS)
        # Words that also stand for what is kept ("Anonymous MR phantom") prove nothing.
        names = {
            str(dataset.get(key, "")) for key in ("PatientName", "PatientID", "AccessionNumber", "InstitutionName")
        }
        uids = {str(dataset.get(key, "")) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
        target = tmp_path / "clean.dcm"
        deidentify(dataset, Identities())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(target, enforce_file_format=True)
        data = target.read_bytes()
        start = data.find(b"\xe0\x7f\x10\x00") if dataset.original_encoding[1] else data.find(b"\x7f\xe0\x00\x10")
        for value in names | uids:
            if len(value) >= 6:
                assert value.encode() not in data[:start], (path.name, value)
        after = read_dicom(target, LIMITS)
        np.testing.assert_array_equal(after.pixels, before.pixels)
        assert (after.spacing_mm, after.frame_time_ms) == (before.spacing_mm, before.frame_time_ms)
        assert after.window == before.window
        assert after.content == before.content
        count += 1
    assert count >= 100


def test_the_uids_of_a_series_stay_together(tmp_path: Path) -> None:
    identities, found = Identities(), []
    for name in ("2062", "2392", "2693"):
        clean_dicom(dicom_file(name), tmp_path / name, identities, LIMITS)
        found.append(pydicom.dcmread(tmp_path / name))
    assert len({item.SeriesInstanceUID for item in found}) == 1
    assert len({item.SOPInstanceUID for item in found}) == 3


def test_comments_inside_jpeg_frames_go_and_pixels_stay(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate, generate_frames

    dataset = pydicom.dcmread(dicom_file("SC_rgb_jpeg_dcmtk.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    comment = b"\xff\xfe\x00\x13" + PATIENT.encode()
    assert len(comment) == 0x13 + 2
    dataset.PixelData = encapsulate([frame[:2] + comment + frame[2:]])
    dataset.save_as(tmp_path / "x")
    before = read_dicom(tmp_path / "x", LIMITS)
    _, data = cleaned(tmp_path / "x", tmp_path)
    assert without_trace(data)
    np.testing.assert_array_equal(read_dicom(tmp_path / "clean.dcm", LIMITS).pixels, before.pixels)


def test_endless_nesting_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    top = dataset = pydicom.dcmread(dicom_file("MR_small.dcm"))
    for _ in range(3000):
        inner = pydicom.Dataset()
        dataset.ReferencedImageSequence = [inner]
        dataset = inner
    with pytest.raises(UserError):
        deidentify(top, Identities())


def test_pictures_lose_their_texts_and_keep_their_pixels(tmp_path: Path) -> None:
    files = make_pictures(tmp_path)
    strip = {"rgb.png": strip_png, "deep.png": strip_png, "rgb.jpg": strip_jpeg, "progressive.jpg": strip_jpeg}
    strip["still.gif"] = strip_gif
    for name, function in strip.items():
        before = files[name].read_bytes()
        assert not without_trace(before), name
        after, removed = function(before)
        assert removed, name
        assert without_trace(after), name
        (tmp_path / "clean").write_bytes(after)
        # The right way up as well: the orientation is the one thing of EXIF that belongs to the picture.
        np.testing.assert_array_equal(read_image(tmp_path / "clean", LIMITS), read_image(files[name], LIMITS))
        assert function(after) == (after, False), name
        assert function(before + b"ZEBEDEE")[0] == after, name


def test_a_turned_jpeg_stays_turned(tmp_path: Path) -> None:
    path = make_pictures(tmp_path)["rgb.jpg"]
    clean = Image.open(io.BytesIO(strip_jpeg(path.read_bytes())[0]))
    assert dict(clean.getexif()) == {0x0112: 6}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "two.nii", "big.nii"])
def test_volumes_lose_their_texts_and_keep_their_voxels(tmp_path: Path, name: str) -> None:
    import gzip

    source, target = make_volumes(tmp_path)[name], tmp_path / f"clean-{name}"
    assert strip_nifti(source, target, LIMITS, compressed=name.endswith("gz"))
    data = gzip.decompress(target.read_bytes()) if name.endswith("gz") else target.read_bytes()
    assert without_trace(data)
    before, after = read_nifti(source, LIMITS), read_nifti(target, LIMITS)
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.array.dtype == before.array.dtype
    assert not strip_nifti(target, tmp_path / "again", LIMITS, compressed=name.endswith("gz"))


def test_the_dictionary_still_knows_what_the_table_calls_it() -> None:
    assert all(keyword_for_tag(tag_for_keyword(keyword)) == keyword for keyword in STANDARD)


def test_odd_values_are_quoted_neither_in_the_log_nor_on_the_console(tmp_path: Path) -> None:
    """pydicom would warn of a date, a UID and an over-long name by quoting them."""
    import subprocess
    import sys

    path = tmp_path / "x.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_dicom(tmp_path).rename(path)
    data = path.read_bytes()
    uid = pydicom.dcmread(path).StudyInstanceUID.encode()
    path.write_bytes(data.replace(uid, b"ZEBEDEE 1951".ljust(len(uid)), 1).replace(b"20040119", b"MAGDALEN"))
    program = (
        "import logging, sys; from pathlib import Path; logging.basicConfig(level=logging.DEBUG);"
        "from backend.media.deidentify_dicom import clean_dicom; from backend.media.deidentify import Identities;"
        "from backend.media.limits import Limits;"
        "clean_dicom(Path(sys.argv[1]), Path(sys.argv[1] + '.clean'), Identities(), Limits())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True)
    assert b"MAGDALEN" in path.read_bytes()
    for text in (done.stdout, done.stderr, path.with_suffix(".dcm.clean").read_bytes()):
        assert b"MAGDALEN" not in text
        assert b"ZEBEDEE" not in text
