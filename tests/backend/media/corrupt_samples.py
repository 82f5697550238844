"""Files that nobody should have to open: cut, flipped, swapped, and bombs that declare or unpack to too much."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from tests.backend.media.intake_samples import dicom_file, ramp

HUGE = 60_000
# A little more than a decompression ratio is judged from, and than the tests allow to unpack.
ZEROS = bytes(68 << 20)
DAMAGES = ("cut", "flip", "flip many", "flip head", "zero", "repeat", "swap", "insert")


def damage(data: bytes, kind: str, seed: int) -> bytes:
    """Data with one kind of damage of :data:`DAMAGES`, the same for the same seed."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    middle = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, max(2, min(400, len(data)))))
    if kind == "cut":
        return data[: int(rng.integers(0, len(data)))]
    if kind in ("flip", "flip many", "flip head"):
        reach = min(len(data), 256) if kind == "flip head" else len(data)
        for at in rng.integers(0, reach, 60 if kind == "flip many" else 3):
            changed[at] ^= 1 << int(rng.integers(0, 8))
    elif kind == "zero":
        changed[middle : middle + length] = bytes(len(changed[middle : middle + length]))
    elif kind == "repeat":
        changed[middle:middle] = changed[middle : middle + length] * 3
    elif kind == "swap":
        changed = changed[middle:] + changed[:middle]
    elif kind == "insert":
        changed[middle:middle] = rng.bytes(length)
    return bytes(changed)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", head, *extra, png_chunk(b"IDAT", zlib.compress(bytes(10_000))), png_chunk(b"IEND", b""))
    )


@cache
def packed_zeros() -> bytes:
    return gzip.compress(ZEROS, 9)


def bombs() -> dict[str, bytes]:
    """Small files that claim, or unpack to, far more than the limits of an installation allow."""
    import nibabel
    import pydicom
    import tifffile
    from PIL import Image
    from pydicom.encaps import encapsulate, generate_frames
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    found: dict[str, bytes] = {}
    found["png size"] = png(HUGE, HUGE)
    found["png text"] = png(9, 9, png_chunk(b"zTXt", b"a\x00\x00" + zlib.compress(ZEROS, 9)))
    found["png profile"] = png(9, 9, png_chunk(b"iCCP", b"a\x00\x00" + zlib.compress(ZEROS, 9)))

    def picture(format_: str, **options: object) -> bytearray:
        out = io.BytesIO()
        Image.fromarray(ramp()).save(out, format_, **options)
        return bytearray(out.getvalue())

    jpeg = picture("JPEG")
    struct.pack_into(">HH", jpeg, jpeg.find(b"\xff\xc0") + 5, 65_000, 65_000)
    found["jpeg size"] = bytes(jpeg)
    bitmap = picture("BMP")
    struct.pack_into("<ii", bitmap, 18, HUGE, HUGE)
    found["bmp size"] = bytes(bitmap)
    moving = picture("GIF")
    struct.pack_into("<HH", moving, 6, HUGE, HUGE)
    found["gif size"] = bytes(moving)
    wave = picture("JPEG2000")
    struct.pack_into(">II", wave, wave.find(b"\xff\x4f\xff\x51") + 8, HUGE, HUGE)
    struct.pack_into(">II", wave, wave.find(b"ihdr") + 4, HUGE, HUGE)
    found["jp2 size"] = bytes(wave)
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((8, 8), np.uint8))
    plain = bytearray(out.getvalue())
    for tag in (256, 257, 278):
        at = plain.find(struct.pack("<HH", tag, 3), 8)
        at = at if at >= 0 else plain.find(struct.pack("<HH", tag, 4), 8)
        struct.pack_into("<HHII", plain, at, tag, 4, 1, HUGE)
    found["tiff size"] = bytes(plain)

    volume = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    header = bytearray(volume.header.binaryblock + bytes(4))
    struct.pack_into("<8h", header, 40, 3, 30_000, 30_000, 30_000, 1, 1, 1, 1)
    found["nifti size"] = bytes(header)
    found["nifti.gz size"] = gzip.compress(bytes(header))
    found["nifti.gz bomb"] = gzip.compress(volume.header.binaryblock + bytes(4)) + packed_zeros()
    found["gzip bomb"] = packed_zeros()

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (1_000_000, 1_000_000)}
    )
    found["npy size"] = head.getvalue() + bytes(64)
    for name, members in (
        ("npz size", {"a.npy": head.getvalue() + bytes(64)}),
        ("zip bomb", {"a": ZEROS[: 40 << 20], "b": ZEROS[: 40 << 20]}),
        ("zip of a zip", {"a.zip": b"PK\x05\x06" + bytes(18)}),
        ("zip of a bomb", {"a.gz": packed_zeros()}),
    ):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        found[name] = out.getvalue()
    out = io.BytesIO()
    np.savez_compressed(out, a=np.frombuffer(ZEROS))
    found["npz bomb"] = out.getvalue()

    def dicom(name: str, **changes: object) -> bytes:
        dataset = pydicom.dcmread(dicom_file(name))
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        out = io.BytesIO()
        dataset.save_as(out)
        return out.getvalue()

    for name in ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        found[f"{name} size"] = dicom(name, Rows=HUGE, Columns=HUGE)
        found[f"{name} frames"] = dicom(name, NumberOfFrames=2_000_000_000)
        found[f"{name} medium"] = dicom(name, Rows=15_000, Columns=15_000)
    stream = pydicom.dcmread(dicom_file("MR_small_jp2klossless.dcm"))
    frame = bytearray(next(generate_frames(stream.PixelData, number_of_frames=1)))
    struct.pack_into(">2I", frame, frame.find(b"\xff\x4f\xff\x51") + 8, HUGE, HUGE)
    found["dicom stream"] = dicom("MR_small_jp2klossless.dcm", PixelData=encapsulate([bytes(frame)]))
    deflated = pydicom.dcmread(dicom_file("MR_small.dcm"))
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.PixelData = ZEROS
    out = io.BytesIO()
    deflated.save_as(out)
    found["dicom deflate"] = out.getvalue()
    # Sequences within sequences, ten thousand deep.
    deep = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    found["dicom depth"] = dicom_file("MR_small.dcm").read_bytes()[:400] + deep
    return found


def odd_files() -> dict[str, Path]:
    """The odd ones among the test files of pydicom and pydicom-data, as far as they are installed."""
    names = (
        "badVR.dcm bad_sequence.dcm MR_truncated.dcm emri_small_jpeg_2k_lossless_too_short.dcm no_meta.dcm "
        "meta_missing_tsyntax.dcm no_meta_group_length.dcm empty_charset_LEI.dcm UN_sequence.dcm nested_priv_SQ.dcm "
        "priv_SQ.dcm rtplan_truncated.dcm rtplan.dcm rtstruct.dcm reportsi.dcm test-SR.dcm waveform_ecg.dcm DICOMDIR "
        "ExplVR_BigEndNoMeta.dcm ExplVR_LitEndNoMeta.dcm explicit_VR-UN.dcm JPEG2000-embedded-sequence-delimiter.dcm "
        "J2K_pixelrep_mismatch.dcm OT-PAL-8-face.dcm GDCMJ2K_TextGBR.dcm SC_rgb_small_odd.dcm mlut_18.dcm vlut_04.dcm "
        "image_dfl.dcm JPGExtended.dcm zipMR.gz rtdose_1frame.dcm SC_jpeg_no_color_transform.dcm"
    )
    found = {}
    for name in names.split():
        try:
            found[name] = dicom_file(name)
        except FileNotFoundError:
            continue
    return found
