"""Slides of the server's own disk: opened by path once, only under allowed folders, and by opaque id from then on."""

from __future__ import annotations

import json
import secrets
import threading
from pathlib import Path

from backend.errors import UserError
from backend.ids import new_id


class PathRegistry:
    """Which opaque id stands for which file. Kept in one small file, so that a link to a view survives a restart.

    Every look-up checks again that the file, with all symbolic links followed, lies under one of ``roots``.
    """

    def __init__(self, file: Path, roots: tuple[Path, ...]) -> None:
        self._file = file
        self._roots = roots
        self._lock = threading.Lock()
        self._paths = self._load()

    @property
    def enabled(self) -> bool:
        """Whether any folder is allowed at all."""
        return bool(self._roots)

    def knows(self, slide_id: str) -> bool:
        """Whether the id stands for a file opened by its path."""
        return slide_id in self._paths

    def path(self, slide_id: str) -> Path:
        """The file of an id. Raises ``UserError`` when it is gone or no longer allowed."""
        return self._contained(Path(self._paths[slide_id]))

    def register(self, text: str) -> str:
        """The id of a file given by its absolute path, or by a path inside one of the folders; the same each time.

        Raises ``UserError`` when no folder is allowed, or the file is not in one. Whether a file outside exists is not
        told.
        """
        if not self._roots:
            raise UserError(
                "Slides cannot be opened by path here.",
                "No folder of slides is set.",
                'Set SYNTHSCOPE_SLIDE_ROOTS to a list of folders, such as ["/slides"], and start again.',
            )
        text = text.strip()
        if not text or "\x00" in text:
            raise UserError("No path was given.", what_to_do="Type the path of a slide under an allowed folder.")
        given = Path(text)
        candidates = [given] if given.is_absolute() else [root / given for root in self._roots]
        path = self._first_contained(candidates)
        with self._lock:
            self._paths.update(self._load())
            for known, stored in self._paths.items():
                if stored == str(path):
                    return known
            slide_id = new_id()
            self._paths[slide_id] = str(path)
            self._save()
            return slide_id

    def forget(self, slide_id: str) -> None:
        """Drop an id, after its file turned out to be no slide."""
        with self._lock:
            if self._paths.pop(slide_id, None) is not None:
                self._save()

    def _first_contained(self, candidates: list[Path]) -> Path:
        for candidate in candidates[:-1]:
            try:
                return self._contained(candidate)
            except UserError:
                continue
        return self._contained(candidates[-1])

    def _contained(self, candidate: Path) -> Path:
        try:
            path = candidate.resolve(strict=True)
            inside = any(path.is_relative_to(root.resolve(strict=True)) for root in self._roots if root.is_dir())
        except (OSError, RuntimeError, ValueError):
            inside = False
        if not inside or not path.is_file():
            raise UserError(
                "There is no such slide under the allowed folders.",
                "Only files inside the folders of the setting slide_roots are opened by path.",
                "Check the path, or upload the slide instead.",
            )
        return path

    def _load(self) -> dict[str, str]:
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in stored.items()} if isinstance(stored, dict) else {}

    def _save(self) -> None:
        temporary = self._file.with_name(f".{self._file.name}.{secrets.token_hex(4)}.part")
        try:
            temporary.write_text(json.dumps(self._paths, indent=1), encoding="utf-8")
            temporary.chmod(0o600)
            temporary.replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)
