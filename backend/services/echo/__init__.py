"""Echo: a beating heart with the ejection fraction one asks for, and a meter for any such clip.

``requests`` holds what the jobs take and give; ``measure`` reads a clip and measures it, ``overlay`` draws what was
found, ``keep`` stores it.
"""

from __future__ import annotations

from backend.jobs.contract import Action
from backend.services.echo import requests

ACTIONS: tuple[Action, ...] = (*requests.ACTIONS,)
