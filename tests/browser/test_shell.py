"""The frame of the page: tabs, URL, light and dark, shortcuts, width."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
from playwright.sync_api import Page, expect

from backend.catalogue import CATALOGUE
from backend.notices import RESEARCH_ONLY
from tests.serving import Server

pytestmark = pytest.mark.browser

SYSTEMS = [system for system in CATALOGUE if system.tab and find_spec(system.tab)]


def test_every_system_with_a_tab_opens(page: Page) -> None:
    titles = ["Home", *(system.title for system in SYSTEMS), "Audit"]
    assert page.get_by_role("tab").all_inner_texts() == titles
    for title in reversed(titles):
        page.get_by_role("tab", name=title, exact=True).click()
        expect(page.get_by_role("tab", name=title, exact=True)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_text(RESEARCH_ONLY).first).to_be_visible()


def test_the_notice_stays_in_sight(page: Page) -> None:
    page.locator("ss-jobs").wait_for()
    page.mouse.wheel(0, 700)
    page.wait_for_function("scrollY > 300")
    expect(page.locator(".ss-notice")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("tab", name="Audit")).to_be_in_viewport(ratio=1)


def test_selecting_a_tab_writes_the_url_and_loading_the_url_selects_it(page: Page, server: Server) -> None:
    page.get_by_role("tab", name="Audit").click()
    page.wait_for_url("**/?tab=audit")
    page.get_by_text("No event matches.").wait_for()
    page.reload()
    expect(page.get_by_role("tab", name="Audit")).to_have_attribute("aria-selected", "true")
    assert page.url == f"{server.url}/?tab=audit"
    page.get_by_role("tab", name="Home").click()
    page.wait_for_url(f"{server.url}/")


def test_an_unknown_tab_in_the_url_opens_home(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?tab=nothing&job=nothing")
    expect(page.get_by_role("tab", name="Home")).to_have_attribute("aria-selected", "true")
    page.wait_for_url(f"{server.url}/")


def test_light_and_dark_are_kept_over_a_reload(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("body")).to_have_class("dark")
    dark = page.evaluate(background)
    page.reload()
    page.get_by_role("tab", name="Home").wait_for()
    expect(page.locator("body")).to_have_class("dark")
    assert page.evaluate(background) == dark != light
    page.keyboard.press("Alt+d")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(background) == light


def test_the_systems_preference_is_followed_until_a_choice_is_made(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_shortcuts_open_by_key_and_button_and_close_by_escape(page: Page) -> None:
    overlay = page.get_by_role("dialog", name="Keyboard shortcuts")
    page.keyboard.press("?")
    expect(overlay).to_be_visible()
    page.keyboard.press("Escape")
    expect(overlay).to_be_hidden()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(overlay).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(overlay).to_be_hidden()


def test_a_question_mark_in_a_text_field_is_a_question_mark(page: Page) -> None:
    page.get_by_role("tab", name="Audit").click()
    field = page.get_by_label("Actor")
    field.press_sequentially("who?")
    expect(field).to_have_value("who?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def test_alt_and_a_digit_go_to_a_tab(page: Page) -> None:
    page.keyboard.press("Alt+2")
    expect(page.get_by_role("tab").nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Alt+1")
    expect(page.get_by_role("tab").nth(0)).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("width", [1280, 900])
def test_nothing_scrolls_sideways(page: Page, width: int, shot: Callable[[str], object]) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(600)
        shot(f"{tab.inner_text().lower()}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab.inner_text()
