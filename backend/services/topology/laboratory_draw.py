"""Pictures of the perturbation laboratory: the clean mask, the field, the damaged map and the errors by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from backend.services.topology.laboratory import ERRORS
from backend.services.topology.render import BACKGROUND, FOREGROUND, base_picture, png_bytes

if TYPE_CHECKING:
    from models.topology.perturb import Perturbation

LEAST_SIDE = 192  # pixels of a picture; smaller ones are enlarged by whole steps
INWARDS, MIDDLE, OUTWARDS = (43, 131, 186), (245, 245, 245), (230, 97, 1)  # blue, white, orange


def draw(
    clean: np.ndarray, found: Perturbation, codes: np.ndarray, recipe: str
) -> tuple[list[tuple[str, str, bytes]], dict[str, Any]]:
    """Name, title and PNG of each picture, and the colour scale of the field.

    ``codes``: uint8 of the mask's shape, 0 or the number of an entry of ``ERRORS`` from 1. Volumes are projected along
    their first axis, but for the field, of which the middle slice is shown.
    """
    volume = clean.ndim == 3
    field = found.field[len(clean) // 2] if volume else found.field
    flat_clean, flat_soft = (clean.max(0), found.soft.max(0)) if volume else (clean, found.soft)
    coloured, scale = _field_picture(field, recipe)
    projected = " (projection)" if volume else ""
    pictures = [
        ("clean", f"Clean mask{projected}", base_picture(flat_clean)),
        ("field", f"{scale['title']}{' (middle slice)' if volume else ''}", coloured),
        ("damaged", f"Damaged map{projected}", _grey(flat_soft)),
        ("errors", f"Errors by kind{projected}", _errors(flat_clean, _projected(codes) if volume else codes)),
    ]
    return [(name, title, png_bytes(_enlarged(picture))) for name, title, picture in pictures], scale


def _field_picture(field: np.ndarray, recipe: str) -> tuple[np.ndarray, dict[str, Any]]:
    if recipe == "polynomial":
        levels = np.rint(np.clip(field, 0, 1) * 255).astype(np.uint8)
        stops = cv2.applyColorMap(np.linspace(0, 255, 9).astype(np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
        return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1], {
            "title": "Random field H",
            "low": "0, deletes",
            "high": "1, keeps",
            "stops": [_hex(stop) for stop in stops],
        }
    reach = max(1.0, float(np.quantile(np.abs(field), 0.98)))
    share = np.clip(field / reach, -1, 1)[..., None]
    ends = np.where(share < 0, np.array(INWARDS, float), np.array(OUTWARDS, float))
    picture = np.array(MIDDLE, float) * (1 - np.abs(share)) + ends * np.abs(share)
    return np.rint(picture).astype(np.uint8), {
        "title": "Random field: edge shift",
        "low": f"{reach:.0f} px inwards",
        "high": f"{reach:.0f} px outwards",
        "stops": [_hex(stop) for stop in (INWARDS, MIDDLE, OUTWARDS)],
    }


def _grey(soft: np.ndarray) -> np.ndarray:
    """Probability [H, W] between the colours of background and foreground, RGB uint8."""
    low, high = np.array(BACKGROUND, float), np.array(FOREGROUND, float)
    return np.rint(low + (high - low) * soft[..., None]).astype(np.uint8)


def _errors(clean: np.ndarray, codes: np.ndarray) -> np.ndarray:
    picture = base_picture(clean)
    for number, style in enumerate(ERRORS, 1):
        picture[codes == number] = [int(style.colour[at : at + 2], 16) for at in (1, 3, 5)]
    return picture


def _projected(codes: np.ndarray) -> np.ndarray:
    """The most important code along the first axis: errors of topology, in the order of ``ERRORS``, hide the others."""
    ranked = np.where(codes > 0, codes, len(ERRORS) + 1).min(0)
    return np.where(ranked > len(ERRORS), 0, ranked).astype(np.uint8)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    times = max(1, -(-LEAST_SIDE // max(picture.shape[:2])))
    return np.ascontiguousarray(picture.repeat(times, 0).repeat(times, 1))


def _hex(colour: tuple[int, ...] | np.ndarray) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)
