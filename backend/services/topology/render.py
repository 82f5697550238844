"""Pictures of a topology repair: what changed, in colours that the colour-blind can tell apart, with a legend.

The palette is Okabe and Ito's (jfly.uni-koeln.de/color, 2008); foreground is a middle grey, so that light and dark
ones stand out on it, and changes without effect on the topology are greys. A kind is never told by colour alone: the
page's list and the table name it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from backend.services.topology.volume import VolumeChange

FOREGROUND = (154, 160, 166)
BACKGROUND = (20, 23, 26)
PREVIEW_SIDE = 512  # pixels of the longer side of a progress picture
LEGEND_LINE = 22  # pixels


@dataclass(frozen=True)
class KindStyle:
    """How one kind of change is shown. ``code`` stands for it in a kind layer (0 is "unchanged")."""

    kind: str
    code: int
    title: str
    colour: str
    meaning: str
    topological: bool = True

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three bytes."""
        return tuple(int(self.colour[at : at + 2], 16) for at in (1, 3, 5))  # type: ignore[return-value]


KINDS: tuple[KindStyle, ...] = (
    KindStyle("closed_break", 1, "closed break", "#009E73", "Pixels added that join pieces or close a loop."),
    KindStyle("opened_bridge", 2, "opened bridge", "#CC79A7", "Pixels removed that joined what is now apart."),
    KindStyle("filled_hole", 3, "filled hole", "#56B4E9", "A hole that was filled: β₁ falls."),
    KindStyle("removed_island", 4, "removed island", "#D55E00", "A separate piece that was taken away: β₀ falls."),
    KindStyle("added_island", 5, "added island", "#E69F00", "A new separate piece, worth a look: β₀ rises."),
    KindStyle("opened_hole", 6, "opened hole", "#F0E442", "A new hole, worth a look: β₁ rises."),
    KindStyle("thickened", 7, "thickened", "#DDE1E6", "Pixels added along an edge; the topology is the same.", False),
    KindStyle("thinned", 8, "thinned", "#4A5560", "Pixels removed along an edge; the topology is the same.", False),
)
BY_KIND = {style.kind: style for style in KINDS}
VOLUME_MEANINGS = {
    "closed_break": "Voxels added that join pieces or close a loop.",
    "opened_bridge": "Voxels removed that joined what is now apart, or that closed a loop.",
    "filled_hole": "A tunnel or a closed cavity that was filled: β₁ or β₂ falls.",
    "removed_island": "A separate piece that was taken away: β₀ falls.",
    "added_island": "A new separate piece, worth a look: β₀ rises.",
    "opened_hole": "A new tunnel or cavity, worth a look: β₁ or β₂ rises.",
    "thickened": "Voxels added along a surface; the topology is the same.",
    "thinned": "Voxels removed along a surface; the topology is the same.",
}


def volume_title(change: VolumeChange) -> str:
    """What one change of a volume is called: a hole there is a tunnel through the structure or a cavity in it."""
    if change.kind in ("filled_hole", "opened_hole"):
        return f"{change.kind.partition('_')[0]} {'cavity' if change.b2 else 'tunnel'}"
    return BY_KIND[change.kind].title


def base_picture(mask: np.ndarray) -> np.ndarray:
    """Bool [H, W] as RGB uint8 [H, W, 3]: foreground middle grey on near-black."""
    import numpy as np

    return np.where(np.asarray(mask, bool)[..., None], np.array(FOREGROUND, np.uint8), np.array(BACKGROUND, np.uint8))


def change_picture(mask: np.ndarray, codes: np.ndarray, *, legend: bool = True) -> np.ndarray:
    """The mask after the repair with every changed pixel in the colour of its kind, RGB uint8 [H (+ legend), W, 3].

    ``mask`` is bool [H, W]; ``codes`` uint8 [H, W] holds a :class:`KindStyle` code or 0.
    """
    import numpy as np

    picture = base_picture(mask)
    for style in KINDS:
        picture[codes == style.code] = style.rgb
    if not legend:
        return picture
    used = [style for style in KINDS if (codes == style.code).any()]
    return np.vstack([picture, _legend(picture.shape[1], used)])


def _legend(width: int, styles: list[KindStyle]) -> np.ndarray:
    """RGB uint8 [lines, width, 3]: one swatch and title a kind, wrapped to the width."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    places, x, line = [], 6, 0
    for style in styles:
        needed = 18 + int(font.getlength(style.title)) + 14
        if x > 6 and x + needed > width:
            x, line = 6, line + 1
        places.append((x, line, style))
        x += needed
    picture = Image.new("RGB", (width, LEGEND_LINE * (line + 1)), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for left, row, style in places:
        top = row * LEGEND_LINE + 5
        draw.rectangle((left, top, left + 12, top + 12), fill=style.rgb, outline=(0, 0, 0))
        draw.text((left + 18, top - 2), style.title, fill=(0, 0, 0), font=font)
    if not styles:
        draw.text((6, 3), "no change", fill=(0, 0, 0), font=font)
    return np.asarray(picture)


def preview_png(probability: np.ndarray) -> bytes:
    """PNG of a map [H, W] in 0..1 as grey levels, shrunk to at most ``PREVIEW_SIDE`` pixels a side."""
    import numpy as np

    step = max(1, -(-max(probability.shape) // PREVIEW_SIDE))
    return png_bytes((np.clip(probability[::step, ::step], 0, 1) * 255).astype(np.uint8))


def projection_png(probability: np.ndarray) -> bytes:
    """PNG of the greatest value along z of a map [X, Y, Z] in 0..1, rows downwards as in the slices of the page."""
    return preview_png(probability.max(axis=2).T[::-1])


def png_bytes(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [H, W] or [H, W, 3], without metadata, for the page only."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
