"""Who is still alive: the identity of a process, kept beside unfinished work so that a crash can be told from a delay.

A process is named by where it runs, its number and when it started; the number alone would be used again.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """``place`` is a hash of machine, boot and process namespace; ``started`` counts the place's own clock ticks."""

    place: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return cls(_place(), os.getpid(), _started(os.getpid()) or 0)

    def alive(self) -> bool | None:
        """Whether the process runs; ``None`` when it ran elsewhere, so that only a heartbeat can tell."""
        if self.place != _place():
            return None
        started = _started(self.pid)
        # Where start times hang on the wall clock they are rounded, and move a little when it is corrected.
        return started is not None and abs(started - self.started) <= 2

    def __str__(self) -> str:
        return f"{self.place}.{self.pid}.{self.started}"

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """The inverse of ``str``; ``None`` for anything else."""
        parts = text.split(".")
        if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]))


@lru_cache(maxsize=1)
def _place() -> str:
    facts = [socket.gethostname(), sys.platform]
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if boot.is_file():
        facts.append(boot.read_text().strip())
    if namespace.is_symlink():
        facts.append(str(namespace.readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _started(pid: int) -> int | None:
    """When a process started, ``None`` when it does not run (a zombie has stopped running)."""
    if sys.platform == "linux":
        try:
            # The name in brackets may hold anything; after it come the state and, 19 fields on, ticks since boot.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else int(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time())
    except psutil.NoSuchProcess:
        return None
