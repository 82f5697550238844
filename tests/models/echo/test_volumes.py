"""Area-length and Simpson's discs against shapes whose volume is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.echo.volumes import LEAST_PIXELS, area_length, curve

MM = 0.8


def ellipse(
    long: float, short: float, *, angle: float = 0.0, cut: float = np.inf, tilt: float = 0.0, centre=(56.0, 56.0)
) -> np.ndarray:
    """Ellipse with half axes in pixels, apex up, turned by ``angle`` degrees, cut ``cut`` pixels below the centre."""
    rows, columns = np.mgrid[:112, :112].astype(float)
    y, x = rows - centre[0], columns - centre[1]
    turn = np.deg2rad(angle)
    along, across = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
    return ((along / long) ** 2 + (across / short) ** 2 <= 1) & (along + np.tan(np.deg2rad(tilt)) * across <= cut)


def spheroid_ml(long: float, short: float) -> float:
    return 4 / 3 * np.pi * long * short**2 * MM**3 / 1000


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 133, 180])
@pytest.mark.parametrize(("long", "short"), [(38.0, 20.0), (30.0, 11.0), (24.0, 21.0)])
def test_a_spheroid_has_its_volume(long: float, short: float, angle: float) -> None:
    found = area_length(ellipse(long, short, angle=angle), MM)
    assert found.ml == pytest.approx(spheroid_ml(long, short), rel=0.025)
    assert found.discs_ml == pytest.approx(spheroid_ml(long, short), rel=0.03)
    assert found.area == pytest.approx(np.pi * long * short * MM**2, rel=0.02)


def test_the_long_axis_of_an_ellipse() -> None:
    found = area_length(ellipse(38, 16, angle=20), MM)
    assert found.length == pytest.approx(2 * 38 * MM, rel=0.02)
    assert found.apex[0] < found.base[0], "the upper end is the apex where neither is narrower"
    assert np.hypot(*np.subtract(found.apex, found.base)) * MM == pytest.approx(found.length)


@pytest.mark.parametrize("angle", [0, 25, 70, 120, 180, 250, 330])
def test_apex_and_middle_of_the_mitral_plane_of_a_bullet(angle: float) -> None:
    found = area_length(ellipse(50, 18, angle=angle, cut=15), MM)
    turn = np.deg2rad(angle)
    down = np.array([np.cos(turn), -np.sin(turn)])
    assert np.hypot(*(np.array(found.apex) - (56 - 50 * down))) < 1.5
    assert np.hypot(*(np.array(found.base) - (56 + 15 * down))) < 2.0
    # The truth of the solid: a spheroid cut by a plane.
    z = np.linspace(-50, 15, 10_001)
    solid = np.trapezoid(np.pi * 18**2 * (1 - (z / 50) ** 2), z) * MM**3 / 1000
    assert found.discs_ml == pytest.approx(solid, rel=0.03)


def test_a_tilted_mitral_plane_keeps_its_middle() -> None:
    found = area_length(ellipse(50, 18, cut=15, tilt=15), MM)
    assert abs(found.base[1] - 56) < 2.5
    assert abs(found.base[0] - 71) < 2.5


def test_rotation_changes_the_volume_of_a_bullet_by_little() -> None:
    volumes = [area_length(ellipse(50, 18, angle=angle, cut=15)).ml for angle in range(0, 360, 15)]
    assert np.std(volumes) / np.mean(volumes) < 0.01


def test_the_atrium_tells_the_basal_end() -> None:
    mask = ellipse(38, 16)
    assert area_length(mask, atrium=(5.0, 56.0)).base[0] < 30
    assert area_length(mask, atrium=(105.0, 56.0)).base[0] > 80
    # A ventricle wider than long: its axis points at the atrium, not along its width.
    wide = ellipse(15, 24, cut=8)
    assert abs(area_length(wide, atrium=(100.0, 56.0)).base[1] - 56) < 2


def test_without_a_pixel_size_volumes_are_relative() -> None:
    mask = ellipse(38, 20)
    assert area_length(mask).ml * MM**3 == pytest.approx(area_length(mask, MM).ml)
    assert area_length(mask).length == pytest.approx(area_length(mask, MM).length / MM)


def test_holes_are_filled_and_shares_of_pixels_count() -> None:
    mask = ellipse(38, 20)
    hollow = mask.copy()
    hollow[50:56, 52:60] = False
    assert area_length(hollow, MM).area == area_length(mask, MM).area
    fine = np.zeros((112 * 8, 112 * 8))
    rows, columns = np.mgrid[: 112 * 8, : 112 * 8] / 8 - 0.5 + 1 / 16
    fine = ((rows - 56.2) / 30.3) ** 2 + ((columns - 55.7) / 12.4) ** 2 <= 1
    share = fine.reshape(112, 8, 112, 8).mean((1, 3))
    assert area_length(share, MM).ml == pytest.approx(spheroid_ml(30.3, 12.4), rel=0.008)


def test_a_ventricle_at_the_edge_of_the_image() -> None:
    found = area_length(ellipse(38, 20, centre=(20.0, 56.0)), MM, atrium=(90.0, 56.0))
    assert found.apex[0] == pytest.approx(-0.5, abs=0.5)


def test_shapes_that_are_no_ventricle_still_have_a_finite_volume() -> None:
    rng = np.random.default_rng(0)
    shapes = [np.zeros((112, 112), bool) for _ in range(3)]
    shapes[0][40, 20:80] = True
    shapes[1][np.arange(20, 80), np.arange(20, 80)] = True
    shapes[2][20:90, 20:23] = shapes[2][20:23, 20:90] = shapes[2][20:90, 87:90] = True
    for _ in range(60):
        rough = ndimage.gaussian_filter(rng.standard_normal((112, 112)), rng.uniform(1, 8))
        pieces, _ = ndimage.label(rough > rough.std() * 0.8)
        shapes.append(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
    for shape in shapes:
        found = area_length(shape, MM)
        assert 0 < found.ml < 1e4
        assert found.length >= 2 * MM
        assert np.isfinite(found.discs_ml)


@pytest.mark.parametrize(
    ("mask", "mm"),
    [
        (np.zeros((112, 112), bool), 1.0),
        (np.ones((2, 112, 112), bool), 1.0),
        (ellipse(30, 20), 0.0),
        (ellipse(30, 20), -1.0),
        (ellipse(30, 20), np.nan),
    ],
)
def test_what_cannot_be_measured_is_refused(mask: np.ndarray, mm: float) -> None:
    with pytest.raises(ValueError, match=r"mask|pixel"):
        area_length(mask, mm)


def test_a_curve_has_gaps_where_there_is_no_ventricle() -> None:
    labels = np.stack([ellipse(38, 20), ellipse(34, 14), np.zeros((112, 112))]).astype(np.uint8)
    labels[0][100:110, 50:60] = 3
    speck = np.zeros((112, 112), np.uint8)
    speck.flat[: LEAST_PIXELS - 1] = 1
    found = curve(np.concatenate([labels, speck[None]]), MM)
    assert found.found.tolist() == [True, True, False, False]
    assert found.ml.dtype == np.float32
    assert found.ml[:2] == pytest.approx([spheroid_ml(38, 20), spheroid_ml(34, 14)], rel=0.02)
    assert [frame is None for frame in found.frames] == [False, False, True, True]
    with pytest.raises(ValueError, match="three dimensions"):
        curve(labels[0])
