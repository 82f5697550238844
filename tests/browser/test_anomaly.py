"""Anomaly in a real browser, with a small real network: a scan is looked at, judged, found again after a reload."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from models.anomaly.healthy import RATES
from tests.backend.services.anomaly.phantom_slices import write_phantom_slices
from tests.backend.services.anomaly.scans import ball, oblique, write_volume
from tests.backend.services.anomaly.small_restorer import write_small_restorer
from tests.browser.conftest import Watch, playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser

LONG_MS = 120_000  # for a loaded machine of two cores
SHAPE, SPACING = (32, 34, 18), (1.5, 1.4, 3.0)
TABLE = [0.05 * (number + 1) for number in range(len(RATES))]


@pytest.fixture(scope="module")
def browser(webgl_browser: Browser) -> Browser:
    """Volumes need WebGL."""
    return webgl_browser


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with a small restorer and the slices of a small phantom."""
    home = tmp_path_factory.mktemp("anomaly") / "home"
    healthy = {"unknown": {"absolute": TABLE, "brighter": TABLE}}
    write_small_restorer(home / "weights" / "anomaly" / "restorer", healthy=healthy)
    with serve(home, {"SYNTHSCOPE_DEVICE": "cpu"}) as started:
        yield started


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    affine = oblique(SPACING, SHAPE)
    return write_volume(tmp_path_factory.mktemp("scans") / "scan.nii.gz", ball(SHAPE, affine)[0], affine)


