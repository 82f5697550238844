"""Small real files of every format that can be brought, made once; several of them name a patient."""

from __future__ import annotations

import os
import subprocess
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

PATIENT = "ZEBEDEE^MAGDALENA"
# Every spelling under which the name above could survive.
TRACES = (b"ZEBEDEE", b"MAGDALENA", b"Zebedee", b"Magdalena")


def ramp(height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [H, W, 3] with a different gradient in each channel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x % 256, 5 * y % 256, (x * y) % 256], -1).astype(np.uint8)


@cache
def dicom_file(name: str) -> Path:
    """A test file of pydicom or pydicom-data, by name. Raises ``FileNotFoundError`` when neither has it."""
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    if found is None:
        raise FileNotFoundError(name)
    return Path(found)


@cache
def dicom_files() -> tuple[Path, ...]:
    """All test files of pydicom and pydicom-data that are here, without asking anybody for more."""
    import pydicom.data

    try:
        import data_store
    except ImportError:
        roots = []
    else:
        roots = [Path(data_store.__path__[0])]
    roots.append(Path(pydicom.data.__file__).parent / "test_files")
    return tuple(sorted(path for root in roots for path in root.rglob("*") if path.is_file() and path.suffix != ".py"))


def make_pictures(folder: Path) -> dict[str, Path]:
    """Still pictures, with the patient's name wherever the format has a place for it."""
    from PIL import Image, PngImagePlugin

    rgb = ramp()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x013B] = PATIENT, 6, PATIENT
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", PATIENT)
    text.add_itxt("Comment", PATIENT, zip=False)
    files = {name: folder / name for name in ("rgb.png", "deep.png", "rgb.jpg", "progressive.jpg", "rgb.bmp")}
    files |= {name: folder / name for name in ("rgb.webp", "still.gif", "grey.jp2", "rgb.tif", "deep.tif")}
    Image.fromarray(rgb).save(files["rgb.png"], pnginfo=text, exif=exif)
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 257).save(files["deep.png"], pnginfo=text)
    Image.fromarray(rgb).save(files["rgb.jpg"], exif=exif, comment=PATIENT.encode(), quality=90)
    Image.fromarray(rgb).save(files["progressive.jpg"], progressive=True, exif=exif, comment=PATIENT.encode())
    Image.fromarray(rgb).save(files["rgb.bmp"])
    Image.fromarray(rgb).save(files["rgb.webp"], lossless=True, exif=exif)
    Image.fromarray(rgb[..., 0]).save(files["still.gif"], comment=PATIENT.encode())
    Image.fromarray(rgb[..., 0]).save(files["grey.jp2"])
    import tifffile

    tifffile.imwrite(files["rgb.tif"], rgb, description=PATIENT, software=PATIENT, compression="lzw")
    tifffile.imwrite(files["deep.tif"], rgb[..., 0].astype(np.uint16) * 257, description=PATIENT)
    return files


def make_slide(path: Path) -> Path:
    """A tiled TIFF pyramid of two levels."""
    import tifffile

    picture = np.tile(ramp(), (8, 8, 1))
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture, tile=(128, 128), compression="zlib", photometric="rgb", description=PATIENT)
        writer.write(picture[::2, ::2], tile=(128, 128), compression="zlib", photometric="rgb", subfiletype=1)
    return path


def make_volumes(folder: Path) -> dict[str, Path]:
    """NIfTI-1 plain and packed, and NIfTI-2, all with a description and an extension."""
    import nibabel

    rng = np.random.default_rng(3)
    voxels = rng.integers(0, 900, (12, 10, 8)).astype(np.int16)
    files = {name: folder / name for name in ("a.nii", "a.nii.gz", "two.nii", "big.nii")}
    for name, path in files.items():
        kind = nibabel.Nifti2Image if name == "two.nii" else nibabel.Nifti1Image
        image = kind(voxels, np.diag([2.0, 1.5, 1.0, 1.0]))
        header = image.header.as_byteswapped(">") if name == "big.nii" else image.header
        image = kind(voxels, image.affine, header)
        image.header["descrip"] = image.header["aux_file"] = PATIENT[:20].encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", PATIENT.encode()))
        image.to_filename(path)
    return files


def make_arrays(folder: Path) -> dict[str, Path]:
    """NPY and NPZ."""
    files = {"a.npy": folder / "a.npy", "a.npz": folder / "a.npz"}
    np.save(files["a.npy"], ramp())
    np.savez_compressed(files["a.npz"], image=ramp(), mask=ramp()[..., 0] > 99)
    return files


def make_clips(folder: Path) -> dict[str, Path]:
    """The four containers of video, and an animated GIF; all with a title."""
    from PIL import Image

    from backend.media.video import ffmpeg

    frames = np.stack([np.roll(ramp(), 3 * index, 1) for index in range(8)])
    codecs = {
        "a.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p"],
        "a.mov": ["-c:v", "libx264", "-pix_fmt", "yuv420p"],
        "a.avi": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"],
        "a.webm": ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"],
    }
    files = {}
    for name, codec in codecs.items():
        files[name] = folder / name
        command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", "20"]
        command += ["-i", "-", *codec, "-metadata", f"title={PATIENT}", "-metadata", f"comment={PATIENT}"]
        subprocess.run([*command, os.fspath(files[name])], input=frames.tobytes(), check=True)
    files["a.gif"] = folder / "a.gif"
    stills = [Image.fromarray(frame) for frame in frames]
    stills[0].save(
        files["a.gif"], save_all=True, append_images=stills[1:], duration=50, loop=0, comment=PATIENT.encode()
    )
    return files


def make_dicom(folder: Path, **changes: object) -> Path:
    """A small CT slice that names its patient in every way it can."""
    import pydicom

    dataset = pydicom.dcmread(dicom_file("CT_small.dcm"))
    dataset.PatientName = dataset.OtherPatientNames = dataset.ReferringPhysicianName = PATIENT
    dataset.PatientID = "ZEBEDEE-4711"
    dataset.PatientComments = dataset.ImageComments = f"{PATIENT} was here"
    dataset.InstitutionName = "Magdalena Hospital"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    path = folder / "ct.dcm"
    dataset.save_as(path)
    return path


def make_series(path: Path) -> Path:
    """A ZIP of four slices of one CT series of pydicom's DICOMDIR tests, in a folder named after the patient."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("2062", "2392", "2693", "3023"):
            archive.write(dicom_file(name), f"ZEBEDEE/{name}")
    return path


def make_all(folder: Path) -> dict[str, Path]:
    """One file of every format, by a name that tells which."""
    folder.mkdir(parents=True, exist_ok=True)
    files = make_pictures(folder) | make_volumes(folder) | make_arrays(folder) | make_clips(folder)
    files["slide.tif"] = make_slide(folder / "slide.tif")
    files["ct.dcm"] = make_dicom(folder)
    files["series.zip"] = make_series(folder / "series.zip")
    return files
