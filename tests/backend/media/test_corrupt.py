"""Whatever is brought, it either opens or is refused in plain sentences; nothing is left, and it does not take long."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from backend.errors import UserError
from backend.media.intake import receive
from backend.media.limits import Limits
from backend.settings import MIB
from tests.backend.media.corrupt_samples import DAMAGES, bombs, damage, odd_files
from tests.backend.media.intake_samples import TRACES, dicom_file, make_all
from tests.backend.media.real_files import check_sentence

# What pydicom and Pillow say of odd files; the application silences it, and pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits(max_bytes=64 * MIB, max_pixels=4_000_000, max_frames=200)
SECONDS = 15.0
MEMORY_MIB = 700
# Every way DICOM compresses pixels, since each has a decoder that meets the damage.
STREAMS = (
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle.dcm",
    "image_dfl.dcm",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small real file of every format, and of every DICOM compression that is installed."""
    found = {name: path.read_bytes() for name, path in make_all(tmp_path_factory.mktemp("whole")).items()}
    for name in STREAMS:
        found[name] = dicom_file(name).read_bytes()
    return found


def brought(data: bytes, folder: Path, filename: str = "ZEBEDEE.png", limits: Limits = LIMITS) -> bool:
    """Bring one file; whether it opened. Fails on anything but a file that opens or a plain refusal."""
    source, work, into = folder / "source", folder / "work", folder / "into"
    source.write_bytes(data)
    work.mkdir(exist_ok=True)
    into.mkdir(exist_ok=True)
    started = time.monotonic()
    try:
        item = receive(source, filename=filename, workdir=work, limits=limits, into=into)
    except UserError as error:
        check_sentence(error, str(folder), "ZEBEDEE", "MAGDALENA")
        opened = False
    else:
        assert item.path.stat().st_size > 0
        assert not any(trace.decode() in str((item.notes, item.properties)) for trace in TRACES)
        item.path.unlink()
        opened = True
    assert time.monotonic() - started < SECONDS
    assert not os.listdir(work), "a temporary file was left"  # noqa: PTH208
    assert not os.listdir(into), "a file that was refused was left"  # noqa: PTH208
    return opened


def test_two_hundred_damaged_files(whole: dict[str, bytes], tmp_path: Path) -> None:
    count = opened = 0
    for name, data in whole.items():
        assert brought(data, tmp_path), name
        # Each try of a video starts ffmpeg several times.
        for seed, kind in enumerate(DAMAGES[:4] if name.startswith("a.") and name[2:] in VIDEO else DAMAGES):
            opened += brought(damage(data, kind, seed), tmp_path)
            count += 1
    assert count >= 200
    # Neither test is empty: some damage is survived, most is found.
    assert 0 < opened < count


VIDEO = ("mp4", "mov", "avi", "webm", "gif")


def test_a_file_without_bytes_or_with_a_few_of_any_kind(whole: dict[str, bytes], tmp_path: Path) -> None:
    assert not brought(b"", tmp_path)
    for data in whole.values():
        for length in (1, 4, 12, 132):
            assert not brought(data[:length], tmp_path)


@pytest.mark.parametrize("name", ["ct.dcm", "rgb.jpg", "a.nii.gz", "a.npz", "series.zip", "rgb.tif"])
def test_a_name_that_lies_changes_nothing(whole: dict[str, bytes], tmp_path: Path, name: str) -> None:
    for lie in ("x.png", "x.exe", "x", "../../x.dcm", "x.mp4\x00.png", "x" * 5000):
        assert brought(whole[name], tmp_path, lie)


def test_bombs_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    made = bombs()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    opened = {name for name, data in made.items() if brought(data, tmp_path)}
    # The limits of an installation that nobody has set, where 15,000 × 15,000 pixels alone would be allowed.
    opened |= {name for name, data in made.items() if "bomb" not in name and brought(data, tmp_path, limits=Limits())}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    assert opened == set()
    assert grown < MEMORY_MIB


def test_the_odd_files_of_pydicom(tmp_path: Path) -> None:
    found = odd_files()
    assert len(found) >= 20
    results = {name: brought(path.read_bytes(), tmp_path) for name, path in found.items()}
    assert not any(results[name] for name in ("rtplan.dcm", "reportsi.dcm", "MR_truncated.dcm", "badVR.dcm"))
    assert results["SC_rgb_small_odd.dcm"]


FAST = ["rgb.png", "rgb.jpg", "rgb.tif", "slide.tif", "a.nii", "a.nii.gz", "a.npy", "a.npz", "series.zip", "ct.dcm"]


@examples(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*FAST, *STREAMS]),
    kinds=st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
def test_damage_upon_damage(whole: dict[str, bytes], tmp_path: Path, name: str, kinds: list[str], seed: int) -> None:
    data = whole[name]
    for kind in kinds:
        data = damage(data or b"\x00", kind, seed)
    brought(data, tmp_path)


HEADS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"PK\x03\x04", b"\x08\x00\x05\x00CS", b"\x1f\x8b\x08"]
HEADS += [b"\x93NUMPY\x01\x00", b"GIF89a", b"RIFF0000AVI ", b"\x00\x00\x00\x18ftypmp42", bytes(128) + b"DICM"]


@examples(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=300))
def test_the_first_bytes_of_a_format_and_then_noise(tmp_path: Path, head: bytes, tail: bytes) -> None:
    brought(head + tail, tmp_path)
