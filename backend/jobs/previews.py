"""The last picture of each job, as a PNG file that is always whole. Kept when the job ends, however it ends."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from backend.store.files import part_beside

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PNG = b"\x89PNG\r\n\x1a\n"


class Previews:
    """Preview files by job id in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, job_id: str, png: bytes) -> None:
        """Replace a job's preview. Raises ``ValueError`` for anything but a PNG."""
        if not png.startswith(_PNG):
            raise ValueError("a preview must be a PNG")
        path = self.folder / f"{job_id}.png"
        temporary = part_beside(path)
        try:
            temporary.write_bytes(png)  # not flushed to the disk: after a power failure a preview is worth nothing
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def get(self, job_id: str) -> bytes | None:
        """A job's last preview, ``None`` when it has none."""
        if _ID.fullmatch(job_id):
            with suppress(FileNotFoundError):
                return (self.folder / f"{job_id}.png").read_bytes()
        return None

    def has(self, job_id: str) -> bool:
        """Whether a job has a preview."""
        return (self.folder / f"{job_id}.png").is_file()
