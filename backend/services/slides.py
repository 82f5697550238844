"""Whole slides: open a sample, an upload or a file of the server, look at it by tiles, take pictures of the view."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.identity import Actor

if TYPE_CHECKING:
    from backend.jobs.contract import Action
    from backend.media.slides import Slide
    from backend.runtime import Runtime
    from backend.tiles.engine import TileEngine
    from backend.tiles.geometry import Box

ACTIONS: tuple[Action, ...] = ()
"""Nothing a slide can do so far takes long enough to be a job."""

SAMPLE_KINDS = ("slide", "image")
MAX_VIEW_SIDE = 4096
"""Longest side of a picture of the view, in pixels."""


@dataclass(frozen=True)
class SlideView:
    """A slide as pages see it; no path and no name of its file is among it.

    ``mpp`` is (x, y) in micrometres per pixel or ``None`` when the file does not say; ``magnification`` is the
    objective's power, worked out from ``mpp`` where only that is known (10 µm/px at ×1, our choice: ×40 is 0.25 µm/px).
    """

    id: str
    title: str
    source: str
    width: int
    height: int
    mpp: tuple[float, float] | None
    objective_power: float | None
    magnification: float | None
    levels: tuple[tuple[int, int], ...]
    vendor: str
    reader: str
    synthetic: bool
    properties: dict[str, str]
    notes: tuple[str, ...]


class SlideLibrary:
    """Every slide a runtime can show, by opaque id: artifact id, sample id, or the id of a file opened by its path."""

    def __init__(self, runtime: Runtime) -> None:
        from backend.services.slide_paths import PathRegistry
        from backend.tiles.engine import TileEngine

        settings = runtime.settings
        # The library must not keep the runtime alive that it belongs to.
        self._runtime = weakref.proxy(runtime)
        self.paths = PathRegistry(settings.home / "slide_paths.json", tuple(settings.slide_roots))
        self.engine: TileEngine = TileEngine(
            self._open, cache_mib=settings.tile_cache_mib, open_slides=settings.open_slides
        )

    def open_sample(self, sample_id: str, *, actor: Actor) -> SlideView:
        """Open a sample slide or picture. Raises ``UserError`` when it is not installed."""
        view = self.describe(sample_id)
        self._audit(actor, view)
        return view

    def open_artifact(self, artifact_id: str, *, actor: Actor) -> SlideView:
        """Open an upload or anything made here as a slide. Raises ``UserError`` when it is none."""
        view = self.describe(artifact_id)
        self._audit(actor, view)
        return view

    def open_path(self, text: str, *, actor: Actor) -> SlideView:
        """Open a file of the server that lies under an allowed folder. Raises ``UserError`` for any other."""
        slide_id = self.paths.register(text)
        try:
            view = self.describe(slide_id)
        except UserError:
            self.paths.forget(slide_id)
            raise
        self._audit(actor, view)
        return view

    def describe(self, slide_id: str) -> SlideView:
        """What is known about a slide; opens it if need be. Raises ``UserError``."""
        title, source, synthetic, notes = self._origin(slide_id)
        with self.engine.use(slide_id) as opened:
            slide = opened.slide
            power = slide.objective_power
            magnification = power or (10 / (sum(slide.mpp) / 2) if slide.mpp else None)
            return SlideView(
                id=slide_id,
                title=title,
                source=source,
                width=opened.pyramid.width,
                height=opened.pyramid.height,
                mpp=slide.mpp,
                objective_power=power,
                magnification=magnification,
                levels=tuple((int(width), int(height)) for width, height in slide.level_dimensions),
                vendor=slide.vendor,
                reader=slide.reader,
                synthetic=synthetic,
                properties=dict(slide.properties),
                notes=notes,
            )

    def view_png(self, slide_id: str, box: Box, longest: int, *, rotate: int = 0, actor: Actor) -> bytes:
        """A rectangle in slide pixels as a marked PNG, its longer side ``longest`` pixels at most; audited.

        ``rotate`` turns the picture clockwise (0, 90, 180, 270 degrees). Never magnified: a smaller rectangle gives a
        smaller picture. Raises ``UserError`` when nothing of the slide is in the rectangle.
        """
        import numpy as np

        from backend.media.write_png import write_png
        from backend.provenance import Provenance

        if box.width < 1 or box.height < 1:
            raise UserError("This view has no pixels.", what_to_do="Zoom out a little and try again.")
        view = self.describe(slide_id)
        with self.engine.use(slide_id) as opened:
            left, top = max(0, box.x), max(0, box.y)
            right, bottom = min(box.x + box.width, view.width), min(box.y + box.height, view.height)
            if right <= left or bottom <= top:
                raise UserError("This view shows nothing of the slide.", what_to_do="Move back to it and try again.")
            longest = max(1, min(longest, MAX_VIEW_SIDE))
            scale = max(1.0, (right - left) / longest, (bottom - top) / longest)
            out = max(1, round((right - left) / scale)), max(1, round((bottom - top) / scale))
            turns = -(rotate // 90) % 4
            pixels = np.rot90(opened.region(left, top, right - left, bottom - top, out), turns)
        request = {"slide": slide_id, "x": left, "y": top, "width": right - left, "height": bottom - top}
        provenance = Provenance.now(
            system="slides",
            action="view",
            synthetic=view.synthetic,
            request={**request, "rotate": -turns % 4 * 90, "pixels": [pixels.shape[1], pixels.shape[0]]},
            parents=(slide_id,) if view.source == "artifact" else (),
        )
        with self._runtime.scratch.workdir() as folder:
            path = Path(folder) / "view.png"
            write_png(path, pixels, provenance)
            data = path.read_bytes()
        self._runtime.audit.append(actor=actor, action="slide.view_png", subject=f"slide:{slide_id}", new=request)
        return data

    def close(self) -> None:
        """Close every slide."""
        self.engine.close()

    def _open(self, slide_id: str) -> tuple[Slide, Path]:
        from backend.media.limits import Limits
        from backend.media.slides import open_slide

        path = self._path(slide_id)
        return open_slide(path, Limits.from_settings(self._runtime.settings)), path

    def _path(self, slide_id: str) -> Path:
        from backend.samples import sample_file

        if self.paths.knows(slide_id):
            return self.paths.path(slide_id)
        if self._sample(slide_id) is not None:
            return sample_file(slide_id, self._runtime.settings)
        return self._runtime.artifacts.path(slide_id)

    def _origin(self, slide_id: str) -> tuple[str, str, bool, tuple[str, ...]]:
        """(title, source, synthetic, notes) of an id. Raises ``UserError`` when there is none."""
        if self.paths.knows(slide_id):
            return "Slide on the server", "server", False, ("Label and macro images are not shown.",)
        sample = self._sample(slide_id)
        if sample is not None:
            return sample.title, "sample", sample.phantom, (f"Source: {sample.source}. Licence: {sample.licence}.",)
        artifact = self._runtime.artifacts.view(slide_id)
        notes = artifact.properties.get("notes", ())
        title = str(artifact.properties.get("title", "")) or ("Synthetic slide" if artifact.synthetic else "Upload")
        return title, "artifact", artifact.synthetic, tuple(str(note) for note in notes)

    def _sample(self, slide_id: str) -> Any:
        from backend.samples import samples

        for sample in samples(settings=self._runtime.settings):
            if sample.id == slide_id and sample.kind in SAMPLE_KINDS:
                return sample
        return None

    def _audit(self, actor: Actor, view: SlideView) -> None:
        facts = {"source": view.source, "width": view.width, "height": view.height, "vendor": view.vendor}
        self._runtime.audit.append(actor=actor, action="slide.open", subject=f"slide:{view.id}", new=facts)


_libraries: dict[int, SlideLibrary] = {}
_lock = threading.Lock()


def library(runtime: Runtime) -> SlideLibrary:
    """The slide library of a runtime, made on first use; page and routes share it."""
    with _lock:
        found = _libraries.get(id(runtime))
        if found is None:
            found = _libraries[id(runtime)] = SlideLibrary(runtime)
            weakref.finalize(runtime, _close, id(runtime))
        return found


def close_library(runtime: Runtime) -> None:
    """Close the slides of a runtime, if any were opened; a later :func:`library` starts anew."""
    _close(id(runtime))


def _close(key: int) -> None:
    with _lock:
        found = _libraries.pop(key, None)
    if found is not None:
        found.close()
