"""What every engine must do, whichever it is."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import pytest

from backend.errors import UserError
from backend.identity import LOCAL, Actor
from backend.jobs.contract import JobState
from backend.provenance import Provenance
from backend.runtime import Runtime
from tests.backend.jobs.actions import DrawRequest, StepsRequest, png
from tests.backend.jobs.conftest import Steps, state, until

KIM = Actor("Kim", "reader")
WAIT = 30.0


def submit(lab: Runtime, action: str, request: object) -> str:
    return lab.jobs.submit("toy", action, request, actor=KIM)


def test_job_runs_and_its_row_tells_all(lab: Runtime) -> None:
    job_id = submit(lab, "steps", StepsRequest(steps=3, store=True))
    view = lab.jobs.wait(job_id, WAIT)
    assert view.state is JobState.DONE
    assert (view.system, view.action, view.created_by) == ("toy", "steps", "Kim")
    assert view.request == {"steps": 3, "folder": "", "store": True}
    assert view.result == {"taken": 3}
    assert view.error is None
    assert (view.done, view.total, view.fraction, view.note) == (3, 3, 1.0, "step 3")
    assert view.position is None
    assert view.eta_s is None
    assert 0 <= view.elapsed_s < WAIT
    assert [lab.artifacts.view(made).name for made in view.artifacts] == [f"step-{n}.txt" for n in range(3)]
    assert lab.jobs.preview(job_id) == png(2)
    assert lab.jobs.view(job_id) == view
    assert list(lab.jobs.list()) == [view]
    assert list(lab.jobs.list(active=True)) == []


def test_request_may_be_a_mapping_and_is_checked_field_by_field(lab: Runtime) -> None:
    view = lab.jobs.wait(submit(lab, "steps", {"steps": "2"}), WAIT)
    assert view.request["steps"] == 2
    for bad in ({"steps": "many"}, {"steps": None}, StepsRequest(steps="many"), "nonsense"):
        with pytest.raises(UserError, match="cannot be used"):
            submit(lab, "steps", bad)
    with pytest.raises(UserError, match="count"):
        submit(lab, "draw", {})
    assert len(lab.jobs.list()) == 1


@pytest.mark.parametrize(("system", "action"), [("nothing", "steps"), ("toy", "nothing")])
def test_unknown_action_is_explained(lab: Runtime, system: str, action: str) -> None:
    with pytest.raises(UserError):
        lab.jobs.submit(system, action, {}, actor=KIM)
    assert lab.audit.count() == 0


@pytest.mark.parametrize("bad", ["", "../x", "A" * 22])
def test_unknown_job_is_explained(lab: Runtime, bad: str) -> None:
    for ask in (lab.jobs.view, lab.jobs.preview, lab.jobs.wait, lambda job_id: lab.jobs.cancel(job_id, actor=KIM)):
        with pytest.raises(UserError, match="There is no such job"):
            ask(bad)


def test_running_job_shows_progress_and_preview(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    steps = new_steps()
    job_id = submit(lab, "steps", steps.request)
    steps.at(0)
    view = lab.jobs.view(job_id)
    assert (view.state, view.done, view.has_preview, view.result) == (JobState.RUNNING, 0, False, None)
    assert [active.id for active in lab.jobs.list(active=True)] == [job_id]
    steps.go(0)
    steps.at(1)
    until(lambda: lab.jobs.view(job_id).has_preview)
    view = lab.jobs.view(job_id)
    assert (view.done, view.total, view.fraction, view.note) == (1, 4, 0.25, "step 1")
    assert lab.jobs.preview(job_id) == png(0)
    steps.go()
    assert lab.jobs.wait(job_id, WAIT).state is JobState.DONE


@pytest.mark.parametrize("step", range(4))
def test_cancel_at_every_step_stops_at_that_step_and_keeps_the_preview(
    lab: Runtime, new_steps: Callable[[], Steps], step: int
) -> None:
    steps = new_steps()
    job_id = submit(lab, "steps", steps.request | {"store": True})
    for before in range(step):
        steps.go(before)
    steps.at(step)
    lab.jobs.cancel(job_id, actor=KIM)
    asked = lab.jobs.view(job_id)
    assert (asked.state, asked.cancelling) == (JobState.RUNNING, True)  # until it looks
    steps.go()
    view = lab.jobs.wait(job_id, WAIT)
    assert view.state is JobState.CANCELLED
    assert steps.reached() == step + 1
    assert not view.cancelling
    assert view.result is None
    assert view.error is None
    # What was stored before the cancel stays, whole; after it nothing is stored.
    assert len(view.artifacts) == step
    assert all(lab.artifacts.verify(made) for made in view.artifacts)
    if step:
        assert lab.jobs.preview(job_id) == png(step - 1)
        assert view.done == step


def test_cancel_of_a_queued_job_is_immediate_and_it_never_runs(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    first, second = new_steps(), new_steps()
    running, queued = submit(lab, "steps", first.request), submit(lab, "steps", second.request)
    first.at(0)
    lab.jobs.cancel(queued, actor=KIM)
    assert state(lab, queued) is JobState.CANCELLED
    first.go()
    assert lab.jobs.wait(running, WAIT).state is JobState.DONE
    assert lab.jobs.wait(submit(lab, "steps", {"steps": 1}), WAIT).state is JobState.DONE
    assert second.reached() == 0


def test_cancel_of_a_finished_job_changes_nothing(lab: Runtime) -> None:
    job_id = submit(lab, "steps", {"steps": 1})
    done = lab.jobs.wait(job_id, WAIT)
    events = lab.audit.count()
    lab.jobs.cancel(job_id, actor=KIM)
    assert lab.jobs.view(job_id) == done
    assert lab.audit.count() == events


def test_queue_is_first_come_first_served_and_says_the_position(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    gate = new_steps()
    running = submit(lab, "steps", gate.request)
    gate.at(0)
    queued = [submit(lab, "steps", {"steps": 1}) for _ in range(3)]
    assert lab.jobs.view(running).position is None
    assert [lab.jobs.view(job_id).position for job_id in queued] == [0, 1, 2]
    lab.jobs.cancel(queued[0], actor=KIM)
    assert [lab.jobs.view(job_id).position for job_id in queued] == [None, 0, 1]
    gate.go()
    ends = [lab.jobs.wait(job_id, WAIT) for job_id in queued[1:]]
    assert [end.state for end in ends] == [JobState.DONE, JobState.DONE]
    assert [view.id for view in lab.jobs.list()] == [*reversed(queued), running]
    assert [view.id for view in lab.jobs.list(limit=2)] == [queued[2], queued[1]]
    assert list(lab.jobs.list(system="other")) == []


def test_estimates(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    assert lab.jobs.expected_seconds("toy", "steps") is None
    timed = new_steps()
    first = submit(lab, "steps", timed.request)
    timed.at(0)
    waiting = submit(lab, "steps", {"steps": 1})
    assert lab.jobs.view(first).eta_s is None  # no step yet, no history yet
    assert lab.jobs.view(waiting).eta_s is None
    timed.go(0)
    timed.at(1)
    time.sleep(0.2)
    timed.go(1)
    timed.at(2)
    until(lambda: lab.jobs.view(first).done == 2)
    assert 0.05 < lab.jobs.view(first).eta_s < 2.0  # two steps are left, one took 0.2 s
    timed.go()
    took = lab.jobs.wait(first, WAIT).elapsed_s
    assert took >= 0.2
    until(lambda: state(lab, waiting).final)
    other = lab.jobs.view(waiting).elapsed_s
    assert lab.jobs.expected_seconds("toy", "steps") == pytest.approx((took + other) / 2)
    assert lab.jobs.expected_seconds("toy", "draw") is None
    held = new_steps()
    running = submit(lab, "steps", held.request)
    held.at(0)
    expected = lab.jobs.expected_seconds("toy", "steps")
    assert lab.jobs.view(running).eta_s <= expected  # from history while there is no step
    queued = lab.jobs.view(submit(lab, "steps", {"steps": 1}))
    assert queued.position == 0
    assert queued.eta_s == pytest.approx(expected, abs=expected)
    assert queued.eta_s >= expected


def test_seed_decides_the_picture(lab: Runtime) -> None:
    import torch

    def draw(seed: int | None) -> tuple[float, ...]:
        view = lab.jobs.wait(submit(lab, "draw", DrawRequest(5, seed)), WAIT)
        assert view.state is JobState.DONE, view.error
        return tuple(view.result["numbers"])

    assert draw(7) == draw(7) != draw(8)
    assert draw(None) == draw(0)
    assert draw(7) == tuple(torch.rand(5, generator=torch.Generator().manual_seed(7)).tolist())


def test_artifact_carries_full_provenance_inside_and_outside(lab: Runtime) -> None:
    view = lab.jobs.wait(submit(lab, "draw", DrawRequest(2, 11)), WAIT)
    first, second = (lab.artifacts.view(made) for made in view.artifacts)
    assert view.result["artifact"] == first.id
    provenance = second.provenance
    assert Provenance.from_json(lab.artifacts.path(second.id).read_text()) == provenance
    assert (provenance.system, provenance.action, provenance.synthetic) == ("toy", "draw", True)
    assert provenance.request == {"count": 2, "seed": 11}
    assert (provenance.seed, provenance.sampler, provenance.steps) == (11, "rand", 1)
    assert provenance.parents == (first.id,)
    assert provenance.weights == {"none": "0" * 64}
    assert provenance.device == "cpu"
    assert "torch" in provenance.versions
    assert (second.created_by, second.job_id, second.properties) == ("Kim", view.id, {"count": 2})


def test_mistake_of_a_person_ends_in_its_three_sentences(lab: Runtime) -> None:
    view = lab.jobs.wait(submit(lab, "fail", {"how": "mistake"}), WAIT)
    assert view.state is JobState.FAILED
    assert view.error == {
        "what": "The mask is empty.",
        "why": "It has no foreground pixels.",
        "what_to_do": "Choose another mask.",
    }
    assert_only_whole_files(lab, view.artifacts)
    assert lab.jobs.preview(view.id) == png(9)
    assert view.done == 1


@pytest.mark.parametrize("how", ["bug", "exit"])
def test_bug_goes_to_the_log_and_its_id_to_the_person(lab: Runtime, caplog: pytest.LogCaptureFixture, how: str) -> None:
    with caplog.at_level(logging.ERROR):
        view = lab.jobs.wait(submit(lab, "fail", {"how": how}), WAIT)
    assert view.state is JobState.FAILED
    bug = view.error["bug"]
    assert len(bug) == 8
    assert bug in view.error["what_to_do"]
    assert "KeyError" not in json.dumps(view.error)
    [record] = [record for record in caplog.records if bug in record.getMessage()]
    assert record.exc_info is not None
    assert "actions.py" in str(record.exc_info[2].tb_next.tb_frame.f_code.co_filename)
    assert_only_whole_files(lab, view.artifacts)
    assert lab.jobs.wait(submit(lab, "steps", {"steps": 1}), WAIT).state is JobState.DONE  # the worker lives on


def test_lack_of_memory_is_a_limit_not_a_bug(lab: Runtime) -> None:
    view = lab.jobs.wait(submit(lab, "fail", {"how": "memory"}), WAIT)
    assert view.state is JobState.FAILED
    assert view.error["what"] == "The machine ran out of memory."
    assert "bug" not in view.error


def test_result_of_the_wrong_type_is_a_bug(lab: Runtime) -> None:
    view = lab.jobs.wait(submit(lab, "wrong", {"how": "x"}), WAIT)
    assert view.state is JobState.FAILED
    assert "bug" in view.error


def assert_only_whole_files(lab: Runtime, made: tuple[str, ...]) -> None:
    [kept] = made
    assert lab.artifacts.path(kept).read_text() == "whole"
    files = [path for path in lab.artifacts.folder.rglob("*") if path.is_file()]
    assert files == [lab.artifacts.path(kept)]


def test_every_change_of_state_is_in_the_audit_log(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    steps = new_steps()
    job_id = submit(lab, "steps", steps.request)
    steps.at(0)
    lab.jobs.cancel(job_id, actor=LOCAL)
    lab.jobs.cancel(job_id, actor=LOCAL)  # asking twice is one request
    steps.go()
    lab.jobs.wait(job_id, WAIT)
    events = [(e.action, e.actor, e.old, e.new) for e in reversed(lab.audit.events(subject=f"job:{job_id}"))]
    assert events == [
        (
            "job.submit",
            "Kim",
            None,
            {"state": "queued", "system": "toy", "action": "steps"} | {"request": events[0][3]["request"]},
        ),
        ("job.cancel", "local", None, {"cancel_requested": True}),
        ("job.cancelled", "system", {"state": "running"}, {"state": "cancelled"}),
    ]
    done = lab.jobs.wait(submit(lab, "steps", {"steps": 1, "store": True}), WAIT)
    event = lab.audit.events(action="job.done")[0]
    assert event.new == {"state": "done", "artifacts": list(done.artifacts)}
    assert lab.audit.verify().ok


def test_wait_times_out(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    steps = new_steps()
    job_id = submit(lab, "steps", steps.request)
    steps.at(0)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        lab.jobs.wait(job_id, 0.1)
    assert time.monotonic() - began < 1.0


def test_stop_interrupts_what_runs_and_leaves_the_queue_for_the_next_start(
    lab: Runtime, new_steps: Callable[[], Steps]
) -> None:
    from tests.backend.jobs.actions import catalogue

    steps = new_steps()
    running = submit(lab, "steps", steps.request)
    queued = submit(lab, "steps", {"steps": 1})
    steps.at(0)
    steps.folder.joinpath("go-0").touch()
    steps.at(1)

    import threading

    stopper = threading.Thread(target=lab.jobs.stop)
    stopper.start()
    time.sleep(0.05)
    steps.go()
    stopper.join()
    view = lab.jobs.view(running)
    assert view.state is JobState.INTERRUPTED
    assert view.error["what"] == "The job was interrupted."
    assert lab.jobs.preview(running) is not None
    assert state(lab, queued) is JobState.QUEUED
    with Runtime.open(lab.settings, catalogue=catalogue()) as again:
        assert again.jobs.wait(queued, WAIT).state is JobState.DONE
        assert state(again, running) is JobState.INTERRUPTED
