"""What a segmentation file means: every accepted form, and the sentence for each that is not one."""

from __future__ import annotations

import numpy as np
import pytest

from backend.errors import UserError
from backend.services.topology.input import EVERY_LABEL, describe, interpret, require_two_sides


def ring(size: int = 32) -> np.ndarray:
    """A ring of foreground well away from the border, bool [size, size]."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(rows, columns)
    return (radius > size / 8) & (radius < size / 3)


@pytest.mark.parametrize(
    ("dtype", "high"), [("bool", 1), ("uint8", 1), ("uint8", 255), ("uint16", 65535), ("float64", 1), ("int32", 1)]
)
def test_binary_masks_of_any_type_read_the_same(dtype, high):
    read = interpret((ring() * high).astype(dtype))
    assert read.kind == "binary"
    assert read.probability.dtype == np.float32
    assert np.array_equal(read.probability, ring())
    assert read.notes == ()


def test_two_odd_values_are_named_in_a_note():
    read = interpret(np.where(ring(), 7, 3).astype(np.uint8))
    assert np.array_equal(read.probability, ring())
    assert read.notes == ("Two values, 3 and 7: the larger is the foreground.",)


def test_inverting_exchanges_the_sides():
    assert np.array_equal(interpret(ring(), invert=True).probability, ~ring())


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535)])
def test_grey_levels_are_a_probability_over_the_full_scale(dtype, full):
    soft = np.random.default_rng(0).beta(0.2, 0.2, (64, 64))
    read = interpret(np.rint(soft * full).astype(dtype))
    assert read.kind == "probability"
    assert np.abs(read.probability - soft).max() <= 0.5 / full + 1e-6


def test_float_probability_is_kept():
    soft = np.random.default_rng(0).random((40, 50))
    read = interpret(soft)
    assert read.kind == "probability"
    assert np.allclose(read.probability, soft)


def test_label_map_needs_a_choice_and_names_its_labels():
    labels = np.zeros((40, 40), np.uint16)
    labels[:10] = 300
    labels[20:24] = 7
    with pytest.raises(UserError) as caught:
        interpret(labels)
    assert caught.value.what == "This is a label map with 2 labels: 300 (25.0%), 7 (10.0%)."
    assert np.array_equal(interpret(labels, label=7).probability, labels == 7)
    assert np.array_equal(interpret(labels, label=EVERY_LABEL).probability, labels > 0)
    with pytest.raises(UserError, match="There is no label 4"):
        interpret(labels, label=4)
    assert [entry.value for entry in describe(labels).labels] == [300, 7]


def test_grey_coded_labels_are_told_from_grey_levels_by_being_flat():
    labels = np.zeros((60, 60), np.uint8)
    labels[10:30, 10:30] = 80
    labels[35:55, 10:50] = 160
    labels[10:30, 35:55] = 240
    assert describe(labels).kind == "labels"


def test_two_colours_are_a_mask_and_the_brighter_is_foreground():
    picture = np.where(ring()[..., None], [250, 220, 40], [60, 0, 90]).astype(np.uint8)
    read = interpret(picture)
    assert np.array_equal(read.probability, ring())
    assert "Two colours: the brighter is the foreground." in read.notes


def test_grey_saved_as_colour_and_opaque_alpha_change_nothing():
    grey = (ring() * 255).astype(np.uint8)
    assert np.array_equal(interpret(np.dstack([grey] * 3)).probability, ring())
    assert np.array_equal(interpret(np.dstack([*[grey] * 3, np.full_like(grey, 255)])).probability, ring())


def test_mask_kept_in_the_transparency():
    grey = (ring() * 255).astype(np.uint8)
    assert np.array_equal(interpret(np.dstack([np.zeros_like(grey)] * 3 + [grey])).probability, ring())


def test_a_photograph_is_refused_in_colour_and_in_grey():
    smooth = np.random.default_rng(0).normal(128, 30, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    with pytest.raises(UserError, match="colour picture, not a segmentation"):
        interpret(smooth)
    with pytest.raises(UserError, match="grey picture, not a segmentation"):
        interpret(smooth[..., 0])
    assert interpret(smooth[..., 0], reading="probability").kind == "probability"


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((32, 32)), "The mask is empty."),
        (np.ones((32, 32), np.uint8), "The whole image is foreground."),
        (np.full((32, 32), 255, np.uint8), "The whole image is foreground."),
        (np.where(ring(), np.nan, 0.0), "values that are not numbers"),
        (np.where(ring(), np.inf, 0.0), "values that are not numbers"),
        (np.linspace(-4, 4, 1024).reshape(32, 32), "The values run from -4 to 4."),
        (np.linspace(0, 7.5, 1024).reshape(32, 32), "The values run from 0 to 7.5."),
        (-ring().astype(np.int16), "The values run from -1 to 0."),
        (np.eye(8), "The mask is too small: 8 × 8 pixels."),
        (np.zeros((4, 32, 32)), "not a single two-dimensional mask"),
        (np.zeros(100), "not a single two-dimensional mask"),
        (np.zeros((32, 32), complex), "does not hold numbers"),
    ],
)
def test_every_bad_array_gets_its_sentence(array, sentence):
    with pytest.raises(UserError) as caught:
        interpret(array)
    assert sentence in caught.value.what
    assert caught.value.what_to_do


def test_a_map_on_one_side_of_the_threshold_is_refused_with_the_way_out():
    with pytest.raises(UserError, match=r"No pixel reaches the threshold of 0.50.*Lower the threshold below 0.300"):
        require_two_sides(np.linspace(0, 0.3, 400).reshape(20, 20), 0.5)
    with pytest.raises(UserError, match="Every pixel reaches the threshold"):
        require_two_sides(np.linspace(0.6, 1, 400).reshape(20, 20), 0.5)
    require_two_sides(np.linspace(0, 1, 400).reshape(20, 20), 0.5)


def test_an_empty_frame_is_mended_only_when_foreground_runs_into_it():
    stripes = np.zeros((40, 40), np.uint8)
    stripes[:, ::8] = 255
    stripes[::8] = 255
    framed = np.pad(stripes[1:-1, 1:-1], 1)
    framed[1, :] = framed[:, -2] = 255
    framed[0] = framed[-1] = framed[:, 0] = framed[:, -1] = 0
    mended = interpret(framed)
    assert any("outermost line" in note for note in mended.notes)
    assert np.array_equal(mended.probability[0], mended.probability[1])
    assert np.array_equal(interpret(framed, mend_frame=False).probability, framed / 255)
    assert interpret(ring()).notes == ()
