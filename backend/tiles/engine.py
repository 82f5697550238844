"""Tiles of many slides: slides are opened on demand, tiles and decoded blocks are kept in bounded memory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.tiles.cache import SingleFlightCache
from backend.tiles.opened import OpenedSlide

if TYPE_CHECKING:
    from backend.media.slides import Slide

MIB = 1024 * 1024
Opener = Callable[[str], "tuple[Slide, Path | None]"]


@dataclass(frozen=True)
class Tile:
    """An encoded tile and the entity tag that names this very content."""

    data: bytes
    etag: str


@dataclass
class _Entry:
    slide: OpenedSlide
    users: int = 0
    evicted: bool = False


class TileEngine:
    """The tiles of all slides of a process, safe from any thread.

    ``opener(slide_id)`` opens a slide and gives its file, if it is one; it raises ``UserError`` for an unknown id. A
    quarter of ``cache_mib`` holds encoded tiles, the rest decoded blocks. At most ``open_slides`` slides stay open
    while nobody reads them.
    """

    def __init__(self, opener: Opener, *, cache_mib: int = 256, open_slides: int = 10, threads: int = 0) -> None:
        self._opener = opener
        self._most_open = open_slides
        self._tiles: SingleFlightCache[Tile] = SingleFlightCache(cache_mib * MIB // 4, lambda tile: len(tile.data))
        self._blocks: SingleFlightCache[Any] = SingleFlightCache(cache_mib * MIB * 3 // 4, lambda block: block.nbytes)
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._opening: dict[str, Future[None]] = {}
        self._signatures: dict[str, str] = {}
        self.threads = ThreadPoolExecutor(threads or (os.cpu_count() or 1) + 2, thread_name_prefix="tiles")

    def cached(self, slide_id: str, level: int, column: int, row: int) -> Tile | None:
        """The tile if it is in memory; never waits."""
        return self._tiles.get((slide_id, level, column, row))

    def tile(self, slide_id: str, level: int, column: int, row: int) -> Tile:
        """The tile, computed if need be. Raises ``UserError`` (unknown slide, damage), ``KeyError`` (no such tile)."""

        def compute() -> Tile:
            with self.use(slide_id) as slide:
                data = slide.tile(level, column, row)
                return Tile(data, f'"{slide.signature}-{level}-{column}-{row}"')

        return self._tiles.get_or_compute((slide_id, level, column, row), compute)

    @contextmanager
    def use(self, slide_id: str) -> Iterator[OpenedSlide]:
        """The open slide, which stays open until the block ends. Raises ``UserError``."""
        entry = self._enter(slide_id)
        try:
            yield entry.slide
        finally:
            self._leave(entry)

    def is_open(self, slide_id: str) -> bool:
        """Whether the slide is open now."""
        return slide_id in self._entries

    @property
    def open_slides(self) -> int:
        """Slides open now."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of tiles and blocks held now."""
        return self._tiles.bytes + self._blocks.bytes

    def forget(self, slide_id: str) -> None:
        """Close a slide and drop what is cached of it."""
        with self._lock:
            entry = self._entries.pop(slide_id, None)
        if entry is not None:
            self._retire(entry)
        self._drop(slide_id)

    def close(self) -> None:
        """Finish running reads and close every slide."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            self._retire(entry)

    def _enter(self, slide_id: str) -> _Entry:
        while True:
            with self._lock:
                entry = self._entries.get(slide_id)
                if entry is not None:
                    self._entries.move_to_end(slide_id)
                    entry.users += 1
                    return entry
                opening = self._opening.get(slide_id)
                mine = opening is None
                if opening is None:
                    opening = self._opening[slide_id] = Future()
            if mine:
                self._open(slide_id, opening)
            else:
                opening.result()

    def _open(self, slide_id: str, opening: Future[None]) -> None:
        try:
            slide, path = self._opener(slide_id)
            try:
                entry = _Entry(OpenedSlide(slide_id, slide, path, self._blocks))
            except BaseException:
                slide.close()
                raise
        except BaseException as error:
            with self._lock:
                del self._opening[slide_id]
            opening.set_exception(error)
            raise
        if self._signatures.get(slide_id, entry.slide.signature) != entry.slide.signature:
            self._drop(slide_id)  # the file behind the id has changed since it was last open
        with self._lock:
            self._signatures[slide_id] = entry.slide.signature
            self._entries[slide_id] = entry
            del self._opening[slide_id]
            idle = [key for key, other in self._entries.items() if not other.users and key != slide_id]
            surplus = [self._entries.pop(key) for key in idle[: max(0, len(self._entries) - self._most_open)]]
        opening.set_result(None)
        for other in surplus:
            self._retire(other)

    def _leave(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            close = entry.evicted and not entry.users
        if close:
            entry.slide.close()

    def _retire(self, entry: _Entry) -> None:
        with self._lock:
            entry.evicted = True
            close = not entry.users
        if close:
            entry.slide.close()

    def _drop(self, slide_id: str) -> None:
        self._tiles.forget(lambda key: key[0] == slide_id)
        self._blocks.forget(lambda key: key[0] == slide_id)
