"""Your own refiner in a browser: masks dropped, trained on, used, stopped, gone on with, deleted; the laboratory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from models.phantoms import curvilinear
from tests.serving import Server

pytestmark = pytest.mark.browser

LONG_MS = 180_000  # a loaded machine of two cores may need this for a short training


@pytest.fixture
def part(page: Page, server: Server) -> Page:
    page.goto(f"{server.url}/?tab=topology&part=training")
    page.get_by_role("button", name="Train", exact=True).wait_for()
    return page


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three phantom masks."""
    paths = [tmp_path / f"mask-{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        Image.fromarray(curvilinear.sample("mortar", 128, seed).astype(np.uint8) * 255).save(path)
    return paths


def drop(part: Page, paths: list[Path]) -> None:
    with part.expect_file_chooser() as chooser:
        part.get_by_role("button", name=re.compile("Clean masks|Add more")).first.click()
    chooser.value.set_files(paths)


def train(part: Page, name: str, minutes: str) -> None:
    part.get_by_label("Name of the refiner").fill(name)
    part.get_by_label("Minutes").fill(minutes)
    part.get_by_role("button", name="Train", exact=True).click()


def test_three_masks_make_a_refiner_that_repairs(
    part: Page, files: list[Path], shot: Callable[[str], Path], tmp_path: Path
) -> None:
    expect(part.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    drop(part, files[:2])
    expect(part.get_by_text("2 masks are too few to train on.")).to_be_visible(timeout=LONG_MS)
    drop(part, files[2:])
    expect(part.locator(".ss-mask-list li")).to_have_count(3, timeout=LONG_MS)
    expect(part.get_by_role("button", name="Train", exact=True)).to_be_enabled(timeout=LONG_MS)
    expect(part.get_by_label("Start")).to_have_value("from topology/refiner2d, shipped")
    train(part, "Phantom-Walls", "0.2")
    expect(part.get_by_text("The refiner topology/phantom-walls is ready.")).to_be_visible(timeout=LONG_MS)
    result = part.locator(".ss-training-result")
    assert result.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.method)") == [
        "upstream",
        "fillholes",
        "refiner",
    ]
    expect(result.get_by_text("Measured on the 3 masks of the training itself")).to_be_visible()
    sheet = result.locator("img.ss-image")
    expect(sheet).to_be_visible()
    assert sheet.evaluate("image => image.decode().then(() => image.naturalWidth)") == 3 * 196
    expect(part.locator(".ss-provenance")).to_contain_text("topology · train")
    with part.expect_download() as started:
        part.locator(".ss-downloads a", has_text="phantom-walls-weights.zip").click()
    started.value.save_as(tmp_path / "weights.zip")
    expect(part.locator('tr[data-refiner="topology/phantom-walls"]')).to_contain_text("your own")
    result.scroll_into_view_if_needed()
    shot("training-result")

    result.get_by_role("button", name="Use it in Repair one").click()
    part.get_by_role("button", name="Options").first.click()
    expect(part.get_by_label("Weights")).to_have_value("topology/phantom-walls")
    part.locator('[data-value="phantom-mortar-7"]').click()
    expect(part.get_by_text("384 × 384 pixels")).to_be_visible(timeout=LONG_MS)
    part.get_by_role("button", name="Repair", exact=True).click()
    part.locator("ss-topology .tr-table table").wait_for(timeout=LONG_MS)
    expect(part.locator(".ss-provenance").first).to_contain_text("topology/phantom-walls")
    shot("training-used")


def test_a_stopped_training_is_found_after_a_reload_and_goes_on(
    part: Page, shot: Callable[[str], Path], server: Server
) -> None:
    part.get_by_role("button", name="Try it with 8 phantom masks").click()
    expect(part.locator(".ss-mask-list li")).to_have_count(8, timeout=LONG_MS)
    train(part, "stopped", "0.4")
    running = part.locator("ss-job").filter(has_text="Training, step")
    expect(running).to_be_visible(timeout=LONG_MS)
    part.reload()
    expect(running).to_be_visible(timeout=LONG_MS)
    expect(running.get_by_role("img", name="Latest preview")).to_be_visible(timeout=LONG_MS)
    shot("training-running")
    running.get_by_role("button", name="Cancel").click()
    expect(part.get_by_text("the checkpoint of stopped is kept.")).to_be_visible(timeout=LONG_MS)
    expect(part.locator('tr[data-stopped="stopped"]')).to_contain_text("of 0.4 min")
    part.locator(".ss-stopped").get_by_role("button", name="Go on from where it stopped").click()
    expect(part.get_by_text("The refiner topology/stopped is ready.")).to_be_visible(timeout=LONG_MS)
    expect(part.locator("tr[data-stopped]")).to_have_count(0)
    assert server.get("/api/jobs?system=topology")["jobs"][0]["state"] == "done"

    part.get_by_role("button", name="Delete topology/stopped").click()
    question = part.get_by_role("alertdialog")
    expect(question).to_contain_text("Delete the refiner topology/stopped?")
    question.get_by_role("button", name="No, keep it").click()
    expect(question).to_have_count(0)
    expect(part.locator('tr[data-refiner="topology/stopped"]')).to_have_count(1)
    part.get_by_role("button", name="Delete topology/stopped").click()
    question.get_by_role("button", name="Yes, delete it").click()
    expect(part.locator('tr[data-refiner="topology/stopped"]')).to_have_count(0)
    expect(part.locator('tr[data-refiner="topology/refiner2d"]').get_by_role("button", name="Delete")).to_have_count(0)


