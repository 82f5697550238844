"""The drop zone: a real file, a wrong file, cancelling, the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watch, playwright
from tests.serving import Server, serve

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application, taking files up to 1 MiB."""
    home = tmp_path_factory.mktemp("upload") / "home"
    limits = {"SYNTHSCOPE_DEVICE": "cpu", "SYNTHSCOPE_MAX_UPLOAD_MIB": "1"}
    with serve(home, limits, module="tests.browser.toy") as started:
        yield started


@pytest.fixture
def toy(page: Page) -> Page:
    page.get_by_role("tab", name="Toy").click()
    page.get_by_role("button", name="A file").wait_for()
    return page


def choose(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="A file").click()
    chooser.value.set_files(path)


def picture(path: Path, side: int = 64) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_real_file_becomes_an_artifact(toy: Page, server: Server, tmp_path: Path) -> None:
    choose(toy, picture(tmp_path / "Jane Doe 1970.png"))
    expect(toy.locator("ss-upload")).to_contain_text("Ready: image")
    told = toy.get_by_text("got ")
    expect(told).to_be_visible()
    artifact = told.inner_text().removeprefix("got ")
    info = server.get(f"/api/artifacts/{artifact}/info")
    assert info["media_type"] == "image/png"
    assert "Doe" not in str(info)
    assert "Doe" not in server.log.read_text()
    toy.get_by_role("button", name="Choose another").click()
    expect(toy.get_by_role("button", name="A file")).to_be_focused()
    expect(toy.locator("p", has_text="got")).to_have_text("got ")


def test_a_wrong_file_gives_a_sentence_and_the_zone_stays(toy: Page, watch: Watch, tmp_path: Path) -> None:
    watch.allow("/api/uploads")
    wrong = tmp_path / "scan.dcm"
    wrong.write_bytes(b"this is not a scan" * 100)
    choose(toy, wrong)
    expect(toy.locator("ss-upload").get_by_role("alert")).not_to_be_empty()
    expect(toy.get_by_role("button", name="A file")).to_be_focused()
    choose(toy, picture(tmp_path / "right.png"))
    expect(toy.locator("ss-upload")).to_contain_text("Ready: image")


def test_a_file_that_is_too_large_gives_a_sentence(toy: Page, watch: Watch, tmp_path: Path) -> None:
    watch.allow("/api/uploads")
    choose(toy, picture(tmp_path / "large.png", side=800))
    alert = toy.locator("ss-upload").get_by_role("alert")
    expect(alert).to_contain_text("The file is too large.")
    expect(alert).to_contain_text("up to 1 MiB")


def test_dropping_a_file_uploads_it(toy: Page, tmp_path: Path) -> None:
    data = picture(tmp_path / "dropped.png").read_bytes()
    toy.locator("ss-upload").evaluate(
        """(part, bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            const zone = part.shadowRoot.querySelector(".zone");
            zone.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        list(data),
    )
    expect(toy.locator("ss-upload")).to_contain_text("Ready: image")


def test_the_zone_opens_by_key(toy: Page, tmp_path: Path) -> None:
    zone = toy.get_by_role("button", name="A file")
    zone.focus()
    with toy.expect_file_chooser() as chooser:
        zone.press("Enter")
    chooser.value.set_files(picture(tmp_path / "keyed.png"))
    expect(toy.locator("ss-upload")).to_contain_text("Ready: image")


def test_a_server_that_is_gone_is_told(toy: Page, watch: Watch, tmp_path: Path) -> None:
    watch.allow("ERR_FAILED")
    toy.route("**/api/uploads", lambda route: route.abort())
    choose(toy, picture(tmp_path / "lost.png"))
    expect(toy.locator("ss-upload").get_by_role("alert")).to_contain_text("SynthScope does not answer.")
