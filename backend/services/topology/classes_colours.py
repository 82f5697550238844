"""Colours of the classes of a label map, for pictures and tables. Nothing heavy is imported."""

from __future__ import annotations

# Okabe and Ito's colours (jfly.uni-koeln.de/color, 2008); more classes than colours take lighter ones again.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")


def colour_of(place: int) -> str:
    """Colour of the class at ``place`` among the classes, from 0, as #RRGGBB."""
    red, green, blue = (int(COLOURS[place % len(COLOURS)][at : at + 2], 16) for at in (1, 3, 5))
    lighter = min(3, place // len(COLOURS)) * 0.25
    return "#" + "".join(f"{round(part + (255 - part) * lighter):02X}" for part in (red, green, blue))
