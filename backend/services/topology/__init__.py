"""Topology: repair breaks, holes, bridges and islands in a segmentation, and show every change.

``requests`` holds what the jobs take and give; ``read`` opens a file, ``input`` makes a probability map of it, ``run``
refines, ``cut`` thresholds and finds the changes, ``compare`` sets simple repairs beside ours, ``view``, ``table`` and
``render`` serve the page. ``volume`` and ``volume_*`` are the same for three dimensions. Foreground is 8-connected and
background 4-connected (26 and 6 in volumes) throughout.
"""

from __future__ import annotations

from backend.jobs.contract import Action
from backend.services.topology import batch, classes, requests, training, volume

ACTIONS: tuple[Action, ...] = (*requests.ACTIONS, *volume.ACTIONS, *training.ACTIONS, *classes.ACTIONS, *batch.ACTIONS)
