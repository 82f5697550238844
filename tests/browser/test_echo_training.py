"""Your own generator in a browser: a folder named, trained on, used, stopped, gone on with, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.backend.services.echo.small_folders import echonet_folder
from tests.backend.services.echo.small_networks import write_small_generator
from tests.backend.services.echo.test_measure import beating
from tests.serving import Server, serve

pytestmark = pytest.mark.browser

LONG_MS = 180_000  # a loaded machine of two cores may need this for a short training


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with small networks and one allowed folder of three clips."""
    root = tmp_path_factory.mktemp("training")
    echonet_folder(root / "data" / "clips")
    write_small_generator(root / "home" / "weights" / "echo", beating())
    settings = {"SYNTHSCOPE_DEVICE": "cpu", "SYNTHSCOPE_DATA_ROOTS": json.dumps([str(root / "data")])}
    with serve(root / "home", settings) as started:
        yield started


@pytest.fixture
def part(page: Page, server: Server) -> Page:
    page.goto(f"{server.url}/?tab=echo&part=training")
    page.locator("#echo-train").wait_for()
    return page


def train(part: Page, name: str, minutes: str) -> None:
    part.get_by_label("Folder of clips").fill("clips")
    expect(part.get_by_text("3 clips")).to_be_visible(timeout=LONG_MS)
    part.get_by_label("Name of the network").fill(name)
    part.get_by_label("Minutes").fill(minutes)
    part.locator("#echo-train").click()


def test_a_folder_makes_a_video_model_that_generate_uses(part: Page, shot: Callable) -> None:
    part.locator("#echo-train").click()
    expect(part.get_by_text("The network has no name.")).to_be_visible()
    part.get_by_label("Folder of clips").fill("elsewhere")
    expect(part.get_by_text("There is no such folder under the allowed folders.")).to_be_visible(timeout=LONG_MS)
    train(part, "My-Hearts", "0.1")
    expect(part.get_by_text("The network echo/my-hearts is ready")).to_be_visible(timeout=LONG_MS)
    result = part.locator(".ss-training-result")
    expect(result.locator("tbody tr")).to_have_count(4)
    expect(result.get_by_text("The table of the folder names 3 clips that are there.")).to_be_visible()
    expect(part.locator(".ss-provenance")).to_contain_text("echo · train")
    expect(part.locator(".ss-downloads a", has_text="my-hearts-weights.zip")).to_be_visible()
    expect(part.locator('tr[data-network="echo/my-hearts"]')).to_contain_text("your own")
    result.scroll_into_view_if_needed()
    shot("echo-training-result")
    result.get_by_role("button", name="Use it in Generate").click()
    part.get_by_role("button", name="Patient from a clip, model and sampling").click()
    expect(part.get_by_label("Weights of the video model")).to_have_value("echo/my-hearts")
    expect(part.locator("#ss-part-echo-generate").get_by_label("Autoencoder")).to_have_value("echo/autoencoder")
    shot("echo-training-used")


def test_a_stopped_training_goes_on_and_its_network_is_deleted(part: Page, shot: Callable) -> None:
    train(part, "stopped", "0.4")
    running = part.locator("ss-job").filter(has_text="Training, step")
    expect(running).to_be_visible(timeout=LONG_MS)
    part.reload()
    expect(running.get_by_role("img", name="Latest preview")).to_be_visible(timeout=LONG_MS)
    running.get_by_role("button", name="Cancel").click()
    expect(part.get_by_text("the checkpoint of stopped is kept.")).to_be_visible(timeout=LONG_MS)
    expect(part.locator('tr[data-stopped="stopped"]')).to_contain_text("of 0.4 min")
    part.locator(".ss-stopped").get_by_role("button", name="Go on from where it stopped").click()
    expect(part.get_by_text("The network echo/stopped is ready")).to_be_visible(timeout=LONG_MS)
    part.get_by_role("button", name="Delete echo/stopped").click()
    question = part.get_by_role("alertdialog")
    expect(question).to_contain_text("Delete the network echo/stopped?")
    question.get_by_role("button", name="Yes, delete it").click()
    expect(part.locator('tr[data-network="echo/stopped"]')).to_have_count(0)
    shot("echo-training-list")


def test_phantoms_can_be_chosen_and_an_autoencoder_has_one_size(part: Page) -> None:
    part.get_by_label("phantoms, to try it out").check()
    expect(part.get_by_label("Phantom clips")).to_be_visible()
    expect(part.get_by_label("Folder of clips")).to_be_hidden()
    part.get_by_label("Part of the generator").click()
    part.get_by_role("option", name="autoencoder").click()
    expect(part.get_by_label("Size")).to_be_hidden()
    part.set_viewport_size({"width": 480, "height": 900})
    part.wait_for_timeout(300)
    assert part.evaluate("document.documentElement.scrollWidth") <= 480
