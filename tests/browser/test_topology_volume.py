"""Volumes in the Topology tab: a phantom is repaired, looked at in planes and 3D, and found again after a reload."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from backend.weights import SHIPPED
from tests.backend.services.topology.small_refiner import write_small_refiner
from tests.browser.conftest import playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser

LONG_MS = 120_000  # a loaded machine of two cores may need this for a repair
SAMPLE = "phantom3d-vessels-1"
NO_WEBGL = """
    const real = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
        return kind === "webgl2" ? null : real.call(this, kind, ...rest);
    };
"""


@pytest.fixture(scope="module")
def browser(webgl_browser: Browser) -> Browser:
    """Volumes need WebGL."""
    return webgl_browser


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with the shipped refiners, or small ones where none is shipped."""
    home = tmp_path_factory.mktemp("volumes") / "home"
    for name, dimensions in (("refiner2d", 2), ("refiner3d", 3)):
        if not (SHIPPED / "topology" / name / "model.safetensors").is_file():
            write_small_refiner(home / "weights" / "topology" / name, dimensions)
    with serve(home, {"SYNTHSCOPE_DEVICE": "cpu"}) as started:
        yield started


@pytest.fixture
def tab(page: Page) -> Page:
    page.get_by_role("tab", name="Topology", exact=True).click()
    page.get_by_role("button", name="Repair", exact=True).wait_for()
    return page


