"""Echo in a real browser, with small real networks: measure a real clip, play it, make one, make several."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.backend.services.echo.small_networks import write_small_generator, write_small_meter, write_small_student
from tests.backend.services.echo.test_measure import beating
from tests.serving import Server

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
LONG = 120_000  # ms


@pytest.fixture(autouse=True)
def networks(server: Server) -> None:
    """Small networks in the server's home folder."""
    folder = server.home / "weights" / "echo"
    if not folder.is_dir():
        write_small_generator(folder, beating())
        write_small_meter(folder / "meter2d")


def open_part(page: playwright.Page, server: Server, part: str) -> None:
    page.goto(f"{server.url}/?tab=echo&part={part}")


def frame_of(player: playwright.Locator) -> int:
    return int(player.get_attribute("data-frame"))


def test_a_real_clip_is_measured_and_the_curve_follows_the_player(
    page: playwright.Page, server: Server, shot: Callable
) -> None:
    open_part(page, server, "measure")
    page.get_by_role("button", name="Echo, apical four-chamber").last.click()
    page.locator("ss-clip[data-ready]").wait_for(timeout=LONG)
    page.locator("#echo-measure-run").click()
    page.locator("ss-echo ss-plot[data-ready]").wait_for(timeout=LONG)
    player = page.locator("ss-echo ss-clip")
    stage = player.locator(".cv-stage")
    stage.focus()
    page.keyboard.press("End")
    assert (frame_of(player), player.get_attribute("data-playing")) == (29, "false")
    page.keyboard.press("ArrowLeft")
    assert frame_of(player) == 28
    page.keyboard.press("Home")
    line = page.locator("ss-echo ss-plot .pl-cursor")
    start = line.bounding_box()["x"]
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert line.bounding_box()["x"] > start + 100
    page.keyboard.press("o")
    playwright.expect(player.locator("canvas.cv-labels")).to_be_hidden()
    page.keyboard.press("o")
    playwright.expect(player.locator("canvas.cv-labels")).to_be_visible()
    plot = page.locator("ss-echo ss-plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + 100)
    assert 14 <= frame_of(player) <= 20
    playwright.expect(page.get_by_text("nobody knows its true ejection fraction")).to_be_visible()
    shot("echo-measured")
    # The link leads back to the result.
    page.reload()
    page.locator("ss-echo ss-plot[data-ready]").wait_for(timeout=LONG)


def test_a_clip_is_made_and_can_be_taken_home(page: playwright.Page, server: Server) -> None:
    open_part(page, server, "generate")
    page.locator("#echo-generate-run").click()
    page.locator("ss-echo ss-plot[data-ready]").wait_for(timeout=LONG)
    player = page.locator("ss-echo ss-clip")
    playwright.expect(player.locator(".badge")).to_have_text("synthetic")
    links = page.locator(".ss-downloads a")
    names = links.evaluate_all("links => links.map((link) => link.download.split('.').pop())")
    assert names == ["mp4", "dcm", "npz", "csv"]
    assert page.request.get(server.url + links.nth(1).get_attribute("href")).body()[128:132] == b"DICM"


def test_a_student_is_offered_once_it_is_there_with_its_own_steps(page: playwright.Page, server: Server) -> None:
    folder = server.home / "weights" / "echo"
    teacher = json.loads((folder / "video" / "config.json").read_text(encoding="utf-8"))["sha256"]
    write_small_student(folder / "student", teacher, 3)
    open_part(page, server, "generate")
    page.locator("#echo-more").get_by_text("Patient from a clip, model and sampling").click()
    page.locator("#echo-sampler input").click()
    page.get_by_role("option", name="Few-step student").click()
    playwright.expect(page.get_by_label("number input for Steps")).to_have_value("3")
    playwright.expect(page.get_by_label("number input for Guidance")).to_be_disabled()
    page.locator("#echo-generate-run").click()
    page.locator("ss-echo ss-plot[data-ready]").wait_for(timeout=LONG)
    playwright.expect(page.get_by_text("The few-step student stands for the video model")).to_be_visible()
    playwright.expect(page.get_by_text("JVID, 3 steps")).to_be_visible()


@pytest.mark.slow
def test_a_cancelled_batch_keeps_and_packs_what_was_finished(page: playwright.Page, server: Server) -> None:
    open_part(page, server, "batch")
    page.get_by_label("Clips", exact=True).fill("60")
    page.locator("#echo-batch-run").click()
    job = page.locator("#ss-part-echo-batch ss-job")
    playwright.expect(job.get_by_text("Clip 3 of 60")).to_be_visible(timeout=LONG)
    job.get_by_role("button", name="Cancel").click()
    page.locator(".ss-film").first.wait_for(timeout=LONG)
    page.locator("#echo-batch-pack").click()
    for name in ("echo-clips.zip", "clips.csv"):
        playwright.expect(page.locator(".ss-downloads a", has_text=name)).to_be_visible(timeout=LONG)


def test_several_clips_come_as_a_gallery_and_a_zip(page: playwright.Page, server: Server) -> None:
    open_part(page, server, "batch")
    page.get_by_label("Clips", exact=True).fill("2")
    page.locator("#echo-batch-run").click()
    films = page.locator(".ss-film")
    films.first.wait_for(timeout=LONG)
    assert films.count() == 2
    page.wait_for_function("[...document.querySelectorAll('.ss-film video')].every((film) => film.videoWidth === 448)")
    films.nth(1).click()
    page.locator("ss-echo ss-clip[data-ready]").wait_for(timeout=LONG)
    playwright.expect(page.locator(".ss-downloads a", has_text="echo-clips.zip")).to_be_visible()
