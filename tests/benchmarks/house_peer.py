"""A peer's tile server: ``python house_peer.py openslide|large_image PORT TILE OVERLAP QUALITY NAME=FILE …``.

Runs in the peers' own environment and imports nothing of this project. The route is what the documentation of FastAPI
suggests: a plain function, which FastAPI runs in its thread pool. Slides are opened before the server answers.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

Render = Callable[[int, int, int], bytes]


def openslide_renderer(path: str, tile: int, overlap: int, quality: int) -> tuple[Render, tuple[int, int]]:
    """openslide-python's DeepZoomGenerator and Pillow's JPEG, as in OpenSlide's own example server."""
    from openslide import OpenSlide
    from openslide.deepzoom import DeepZoomGenerator

    slide = OpenSlide(path)
    generator = DeepZoomGenerator(slide, tile_size=tile, overlap=overlap)

    def render(level: int, column: int, row: int) -> bytes:
        buffer = io.BytesIO()
        generator.get_tile(level, (column, row)).save(buffer, "jpeg", quality=quality)
        return buffer.getvalue()

    return render, slide.dimensions


def large_image_renderer(path: str, tile: int, overlap: int, quality: int) -> tuple[Render, tuple[int, int]]:
    """large_image's openslide source. Its own ``getTile`` has the file's tile size and no overlap, so the same
    rectangles are asked of ``getRegion``, which was also the faster of the two.
    """
    from large_image_source_openslide import OpenslideFileTileSource

    source = OpenslideFileTileSource(path, encoding="JPEG", jpegQuality=quality)
    facts = source.getMetadata()
    width, height = facts["sizeX"], facts["sizeY"]
    finest = (max(width, height) - 1).bit_length()

    def render(level: int, column: int, row: int) -> bytes:
        shrink = 1 << (finest - level)
        columns, rows = -(-width // shrink), -(-height // shrink)
        left, top = max(0, column * tile - overlap), max(0, row * tile - overlap)
        right, bottom = min(columns, (column + 1) * tile + overlap), min(rows, (row + 1) * tile + overlap)
        data, _ = source.getRegion(
            region={
                "left": left * shrink,
                "top": top * shrink,
                "right": min(width, right * shrink),
                "bottom": min(height, bottom * shrink),
                "units": "base_pixels",
            },
            output={"maxWidth": right - left, "maxHeight": bottom - top},
            encoding="JPEG",
            jpegQuality=quality,
        )
        return data

    return render, (width, height)


def main() -> None:
    """Serve until killed."""
    import uvicorn
    from fastapi import FastAPI, Response

    peer, port, tile, overlap, quality = sys.argv[1], *(int(value) for value in sys.argv[2:6])
    make = {"openslide": openslide_renderer, "large_image": large_image_renderer}[peer]
    slides = {name: make(path, tile, overlap, quality) for name, path in (item.split("=", 1) for item in sys.argv[6:])}
    app = FastAPI()

    @app.get("/api/slides/{name}/info")
    def info(name: str) -> dict[str, int]:
        width, height = slides[name][1]
        return {"width": width, "height": height}

    @app.get("/api/slides/{name}/tiles/{level}/{column}_{row}.jpg")
    def tile_of(name: str, level: int, column: int, row: int) -> Response:
        return Response(slides[name][0](level, column, row), media_type="image/jpeg")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
