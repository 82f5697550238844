"""Where a thing that was made came from: enough to explain it, and to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pydicom", "tifffile")


@dataclass(frozen=True)
class Provenance:
    """Carried by every artifact, in the database and inside the file itself.

    ``weights`` maps a weight name to its SHA-256; ``parents`` are artifact ids; ``request`` is the job's request as
    plain JSON values; ``made_at`` is ISO 8601 UTC.
    """

    system: str
    action: str
    synthetic: bool
    request: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    sampler: str = ""
    steps: int | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    device: str = "cpu"
    versions: Mapping[str, str] = field(default_factory=dict)
    code_version: str = ""
    made_at: str = ""

    @classmethod
    def now(cls, **values: Any) -> Provenance:
        """A provenance stamped with this moment, this code and these libraries."""
        return cls(
            versions=library_versions(),
            code_version=code_version(),
            made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            **values,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, UTF-8, so that equal provenance has equal bytes."""
        return canonical_json(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The inverse of :meth:`to_json`."""
        values = json.loads(text)
        values["parents"] = tuple(values.get("parents", ()))
        return cls(**values)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no insignificant space; refuses NaN and infinities (``ValueError``)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that can change a result, without importing them."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def code_version() -> str:
    """The commit this code was checked out from, read without running git, or ``unknown``."""
    root = Path(__file__).resolve().parent.parent
    head = root / ".git" / "HEAD"
    if not head.is_file():
        return "unknown"
    text = head.read_text().strip()
    if not text.startswith("ref: "):
        return text[:12]
    reference = text.removeprefix("ref: ")
    loose = root / ".git" / reference
    if loose.is_file():
        return loose.read_text().strip()[:12]
    packed = root / ".git" / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            if line.endswith(f" {reference}"):
                return line.split()[0][:12]
    return "unknown"
