"""What a reader says of findings: accepted or rejected, kept in the audit log and nowhere else.

Every verdict is one event with the old one, the new one and the reason, so that the log is the memory: the last event
of a finding is its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from backend.errors import UserError
from backend.identity import Actor
from backend.jobs.contract import JobState
from backend.services.anomaly.requests import DetectResult, ReviewRequest

if TYPE_CHECKING:
    from backend.runtime import Runtime

Verdict = Literal["accepted", "rejected", ""]
VERDICTS: tuple[Verdict, ...] = ("accepted", "rejected", "")
"""'' takes an earlier verdict back."""
ACTION = "finding.verdict"
LONGEST_REASON = 500


def judge(
    runtime: Runtime, job_id: str, label: int, verdict: Verdict, *, actor: Actor, reason: str = ""
) -> dict[int, Verdict]:
    """Say that finding ``label`` of a finished detection is accepted or rejected; gives all verdicts of the job.

    The same verdict again is no event. Raises ``UserError`` for another job, finding or word.
    """
    result = finished(runtime, job_id)
    if verdict not in VERDICTS:
        raise UserError(f"{verdict!r} is no verdict.", "A finding is accepted or rejected.", "Choose one of them.")
    if not 1 <= label <= result.count:
        raise UserError(
            f"There is no finding {label}.", f"The scan has {result.count} findings.", "Choose one of the table."
        )
    if len(reason) > LONGEST_REASON:
        raise UserError("The reason is too long.", f"Up to {LONGEST_REASON} characters are kept.", "Shorten it.")
    known = verdicts(runtime, job_id)
    old = known.get(label, "")
    if old != verdict:
        runtime.audit.append(
            actor=actor,
            action=ACTION,
            subject=f"job:{job_id}",
            old={"finding": label, "verdict": old},
            new={"finding": label, "verdict": verdict},
            reason=reason,
        )
        known[label] = verdict
    return {number: word for number, word in known.items() if word}


def verdicts(runtime: Runtime, job_id: str) -> dict[int, Verdict]:
    """The verdicts on the findings of a job, by label; those without one are missing."""
    found: dict[int, Verdict] = {}
    count = runtime.audit.count(action=ACTION, subject=f"job:{job_id}")
    for event in runtime.audit.events(limit=max(count, 1), action=ACTION, subject=f"job:{job_id}"):  # newest first
        new: Mapping[str, object] = event.new
        found.setdefault(int(cast(int, new["finding"])), cast(Verdict, new["verdict"]))
    return {label: verdict for label, verdict in found.items() if verdict}


def review_of(runtime: Runtime, job_id: str) -> ReviewRequest:
    """The request that stores the findings of a job as they were judged up to now. Raises ``UserError``."""
    result, known = finished(runtime, job_id), verdicts(runtime, job_id)
    return ReviewRequest(
        labels=result.labels,
        accepted=tuple(sorted(label for label, verdict in known.items() if verdict == "accepted")),
        rejected=tuple(sorted(label for label, verdict in known.items() if verdict == "rejected")),
    )


def finished(runtime: Runtime, job_id: str) -> DetectResult:
    """Result of a finished detection. Raises ``UserError`` for any other job."""
    from pydantic import TypeAdapter

    job = runtime.jobs.view(job_id)
    if (job.system, job.action) != ("anomaly", "detect") or job.state is not JobState.DONE or not job.result:
        raise UserError(
            "There are no findings under this id.",
            "The job is another one, or it did not come to its end.",
            "Open the result from its job.",
        )
    return TypeAdapter(DetectResult).validate_python(dict(job.result))
