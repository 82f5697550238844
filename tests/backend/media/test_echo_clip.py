from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.errors import UserError
from backend.media.echo_clip import EchoSource, read_echo_clip, resample
from backend.media.intake import receive
from backend.media.limits import Limits
from tests.backend.media import echo_samples as samples
from tests.backend.media.intake_samples import dicom_file
from tests.backend.media.real_files import check_sentence

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits()
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-crf", "16"]


@pytest.fixture(scope="module")
def real() -> EchoSource:
    return read_echo_clip(dicom_file("examples_ybr_color.dcm"), LIMITS)


def refused(path: Path, match: str, **options: object) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read_echo_clip(path, LIMITS, **options)  # type: ignore[arg-type]
    check_sentence(caught.value, "ZEBEDEE", path.name)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(one.astype(float) - other).mean())


def test_the_real_clip_is_cropped_where_a_person_would(real: EchoSource) -> None:
    assert real.crop == samples.CROP
    assert real.frames.shape == (30, 112, 112)
    assert real.frames.dtype == np.uint8
    assert (real.native_size, real.native_frames, real.container) == ((240, 320), 30, "dicom")
    assert real.fps == pytest.approx(1000 / 33.333)
    assert real.fps_from == "Frame Time"
    # The region speaks of frames of 640 × 480: 0.5105 mm there, twice that here, and 192 pixels become 112.
    assert real.mm_per_px == pytest.approx(2 * 0.51049706 * 192 / 112)
    assert any("2 times as large" in note for note in real.notes)
    # Area resampling of the crop by hand, inside the fan.
    top, bottom, left, right = real.crop
    small = cv2.resize(samples.real_grey()[7, top:bottom, left:right], (112, 112), interpolation=cv2.INTER_AREA)
    core = cv2.erode(real.mask.astype(np.uint8), np.ones((5, 5))).astype(bool)
    np.testing.assert_array_equal(real.frames[7][core], small[core])
    assert not real.frames[:, ~cv2.dilate(real.mask.astype(np.uint8), np.ones((3, 3))).astype(bool)].any()
    # Whatever moves by more than the coding's noise lies inside the fan.
    deviation = samples.real_grey()[:, top:bottom, left:right].astype(np.float32).std(0)
    outside = ~(cv2.resize(real.mask.astype(np.uint8), (192, 192)) > 0)
    assert (deviation[outside] > 2).mean() < 0.001


def test_the_large_clip_gives_the_same_picture(real: EchoSource) -> None:
    try:
        path = dicom_file("color3d_jpeg_baseline.dcm")
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    large = read_echo_clip(path, LIMITS)
    assert large.frames.shape == (120, 112, 112)
    np.testing.assert_allclose(np.array(large.crop) / 2, real.crop, atol=1)
    assert large.mm_per_px == pytest.approx(real.mm_per_px, rel=0.01)
    assert alike(large.frames[0], real.frames[0]) < 2
    assert not any("times as large" in note for note in large.notes)


