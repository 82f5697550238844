from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.errors import UserError
from backend.identity import LOCAL, Actor
from backend.notices import RESEARCH_ONLY
from backend.store.audit import GENESIS, AuditLog, Verification, event_hash
from backend.store.audit_check import BATCH
from backend.store.database import Database

KIM = Actor("Kim", "reader")


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database)


def fill(log: AuditLog, count: int) -> None:
    for index in range(count):
        log.append(actor=KIM, action="test.change", subject=f"thing:{index}", old=index, new={"n": index + 1})


def attack(database: Database, *statements: str) -> None:
    """Change the table as somebody who can also drop its triggers."""
    triggers = {
        True: [f"DROP TRIGGER audit_events_{name}" for name in ("no_update", "no_delete", "continue")],
        False: ["ALTER TABLE audit_events DISABLE TRIGGER ALL"],
    }
    with database.write() as session:
        for statement in (*triggers[database.sqlite], *statements):
            session.execute(text(statement))


def test_first_event_continues_from_genesis_and_numbers_are_dense(log: AuditLog) -> None:
    fill(log, 3)
    third, second, first = log.events()
    assert [first.seq, second.seq, third.seq] == [1, 2, 3]
    assert first.previous == GENESIS == "0" * 64
    assert second.previous == first.hash
    assert third.previous == second.hash == log.events(limit=1, offset=1)[0].hash
    assert log.head() == third.hash
    assert log.verify() == Verification(ok=True, events=3, head=third.hash, guarded=True)


def test_hash_is_sha256_of_canonical_json() -> None:
    values = {
        "seq": 1,
        "at": "2025-01-02T03:04:05.000006+00:00",
        "actor": "Kim",
        "role": "reader",
        "action": "a",
        "subject": "s",
        "old": None,
        "new": '{"ä":1}',
        "reason": "",
        "previous": GENESIS,
    }
    expected = (
        '{"action":"a","actor":"Kim","at":"2025-01-02T03:04:05.000006+00:00","new":"{\\"ä\\":1}","old":null,'
        f'"previous":"{GENESIS}","reason":"","role":"reader","seq":1,"subject":"s"}}'
    )
    assert event_hash(**values) == hashlib.sha256(expected.encode()).hexdigest()


def test_event_comes_back_as_it_went_in(log: AuditLog) -> None:
    before = datetime.now(UTC)
    log.append(actor=KIM, action="a.b", subject="s", old=[1.5, None], new={"ü": "☃"}, reason="because\0 \ud800")
    [event] = log.events()
    assert (event.actor, event.role, event.action, event.subject) == ("Kim", "reader", "a.b", "s")
    assert (event.old, event.new, event.reason) == ([1.5, None], {"ü": "☃"}, "because ?")
    assert before <= event.at <= datetime.now(UTC)
    assert log.verify().ok


def test_values_without_a_json_form_are_refused_and_nothing_is_written(log: AuditLog) -> None:
    with pytest.raises(ValueError, match="JSON"):
        log.append(actor=KIM, action="a", subject="s", new=float("nan"))
    assert log.count() == 0


def test_event_and_change_are_kept_or_lost_together(database: Database, log: AuditLog) -> None:

    def fail() -> None:
        with database.write() as session:
            log.record(session, actor=KIM, action="a", subject="s")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert log.count() == 0
    assert log.head() == GENESIS
    with database.write() as session:
        log.record(session, actor=KIM, action="a", subject="1")
        log.record(session, actor=KIM, action="a", subject="2")
    assert [event.subject for event in log.events()] == ["2", "1"]
    assert log.verify().ok


def test_reading_session_cannot_record(database: Database, log: AuditLog) -> None:
    with pytest.raises(RuntimeError, match="writing session"), database.read() as session:
        log.record(session, actor=KIM, action="a", subject="s")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET reason = 'x' WHERE seq = 2",
        "UPDATE audit_events SET reason = 'x'",
        "DELETE FROM audit_events WHERE seq = 3",
        "DELETE FROM audit_events",
    ],
)
def test_database_refuses_change_and_removal(database: Database, log: AuditLog, statement: str) -> None:
    fill(log, 3)
    with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
        session.execute(text(statement))
    assert log.verify().events == 3


