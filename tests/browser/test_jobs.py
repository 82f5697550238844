"""The job strip on real jobs: progress, preview, queue, cancel, reload, result, failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with a system whose steps wait for leave."""
    home = tmp_path_factory.mktemp("jobs") / "home"
    with serve(home, {"SYNTHSCOPE_DEVICE": "cpu"}, module="tests.browser.toy") as started:
        yield started


@pytest.fixture
def toy(page: Page) -> Page:
    page.get_by_role("tab", name="Toy").click()
    page.get_by_role("button", name="Start").wait_for()
    return page


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the job says which step it is at; it may go on when the test is over."""
    made = tmp_path / "steps"
    made.mkdir()
    yield made
    (made / "go").touch()


def start(page: Page, folder: Path | str = "", steps: int = 3) -> None:
    page.get_by_label("Folder").fill(str(folder))
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Start").click()


def test_a_job_runs_to_its_result(toy: Page) -> None:
    start(toy, steps=4)
    expect(toy.get_by_text("took 4 steps")).to_be_visible()
    expect(toy.locator("ss-job")).to_contain_text("Done")
    expect(toy.locator("ss-job")).to_contain_text("4 of 4 steps")
    assert "tab=toy" in toy.url
    assert "job=" in toy.url
    downloads = toy.get_by_role("group", name="Downloads").get_by_role("link")
    expect(downloads).to_have_count(4)
    with toy.expect_download() as download:
        downloads.nth(2).click()
    assert download.value.suggested_filename == "step-2.txt"
    assert Path(download.value.path()).read_text() == "2"


def test_progress_preview_and_reload_while_it_runs(toy: Page, folder: Path) -> None:
    (folder / "go-0").touch()
    (folder / "go-1").touch()
    start(toy, folder, steps=4)
    strip = toy.locator("ss-job")
    expect(strip).to_contain_text("2 of 4 steps")
    expect(strip.get_by_role("progressbar")).to_have_js_property("value", 0.5)
    expect(strip.get_by_alt_text("Latest preview")).to_be_visible()
    url = toy.url
    toy.reload()
    expect(strip).to_contain_text("2 of 4 steps")
    assert toy.url == url
    (folder / "go").touch()
    expect(toy.get_by_text("took 4 steps")).to_be_visible()


def test_a_finished_job_comes_back_by_its_address(toy: Page) -> None:
    start(toy, steps=2)
    expect(toy.get_by_text("took 2 steps")).to_be_visible()
    toy.goto(toy.url)
    expect(toy.get_by_text("took 2 steps")).to_be_visible()


def test_the_address_of_the_job_is_there_again_after_a_look_at_another_tab(toy: Page) -> None:
    start(toy, steps=2)
    expect(toy.get_by_text("took 2 steps")).to_be_visible()
    url = toy.url
    toy.get_by_role("tab", name="Audit").click()
    toy.wait_for_url("**/?tab=audit")
    toy.get_by_role("tab", name="Toy").click()
    toy.wait_for_url(url)
    expect(toy.get_by_text("took 2 steps")).to_be_visible()


def test_cancel_keeps_the_last_preview_and_shows_no_result(toy: Page, folder: Path) -> None:
    (folder / "go-0").touch()
    start(toy, folder, steps=4)
    strip = toy.locator("ss-job")
    expect(strip).to_contain_text("1 of 4 steps")
    strip.get_by_role("button", name="Cancel").click()
    (folder / "go-1").touch()
    expect(strip).to_contain_text("Cancelled")
    expect(strip.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(strip.get_by_alt_text("Latest preview")).to_be_visible()
    expect(toy.get_by_text(re.compile(r"^took \d"))).to_have_count(0)


def test_a_queued_job_shows_its_place_and_stops_at_once(toy: Page, server: Server, folder: Path) -> None:
    start(toy, folder, steps=1)
    expect(toy.locator("ss-job")).to_contain_text("Running")
    first = re.search(r"job=([\w-]+)", toy.url)
    start(toy, steps=1)
    expect(toy.locator("ss-job")).to_contain_text("next in the queue")
    toy.locator("ss-job").get_by_role("button", name="Cancel").click()
    expect(toy.locator("ss-job")).to_contain_text("Cancelled")
    assert first
    assert server.get(f"/api/jobs/{first[1]}")["state"] == "running"


def test_a_failure_is_told_in_its_sentences(toy: Page) -> None:
    toy.get_by_role("button", name="Fail").click()
    strip = toy.locator("ss-job")
    expect(strip).to_contain_text("Failed")
    expect(strip.get_by_role("alert")).to_contain_text("The mask is empty.")
    expect(strip.get_by_role("alert")).to_contain_text("Choose another mask.")


def test_an_address_with_a_job_that_is_gone_disturbs_nobody(toy: Page, server: Server, watch: object) -> None:
    watch.allow("404")
    toy.goto(f"{server.url}/?tab=toy&job=AAAAAAAAAAAAAAAAAAAAAA")
    expect(toy.get_by_role("button", name="Start")).to_be_visible()
    toy.wait_for_timeout(500)
    expect(toy.get_by_role("alert")).to_have_count(0)


def test_run_again_restores_the_request(toy: Page) -> None:
    start(toy, steps=5)
    expect(toy.get_by_text("took 5 steps")).to_be_visible()
    toy.get_by_label("Steps").fill("9")
    toy.get_by_role("button", name="Run again with these settings").click()
    expect(toy.get_by_label("Steps")).to_have_value("5")


def test_the_estimate_comes_from_earlier_runs(toy: Page, server: Server) -> None:
    start(toy, steps=1)
    expect(toy.get_by_text("took 1 steps")).to_be_visible()
    toy.goto(f"{server.url}/?tab=toy")
    expect(toy.get_by_text("on this machine.").first).to_be_visible()


def test_shortcuts_of_the_tab_are_listed(toy: Page) -> None:
    toy.get_by_role("tab", name="Toy").focus()
    toy.keyboard.press("?")
    expect(toy.get_by_role("dialog").get_by_role("heading", name="Toy")).to_be_visible()


def test_home_lists_the_jobs_and_links_to_them(toy: Page) -> None:
    start(toy, steps=1)
    expect(toy.get_by_text("took 1 steps")).to_be_visible()
    toy.get_by_role("tab", name="Home").click()
    toy.locator("ss-jobs").get_by_role("link", name="toy · steps").first.click()
    expect(toy.get_by_text("took 1 steps")).to_be_visible()


def test_nobody_waits_longer_than_needed_for_the_server(toy: Page, watch: object) -> None:
    """After the end of a job, nothing asks for it any more."""
    start(toy, steps=1)
    expect(toy.get_by_text("took 1 steps")).to_be_visible()
    asked = len([url for url in watch.requests if "/api/jobs/" in url])
    toy.wait_for_timeout(1500)
    assert len([url for url in watch.requests if "/api/jobs/" in url]) == asked