@pytest.mark.parametrize("kind", ["rle", "j2k", "rgb", "sixteen", "palette", "tinted"])
def test_every_way_of_storing_gives_the_same_clip(kind: str, real: EchoSource, tmp_path: Path) -> None:
    grey, path = samples.real_grey()[:12], tmp_path / "x.dcm"
    if kind == "rle":
        samples.dicom(path, grey, samples.RLE, FrameTime="40")
    elif kind == "j2k":
        samples.dicom(path, grey, samples.JPEG_2000, FrameTime="40")
    elif kind == "rgb":
        samples.dicom(path, samples.real_frames()[:12], FrameTime="40")
    elif kind == "sixteen":
        samples.dicom(path, grey.astype(np.uint16) * 16, BitsStored=12, HighBit=11, FrameTime="40")
    else:
        ramp = np.arange(256)[:, None] * 257
        samples.palette(path, grey, np.round(ramp * ((1, 1, 1) if kind == "palette" else (1, 0.8, 0.45))))
    clip = read_echo_clip(path, LIMITS)
    assert (clip.fps, clip.fps_from, clip.mm_per_px) == (25, "Frame Time", None)
    np.testing.assert_allclose(clip.crop, real.crop, atol=8)
    expected = read_echo_clip(samples.dicom(tmp_path / "plain.dcm", grey, FrameTime="40"), LIMITS)
    if kind in ("sixteen", "tinted"):  # one window of its own, one weighted brightness
        correlation = np.corrcoef(clip.frames.ravel(), expected.frames.ravel())[0, 1]
        assert correlation > 0.98
    else:
        assert alike(clip.frames, expected.frames) < 0.6
    if kind == "tinted":
        assert any("tinted" in note for note in clip.notes)
    if kind == "sixteen":
        assert any("12 bits" in note for note in clip.notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mp4", H264),
        ("x.avi", ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"]),
        ("x.gif", []),
        ("x.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "20", "-b:v", "0"]),
    ],
)
def test_video_gives_the_same_clip(name: str, options: list[str], real: EchoSource, tmp_path: Path) -> None:
    path = samples.video(tmp_path / name, samples.real_frames(), 25, *options).rename(tmp_path / "clip.bin")
    clip = read_echo_clip(path, LIMITS)
    assert clip.frames.shape == (30, 112, 112)
    assert clip.fps == pytest.approx(25, rel=1e-3)
    assert clip.mm_per_px is None
    np.testing.assert_allclose(clip.crop, real.crop, atol=9)
    # The crops differ by a few pixels (there is no region here), so the picture is compared, not the pixels.
    assert np.corrcoef(clip.frames[3].ravel(), real.frames[3].ravel())[0, 1] > 0.85


@pytest.mark.parametrize("rate", ["31.7", "30000/1001", "50.3", "12.5"])
def test_odd_rates_are_read_exactly(rate: str, tmp_path: Path) -> None:
    number = 30000 / 1001 if "/" in rate else float(rate)
    path = samples.video(tmp_path / "x.avi", samples.real_grey()[::2], rate, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    assert read_echo_clip(path, LIMITS).fps == pytest.approx(number, rel=1e-4)


def test_a_variable_frame_time_is_made_even(tmp_path: Path) -> None:
    gaps = np.where(np.arange(30) % 3 == 0, 60.0, 30.0)
    gaps[0] = 0
    vector = [str(gap) for gap in gaps]
    path = samples.dicom(
        tmp_path / "x.dcm", samples.real_grey(), FrameTimeVector=vector, FrameIncrementPointer=0x00181065
    )
    clip = read_echo_clip(path, LIMITS)
    assert clip.fps == pytest.approx(1000 / 30)
    assert clip.fps_from == "Frame Time Vector, resampled"
    assert any("unevenly" in note for note in clip.notes)
    assert clip.seconds == pytest.approx(gaps.sum() / 1000 * 30 / 29, abs=0.06)
    # The frame shown at 0.15 s is there at 0.15 s.
    shown = np.cumsum(gaps) / 1000
    native = read_echo_clip(path, LIMITS, native_fps=10).frames
    for index in (4, 11, 20):
        at = round(shown[index] * clip.fps)
        assert alike(clip.frames[at], native[index]) < 0.5


def test_a_video_of_variable_rate_is_made_even(tmp_path: Path) -> None:
    slow = "setpts='if(lt(N,15),N,15+2*(N-15))/25/TB'"
    options = ["-vf", slow, "-fps_mode", "vfr", *H264]
    clip = read_echo_clip(samples.video(tmp_path / "x.mp4", samples.real_grey(), 25, *options), LIMITS)
    assert any("unevenly" in note for note in clip.notes)
    assert clip.native_frames == 30
    assert clip.seconds == pytest.approx((15 + 30) / 25, abs=0.1)


def test_time_is_resampled_on_request(real: EchoSource) -> None:
    path = dicom_file("examples_ybr_color.dcm")
    half = read_echo_clip(path, LIMITS, fps=15)
    assert (len(half.frames), half.fps, half.fps_from) == (15, 15, "Frame Time, resampled")
    np.testing.assert_array_equal(half.frames, real.frames[::2])
    double = read_echo_clip(path, LIMITS, fps=60)
    assert len(double.frames) == 60
    assert alike(double.frames[::2], real.frames) < 0.2
    assert double.seconds == pytest.approx(real.seconds, abs=0.03)
    corrected = read_echo_clip(path, LIMITS, native_fps=50)
    assert (corrected.fps, corrected.fps_from, len(corrected.frames)) == (50, "as you asked", 30)


def test_resampling_blends_linearly_and_keeps_a_linear_ramp() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.4])
    frames = np.round(times * 500).astype(np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    even = resample(frames, times, 20)
    np.testing.assert_array_equal(even[:9, 0, 0], np.arange(9) * 25)
    with pytest.raises(ValueError, match="frames a second"):
        read_echo_clip(Path("x"), LIMITS, fps=0)


def test_a_declared_region_sets_the_scale_and_non_square_pixels_become_square(tmp_path: Path) -> None:
    tall = np.stack([cv2.resize(frame, (320, 480), interpolation=cv2.INTER_LINEAR) for frame in samples.real_grey()])
    item = samples.region((31, 414, 42, 298), 0.1)
    item.PhysicalDeltaY = 0.05
    path = samples.dicom(tmp_path / "x.dcm", tall, FrameTime="33", HeartRate="72", SequenceOfUltrasoundRegions=[item])
    clip = read_echo_clip(path, LIMITS)
    assert clip.heart_rate == 72
    top, bottom, left, right = clip.crop
    assert (bottom - top) == pytest.approx(2 * (right - left), abs=2)
    assert clip.mm_per_px == pytest.approx(1.0 * (right - left) / 112)
    square = read_echo_clip(dicom_file("examples_ybr_color.dcm"), LIMITS)
    assert alike(clip.frames[5], square.frames[5]) < 3


def test_a_square_that_was_cropped_before_stays_as_it_is(real: EchoSource, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", frames=real.frames, fps=np.float32(32), mm_per_px=0.9)
    again = read_echo_clip(tmp_path / "x.npz", LIMITS)
    assert (again.crop, again.fps, again.mm_per_px) == ((0, 112, 0, 112), 32, 0.9)
    assert alike(again.frames, real.frames) < 0.05
    np.save(tmp_path / "x.npy", (real.frames / np.float32(255))[:, None])
    floats = read_echo_clip(tmp_path / "x.npy", LIMITS)
    assert floats.fps_from == "assumed"
    assert any("30 frames a second were assumed" in note for note in floats.notes)
    np.testing.assert_array_equal(floats.frames, again.frames)


def test_print_and_traces_outside_the_fan_are_blanked_and_the_probe_comes_to_the_top(
    real: EchoSource, tmp_path: Path
) -> None:
    for base, height in ((215, 25), (205, 25)):
        path = samples.dicom(tmp_path / "x.dcm", samples.ecg(samples.real_frames(), base, height), FrameTime="33.333")
        clip = read_echo_clip(path, LIMITS)
        np.testing.assert_allclose(clip.crop, samples.CROP, atol=9)
        assert any("blanked" in note for note in clip.notes)
        assert not clip.frames[:, 108:, :20].any()
        assert not clip.frames[:, 108:, -20:].any()
    path = samples.dicom(tmp_path / "down.dcm", samples.real_grey()[:, ::-1], FrameTime="33.333")
    turned = read_echo_clip(path, LIMITS)
    assert any("turned over" in note for note in turned.notes)
    upright = read_echo_clip(samples.dicom(tmp_path / "up.dcm", samples.real_grey(), FrameTime="33.333"), LIMITS)
    assert np.corrcoef(turned.frames[3].ravel(), upright.frames[3].ravel())[0, 1] > 0.98


def test_portrait_video_is_handled(real: EchoSource, tmp_path: Path) -> None:
    tall = np.zeros((30, 640, 360, 3), np.uint8)
    tall[:, 180:420, 20:340] = samples.real_frames()
    clip = read_echo_clip(samples.video(tmp_path / "x.mp4", tall, 30, *H264), LIMITS)
    assert clip.native_size == (640, 360)
    np.testing.assert_allclose(np.subtract(clip.crop, (180, 180, 20, 20)), real.crop, atol=9)


def test_two_seconds_of_4k_fit(real: EchoSource, tmp_path: Path) -> None:
    options = ["-vf", "scale=2880:2160,pad=3840:2160:480:0", "-c:v", "mjpeg", "-q:v", "6", "-pix_fmt", "yuvj420p"]
    path = samples.video(tmp_path / "x.avi", samples.real_grey()[:16:2], 4, *options)
    with pytest.raises(UserError, match="too large"):
        read_echo_clip(path, replace(LIMITS, max_pixels=1_000_000))
    clip = read_echo_clip(path, replace(LIMITS, max_pixels=20_000_000))
    assert (clip.native_size, clip.native_shape) == ((2160, 3840), (576, 1024))
    assert any("scaled down" in note for note in clip.notes)
    np.testing.assert_allclose((np.array(clip.crop) - [0, 0, 128, 128]) / 2.4, real.crop, atol=9)


def test_one_frame_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    path = samples.dicom(tmp_path / "x.dcm", samples.real_grey()[:1])
    refused(path, "single picture")
    still = read_echo_clip(path, LIMITS, min_frames=1)
    assert still.frames.shape == (1, 112, 112)
    cv2.imwrite(str(tmp_path / "x.png"), samples.real_grey()[0])
    refused(tmp_path / "x.png", "single picture")
    assert read_echo_clip(tmp_path / "x.png", LIMITS, min_frames=1).container == "image"


def test_a_real_still_with_print_and_a_trace_is_cropped_to_its_fan() -> None:
    try:
        path = dicom_file("JPGLosslessP14SV1_1s_1f_8b.dcm")
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    refused(path, "single picture")
    still = read_echo_clip(path, LIMITS, min_frames=1)
    top, bottom, left, right = still.crop
    assert top < 170
    assert 640 < bottom < 700
    assert (left + right) / 2 == pytest.approx(520, abs=40)
    assert still.frames[0, -6:, :25].max() == 0  # the trace lies there


def test_short_clips_are_refused_or_told_of(tmp_path: Path) -> None:
    refused(samples.dicom(tmp_path / "x.dcm", samples.real_grey()[:5], FrameTime="33"), "too short.*5 frames")
    short = read_echo_clip(samples.dicom(tmp_path / "y.dcm", samples.real_grey()[:9], FrameTime="33"), LIMITS)
    assert any("less than a heartbeat" in note for note in short.notes)
    assert read_echo_clip(tmp_path / "x.dcm", LIMITS, min_frames=2).native_frames == 5


@pytest.mark.parametrize("hues", [1, 2])
def test_colour_doppler_is_refused_and_a_marker_is_not(hues: int, tmp_path: Path) -> None:
    flow = samples.doppler(samples.real_frames(), hues)
    refused(samples.dicom(tmp_path / "x.dcm", flow, FrameTime="33"), "colour Doppler")
    if hues == 2:
        refused(samples.video(tmp_path / "x.mp4", flow, 30, *H264), "colour Doppler")
    marked = samples.real_frames().copy()
    marked[:, 100:106, 150:170] = (0, 200, 0)
    clip = read_echo_clip(samples.dicom(tmp_path / "y.dcm", marked, FrameTime="33"), LIMITS)
    assert any("some colour" in note for note in clip.notes)


def test_a_trace_across_the_fan_is_no_doppler(tmp_path: Path) -> None:
    path = samples.video(tmp_path / "x.mp4", samples.ecg(samples.real_frames(), 180, 60), 30, *H264)
    clip = read_echo_clip(path, LIMITS)
    assert any("some colour" in note for note in clip.notes)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("US1_UNCR.dcm", "colour Doppler"),
        ("examples_rgb_color.dcm", "colour Doppler"),
        ("OT-PAL-8-face.dcm", "no ul"),
    ],
)
def test_real_stills_that_are_no_echo_are_refused(name: str, match: str) -> None:
    try:
        path = dicom_file(name)
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    refused(path, match, min_frames=1)


