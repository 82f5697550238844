"""Anomaly: heat-maps of what does not look healthy in a brain MRI, findings to accept or reject, everything exported.

``requests`` and ``batch`` hold what the jobs take and give; ``read`` opens a scan, ``prepare`` finds brain, space and
sequence, ``run`` restores it and finds what stands out, ``keep`` stores and draws it, ``regions`` names places,
``verdicts`` keeps what the reader says of the findings, ``batch_run`` does many scans, ``pack`` makes one ZIP; ``view``
and ``layers`` give the page what it shows, ``laboratory`` the corruptions one by one.
"""

from __future__ import annotations

from backend.jobs.contract import Action
from backend.services.anomaly import batch, pack, requests

ACTIONS: tuple[Action, ...] = (*requests.ACTIONS, *batch.ACTIONS, *pack.ACTIONS)