@pytest.fixture(scope="module")
def repaired(server: Server, browser: playwright.Browser) -> str:
    """Id of the job that repaired the phantom."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{server.url}/?tab=topology")
    page.locator(f'[data-value="{SAMPLE}"]').click()
    expect(page.get_by_text("96 × 96 × 96 voxels")).to_be_visible(timeout=LONG_MS)
    page.get_by_role("button", name="Repair", exact=True).click()
    page.locator("ss-topology-volume .tr-table table").wait_for(timeout=LONG_MS)
    context.close()
    jobs = server.get("/api/jobs?system=topology")["jobs"]
    return next(job["id"] for job in jobs if job["action"] == "refine_volume")


def open_result(page: Page, server: Server, job: str) -> Locator:
    page.goto(f"{server.url}/?tab=topology&job={job}")
    viewer = page.locator("ss-topology-volume ss-volume")
    expect(viewer).to_have_attribute("data-ready", re.compile(r"\d"), timeout=LONG_MS)
    return viewer


def colours(viewer: Locator, pane: int) -> int:
    """Pixels of one pane that are in colour and no crosshair: masks are grey, changes are not."""
    picture = Image.open(io.BytesIO(viewer.locator("figure > div").nth(pane).screenshot())).convert("RGB")
    pixels = np.asarray(picture, int)[6:-6, 6:-6]  # without the ring around what has the focus
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    crosshair = (red > green + 60) & (abs(green - blue) < 25)
    return int(((pixels.max(axis=2) - pixels.min(axis=2) > 50) & ~crosshair).sum())


def save(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> Path:
    nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])).to_filename(path)
    return path


def upload(tab: Page, path: Path, name: str = "Your own mask or probability map") -> None:
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name=name).click()
    chooser.value.set_files(path)


def tubes(shape: tuple[int, int, int] = (40, 40, 24)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[10:14, 4:-4, 8:12] = mask[26:30, 4:-4, 8:12] = mask[4:-4, 18:22, 8:12] = 1
    mask[16:20, 18:22] = 0
    return mask


def test_a_phantom_is_repaired_looked_at_and_found_again_after_a_reload(
    tab: Page, server: Server, shot: Callable[[str], Path]
) -> None:
    tab.locator(f'[data-value="{SAMPLE}"]').click()
    expect(tab.get_by_text("binary mask, 96 × 96 × 96 voxels of 0.5 × 0.5 × 0.5 mm.")).to_be_visible(timeout=LONG_MS)
    tab.get_by_role("button", name="Repair", exact=True).click()
    viewer = tab.locator("ss-topology-volume ss-volume")
    expect(viewer).to_have_attribute("data-ready", re.compile(r"\d"), timeout=LONG_MS)
    for side in ("Before", "After"):
        caption = viewer.locator("figcaption", has_text=side)
        expect(caption).to_have_text(re.compile(rf"{side} · β₀ \d+ pieces · β₁ \d+ loops · β₂ \d+ cavities"))
    expect(tab.locator("ss-topology-volume .tr-summary")).to_contain_text("The true mask has 1 piece, 1 loop")
    place = viewer.get_attribute("data-voxel")
    listed = tab.locator("ss-topology-volume .tr-list button")
    listed.nth(2).click()
    expect(listed.nth(2)).to_have_attribute("aria-current", "true")
    expect(viewer).not_to_have_attribute("data-voxel", place or "")
    shot("topology-volume")
    for name in ("refined-mask.nii.gz", "refined-probability.nii.gz", "changes.nii.gz", "changes.csv"):
        expect(tab.locator(".ss-downloads a", has_text=name)).to_be_visible()
    address = tab.url
    tab.reload()
    expect(viewer).to_have_attribute("data-ready", re.compile(r"\d"), timeout=LONG_MS)
    assert tab.url == address
    expect(tab.locator(".ss-provenance")).to_contain_text("topology · refine_volume")


def test_the_crosshair_stands_on_the_change_that_was_clicked_in_both(page: Page, server: Server, repaired: str) -> None:
    viewer = open_result(page, server, repaired)
    changes = [change for change in server.get(f"/api/topology/{repaired}")["changes"] if change["topological"]]
    for number in (0, 3):
        page.locator("ss-topology-volume .tr-list button").nth(number).click()
        expect(viewer).to_have_attribute("data-voxel", " ".join(map(str, changes[number]["at"])))
    page.locator("ss-topology-volume .tr-list button").nth(3).press("n")
    expect(viewer).to_have_attribute("data-voxel", " ".join(map(str, changes[4]["at"])))
    viewer.get_by_role("button", name="Axial").click()
    first = viewer.locator("canvas").first
    box = first.bounding_box()
    assert box is not None
    first.click(position={"x": box["width"] * 0.4, "y": box["height"] * 0.45})
    clicked = [int(number) for number in (viewer.get_attribute("data-voxel") or "").split()]
    assert clicked[2] == changes[4]["at"][2]
    first.press("PageUp")
    expect(viewer).to_have_attribute("data-voxel", f"{clicked[0]} {clicked[1]} {clicked[2] + 1}")
    spots = viewer.evaluate("element => element.panes.map(({ viewer }) => [...viewer.scene.crosshairPos])")
    assert spots[0] == pytest.approx(spots[1], abs=1e-5)


def test_changes_are_coloured_and_one_key_takes_them_away(
    page: Page, server: Server, repaired: str, shot: Callable[[str], Path]
) -> None:
    viewer = open_result(page, server, repaired)
    coloured = [colours(viewer, pane) for pane in (0, 1)]
    assert min(coloured) > 20
    viewer.locator("canvas").nth(1).press("c")
    expect(page.get_by_role("button", name="Show changes (C)")).to_be_visible()
    assert colours(viewer, 1) < coloured[1] / 10
    page.get_by_role("button", name="Show changes (C)").click()
    assert colours(viewer, 1) == pytest.approx(coloured[1], rel=0.1)
    viewer.get_by_role("button", name="3D", exact=True).click()
    shot("topology-volume-3d")


def test_the_threshold_follows_the_slider_and_can_be_kept(page: Page, server: Server, repaired: str) -> None:
    viewer = open_result(page, server, repaired)
    place = viewer.get_attribute("data-voxel")
    changed = page.locator('ss-topology-volume tr[data-repair="refined"] td').nth(4)
    before = changed.inner_text()
    page.get_by_label("Threshold on the refined probability").evaluate(
        "slider => { slider.value = 0.2; slider.dispatchEvent(new Event('input')); }"
    )
    expect(changed).not_to_have_text(before, timeout=LONG_MS)
    expect(viewer).to_have_attribute("data-ready", "2", timeout=LONG_MS)
    expect(viewer).to_have_attribute("data-voxel", place or "")
    page.get_by_role("button", name="Keep this threshold").click()
    expect(page.get_by_text("Kept at threshold 0.20")).to_be_visible(timeout=LONG_MS)
    expect(page.locator(".ss-downloads", has_text="refined-mask-0.20.nii.gz")).to_be_visible()


def test_without_webgl_the_page_says_so_and_shows_slices(
    page: Page, server: Server, repaired: str, shot: Callable[[str], Path]
) -> None:
    page.add_init_script(NO_WEBGL)
    viewer = open_result(page, server, repaired)
    expect(viewer.get_by_text("This browser cannot draw volumes")).to_be_visible()
    picture = viewer.get_by_role("img", name="After the repair")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    place = viewer.get_attribute("data-voxel")
    page.locator("ss-topology-volume .tr-list button").nth(2).click()
    expect(viewer).not_to_have_attribute("data-voxel", place or "")
    coloured = colours(viewer, 1)
    page.get_by_role("button", name="Hide changes (C)").click()
    for _ in range(50):
        if colours(viewer, 1) < coloured:
            break
        page.wait_for_timeout(200)
    assert colours(viewer, 1) < coloured
    viewer.get_by_role("button", name="Across x").click()
    expect(picture).to_have_attribute("src", re.compile("axis=x"))
    shot("topology-volume-slices")


def test_a_scan_of_ones_own_with_long_voxels_is_divided(tab: Page, tmp_path: Path) -> None:
    upload(tab, save(tmp_path / "mask.nii.gz", tubes(), (0.5, 0.5, 1.5)))
    expect(tab.get_by_text("binary mask, 40 × 40 × 24 voxels of 0.5 × 0.5 × 1.5 mm.")).to_be_visible(timeout=LONG_MS)
    tab.get_by_role("button", name="Options").click()
    expect(tab.get_by_label("Divide long voxels for the network")).to_be_checked()
    expect(tab.get_by_label("Then remove pieces below")).to_have_value("20")
    tab.get_by_role("button", name="Repair", exact=True).click()
    expect(tab.locator("ss-topology-volume .tr-note")).to_contain_text(
        "were divided into 0.5 × 0.5 × 0.5 mm", timeout=LONG_MS
    )


def test_wrong_volumes_are_told_before_anything_runs(tab: Page, tmp_path: Path) -> None:
    run = tab.get_by_role("button", name="Repair", exact=True)
    holed = tubes().astype(np.float32)
    holed[0, 0, 0] = np.nan
    upload(tab, save(tmp_path / "nan.nii.gz", holed))
    expect(tab.get_by_text("The map holds 1 values that are not numbers")).to_be_visible(timeout=LONG_MS)
    expect(run).to_be_disabled()
    tab.get_by_role("button", name="Choose another").click()
    upload(tab, save(tmp_path / "four.nii.gz", np.stack([tubes(), 1 - tubes()], axis=-1)))
    expect(tab.get_by_text("The file holds 2 volumes; volume 1 was used.")).to_be_visible(timeout=LONG_MS)
    expect(tab.get_by_label("Map in the file")).to_be_visible()
    expect(run).to_be_enabled()


def test_a_true_mask_goes_when_another_segmentation_is_chosen(tab: Page, tmp_path: Path) -> None:
    tab.locator(f'[data-value="{SAMPLE}"]').click()
    expect(tab.get_by_text("96 × 96 × 96 voxels of")).to_be_visible(timeout=LONG_MS)
    tab.get_by_role("button", name="Options").click()
    upload(tab, save(tmp_path / "truth.nii.gz", tubes()), "True mask of the same image, if there is one")
    expect(tab.get_by_text("Ready:")).to_be_visible(timeout=LONG_MS)
    tab.locator('[data-value="phantom3d-capillaries-2"]').click()
    expect(tab.get_by_text("probability map, 96 × 96 × 96 voxels")).to_be_visible(timeout=LONG_MS)
    expect(tab.get_by_role("button", name="True mask of the same image, if there is one")).to_be_visible()
    expect(tab.get_by_text("Ready:")).to_have_count(0)


def test_a_link_to_a_job_opens_the_part_that_shows_it(page: Page, server: Server, repaired: str) -> None:
    page.goto(f"{server.url}/?tab=topology&part=training")
    expect(page.get_by_role("tab", name="Your own refiner")).to_have_attribute("aria-selected", "true")
    page.goto(f"{server.url}/?tab=topology&part=training&job={repaired}")
    expect(page.get_by_role("tab", name="Repair one")).to_have_attribute("aria-selected", "true")
    expect(page.locator("ss-topology-volume .tr-table table")).to_be_visible(timeout=LONG_MS)
    page.wait_for_url(lambda address: "part=" not in address)
    page.get_by_role("tab", name="Your own refiner").click()
    page.wait_for_url(re.compile("part=training"))
    assert "job=" not in page.url
    page.get_by_role("tab", name="Repair one").click()
    page.wait_for_url(re.compile(f"job={repaired}"))


def test_the_viewer_shows_stored_files_with_overlays_of_any_kind(page: Page, server: Server, repaired: str) -> None:
    made = server.get(f"/api/jobs/{repaired}")["artifacts"]
    names = {server.get(f"/api/artifacts/{artifact}/info")["name"]: artifact for artifact in made}
    viewer = page.locator("ss-volume#alone")
    page.evaluate(
        """([base, overlay]) => {
            const element = document.createElement("ss-volume");
            element.id = "alone";
            element.setAttribute("panes", JSON.stringify([{ title: "Scan", base: { artifact: base, colormap: "gray" },
                overlays: [{ id: "heat", title: "Probability", artifact: overlay, colormap: "viridis",
                    opacity: 0.6 }] }]));
            document.body.prepend(element);
        }""",
        [names["input-mask.nii.gz"], names["refined-probability.nii.gz"]],
    )
    expect(viewer).to_have_attribute("data-ready", "1", timeout=LONG_MS)
    slider = viewer.get_by_label("Probability")
    coloured = colours(viewer, 0)
    slider.evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    assert colours(viewer, 0) < coloured / 10
