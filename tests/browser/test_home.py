"""Home tells the truth about this installation."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from backend.catalogue import CATALOGUE
from tests.serving import Server

pytestmark = pytest.mark.browser


def test_every_system_has_a_card_with_its_state(page: Page) -> None:
    cards = page.locator(".ss-system")
    expect(cards).to_have_count(len(CATALOGUE))
    for card, system in zip(cards.all(), CATALOGUE, strict=True):
        assert card.get_by_role("heading").inner_text() == system.title
        assert card.locator(".ss-badge").inner_text() == system.state
        assert system.summary in card.inner_text()


def test_the_card_of_a_system_opens_its_tab(page: Page) -> None:
    page.locator("a[data-tab=audit]").first.click()
    expect(page.get_by_role("tab", name="Audit")).to_have_attribute("aria-selected", "true")
    page.wait_for_url("**/?tab=audit")


def test_machine_and_installed_things_are_those_of_the_server(page: Page, server: Server) -> None:
    machine = page.locator("ss-status")
    expect(machine).to_contain_text("without PyTorch loaded")
    status = server.get("/api/status")
    expect(machine).to_contain_text(f"{status['device']['cores']} core")
    expect(machine).to_contain_text("None. They are loaded on first use")
    shown = re.search(r"([\d.]+) MiB, without", machine.locator("dl").inner_text())
    assert shown
    assert abs(float(shown[1]) - status["memory_mib"]) < 60
    installed = server.get("/api/installed")
    for pack in installed["packs"]:
        expect(page.locator("ss-installed")).to_contain_text(pack["installed"] or pack["how_to_get"])


def test_there_are_no_jobs_yet(page: Page) -> None:
    expect(page.locator("ss-jobs")).to_contain_text("None yet.")
