"""What is particular to the embedded engine: threads, throttling, crashes, several processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from backend.identity import LOCAL
from backend.jobs.context import Pace
from backend.jobs.contract import JobState
from backend.jobs.devices import devices
from backend.jobs.local import LOOK_S
from backend.runtime import Runtime
from backend.settings import Settings
from tests.backend.jobs.actions import catalogue, png
from tests.backend.jobs.conftest import Steps, state, until

WAIT = 30.0


def submit(lab: Runtime, action: str, request: object) -> str:
    return lab.jobs.submit("toy", action, request, actor=LOCAL)


def test_progress_at_any_rate_is_written_at_most_five_times_a_second(lab: Runtime) -> None:
    written: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE jobs SET done="):
            written.append(statement)

    event.listen(lab.database.engine, "before_cursor_execute", count)
    view = lab.jobs.wait(submit(lab, "spin", {"steps": 50_000}), WAIT)
    assert view.state is JobState.DONE
    assert (view.done, view.total) == (50_000, 50_000)
    assert 1 <= len(written) <= 2 + view.elapsed_s / 0.2
    with lab.database.read() as session:  # the row itself has the end, not only this process
        assert session.execute(text("SELECT done FROM jobs")).scalar_one() == 50_000


def test_pace() -> None:
    pace = Pace()
    assert pace.remaining_s(0.0) is None
    pace.report(10.0, 1, 5)
    assert pace.remaining_s(11.0) is None
    pace.report(12.0, 2, 5)
    assert pace.remaining_s(12.0) == pytest.approx(6.0)  # three steps of two seconds
    assert pace.remaining_s(13.0) == pytest.approx(5.0)
    assert pace.remaining_s(99.0) == 0.0
    pace.report(20.0, 0, 10)  # a new phase starts its own count
    assert pace.remaining_s(20.0) is None
    pace.report(21.0, 5, 10)
    assert pace.remaining_s(21.0) == pytest.approx(1.0)


def test_several_workers_run_at_once(settings: Settings, new_steps: Callable[[], Steps]) -> None:
    with Runtime.open(settings.model_copy(update={"job_workers": 3}), catalogue=catalogue()) as lab:
        held = [new_steps() for _ in range(4)]
        ids = [submit(lab, "steps", each.request) for each in held]
        for each in held[:3]:
            each.at(0)
        assert [state(lab, job_id) for job_id in ids] == [JobState.RUNNING] * 3 + [JobState.QUEUED]
        held[1].go()
        held[3].at(0)
        for each in held:
            each.go()
        assert {lab.jobs.wait(job_id, WAIT).state for job_id in ids} == {JobState.DONE}


def test_submit_and_cancel_from_many_threads(lab: Runtime) -> None:
    def one(index: int) -> JobState:
        job_id = submit(lab, "steps", {"steps": 1})
        if index % 2:
            lab.jobs.cancel(job_id, actor=LOCAL)
        return lab.jobs.wait(job_id, WAIT).state

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(one, range(24)))
    assert {states[index] for index in range(0, 24, 2)} == {JobState.DONE}
    assert set(states) <= {JobState.DONE, JobState.CANCELLED}
    found = lab.audit.verify()
    assert found.ok
    assert lab.audit.count(action="job.submit") == 24


def test_kill_in_the_middle_of_a_job(settings: Settings) -> None:
    """-9 at the second step: interrupted at the next start, its queue goes on, nothing half-written stays."""
    command = [sys.executable, "-m", "tests.backend.jobs.actions", str(settings.home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        running, queued = process.stdout.readline().split()
        with Runtime.open(settings, catalogue=catalogue()) as beside:  # a second engine, while the first one lives
            assert state(beside, running) is JobState.RUNNING
            assert state(beside, queued) is JobState.QUEUED
            assert beside.jobs.wait(submit(beside, "steps", {"steps": 1}), WAIT).state is JobState.DONE
            assert state(beside, queued) is JobState.QUEUED
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert state(beside, running) is JobState.RUNNING
        with Runtime.open(settings, catalogue=catalogue()) as again:
            view = again.jobs.view(running)
            assert view.state is JobState.INTERRUPTED
            assert view.error["what_to_do"].startswith("Start it again")
            assert view.done == 1
            assert again.jobs.preview(running) == png(0)
            assert [again.artifacts.path(made).read_text() for made in view.artifacts] == ["0"]
            assert again.jobs.wait(queued, WAIT).state is JobState.DONE
            [ended] = again.audit.events(action="job.interrupted")
            assert ended.subject == f"job:{running}"
            assert ended.old == {"state": "running"}
            assert again.audit.verify().ok
            repeated = again.jobs.submit("toy", "steps", dict(view.request), actor=LOCAL)
            (settings.home / "steps" / "go").touch()
            assert again.jobs.wait(repeated, WAIT).state is JobState.DONE
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_living_engine_notices_the_death_of_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.jobs.local.HEARTBEAT_S", 0.2)
    monkeypatch.setattr("backend.jobs.local.LOOK_S", 0.1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.backend.jobs.actions", str(settings.home)], stdout=subprocess.PIPE, text=True
    )
    try:
        running, queued = process.stdout.readline().split()
        with Runtime.open(settings, catalogue=catalogue()) as beside:
            process.send_signal(signal.SIGKILL)
            process.wait()
            until(lambda: state(beside, running) is JobState.INTERRUPTED)
            assert beside.jobs.wait(queued, WAIT).state is JobState.DONE
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_cancel_reaches_a_job_of_another_process(settings: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.backend.jobs.actions", str(settings.home)], stdout=subprocess.PIPE, text=True
    )
    try:
        running, queued = process.stdout.readline().split()
        with Runtime.open(settings, catalogue=catalogue(), start_jobs=False) as looker:
            looker.jobs.cancel(queued, actor=LOCAL)
            looker.jobs.cancel(running, actor=LOCAL)
            assert state(looker, queued) is JobState.CANCELLED
            time.sleep(2 * LOOK_S + 0.5)  # its engine looks once in LOOK_S
            (settings.home / "steps" / "go").touch()
            assert looker.jobs.wait(running, WAIT).state is JobState.CANCELLED
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_job_submitted_without_an_engine_waits_for_one(settings: Settings) -> None:
    with Runtime.open(settings, catalogue=catalogue(), start_jobs=False) as looker:
        job_id = submit(looker, "steps", {"steps": 1})
        assert state(looker, job_id) is JobState.QUEUED
        assert looker.jobs.view(job_id).position == 0
    with Runtime.open(settings, catalogue=catalogue(), adopt_jobs=False) as command:
        own = submit(command, "steps", {"steps": 1})
        assert command.jobs.wait(own, WAIT).state is JobState.DONE
        assert state(command, job_id) is JobState.QUEUED
    with Runtime.open(settings, catalogue=catalogue()) as server:
        assert server.jobs.wait(job_id, WAIT).state is JobState.DONE


def test_job_whose_action_is_gone_fails_with_a_sentence(settings: Settings) -> None:
    with Runtime.open(settings, catalogue=catalogue(), start_jobs=False) as looker:
        job_id = submit(looker, "steps", {"steps": 1})
        with looker.database.write() as session:
            session.execute(text("UPDATE jobs SET action = 'removed'"))
    with Runtime.open(settings, catalogue=catalogue()) as server:
        view = server.jobs.wait(job_id, WAIT)
        assert view.state is JobState.FAILED
        assert "no action 'removed'" in view.error["what"]


def test_end_of_a_job_is_written_later_when_the_database_refuses(lab: Runtime, new_steps: Callable[[], Steps]) -> None:
    """The end of a job is the one thing that must not be lost while the process lives."""
    steps = new_steps()
    job_id = submit(lab, "steps", steps.request)
    steps.at(0)
    with lab.database.write() as session:
        session.execute(text("ALTER TABLE audit_events RENAME TO away"))
    steps.go()
    until(lambda: steps.reached() == 4)
    threading.Event().wait(0.2)
    with lab.database.write() as session:
        session.execute(text("ALTER TABLE away RENAME TO audit_events"))
    assert lab.jobs.wait(job_id, WAIT).state is JobState.DONE


def test_engine_runs_on_both_databases(settings: Settings, database_url: str) -> None:
    with Runtime.open(settings.model_copy(update={"database_url": database_url}), catalogue=catalogue()) as lab:
        ids = [submit(lab, "steps", {"steps": 2, "store": True}) for _ in range(3)]
        views = [lab.jobs.wait(job_id, WAIT) for job_id in ids]
        assert {view.state for view in views} == {JobState.DONE}
        assert all(len(view.artifacts) == 2 for view in views)
        assert lab.jobs.expected_seconds("toy", "steps") > 0
        assert lab.audit.verify().ok


def test_cpu_needs_no_torch(settings: Settings) -> None:
    program = (
        "import sys; from backend.jobs.devices import devices; from backend.settings import Settings;"
        "print(devices(Settings(device='cpu'))); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "['cpu']\n"), done.stderr
    assert devices(settings) == ["cpu"]