def test_an_uploaded_clip_reads_as_the_file_it_came_from(real: EchoSource, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    source, work = dicom_file("examples_ybr_color.dcm"), tmp_path / "work"
    taken = receive(source, filename="x", workdir=work, limits=LIMITS, into=tmp_path)
    clean = read_echo_clip(taken.path, LIMITS)
    assert (clip_facts(clean), clean.fps_from) == (clip_facts(real), "Frame Time")
    assert alike(clean.frames, real.frames) < 0.1


def clip_facts(clip: EchoSource) -> tuple:
    return clip.crop, clip.fps, clip.mm_per_px, clip.native_size


def test_what_is_no_ultrasound_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    still = np.repeat(samples.real_grey()[:1], 12, axis=0)
    refused(samples.dicom(tmp_path / "still.dcm", still, FrameTime="33"), "Nothing moves")
    for name, frames, match in (
        ("text", samples.text_screen(12, False), "Nothing moves"),
        ("titles", samples.text_screen(12, True), "no ultrasound"),
        ("noise", rng.integers(0, 255, (12, 120, 160, 3)).astype(np.uint8), "no ultrasound"),
        ("black", np.zeros((12, 120, 160, 3), np.uint8), "Nothing moves"),
    ):
        np.savez(tmp_path / f"{name}.npz", frames=frames)
        refused(tmp_path / f"{name}.npz", match)
    face = cv2.resize(samples.real_frames()[0], (160, 120)) // 2 + 90  # a lit room, seen by a hand that shakes
    room = np.stack([np.roll(face, (k % 3, k % 5), (0, 1)) for k in range(12)])
    refused(samples.video(tmp_path / "room.mp4", room, 30, *H264), "no ultrasound")


def test_other_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    refused(dicom_file("CT_small.dcm"), "no ultrasound.*CT")
    spectral = samples.region((10, 200, 10, 300), 0.1, form=3)
    path = tmp_path / "x.dcm"
    samples.dicom(path, samples.real_grey(), FrameTime="33", SequenceOfUltrasoundRegions=[spectral])
    refused(path, "spectral Doppler")
    np.savez(tmp_path / "x.npz", weights=np.zeros((3, 4)))
    refused(tmp_path / "x.npz", "no clip among the arrays")
    (tmp_path / "x.avi").write_bytes(b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(200))
    refused(tmp_path / "x.avi", "cannot be read")
    refused(tmp_path / "gone.mp4", "not there any more")
