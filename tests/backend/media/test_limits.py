from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.media.limits import ALWAYS_ALLOWED, Limits
from backend.settings import Settings

SMALL = Limits(max_bytes=1000, max_pixels=100, max_frames=5, max_decompression_ratio=10)


def test_the_settings_of_an_installation_become_its_limits() -> None:
    limits = Limits.from_settings(Settings(max_upload_mib=3, max_pixels=7, max_frames=5, max_decompression_ratio=2))
    assert limits == Limits(3 * 1024 * 1024, 7, 5, 2)


@pytest.mark.parametrize("shape", [(10, 10), (1, 100), (4, 5, 5)])
def test_what_fits_exactly_is_allowed(shape: tuple[int, ...]) -> None:
    SMALL.check_pixels(*shape)
    SMALL.check_bytes(1000)
    SMALL.check_frames(5)


@pytest.mark.parametrize("shape", [(10, 11), (60000, 60000), (0, 5), (-1, 5), (2, 51)])
def test_shapes_too_large_empty_or_negative_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as caught:
        SMALL.check_pixels(*shape)
    assert caught.value.what
    assert caught.value.what_to_do


def test_large_files_long_clips_and_empty_files_are_refused(tmp_path: Path) -> None:
    for check in (lambda: SMALL.check_bytes(1001), lambda: SMALL.check_frames(6), lambda: SMALL.check_frames(0)):
        with pytest.raises(UserError):
            check()
    (tmp_path / "empty").touch()
    for name in ("empty", "absent"):
        with pytest.raises(UserError) as caught:
            SMALL.check_file(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_the_ratio_is_judged_only_where_it_can_hurt() -> None:
    SMALL.check_ratio(ALWAYS_ALLOWED, 1)
    SMALL.check_ratio(10 * ALWAYS_ALLOWED, ALWAYS_ALLOWED)
    with pytest.raises(UserError):
        SMALL.check_ratio(10 * ALWAYS_ALLOWED + 1, ALWAYS_ALLOWED)


def test_an_unpacking_stream_is_stopped_as_soon_as_it_is_too_long() -> None:
    limits = Limits(max_bytes=1 << 20)
    packed = gzip.compress(bytes(8 << 20))
    out: list[int] = []
    with gzip.open(io.BytesIO(packed)) as source, pytest.raises(UserError):
        limits.copy(source, lambda chunk: out.append(len(chunk)), len(packed))
    assert sum(out) <= 1 << 20


def test_a_deflate_stream_is_counted_without_being_kept() -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = raw.compress(bytes(3_000_000)) + raw.flush()
    assert Limits().check_deflated(io.BytesIO(packed), len(packed)) == 3_000_000
    assert Limits().check_deflated(io.BytesIO(packed + b"rest"), len(packed)) == 3_000_000
    with pytest.raises(UserError):
        Limits(max_bytes=1 << 20).check_deflated(io.BytesIO(packed), len(packed))
