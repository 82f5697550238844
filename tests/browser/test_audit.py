"""The Audit tab on a log with real events: filter, page, detail, verify, export."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend.identity import Actor
from backend.runtime import Runtime
from backend.settings import Settings
from tests.browser.conftest import playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser

EVENTS = 60


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application on a home folder whose log holds ``EVENTS`` events of two people."""
    home = tmp_path_factory.mktemp("audit") / "home"
    with Runtime.open(Settings(home=home, device="cpu"), start_jobs=False) as runtime:
        for number in range(EVENTS):
            runtime.audit.append(
                actor=Actor("ada" if number % 3 else "grace"),
                action="study.answer" if number % 2 else "study.open",
                subject=f"study-{number}",
                old={"answer": None},
                new={"answer": number},
                reason="<b>a reason</b>",
            )
    with serve(home, {"SYNTHSCOPE_DEVICE": "cpu"}) as started:
        yield started


@pytest.fixture
def log(page: Page) -> Page:
    page.get_by_role("tab", name="Audit").click()
    page.get_by_role("button", name="Event 60").wait_for()
    return page


def numbers(page: Page) -> list[int]:
    return [int(text) for text in page.locator(".ss-table tbody td:first-child").all_inner_texts()]


def test_pages_of_events_newest_first(log: Page) -> None:
    assert numbers(log) == list(range(60, 35, -1))
    expect(log.get_by_role("button", name="Newer")).to_be_disabled()
    log.get_by_role("button", name="Older").click()
    log.get_by_role("button", name="Event 35", exact=True).wait_for()
    assert numbers(log) == list(range(35, 10, -1))
    log.get_by_role("button", name="Older").click()
    log.get_by_role("button", name="Event 10", exact=True).wait_for()
    assert numbers(log) == list(range(10, 0, -1))
    expect(log.get_by_role("button", name="Older")).to_be_disabled()
    log.get_by_role("button", name="Newer").click()
    log.get_by_role("button", name="Event 35", exact=True).wait_for()


def test_filters_by_actor_action_and_text(log: Page) -> None:
    log.get_by_label("Actor").fill("grace")
    log.get_by_label("Actor").press("Enter")
    expect(log.get_by_text("1–20 of 20")).to_be_visible()
    log.get_by_label("Action").click()
    log.get_by_role("option", name="study.open").click()
    expect(log.get_by_text("1–10 of 10")).to_be_visible()
    log.get_by_label("Text", exact=True).fill("study-12")
    log.get_by_label("Text", exact=True).press("Enter")
    expect(log.get_by_text("1–1 of 1")).to_be_visible()
    assert numbers(log) == [13]


def test_a_filter_that_is_no_date_is_told_in_a_sentence(log: Page) -> None:
    log.get_by_label("From (UTC)").fill("yesterday")
    log.get_by_label("From (UTC)").press("Enter")
    expect(log.get_by_text("This is not a date.").first).to_be_visible()


def test_one_event_whole_by_mouse_and_by_key(log: Page) -> None:
    log.get_by_role("button", name="Event 60").click()
    detail = log.get_by_role("region", name="Event 60")
    expect(detail).to_contain_text('"answer": 59')
    expect(detail).to_contain_text("<b>a reason</b>")
    row = log.get_by_role("button", name="Event 58")
    row.focus()
    row.press("Enter")
    expect(log.get_by_role("region", name="Event 58")).to_contain_text('"answer": 57')


def test_verify_tells_the_head_and_knows_one_from_elsewhere(log: Page) -> None:
    log.get_by_role("button", name="Verify now").click()
    verdict = log.get_by_role("status").filter(has_text="The chain holds")
    expect(verdict).to_contain_text("60 events")
    head = verdict.locator("code").inner_text()
    assert len(head) == 64
    log.get_by_label("Head hash").fill("0123456789abcdef" * 4)
    log.get_by_role("button", name="Verify now").click()
    expect(log.get_by_text("The chain is broken.")).to_be_visible()
    log.get_by_label("Head hash").fill(head)
    log.get_by_role("button", name="Verify now").click()
    expect(verdict).to_contain_text(head)


def test_exports_hold_every_event(log: Page, tmp_path: Path) -> None:
    with log.expect_download() as download:
        log.get_by_role("link", name="Export CSV").click()
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    assert target.name == "synthscope-audit.csv"
    lines = [line for line in target.read_text(encoding="utf-8-sig").splitlines() if not line.startswith("#")]
    assert len(list(csv.DictReader(lines))) == EVENTS
    with log.expect_download() as download:
        log.get_by_role("link", name="Export JSON").click()
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    assert len(json.loads(target.read_text())["chain"]) == EVENTS


def test_a_tampered_event_is_named(browser: playwright.Browser, server: Server, log: Page) -> None:
    with sqlite3.connect(server.home / "synthscope.sqlite3") as database:
        triggers = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        statements = [row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE audit_events SET actor = 'mallory' WHERE seq = 17")
        for statement in statements:
            database.execute(statement)
    database.close()
    log.get_by_role("button", name="Verify now").click()
    expect(log.get_by_role("alert").filter(has_text="The chain is broken.")).to_contain_text("Event 17")
