"""Echo: a beating heart with the ejection fraction one asks for, and a meter for any such clip.

``requests``, ``making`` and ``batch`` hold what the jobs take and give; ``measure`` reads a clip and measures it,
``generate`` makes clips by the networks behind ``generator``, ``batch_run`` many of them, which ``batch_pack`` packs;
``overlay`` draws what was found, ``keep`` stores it, ``truth`` knows what phantoms were drawn with. ``training`` and
its modules train a network of one's own.
"""

from __future__ import annotations

from backend.jobs.contract import Action
from backend.services.echo import batch, making, requests, training

ACTIONS: tuple[Action, ...] = (*making.ACTIONS, *requests.ACTIONS, *batch.ACTIONS, *training.ACTIONS)
