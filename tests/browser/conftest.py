"""A real browser on the real application: every test fails on a request to another machine or an error in the console.

``page`` is a Playwright page on the Home tab's server, 1280×800. ``watch`` belongs to it: ``watch.allow("404")`` lets
console errors pass that contain the text. ``shot(name)`` keeps a screenshot: in the folder named by ``BROWSER_SHOTS``,
else in the test's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.serving import Server, serve

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def find_chromium() -> str | None:
    """Path of the system's Chromium, from CHROMIUM or the usual names; ``None`` where there is none."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Watch:
    """What a page asked for and complained about."""

    url: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, text: str) -> None:
        """Console errors that contain ``text`` are part of the test."""
        self.allowed.append(text)

    def complain(self, text: str) -> None:
        """Note a console error; that of a failed request is noted with its address instead."""
        if not text.startswith("Failed to load resource"):
            self.errors.append(text)

    def follow(self, page: playwright.Page) -> None:
        """Record a page's requests, console errors and uncaught exceptions from now on."""
        page.on("response", lambda answer: answer.status >= 400 and self.errors.append(f"{answer.status} {answer.url}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: message.type == "error" and self.complain(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @property
    def elsewhere(self) -> list[str]:
        """Requests that left this server."""
        own = urlsplit(self.url).netloc
        parts = ((url, urlsplit(url)) for url in self.requests)
        return [url for url, part in parts if part.scheme not in ("data", "blob", "about") and part.netloc != own]

    def check(self) -> None:
        """Assert that nothing left the machine and that the console is clean but for what is allowed."""
        assert self.elsewhere == []
        assert [text for text in self.errors if not any(part in text for part in self.allowed)] == []


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., playwright.Browser]]:
    """Opens a Chromium with further arguments; closed when the tests are over."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed")
    # Chromium's sandbox cannot be set up by root.
    always = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        yield lambda *arguments: started.chromium.launch(executable_path=program, args=[*always, *arguments])


@pytest.fixture(scope="session")
def browser(launch: Callable[..., playwright.Browser]) -> Iterator[playwright.Browser]:
    """One Chromium for all tests but those of volumes."""
    opened = launch()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def webgl_browser(launch: Callable[..., playwright.Browser]) -> Iterator[playwright.Browser]:
    """A Chromium that draws WebGL, which a machine without a graphics card has in software only."""
    opened = launch("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(browser: playwright.Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application in a process of its own, on an empty home folder; one for the tests of a module."""
    with serve(tmp_path_factory.mktemp("browser") / "home", {"SYNTHSCOPE_DEVICE": "cpu"}) as started:
        yield started


@pytest.fixture
def watch(server: Server) -> Watch:
    """Records of this test's page."""
    return Watch(server.url)


@pytest.fixture
def page(browser: playwright.Browser, server: Server, watch: Watch) -> Iterator[playwright.Page]:
    """A page that has opened Home. Its requests and console are checked when the test ends."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme="light", locale="en-GB", timezone_id="UTC"
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    watch.follow(page)
    page.goto(server.url)
    page.get_by_role("tab", name="Home").wait_for()
    yield page
    context.close()
    watch.check()


@pytest.fixture
def shot(page: playwright.Page, tmp_path: Path) -> Callable[[str], Path]:
    """Keeps a screenshot of the page under a name, and returns its file."""
    folder = Path(os.environ.get("BROWSER_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(name: str) -> Path:
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        return path

    return keep