def test_database_refuses_every_way_around(database: Database, log: AuditLog) -> None:
    fill(log, 2)
    columns = "seq, at, actor, role, action, subject, old, new, reason, previous, hash"
    forged = "at, 'Eve', role, action, subject, old, new, reason, previous, hash FROM audit_events WHERE seq = 2"
    ways = [f"INSERT INTO audit_events ({columns}) SELECT 9, {forged}"]
    ways.append(f"INSERT INTO audit_events ({columns}) SELECT 3, {forged}")
    if database.sqlite:
        ways.append(f"INSERT OR REPLACE INTO audit_events ({columns}) SELECT 2, {forged}")
        ways.append(f"REPLACE INTO audit_events ({columns}) SELECT 2, {forged}")
        ways.append("UPDATE OR IGNORE audit_events SET actor = 'Eve'")
    else:
        ways.append("TRUNCATE audit_events")
        ways.append("SET LOCAL session_replication_role = replica; DELETE FROM audit_events")
        ways.append(
            f"INSERT INTO audit_events ({columns}) SELECT 2, {forged} ON CONFLICT (seq) DO UPDATE SET actor = 'Eve'"
        )
    for way in ways:
        with pytest.raises(DBAPIError, match=r"append-only|continue the chain"), database.write() as session:
            session.execute(text(way))
    assert log.verify().events == 2
    assert {event.actor for event in log.events()} == {"Kim"}


@pytest.mark.parametrize("column", ["actor", "role", "at", "action", "subject", "old", "new", "reason", "hash"])
def test_verify_names_a_tampered_row(database: Database, log: AuditLog, column: str) -> None:
    fill(log, 5)
    attack(database, f"UPDATE audit_events SET {column} = 'x' WHERE seq = 3")
    found = log.verify()
    assert not found.ok
    assert not found.guarded
    assert found.broken_at == 3
    assert found.events == 2
    assert "3" in found.reason


def test_verify_names_a_rewritten_row_whose_hash_was_made_to_fit(database: Database, log: AuditLog) -> None:
    fill(log, 5)
    with database.read() as session:
        row = dict(session.execute(text("SELECT * FROM audit_events WHERE seq = 3")).mappings().one())
    del row["hash"]
    forged = event_hash(**(row | {"actor": "Eve"}))
    attack(database, f"UPDATE audit_events SET actor = 'Eve', hash = '{forged}' WHERE seq = 3")
    found = log.verify()
    assert (found.ok, found.broken_at) == (False, 4)
    assert "does not continue" in found.reason


def test_verify_names_missing_events(database: Database, log: AuditLog) -> None:
    fill(log, 6)
    attack(database, "DELETE FROM audit_events WHERE seq = 3")
    assert log.verify().broken_at == 3
    assert log.verify().reason == "Before event 4, event 3 is missing."
    with database.write() as session:
        session.execute(text("DELETE FROM audit_events WHERE seq = 4"))
    assert log.verify().reason == "Before event 5, events 3 to 4 are missing."


def test_cut_off_tail_shows_only_against_a_head_kept_outside(database: Database, log: AuditLog) -> None:
    fill(log, 6)
    kept = log.head()
    attack(database, "DELETE FROM audit_events WHERE seq > 4")
    assert log.verify().ok  # whole in itself: this is why the head has to be kept elsewhere
    found = log.verify(kept)
    assert (found.ok, found.broken_at, found.events) == (False, 5, 4)
    assert "cut off" in found.reason


def test_head_of_an_earlier_moment_is_found_in_a_chain_that_has_grown(log: AuditLog) -> None:
    assert log.verify(GENESIS).ok
    fill(log, 2)
    kept = log.head()
    fill(log, 2)
    assert log.verify(f" {kept.upper()}\n").ok
    assert not log.verify("f" * 64).ok


