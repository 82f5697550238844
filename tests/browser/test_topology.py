"""The Topology tab in a browser: samples and files, results, threshold, reload, cancel, downloads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from backend.media.marks import read_provenance
from backend.weights import SHIPPED
from tests.backend.services.topology.small_refiner import write_small_refiner
from tests.browser.conftest import Watch, playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser

WEIGHTS = Path("topology", "refiner2d")
LONG_MS = 120_000  # a loaded machine of two cores may need this for a repair


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with the shipped refiner, or a small one where none is shipped."""
    home = tmp_path_factory.mktemp("topology") / "home"
    if not (SHIPPED / WEIGHTS / "model.safetensors").is_file():
        write_small_refiner(home / "weights" / WEIGHTS)
    with serve(home, {"SYNTHSCOPE_DEVICE": "cpu"}) as started:
        yield started


@pytest.fixture
def tab(page: Page) -> Page:
    page.get_by_role("tab", name="Topology", exact=True).click()
    page.get_by_role("button", name="Repair", exact=True).wait_for()
    return page


def lattice(path: Path, side: int, damage: bool = True) -> Path:
    """A lattice with random gaps and specks, as PNG."""
    mask = np.zeros((side, side), np.uint8)
    for offset in range(4):
        mask[offset::24] = mask[:, offset::24] = 255
    if damage:
        rng = np.random.default_rng(3)
        for row, column in rng.integers(8, side - 8, (side // 4, 2)):
            mask[row - 3 : row + 4, column - 3 : column + 4] = 0
        for row, column in rng.integers(8, side - 8, (side // 8, 2)):
            mask[row - 1 : row + 2, column - 1 : column + 2] = 255
    Image.fromarray(mask).save(path)
    return path


def upload(tab: Page, path: Path) -> None:
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Your own mask or probability map").click()
    chooser.value.set_files(path)


def choose_sample(tab: Page, sample_id: str) -> None:
    tab.locator(f'[data-value="{sample_id}"]').click()
    expect(tab.get_by_text("384 × 384 pixels")).to_be_visible(timeout=LONG_MS)


def repair(tab: Page) -> None:
    tab.get_by_role("button", name="Repair", exact=True).click()
    tab.locator("ss-topology .tr-table table").wait_for(timeout=LONG_MS)
    # What comes after the viewer may still make the page narrower by a scroll bar.
    expect(tab.locator(".ss-provenance")).to_contain_text("topology", timeout=LONG_MS)


def scale(tab: Page) -> float:
    return float(tab.locator("ss-topology").get_attribute("data-scale"))


def test_a_sample_is_repaired_and_every_number_is_shown(tab: Page, shot: Callable[[str], Path]) -> None:
    choose_sample(tab, "phantom-membranes-5")
    shot("topology-chosen")
    repair(tab)
    viewer = tab.locator("ss-topology")
    expect(viewer.locator(".tr-before-caption")).to_have_text(re.compile(r"Before · β₀ \d+ pieces · β₁ \d+ holes"))
    expect(viewer.locator(".tr-after-caption")).to_have_text(re.compile(r"After · β₀ \d+ pieces · β₁ \d+ holes"))
    expect(viewer.locator(".tr-summary")).to_contain_text("The true mask of this sample has")
    expect(viewer.get_by_text("foreground 8-connected, background 4-connected")).to_be_visible()
    rows = viewer.locator(".tr-table tbody tr")
    assert rows.evaluate_all("rows => rows.map(row => row.dataset.repair)") == [
        "input",
        "small",
        "closing",
        "fillholes",
        "refined",
    ]
    expect(tab.locator(".ss-provenance")).to_contain_text("topology · refine")
    viewer.scroll_into_view_if_needed()
    shot("topology-result")


def test_a_change_can_be_gone_to_switched_off_and_its_kind_hidden(tab: Page, shot: Callable[[str], Path]) -> None:
    choose_sample(tab, "phantom-membranes-5")
    repair(tab)
    viewer = tab.locator("ss-topology")
    whole = scale(tab)
    listed = viewer.locator(".tr-list button")
    listed.first.click()
    expect(listed.first).to_have_attribute("aria-current", "true")
    assert scale(tab) > whole
    shot("topology-zoomed")
    coloured = painted(tab)
    assert coloured > 0
    viewer.locator(".tr-after").press("c")
    assert painted(tab) == 0
    viewer.get_by_role("button", name="Show changes (C)").click()
    # A canvas that was read goes on being drawn without the graphics card, which rounds the rings otherwise.
    assert painted(tab) == pytest.approx(coloured, rel=0.05)
    viewer.locator(".tr-after").press("0")
    assert scale(tab) == pytest.approx(whole)
    kind = viewer.locator(".tr-legend label").first.inner_text().partition(" (")[0].strip()
    of_kind = viewer.locator(".tr-list button", has_text=kind)
    assert of_kind.count() > 0
    viewer.locator(".tr-legend input").first.uncheck()
    expect(of_kind).to_have_count(0)


def painted(tab: Page) -> int:
    """Coloured pixels of the picture after: masks are grey, changes and rings are not."""
    return tab.locator("ss-topology .tr-after").evaluate(
        """canvas => {
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let coloured = 0;
            for (let at = 0; at < pixels.length; at += 4) {
                const [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
                coloured += Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
            }
            return coloured;
        }"""
    )


def test_the_threshold_follows_the_slider_without_another_job_and_can_be_kept(tab: Page, server: Server) -> None:
    choose_sample(tab, "phantom-vessels-3")
    repair(tab)
    viewer = tab.locator("ss-topology")
    jobs = len(server.get("/api/jobs?system=topology")["jobs"])
    changed = viewer.locator('tr[data-repair="refined"] td').nth(3)
    at_half = changed.inner_text()
    expect(viewer.get_by_role("button", name="Keep this threshold")).to_be_hidden()
    viewer.get_by_label("Threshold on the refined probability").evaluate(
        "slider => { slider.value = 0.1; slider.dispatchEvent(new Event('input')); }"
    )
    expect(changed).not_to_have_text(at_half, timeout=LONG_MS)
    assert len(server.get("/api/jobs?system=topology")["jobs"]) == jobs
    viewer.get_by_role("button", name="Keep this threshold").click()
    expect(tab.get_by_text("Kept at threshold 0.10")).to_be_visible(timeout=LONG_MS)
    expect(tab.locator(".ss-downloads", has_text="refined-mask-0.10.png")).to_be_visible()
    expect(tab.locator(".ss-provenance")).to_contain_text("topology · threshold")


def test_a_simple_repair_is_tuned_in_its_row(tab: Page) -> None:
    choose_sample(tab, "phantom-vessels-3")
    repair(tab)
    row = tab.locator('ss-topology tr[data-repair="small"]')
    given = tab.locator('ss-topology tr[data-repair="input"] td').nth(1).inner_text()
    expect(row.locator("td").nth(1)).not_to_have_text(given, timeout=LONG_MS)
    row.get_by_role("spinbutton").fill("0")
    row.get_by_role("spinbutton").press("Enter")
    expect(row.locator("td").nth(1)).to_have_text(given, timeout=LONG_MS)


def test_downloads_carry_where_they_came_from(tab: Page, tmp_path: Path) -> None:
    upload(tab, lattice(tmp_path / "mask.png", 192))
    expect(tab.get_by_text("binary mask, 192 × 192 pixels.")).to_be_visible(timeout=LONG_MS)
    repair(tab)
    for name in ("refined-mask.png", "refined-probability.png", "changes.png", "changes.csv"):
        with tab.expect_download() as started:
            tab.locator(".ss-downloads a", has_text=name).click()
        path = tmp_path / name
        started.value.save_as(path)
        made = read_provenance(path)
        assert (made.system, made.action) == ("topology", "refine")
        assert made.weights
    assert Image.open(tmp_path / "refined-mask.png").size == (192, 192)


def test_wrong_files_are_told_from_masks_before_anything_runs(tab: Page, watch: Watch, tmp_path: Path) -> None:
    run = tab.get_by_role("button", name="Repair", exact=True)
    expect(run).to_be_disabled()
    photo = np.random.default_rng(0).normal(128, 40, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    upload(tab, tmp_path / "photo.png")
    expect(tab.get_by_text("This is a colour picture, not a segmentation.")).to_be_visible(timeout=LONG_MS)
    expect(run).to_be_disabled()
    watch.allow("400")
    (tmp_path / "text.png").write_text("not a picture at all")
    tab.get_by_role("button", name="Choose another").click()
    upload(tab, tmp_path / "text.png")
    expect(tab.locator("ss-upload").get_by_role("alert")).to_be_visible()
    upload(tab, lattice(tmp_path / "mask.png", 96))
    expect(run).to_be_enabled(timeout=LONG_MS)


def test_a_label_map_offers_its_labels(tab: Page, tmp_path: Path) -> None:
    labels = np.zeros((128, 128), np.uint8)
    labels[10:60, 10:110] = 1
    labels[70:120, 20:60] = 2
    labels[90:94, 20:60] = 0
    Image.fromarray(labels).save(tmp_path / "labels.png")
    upload(tab, tmp_path / "labels.png")
    expect(tab.get_by_text("A label map with 2 labels")).to_be_visible(timeout=LONG_MS)
    choice = tab.get_by_label("Label to repair")
    choice.click()
    tab.get_by_role("option", name="label 2 (11.2%)").click()
    repair(tab)
    expect(tab.locator("ss-topology .tr-before-caption")).to_contain_text("β₀ 2")
    expect(tab.get_by_text("Label 2 was taken as foreground.")).to_be_visible()


def test_a_reload_in_the_middle_finds_the_job_again_and_it_can_be_cancelled(
    tab: Page, server: Server, tmp_path: Path, shot: Callable[[str], Path]
) -> None:
    upload(tab, lattice(tmp_path / "large.png", 4096))
    expect(tab.get_by_text("4096 × 4096 pixels")).to_be_visible(timeout=LONG_MS)
    tab.get_by_role("button", name="Repair", exact=True).click()
    strip = tab.locator("ss-job").filter(has_text="Refining window by window")
    expect(strip).to_be_visible(timeout=LONG_MS)
    job = re.search(r"job=([\w-]+)", tab.url).group(1)
    tab.reload()
    expect(strip).to_be_visible(timeout=LONG_MS)
    expect(strip.get_by_role("img", name="Latest preview")).to_be_visible(timeout=LONG_MS)
    shot("topology-running")
    strip.get_by_role("button", name="Cancel").click()
    expect(tab.locator("ss-job").get_by_text("Cancelled")).to_be_visible(timeout=LONG_MS)
    told = server.get(f"/api/jobs/{job}")
    assert told["state"] == "cancelled"
    assert told["artifacts"] == []


def test_a_reload_after_the_end_shows_the_result_again(tab: Page, tmp_path: Path) -> None:
    upload(tab, lattice(tmp_path / "mask.png", 128))
    expect(tab.get_by_text("128 × 128 pixels")).to_be_visible(timeout=LONG_MS)
    repair(tab)
    told = tab.locator("ss-topology .tr-summary").inner_text()
    tab.reload()
    expect(tab.locator("ss-topology .tr-summary")).to_have_text(told, use_inner_text=True, timeout=LONG_MS)


def test_the_page_is_usable_in_dark_colours(tab: Page, shot: Callable[[str], Path]) -> None:
    choose_sample(tab, "phantom-roads-11")
    repair(tab)
    tab.keyboard.press("Alt+d")
    text, ground = tab.locator("ss-topology .tr-summary p").first.evaluate(
        "node => [getComputedStyle(node).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    bright, dark = (sum(map(int, re.findall(r"\d+", value)[:3])) for value in (text, ground))
    assert bright > 500 > dark
    shot("topology-dark")