@pytest.fixture(scope="module")
def found(server: Server, browser: playwright.Browser, scan: Path) -> str:
    """Id of the job that looked at the scan."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{server.url}/?tab=anomaly")
    upload(page, scan)
    expect(page.get_by_text("32 × 34 × 18 voxels of 1.5 × 1.4 × 3 mm")).to_be_visible(timeout=LONG_MS)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Threshold on the score").fill("0.15")
    page.get_by_label("Severities of the ensemble").fill("0.27, 0.73")
    page.locator("#anomaly-run").click()
    page.locator("ss-anomaly[data-ready]").wait_for(timeout=LONG_MS)
    context.close()
    return server.get("/api/jobs?system=anomaly")["jobs"][0]["id"]


def upload(page: Page, path: Path, name: str = "Your own scan") -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=name).click()
    chooser.value.set_files(path)


def open_result(page: Page, server: Server, job: str) -> Locator:
    page.goto(f"{server.url}/?tab=anomaly&job={job}")
    result = page.locator("ss-anomaly")
    expect(result).to_have_attribute("data-ready", job, timeout=LONG_MS)
    return result


def coloured(result: Locator, pane: int = 0) -> int:
    """Pixels of one pane that are warm: a scan is grey, the heat-map is not; the thin crosshair is taken out."""
    shot = result.locator("ss-volume figure > div").nth(pane).screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), int)[6:-6, 6:-6]
    warm = pixels[..., 0] - pixels[..., 2] > 40
    rows, columns = warm.mean(1) > 0.4, warm.mean(0) > 0.4
    return int(warm[~rows][:, ~columns].sum())


def test_findings_are_gone_to_and_the_heat_map_is_toggled_and_cut_by_keys_and_sliders(
    page: Page, server: Server, found: str, shot: Callable[[str], Path]
) -> None:
    result = open_result(page, server, found)
    shown = server.get(f"/api/anomaly/{found}")
    rows = result.locator(".findings tbody tr")
    expect(rows).to_have_count(len(shown["findings"]))
    viewer = result.locator("ss-volume")
    place = " ".join(map(str, shown["findings"][0]["voxel"]))
    expect(viewer).to_have_attribute("data-voxel", place)
    expect(viewer.locator("figure")).to_have_count(3)
    # The place in millimetres is that of the tilted grid, as in the table of findings.
    mm = (oblique(SPACING, SHAPE) @ [*shown["findings"][0]["voxel"], 1])[:3]
    told = viewer.locator(".sv-place").inner_text().split("·")[1].removesuffix("mm").split(",")
    np.testing.assert_allclose([float(number) for number in told], mm, atol=0.06)
    shot("anomaly")
    over = coloured(result)
    assert over > 30
    viewer.locator("canvas").first.focus()
    page.keyboard.press("o")
    expect(result.get_by_role("button", name="Show heat-map (O)")).to_be_visible()
    crosshair = coloured(result)
    assert crosshair < over - 500
    page.keyboard.press("o")
    assert coloured(result) > crosshair + 500
    slider = result.get_by_label("Threshold on the score")
    slider.evaluate("slider => { slider.value = slider.max; slider.dispatchEvent(new Event('input')); }")
    assert coloured(result) < over - 500
    expect(result.get_by_role("button", name="Detect again with this threshold")).to_be_visible()
    result.get_by_label("Threshold by the false-positive rate in healthy brains").select_option("0.05")
    expect(result.locator(".tools output")).to_have_text("0.150")
    result.get_by_role("button", name="Back to that of the findings").click()
    if len(shown["findings"]) > 1:
        page.keyboard.press("n")
        expect(rows.nth(1)).to_have_attribute("aria-current", "true")
        expect(viewer).to_have_attribute("data-voxel", " ".join(map(str, shown["findings"][1]["voxel"])))
    expect(result.locator("ss-plot[data-ready]")).to_have_count(2, timeout=LONG_MS)


def test_a_verdict_survives_a_reload_and_goes_into_the_files(page: Page, server: Server, found: str) -> None:
    result = open_result(page, server, found)
    row = result.locator(".findings tbody tr").first
    result.get_by_label("Reason", exact=True).fill("partial volume")
    row.get_by_role("button", name="Reject").click()
    expect(row).to_have_attribute("data-verdict", "rejected")
    page.reload()
    expect(result).to_have_attribute("data-ready", found, timeout=LONG_MS)
    expect(row).to_have_attribute("data-verdict", "rejected")
    expect(row.get_by_role("button", name="Reject")).to_have_attribute("aria-pressed", "true")
    page.locator("#anomaly-review").click()
    expect(page.get_by_text("0 accepted, 1 rejected and left out")).to_be_visible(timeout=LONG_MS)
    page.locator("#anomaly-pack").click()
    link = page.locator(".ss-downloads a", has_text="anomaly.zip")
    expect(link).to_be_visible(timeout=LONG_MS)
    packed = page.request.get(server.url + (link.get_attribute("href") or "")).body()
    assert b"reviewed-findings.nii.gz" in packed
    assert b"heat-map.nii.gz" in packed
    # Keys judge the finding in view.
    row.get_by_role("button", name="Go to finding 1").focus()
    page.keyboard.press("a")
    expect(row).to_have_attribute("data-verdict", "accepted")
    page.keyboard.press("x")
    expect(row).to_have_attribute("data-verdict", "")


def test_a_slice_is_shown_as_pictures_with_a_warning(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?tab=anomaly")
    page.locator('[data-value="mr-small"]').click()
    expect(page.get_by_text("MR, 64 × 64 × 1 voxels")).to_be_visible(timeout=LONG_MS)
    page.locator("#anomaly-run").click()
    result = page.locator("ss-anomaly[data-ready]")
    result.wait_for(timeout=LONG_MS)
    expect(result.get_by_text("unlike any brain")).to_be_visible()
    pictures = result.locator("ss-volume img")
    expect(pictures).to_have_count(3)
    for index in range(3):
        page.wait_for_function(
            "image => image.complete && image.naturalWidth > 0", arg=pictures.nth(index).element_handle()
        )


@pytest.mark.parametrize(("name", "sentence"), [("colour.png", "This picture is in colour."), ("no.nii.gz", "")])
def test_a_wrong_file_is_refused_in_a_sentence(
    page: Page, server: Server, watch: Watch, tmp_path: Path, name: str, sentence: str
) -> None:
    watch.allow("/api/uploads")
    page.goto(f"{server.url}/?tab=anomaly")
    path = tmp_path / name
    if name.endswith(".png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    else:
        path.write_bytes(b"nothing")
    upload(page, path)
    problem = page.locator("[role=alert]").first
    expect(problem).to_be_visible(timeout=LONG_MS)
    expect(problem).to_contain_text(sentence or re.compile(r"\w+ .*\."))
    expect(page.locator("#anomaly-run")).to_be_disabled()


@pytest.mark.slow
def test_corruptions_are_drawn_one_by_one(page: Page, server: Server, watch: Watch) -> None:
    write_phantom_slices(server.home)
    watch.allow("/api/corruption")
    page.goto(f"{server.url}/?tab=anomaly&part=corruption")
    preview = page.locator("ss-corruption")
    expect(preview.locator("img")).to_have_count(4, timeout=LONG_MS)
    first = preview.get_attribute("data-severity")
    preview.get_by_role("button", name="Draw another").click()
    expect(preview).not_to_have_attribute("data-severity", first or "")
    for name in ("Turned box", "Ball", "Outline of a lesion from the library"):
        preview.get_by_label(name).uncheck()
    expect(preview.get_by_text("blob", exact=True)).to_be_visible()
    preview.get_by_label("Blob of 2 to 6 pixels (ours)").uncheck()
    expect(preview.get_by_role("alert")).to_contain_text("No shape is chosen.")


@pytest.mark.slow
def test_many_scans_come_as_a_table_and_a_zip(page: Page, server: Server, scan: Path, tmp_path: Path) -> None:
    page.goto(f"{server.url}/?tab=anomaly&part=batch")
    colour = tmp_path / "colour.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(colour)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Scans to look at").click()
    chooser.value.set_files([scan, colour])
    expect(page.get_by_text("2 scans ready.")).to_be_visible(timeout=LONG_MS)
    page.locator("#anomaly-batch-run").click()
    table = page.locator(".ss-scans table")
    expect(table).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text(re.compile("1 of 2 scans were looked at"))).to_be_visible()
    expect(table.get_by_text("This picture is in colour.")).to_be_visible()
    expect(table.get_by_text("scan.nii.gz")).to_be_visible()
    expect(page.locator(".ss-downloads a", has_text="heat-maps.zip")).to_be_visible()
