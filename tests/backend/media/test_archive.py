from __future__ import annotations

import gzip
import stat
import zipfile
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.media.archive import MAX_ENTRIES, entry_names, unpack
from backend.media.limits import Limits
from tests.backend.media.real_files import check_sentence

LIMITS = Limits()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def refused(path: Path, into: Path, limits: Limits = LIMITS) -> str:
    with pytest.raises(UserError) as caught:
        unpack(path, into, limits)
    check_sentence(caught.value, str(path.parent), "ZEBEDEE")
    return str(caught.value)


def test_files_come_out_whole_under_names_of_ours(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ZEBEDEE/one.dcm", b"one" * 1000)
        archive.writestr("ZEBEDEE/sub/", b"")
        archive.writestr("__MACOSX/ZEBEDEE/._one.dcm", b"junk")
        archive.writestr(".DS_Store", b"junk")
        archive.writestr("empty", b"")
        archive.writestr("two", b"two")
    found = unpack(path, into, LIMITS)
    assert [item.path.read_bytes() for item in found] == [b"one" * 1000, b"two"]
    assert sorted(item.name for item in into.iterdir()) == ["000000", "000002"]
    assert entry_names(path) == ["ZEBEDEE/one.dcm", "empty", "two"]


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "..\\..\\escaped", "a/../../../escaped", "C:\\escaped"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, into: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    before = {item for item in tmp_path.rglob("*") if into not in item.parents}
    (item,) = unpack(path, into, LIMITS)
    assert item.path.parent == into
    assert {item for item in tmp_path.rglob("*") if into not in item.parents} == before


def test_bombs_stop_early_whatever_they_declare(tmp_path: Path, into: Path) -> None:
    path, limits = tmp_path / "bomb.zip", Limits(max_bytes=1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a", bytes(8 << 20))
    assert "unpacks" in refused(path, into, limits)
    # The same archive, saying in both of its headers that 5 bytes come out of it.
    data = path.read_bytes().replace((8 << 20).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(data)
    refused(path, into, limits)
    assert sum(item.stat().st_size for item in into.iterdir()) <= 1 << 20


def test_a_ratio_out_of_all_proportion_is_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive, archive.open("a", "w") as out:
        for _ in range(100):
            out.write(bytes(1 << 20))
    assert "far more" in refused(path, into, Limits(max_decompression_ratio=100))


def test_links_passwords_and_crowds_are_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "links" in refused(path, into)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"secret")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path, into)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MAX_ENTRIES + 1):
            archive.writestr(str(number), b"")
    assert "too many" in refused(path, into)
    assert entry_names(path) == []


def test_damaged_and_empty_archives_are_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"some text" * 100)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused(path, into)
    path.write_bytes(whole.replace(b"some text" * 100, b"other stuf" * 90))
    refused(path, into)
    with zipfile.ZipFile(path, "w"):
        pass
    assert "empty" in refused(path, into)


def test_gzip_holds_one_file(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"content"))
    (item,) = unpack(path, into, LIMITS)
    assert item.path.read_bytes() == b"content"
    path.write_bytes(gzip.compress(bytes(4 << 20)))
    assert "unpacks" in refused(path, into, Limits(max_bytes=1 << 20))
    path.write_bytes(gzip.compress(b"content" * 1000)[:-20])
    assert "damaged" in refused(path, into)