def test_what_cannot_be_trained_on_is_told_at_once(part: Page, files: list[Path], tmp_path: Path) -> None:
    grey = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey, grey.T, 255 - grey], -1)).save(tmp_path / "photo.png")
    np.save(tmp_path / "volume.npy", curvilinear.sample("vessels", (24, 24, 24), 0))
    run = part.get_by_role("button", name="Train", exact=True)
    drop(part, [*files, tmp_path / "grey.png", tmp_path / "photo.png", tmp_path / "volume.npy"])
    expect(part.get_by_text("It is a grey picture of 255 different values")).to_be_visible(timeout=LONG_MS)
    expect(part.get_by_text("It is a colour picture")).to_be_visible()
    expect(part.get_by_text("The masks mix pictures and volumes.")).to_be_visible()
    expect(run).to_be_disabled()
    for problem in ("It is a grey picture", "It is a colour picture", "24 × 24 × 24"):
        part.locator(".ss-mask-list li", has_text=problem).get_by_role("button").click()
        expect(part.locator(".ss-mask-list li", has_text=problem)).to_have_count(0)
    expect(run).to_be_enabled()
    run.click()
    expect(part.get_by_text("The refiner has no name.")).to_be_visible()
    train(part, "refiner2d", "0.1")
    expect(part.get_by_text("belongs to a refiner that SynthScope brings")).to_be_visible()


@pytest.fixture
def laboratory(part: Page) -> Locator:
    found = part.locator("ss-perturbation")
    found.scroll_into_view_if_needed()
    found.locator('img[data-picture="errors"]').wait_for(timeout=LONG_MS)
    return found


def damaged(laboratory: Locator) -> str:
    return laboratory.locator('img[data-picture="damaged"]').get_attribute("src")


def settle(laboratory: Locator, act: Callable[[], object]) -> None:
    """Do something and wait for the next draw."""
    laboratory.evaluate(
        "node => { node.drawn = new Promise(done => node.addEventListener('drawn', done, { once: true })); }"
    )
    act()
    laboratory.evaluate("node => node.drawn")


def test_the_laboratory_follows_its_controls_and_a_seed_gives_the_same_again(
    laboratory: Locator, shot: Callable[[str], Path]
) -> None:
    first = damaged(laboratory)
    settle(laboratory, laboratory.get_by_role("button", name="Draw another").click)
    assert damaged(laboratory) != first
    seed = laboratory.get_by_label("Seed")
    settle(laboratory, lambda: (seed.fill("0"), seed.press("Enter")))
    assert damaged(laboratory) == first
    most = laboratory.get_by_label("Strength, most")
    settle(laboratory, lambda: most.evaluate("s => { s.value = 3; s.dispatchEvent(new Event('input')); }"))
    assert damaged(laboratory) != first
    settle(laboratory, lambda: laboratory.get_by_label("Recipe").select_option("polynomial"))
    expect(laboratory.get_by_label("Window, px")).to_be_visible()
    expect(laboratory.locator('img[data-picture="field"]')).to_have_attribute("alt", "Random field H")
    expect(laboratory.get_by_text("in the window of the field")).to_be_visible()
    settle(laboratory, lambda: laboratory.get_by_label("Mask", exact=True).select_option("phantom3d:vessels"))
    expect(laboratory.get_by_text("48 × 48 × 48; foreground 26-connected")).to_be_visible()
    laboratory.get_by_label("Family of functions").select_option("mixture")
    expect(laboratory.get_by_text("one of the five families by chance")).to_be_visible()
    shot("laboratory")


def test_settings_of_the_laboratory_are_taken_into_the_training(part: Page, laboratory: Locator) -> None:
    laboratory.get_by_label("Recipe").select_option("polynomial")
    order = laboratory.get_by_label("Order", exact=True)
    settle(laboratory, lambda: order.evaluate("s => { s.value = 9; s.dispatchEvent(new Event('input')); }"))
    laboratory.get_by_role("button", name="Use these settings for training").click()
    expect(part.get_by_text("Errors from the laboratory: Polynomial field (published), order 9.")).to_be_visible()
    expect(part.get_by_label("Errors to learn from")).to_have_value("Polynomial field (published)")


def test_it_fits_a_narrow_window(part: Page, laboratory: Locator, shot: Callable[[str], Path]) -> None:
    part.set_viewport_size({"width": 480, "height": 900})
    part.wait_for_timeout(300)
    assert part.evaluate("document.documentElement.scrollWidth") <= 480
    shot("laboratory-narrow")
