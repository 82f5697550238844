"""Who is acting. On loopback everybody is the owner of the machine; accounts and roles will replace that one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The person or process behind a change, as the audit log names it."""

    name: str
    role: str = "owner"


LOCAL = Actor("local")
SYSTEM = Actor("system", "system")
COMMAND_LINE = Actor("command line")
