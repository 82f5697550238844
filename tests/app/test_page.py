"""The page itself: nothing from elsewhere, nothing heavy, nothing of another program's."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from app import page, theme
from backend.notices import RESEARCH_ONLY

OWN_FILES = sorted(path for path in theme.FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg"))


class Links(HTMLParser):
    """Every address in an HTML page that a browser would follow by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if name in ("src", "href", "content") and value]


def test_the_page_links_to_nothing_elsewhere(client: TestClient) -> None:
    links = Links()
    links.feed(client.get("/").text)
    assert "/static/theme/synthscope.css" in links.found
    assert [link for link in links.found if re.match(r"(https?:)?//", link)] == []


def test_the_theme_fetches_no_font(client: TestClient) -> None:
    css = client.get("/theme.css").text
    assert "system-ui" in css
    assert re.findall(r'url\((?!["\']?data:)', css) == []
    assert "@import" not in css


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_our_own_files_are_served_and_name_no_other_host(client: TestClient, path: object) -> None:
    answer = client.get(f"/static/theme/{path.name}")
    assert answer.status_code == 200
    named = [url for url in re.findall(r"https?://[^\s\"')]+", answer.text) if not url.startswith("http://www.w3.org/")]
    assert named == []


def test_the_notice_is_in_every_page(client: TestClient) -> None:
    assert RESEARCH_ONLY in client.get("/").text


def test_a_changed_template_is_noticed() -> None:
    with pytest.raises(ValueError, match="template has changed"):
        page.adapt("<html><head></head></html>")


def test_neither_torch_nor_other_heavy_things_are_loaded_for_the_first_page() -> None:
    program = """
import sys, tempfile, pathlib
from backend.runtime import Runtime
from backend.settings import Settings
from app.server import create_app
with tempfile.TemporaryDirectory() as home, Runtime.open(Settings(home=pathlib.Path(home), device="cpu")) as runtime:
    create_app(runtime)
heavy = ("torch", "transformers", "diffusers", "scipy", "skimage", "sklearn", "plotly", "pydicom", "nibabel")
print(*sorted(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.1)."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("body_text_color", "body_background_fill"),
        ("body_text_color", "background_fill_primary"),
        ("body_text_color_subdued", "body_background_fill"),
        ("body_text_color_subdued", "background_fill_primary"),
        ("body_text_color_subdued", "background_fill_secondary"),
        ("block_label_text_color", "block_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill_hover"),
        ("button_secondary_text_color", "button_secondary_background_fill"),
        ("link_text_color", "background_fill_primary"),
    ],
)
def test_text_can_be_read_on_its_ground(text: str, ground: str, mode: int) -> None:
    assert contrast(theme.PALETTE[text][mode], theme.PALETTE[ground][mode]) >= 4.5


@pytest.mark.parametrize("kind", ["bad", "warn", "good"])
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_coloured_notices_can_be_read(kind: str, mode: int) -> None:
    css = (theme.FOLDER / "synthscope.css").read_text()
    texts = re.findall(rf"--ss-{kind}-text: (#\w{{6}})", css)
    grounds = re.findall(rf"--ss-{kind}-soft: (#\w{{6}})", css)
    assert contrast(texts[mode], grounds[mode]) >= 4.5
