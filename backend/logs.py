"""Logging: lines to standard error and to a rotating file under the home folder, without patient data.

What people upload must never reach a log: neither file names nor paths nor values of a header. Our own messages name
things by opaque id only; what other libraries say, and the text of every exception, is scrubbed of quoted values,
paths, file names, person names, UIDs, long numbers and query strings before it is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from backend.errors import UserError
from backend.settings import MIB, Settings

ROOT = Path(__file__).resolve().parent.parent
OURS = ("app", "backend", "models")
FILE_SIZE = 5 * MIB
FILES_KEPT = 5

_SUFFIXES = (
    "dcm|dicom|ima|nii|nii\\.gz|hdr|img|mgz|nrrd|mha|svs|ndpi|mrxs|scn|bif|tiff?|png|jpe?g|jp2|bmp|gif|webp|mp4|avi|mov"
    "|mkv|webm|npy|npz|zip|tar|gz|csv|txt|pdf"
)
_QUERY = re.compile(r"\?[^\s\"'<>]+(?==)[^\s\"'<>]*")
_PATH = re.compile(r"(?<![\w.<:/])(?:file://|~?/|[A-Za-z]:[\\/]|\\\\)[^\s'\"<>|:,;()]+")
_FILE = re.compile(rf"[^\s'\"<>|:/\\]+\.(?:{_SUFFIXES})\b", re.IGNORECASE)
_PERSON = re.compile(r"[^\s'\"\[\](),=]*\^[^'\"\[\](),=\n]*")
_UID = re.compile(r"\b[0-2](?:\.\d+){4,}\b")
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|“[^”\n]*”|‘[^’\n]*’|`[^`\n]*`")
_NUMBER = re.compile(r"\b\d{6,}\b")
_PARAMETERS = re.compile(r"\[parameters: .*\]", re.DOTALL)


def set_up(settings: Settings, *, to: TextIO | None = None) -> Path:
    """Log to ``to`` (default: standard error) and to ``logs/synthscope.log`` in the home folder; returns that file.

    Level and form (plain or JSON lines) come from the settings. Calling it again replaces what an earlier call set up.
    Raises ``UserError`` when the folder cannot be written.
    """
    folder = settings.home / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = RotatingFileHandler(
            folder / "synthscope.log", maxBytes=FILE_SIZE, backupCount=FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        raise UserError(
            "The log cannot be written.",
            f"The system says: {error.strerror or type(error).__name__}.",
            "Make the home folder writable, or set SYNTHSCOPE_HOME to another folder.",
        ) from None
    shut_down()
    root = logging.getLogger()
    # Libraries speak up from warnings on: what they say at lower levels is of no use here and may quote headers.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level]))
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level)
    for handler in (file, logging.StreamHandler(to or sys.stderr)):
        handler.setFormatter(Formatter(as_json=settings.log_format == "json"))
        handler.set_name(f"synthscope-{len(root.handlers)}")
        root.addHandler(handler)
    logging.captureWarnings(True)
    return folder / "synthscope.log"


def shut_down() -> None:
    """Close and remove the handlers of :func:`set_up`."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if (handler.get_name() or "").startswith("synthscope-")]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


class Formatter(logging.Formatter):
    """One record as one plain line, or as one JSON object, scrubbed; a traceback follows on lines of its own."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line to write, without its end."""
        own = record.name.partition(".")[0] in OURS
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = "a message that does not fit its arguments"
        message = scrub(message) if own else scrub_foreign(message)
        failure = describe(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        if self._as_json:
            content = {"at": at, "level": record.levelname, "logger": record.name, "message": message}
            return json.dumps(content | ({"exception": failure} if failure else {}), ensure_ascii=False)
        line = f"{at} {record.levelname:<7} {record.name}: {message}"
        return f"{line}\n{failure}" if failure else line


def scrub(text: str) -> str:
    """``text`` without query strings, paths, names of data files, person names in DICOM's form, and UIDs."""
    for pattern, instead in (
        (_QUERY, "?…"),
        (_PATH, "<path>"),
        (_FILE, "<file>"),
        (_PERSON, "<name>"),
        (_UID, "<uid>"),
    ):
        text = pattern.sub(instead, text)
    return text


def scrub_foreign(text: str) -> str:
    """:func:`scrub`, and without quoted values, long numbers and the parameters of SQL: text that we did not write."""
    for pattern, instead in ((_PARAMETERS, "[parameters]"), (_QUOTED, "'…'")):
        text = pattern.sub(instead, text)
    return _NUMBER.sub("#", scrub(text))


def describe(error: BaseException) -> str:
    """A traceback with places relative to project or package, and scrubbed messages of the whole chain of causes."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines = [
            f"  {_place(frame.filename)}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__, limit=-40)
        ]
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}: {scrub_foreign(str(current))}")
        parts.append("\n".join(lines))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nraised while handling\n".join(parts)


def _place(filename: str) -> str:
    """Where code lies, without the folders above it: ``backend/media/dicom.py``, ``pydicom/filereader.py``."""
    path = Path(filename)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return path.relative_to(ROOT).as_posix()
    return "/".join(path.parts[-2:])