def test_chain_rewritten_from_the_start_shows_against_the_head(database: Database, log: AuditLog) -> None:
    fill(log, 3)
    kept = log.head()
    attack(database, "DELETE FROM audit_events")
    fill(log, 3)
    assert log.verify().ok
    assert not log.verify(kept).ok


def test_verify_walks_over_batch_borders(log: AuditLog, database: Database) -> None:
    with database.write() as session:
        for index in range(2 * BATCH + 1):
            log.record(session, actor=KIM, action="a", subject=str(index))
    assert log.verify().events == 2 * BATCH + 1
    attack(database, f"UPDATE audit_events SET actor = 'x' WHERE seq = {2 * BATCH + 1}")
    assert log.verify().broken_at == 2 * BATCH + 1


def test_filters(log: AuditLog) -> None:
    log.append(actor=KIM, action="job.submit", subject="job:1", new={"system": "topology"})
    middle = log.append(actor=LOCAL, action="job.done", subject="job:1", reason="100% _sure_")
    log.append(actor=LOCAL, action="artifact.add", subject="artifact:2")
    assert log.count(action="job.done") == 1
    assert log.count(actor="local") == 2
    assert log.count(subject="job:1") == 2
    assert [event.subject for event in log.events(text="TOPOLOGY")] == ["job:1"]
    assert log.count(text="100%") == log.count(text="_sure_") == 1
    assert log.count(text="0%_") == 0
    assert log.count(since=middle.at) == 2
    assert log.count(until=middle.at) == 2
    assert log.count(since=middle.at, until=middle.at) == 1
    assert log.count(since=middle.at + timedelta(hours=1)) == 0
    assert log.actions() == ["artifact.add", "job.done", "job.submit"]
    assert [event.seq for event in log.events(limit=1, offset=1)] == [2]


def test_csv_export_has_notice_head_and_no_formula(log: AuditLog, tmp_path: Path) -> None:
    log.append(actor=Actor("=cmd|' /C calc'!A0"), action="a", subject="s", new={"n": 1}, reason='line\nbreak, "quote"')
    path = log.export(tmp_path / "audit.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# {RESEARCH_ONLY}"
    assert f"# head: {log.head()}" in lines[:4]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert rows[0]["actor"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["new"] == '{"n":1}'
    assert rows[0]["reason"] == 'line\nbreak, "quote"'


def test_json_export_can_be_checked_without_us(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 3)
    exported = json.loads(log.export(tmp_path / "audit.json", "json").read_text(encoding="utf-8"))
    assert exported["notice"] == RESEARCH_ONLY
    assert exported["events"] == len(exported["chain"]) == 3
    previous = GENESIS
    for event in exported["chain"]:
        kept = event.pop("hash")
        assert event["previous"] == previous
        assert event_hash(**event) == kept
        previous = kept
    assert exported["head"] == previous


def test_empty_log_exports_and_unknown_format_does_not(log: AuditLog, tmp_path: Path) -> None:
    assert json.loads(log.export(tmp_path / "a.json", "json").read_text())["chain"] == []
    with pytest.raises(UserError, match="csv or json"):
        log.export(tmp_path / "a.xml", "xml")
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.json"]


def test_two_processes_and_threads_append_to_one_chain(database_url: str) -> None:
    count = 60
    command = [sys.executable, "-m", "tests.backend.store.writers", "append", database_url]
    processes = [
        subprocess.Popen([*command, name, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    database = Database(database_url)
    log = AuditLog(database)
    threads = [threading.Thread(target=fill, args=(log, count // 4)) for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = log.verify()
    assert found.ok, found.reason
    assert found.events == 3 * count
    assert {name: log.count(actor=name) for name in ("first", "second", "Kim")} == dict.fromkeys(
        ("first", "second", "Kim"), count
    )
    database.close()
