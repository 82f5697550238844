"""Many files at once: archives of masks, with everything that people and attackers put into archives."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.images import read_image
from backend.media.intake_several import MOST_FILES, accept_several, natural
from backend.media.limits import Limits
from backend.runtime import Runtime


def png(value: int) -> bytes:
    mask = np.zeros((32, 32), np.uint8)
    mask[: value + 1, :10] = 255
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


def packed(path: Path, files: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def take(runtime: Runtime, path: Path):
    return accept_several(runtime, path, filename=path.name, actor=LOCAL)


def rows_of(runtime: Runtime, arrivals) -> list[int]:
    """How many rows of each stored mask are foreground: which file it was."""
    return [
        int((read_image(runtime.artifacts.path(item.view.id), Limits()) > 0).any(axis=1).sum()) for item in arrivals
    ]


def test_files_of_an_archive_come_in_the_natural_order_of_their_names(runtime: Runtime, tmp_path: Path) -> None:
    files = {f"patient Doe/mask{number}.png": png(number) for number in (10, 2, 1)}
    arrivals = take(runtime, packed(tmp_path / "a.zip", files))
    assert rows_of(runtime, arrivals) == [2, 3, 11]
    for item in arrivals:
        assert item.view.name == "upload.png"
        assert "Doe" not in str(item.view)
        assert item.name.startswith("mask")


def test_one_bad_file_says_why_and_the_others_come_in(runtime: Runtime, tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", {"a.png": png(3)}).read_bytes()
    files = {"1.png": png(1), "2.txt": b"notes about it", "3.zip": inner, "folder/": b"", "4.png": png(4)}
    files["__MACOSX/._1.png"] = b"\x00\x05"
    arrivals = take(runtime, packed(tmp_path / "a.zip", files))
    told = [item.error.what if item.error else "" for item in arrivals]
    assert told == ["", "This kind of file is not known here.", "This archive holds another archive.", ""]
    assert [item.name for item in arrivals] == ["1.png", "2.txt", "3.zip", "4.png"]


def test_a_single_file_is_taken_as_itself(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(5))
    arrivals = take(runtime, tmp_path / "a.png")
    assert rows_of(runtime, arrivals) == [6]
    np.savez(tmp_path / "b.npz", a=np.zeros((20, 20)), b=np.ones((20, 20)))
    assert len(take(runtime, tmp_path / "b.npz")) == 1  # a ZIP by its bytes, one file by its meaning


def test_a_folder_is_taken_without_links_and_hidden_files(runtime: Runtime, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    (folder / "sub").mkdir(parents=True)
    (folder / "2.png").write_bytes(png(2))
    (folder / "sub" / "10.png").write_bytes(png(10))
    (folder / ".hidden.png").write_bytes(png(1))
    (folder / "link.png").symlink_to(folder / "2.png")
    assert rows_of(runtime, take(runtime, folder)) == [3, 11]


def test_what_is_no_archive_of_masks_is_refused_whole(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        take(runtime, packed(tmp_path / "empty.zip", {}))
    with pytest.raises(UserError, match="is empty"):
        take(runtime, packed(tmp_path / "folders.zip", {"a/": b"", "__MACOSX/x": b"y"}))
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="holds links"):
        take(runtime, tmp_path / "link.zip")
    (tmp_path / "cut.zip").write_bytes(packed(tmp_path / "x.zip", {"a.png": png(1)}).read_bytes()[:40])
    with pytest.raises(UserError, match="damaged"):
        take(runtime, tmp_path / "cut.zip")


def test_paths_that_lead_out_of_the_archive_lead_nowhere(runtime: Runtime, tmp_path: Path) -> None:
    arrivals = take(runtime, packed(tmp_path / "out.zip", {"../../escaped.png": png(2), "/abs.png": png(3)}))
    assert sorted(rows_of(runtime, arrivals)) == [3, 4]
    assert not (tmp_path.parent / "escaped.png").exists()


def test_a_bomb_is_stopped_before_it_fills_the_disk(runtime: Runtime, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.png", b"\0" * 200_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 250_000
    runtime.settings = runtime.settings.model_copy(update={"max_decompression_ratio": 100})
    with pytest.raises(UserError, match="unpacks to far more than it holds"):
        take(runtime, tmp_path / "bomb.zip")


def test_too_many_files_are_refused(runtime: Runtime, tmp_path: Path) -> None:
    files = {f"{number}.txt": b"x" for number in range(MOST_FILES + 1)}
    with pytest.raises(UserError, match="1,001 files"):
        take(runtime, packed(tmp_path / "many.zip", files))


def test_names_sort_as_people_number_them() -> None:
    names = ["b2", "a10", "a9", "A1", "a"]
    assert sorted(names, key=natural) == ["a", "A1", "a9", "a10", "b2"]
