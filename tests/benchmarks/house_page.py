"""From process start to a rendered page in a real browser, and the memory of a server that nobody uses."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from tempfile import TemporaryDirectory

from tests.benchmarks.harness import MIB
from tests.benchmarks.house_tiles import free_port, started, wait_until_open

SETTLE_S = 3.0


class PageAbsent(Exception):
    """The page cannot be measured here; the message says why."""


def first_page_s(repeats: int) -> float:
    """Median seconds from starting ``python -m app`` to a page on which Chromium has drawn the tabs.

    The browser runs already, as a person's does. Raises :class:`PageAbsent` without Chromium.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise PageAbsent("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            return statistics.median(_first_page(browser) for _ in range(repeats))
        finally:
            browser.close()


def _first_page(browser: object) -> float:
    with TemporaryDirectory() as home:
        port = free_port()
        begin = time.perf_counter()
        with started(_command(port), {**os.environ, "SYNTHSCOPE_HOME": home}) as process:
            wait_until_open(port, process)
            page = browser.new_page()  # type: ignore[attr-defined]
            try:
                page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
                page.get_by_role("tab").first.wait_for(state="visible", timeout=60_000)
                return time.perf_counter() - begin
            finally:
                page.close()


def idle_rss_mib() -> float:
    """Resident memory in MiB of the server and its children, a page served once and then left alone."""
    import urllib.request

    import psutil

    with TemporaryDirectory() as home:
        port = free_port()
        with started(_command(port), {**os.environ, "SYNTHSCOPE_HOME": home}) as process:
            wait_until_open(port, process)
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
            time.sleep(SETTLE_S)
            family = [process, *process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family if isinstance(member, psutil.Process)) / MIB


def _command(port: int) -> list[str]:
    return [sys.executable, "-m", "app", "--port", str(port), "--no-browser"]
