from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from backend.media.burned_in import bounding_box, find_sector, mask_burned_in
from backend.media.deidentify import Identities
from backend.media.deidentify_dicom import clean_dicom
from backend.media.dicom import read_dicom, to_display
from backend.media.limits import Limits
from tests.backend.media.intake_samples import dicom_file

# What pydicom and Pillow say of odd files; the application silences it, and pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits()
# Where the scanner's print stands in the clip of 240 × 320, read off by eye: rows, columns.
PRINT = {
    "logo and view": (slice(0, 33), slice(0, 40)),
    "department and probe": (slice(10, 35), slice(300, 320)),
    "indices": (slice(60, 100), slice(302, 320)),
    "depth": (slice(198, 209), slice(286, 300)),
    "buttons": (slice(226, 240), slice(38, 284)),
}


def clip(name: str) -> np.ndarray:
    try:
        return read_dicom(dicom_file(name), LIMITS).pixels
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")


def phantom(frames: int = 20, text: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A phantom cone of moving speckle on black with printed lines, uint8 [T, 240, 320], and where the cone is."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:240, :320]
    radius, angle = np.hypot(y - 10, x - 160), np.arctan2(x - 160, y - 10)
    cone = (radius > 8) & (radius < 200) & (np.abs(angle) < 0.7)
    grain = np.stack([cv2.GaussianBlur(rng.random((240, 320)), (3, 3), 0) for _ in range(frames)])
    clip = (255 * np.clip(grain * np.exp(-radius / 300), 0, 1) * cone).astype(np.uint8)
    if text:
        for frame in clip:
            cv2.putText(frame, "ZEBEDEE M 1951-02-03", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 220, 1)
            cv2.putText(frame, "MI 0.9", (270, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 200, 1)
            cv2.rectangle(frame, (20, 225), (300, 239), 90, -1)
            cv2.putText(frame, "HOSPITAL", (30, 236), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 240, 1)
    return clip, cone


def test_the_print_of_the_real_clip_is_blank_afterwards_and_its_sector_is_untouched() -> None:
    frames = clip("examples_ybr_color.dcm")
    masked = mask_burned_in(frames)
    assert masked.sector.method == "motion"
    for name, place in PRINT.items():
        assert (frames[(slice(None), *place)] > 60).any(), name
        assert not masked.frames[(slice(None), *place)].any(), name
    np.testing.assert_array_equal(masked.frames[:, ~masked.mask], frames[:, ~masked.mask])
    # Whatever moves by more than the coding's noise lies inside, so nothing of the heart is lost.
    deviation = frames.astype(np.float32).std(0).max(-1)
    assert not (masked.mask & (deviation > 3)).any()
    # Within the crop of the sector, only the corners beside the cone are blanked.
    crop = (slice(15, 207), slice(74, 266))
    lost = (frames[:, crop[0], crop[1]].max((0, -1)) > 40) & masked.mask[crop]
    assert lost.mean() < 0.002
    top, bottom, left, right = masked.sector.box
    assert (top, bottom, left, right) == pytest.approx((15, 209, 39, 305), abs=4)


def test_the_large_clip_has_the_same_sector_at_twice_the_size() -> None:
    small, large = find_sector(clip("examples_ybr_color.dcm")), find_sector(clip("color3d_jpeg_baseline.dcm"))
    np.testing.assert_allclose(np.array(large.box) / 2, small.box, atol=6)
    shrunk = large.mask[::2, ::2]
    both, either = (shrunk & small.mask).sum(), (shrunk | small.mask).sum()
    assert both / either > 0.9


@pytest.mark.parametrize(
    ("name", "kept", "gone"),
    [
        # Two views side by side below a bar with a hospital's name.
        ("gdcm-US-ALOKA-16.dcm", (250, 160), [(slice(0, 20), slice(0, 640)), (slice(440, 480), slice(0, 640))]),
        ("US1_UNCR.dcm", (200, 300), [(slice(0, 100), slice(0, 640)), (slice(350, 480), slice(0, 640))]),
        (
            "JPGLosslessP14SV1_1s_1f_8b.dcm",
            (400, 500),
            [(slice(0, 100), slice(0, 1024)), (slice(720, 750), slice(880, 1024))],
        ),
        ("OBXXXX1A.dcm", (100, 450), [(slice(0, 60), slice(0, 800)), (slice(60, 260), slice(0, 300))]),
        ("examples_palette.dcm", (100, 450), [(slice(0, 60), slice(0, 800)), (slice(60, 350), slice(0, 200))]),
    ],
)
def test_stills_lose_their_print_and_keep_their_picture(
    name: str, kept: tuple[int, int], gone: list[tuple[slice, slice]], tmp_path: Path
) -> None:
    try:
        path = dicom_file(name)
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    clean_dicom(path, tmp_path / "clean", Identities(), LIMITS)
    before, after = (to_display(read_dicom(item, LIMITS))[0] for item in (path, tmp_path / "clean"))
    assert after[kept].any()
    np.testing.assert_array_equal(after[kept], before[kept])
    for place in gone:
        assert (before[place] > 100).any()
        # MONOCHROME stills keep their own black, which the window may show a little lighter.
        assert after[place].max() <= 12


def test_a_cleaned_clip_is_stored_without_loss_and_says_so(tmp_path: Path) -> None:
    path, target = dicom_file("examples_ybr_color.dcm"), tmp_path / "clean"
    before, notes = clean_dicom(path, target, Identities(), LIMITS)
    after, stored = read_dicom(target, LIMITS), pydicom.dcmread(target)
    masked = mask_burned_in(before.pixels)
    np.testing.assert_array_equal(after.pixels, masked.frames)
    assert after.frame_time_ms == before.frame_time_ms
    assert after.spacing_mm == before.spacing_mm
    assert stored.BurnedInAnnotation == "NO"
    assert [item.CodeValue for item in stored.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    assert any("blanked" in note for note in notes)


def test_the_phantom_s_sector_is_found_and_its_text_is_gone() -> None:
    frames, cone = phantom()
    masked = mask_burned_in(frames)
    plain, _ = phantom(text=False)
    inside = masked.sector.mask
    assert (inside & cone).sum() / (inside | cone).sum() > 0.93
    assert (cone & ~inside).sum() / cone.sum() < 0.02
    np.testing.assert_array_equal(masked.frames[:, masked.mask], 0)
    text = (frames != plain).any(0)
    assert not masked.frames[:, text & ~cone].any()
    again = mask_burned_in(masked.frames)
    assert again.blanked_pixels == 0
    assert bounding_box(again.sector.mask) == pytest.approx(masked.sector.box, abs=3)


def test_one_frame_of_the_phantom_is_found_by_its_texture() -> None:
    frames, cone = phantom(frames=1)
    sector = find_sector(frames)
    assert sector.method == "texture"
    assert (sector.mask & cone).sum() / (sector.mask | cone).sum() > 0.85


def test_recorder_noise_everywhere_does_not_hide_the_sector() -> None:
    frames, cone = phantom()
    rng = np.random.default_rng(9)
    noisy = np.clip(frames + rng.normal(0, 2, frames.shape), 0, 255).astype(np.uint8)
    sector = find_sector(noisy)
    assert sector.method == "motion"
    assert (sector.mask & cone).sum() / (sector.mask | cone).sum() > 0.85


def test_declared_regions_stand_in_where_nothing_is_found_and_are_ignored_where_they_do_not_fit() -> None:
    black = np.zeros((1, 50, 60), np.uint8)
    assert not find_sector(black).found
    assert find_sector(black).mask.all()
    sector = find_sector(black, [(10, 40, 5, 50)])
    assert (sector.method, sector.box) == ("regions", (10, 40, 5, 50))
    assert not find_sector(black, [(10, 400, 5, 50)]).found


def test_without_a_sector_what_looks_like_text_is_blanked() -> None:
    frame = np.zeros((1, 200, 300), np.uint8)
    cv2.rectangle(frame[0], (0, 0), (299, 30), 80, -1)
    cv2.putText(frame[0], "ZEBEDEE", (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 230, 1)
    masked = mask_burned_in(frame)
    assert not masked.sector.found
    assert masked.blanked_pixels
    assert masked.frames.max() == 80
