"""The one door for files that people bring: told by content, opened for real, cleaned, and only then stored.

Nothing that identifies a person passes: not the file's name, not its header, not the text burned into an ultrasound.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.sniff import Sniffed, sniff

if TYPE_CHECKING:
    from backend.identity import Actor
    from backend.jobs.contract import ArtifactView
    from backend.runtime import Runtime

Kind = Literal["image", "mask", "volume", "clip", "slide", "arrays", "dicom"]
# A picture with at most this many grey values, black among them, is a mask or a label map.
MASK_VALUES = 8


@dataclass(frozen=True)
class Intake:
    """A cleaned file. ``properties`` are plain JSON values; ``notes`` say in plain words what was removed or changed.

    ``synthetic`` is whether the file said of itself that it was made by a model.
    """

    path: Path
    kind: Kind
    media_type: str
    suffix: str
    properties: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    synthetic: bool = False


def receive(source: Path, *, filename: str, workdir: Path, limits: Limits, into: Path) -> Intake:
    """Take in one file, or a folder or archive that holds one thing (a DICOM series is one thing).

    ``filename`` is what the person's file was called; it is neither trusted nor kept. ``workdir`` is an existing folder
    for temporary files, which are removed; the cleaned file appears under the existing folder ``into`` only when it is
    complete. Raises ``UserError`` for everything that is not to be had.
    """
    del filename
    scratch = workdir / secrets.token_hex(8)
    scratch.mkdir(mode=0o700)
    try:
        item = _receive(source, scratch, limits, nested=False)
        target = into / f"{secrets.token_hex(8)}{item.suffix}"
        temporary = target.with_name(f".{target.name}.part")
        try:
            shutil.move(item.path, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return replace(item, path=target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def accept_upload(runtime: Runtime, source: Path, *, filename: str, actor: Actor) -> ArtifactView:
    """Take a file in and store it as an artifact of kind ``upload`` under a name of ours, with its audit event.

    The original name and header never reach store, log or audit. Raises ``UserError`` as :func:`receive`.
    """
    from backend.provenance import Provenance
    from backend.store.files import disk_errors_explained

    with runtime.scratch.workdir() as folder, disk_errors_explained(folder):
        work, clean = folder / "work", folder / "clean"
        work.mkdir()
        clean.mkdir()
        limits = Limits.from_settings(runtime.settings)
        item = receive(source, filename=filename, workdir=work, limits=limits, into=clean)
        return runtime.artifacts.add_file(
            item.path,
            name=f"upload{item.suffix}",
            media_type=item.media_type,
            kind="upload",
            synthetic=item.synthetic,
            provenance=Provenance.now(system="uploads", action="receive", synthetic=item.synthetic),
            actor=actor,
            properties={**item.properties, "kind": item.kind, "notes": list(item.notes)},
            suffix=item.suffix,
        )


def _receive(source: Path, scratch: Path, limits: Limits, *, nested: bool) -> Intake:
    if source.is_dir():
        return _several(sorted(path for path in source.rglob("*") if path.is_file()), [], scratch, limits)
    limits.check_file(source)
    kind = sniff(source)
    if kind.kind == "archive":
        if nested:
            raise UserError(
                "This archive holds another archive.", "Only one layer is unpacked.", "Pack the files themselves."
            )
        from backend.media.archive import unpack

        folder = scratch / "unpacked"
        folder.mkdir()
        found = unpack(source, folder, limits)
        return _several([item.path for item in found], [item.name for item in found], scratch, limits)
    readers: dict[str, Callable[[Path, Sniffed, Path, Limits], Intake]] = {
        "image": _image,
        "clip": _clip,
        "volume": _volume,
        "arrays": _arrays,
        "slide": _slide,
        "dicom": _dicom,
    }
    item = readers[kind.kind](source, kind, scratch, limits)
    return replace(item, synthetic=_says_synthetic(source))


def _several(paths: list[Path], names: list[str], scratch: Path, limits: Limits) -> Intake:
    """One thing out of many files: a DICOM series, or the only file that is known."""
    from backend.media.dicom_series import dicom_files

    if any(name.lower().endswith((".mrxs", ".vms", ".vmu")) for name in names):
        raise UserError(
            "This slide consists of many files.",
            "Only slides of a single file can be uploaded.",
            "Convert it to OME-TIFF, or put its folder under a slide root of the server.",
        )
    dicom = dicom_files(paths)
    if dicom:
        return _dicom_series(dicom, scratch, limits)
    known = []
    for path in paths:
        try:
            sniff(path)
        except UserError:
            continue
        known.append(path)
    if len(known) == 1:
        return _receive(known[0], scratch, limits, nested=True)
    if not known:
        raise UserError(
            "There is no medical image in it.", "None of its files is of a kind that is read here.", "Pack other files."
        )
    raise UserError(
        f"There are {len(known)} different things in it.",
        "Several files are taken together only when they are one DICOM series.",
        "Send them one by one.",
    )


def _dicom(source: Path, _kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.deidentify import Identities
    from backend.media.deidentify_dicom import clean_dicom
    from backend.media.dicom import is_whole_slide
    from backend.media.dicom_open import open_dataset

    if is_whole_slide(open_dataset(source, limits, headers_only=True)):
        raise UserError(
            "This is a whole slide as DICOM.",
            "It is spread over several files.",
            "Convert it to OME-TIFF, or put its folder under a slide root of the server.",
        )
    target = scratch / "clean.dcm"
    image, notes = clean_dicom(source, target, Identities(), limits)
    return Intake(target, "dicom", "application/dicom", ".dcm", dict(image.properties), notes)


def _dicom_series(paths: list[Path], scratch: Path, limits: Limits) -> Intake:
    import zipfile

    from backend.media.deidentify import Identities
    from backend.media.deidentify_dicom import clean_dicom
    from backend.media.dicom_series import group_series, read_series

    chosen, notes = group_series(paths, limits)
    files = [path for path, _ in chosen]
    if len(files) == 1:
        item = _dicom(files[0], sniff(files[0]), scratch, limits)
        return replace(item, notes=notes + item.notes, synthetic=_says_synthetic(files[0]))
    series = read_series(files, limits)
    identities, target, done = Identities(), scratch / "clean.zip", list(notes + series.notes)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, path in enumerate(files):
            clean = scratch / "slice.dcm"
            for note in clean_dicom(path, clean, identities, limits)[1]:
                if note not in done:
                    done.append(note)
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.dcm"), clean.read_bytes(), zipfile.ZIP_DEFLATED)
            clean.unlink()
    facts = dict(series.properties)
    return Intake(target, "dicom", "application/zip", ".zip", facts, tuple(done), _says_synthetic(files[0]))


def _image(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.deidentify_images import strip_jpeg, strip_png, write_plain
    from backend.media.images import read_image

    if kind.format == "tiff" and (stack := _tiff_stack(source, scratch, limits)) is not None:
        return stack
    pixels = read_image(source, limits)
    target, suffix, media_type, removed = scratch / "clean", kind.suffix, kind.media_type, True
    if kind.format in ("png", "jpeg"):
        strip = strip_png if kind.format == "png" else strip_jpeg
        data, removed = strip(source.read_bytes())
        target.write_bytes(data)
        if not np.array_equal(read_image(target, limits), pixels):
            raise UserError("The picture cannot be cleaned.", "It is put together in an unusual way.", "Save it again.")
    else:
        suffix = write_plain(target, pixels, kind.format, source)
        media_type = "image/png" if suffix == ".png" else "image/tiff"
    notes = []
    if removed and kind.format in ("png", "jpeg"):
        notes.append("Texts, camera data and comments inside the picture were removed.")
    elif removed:
        notes.append("The picture was saved again without loss and without its texts.")
        if kind.format == "tiff":
            from backend.media.tiff import read_directories

            pages = len(read_directories(source))
            if pages > 1:
                notes.append(f"Only the first of its {pages} pages was kept.")
    facts = {"rows": pixels.shape[0], "columns": pixels.shape[1], "dtype": str(pixels.dtype)}
    facts["channels"] = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Intake(target, _image_kind(pixels), media_type, suffix, facts, tuple(notes))


def _tiff_stack(source: Path, scratch: Path, limits: Limits) -> Intake | None:
    """A TIFF whose pages are the slices of one volume, written anew with its scale; ``None`` when it is none."""
    from backend.media.tiff_stack import imagej_description, read_scale, read_stack
    from backend.media.write_tiff import write_pixels

    stack = read_stack(source, limits)
    if stack is None:
        return None
    target, scale = scratch / "clean.tif", read_scale(source)
    write_pixels(target, stack, scale, imagej_description(scale, len(stack)), False)
    facts: dict[str, Any] = {"shape": [int(side) for side in stack.shape], "dtype": str(stack.dtype)}
    if scale.spacing_mm:
        facts["spacing_mm"] = [round(value, 9) for value in scale.spacing_mm]
    whole = stack.dtype.kind in "iu" and stack.min() >= 0
    mask = whole and 2 <= len(np.unique(stack)) <= 4 * MASK_VALUES
    notes = ("The pages were saved again without loss as one stack, and without their texts.",)
    return Intake(target, "mask" if mask else "volume", "image/tiff", ".tif", facts, notes)


def _image_kind(pixels: np.ndarray) -> Literal["image", "mask"]:
    """Whether a picture is a mask: grey (or grey as colour), few values, black among them."""
    if pixels.ndim == 3:
        if not (np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])):
            return "image"
        pixels = pixels[..., 0]
    values = np.unique(pixels)
    return "mask" if 2 <= len(values) <= MASK_VALUES and values[0] == 0 else "image"


def _volume(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.deidentify_nifti import strip_nifti
    from backend.media.nifti import read_nifti

    volume = read_nifti(source, limits)
    target = scratch / f"clean{kind.suffix}"
    removed = strip_nifti(source, target, limits, compressed=kind.format == "nifti.gz")
    facts = {
        "shape": [int(n) for n in volume.array.shape],
        "dtype": str(volume.array.dtype),
        "spacing_mm": [round(value, 6) for value in volume.spacing_mm],
        "orientation": volume.orientation,
    }
    notes = ("Descriptions, file names and extensions in the header were removed.",) if removed else ()
    whole = volume.array.dtype.kind in "iu"
    mask = whole and volume.array.min() >= 0 and 2 <= len(np.unique(volume.array)) <= 4 * MASK_VALUES
    return Intake(target, "mask" if mask else "volume", kind.media_type, kind.suffix, facts, notes)


def _arrays(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.arrays import read_arrays

    arrays = read_arrays(source, limits)
    target = scratch / f"clean{kind.suffix}"
    with target.open("wb") as file:
        if kind.format == "npy":
            np.lib.format.write_array(file, np.ascontiguousarray(arrays["array"]), allow_pickle=False)
        else:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    facts = {"arrays": {name: [str(array.dtype), *map(int, array.shape)] for name, array in arrays.items()}}
    return Intake(target, "arrays", kind.media_type, kind.suffix, facts)


def _slide(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.slides import open_slide
    from backend.media.slides_labels import strip_labels

    target = scratch / f"clean{kind.suffix}"
    notes = strip_labels(source, target)
    with open_slide(target, limits) as slide:
        width, height = slide.level_dimensions[0]
        facts: dict[str, Any] = {"rows": int(height), "columns": int(width), "levels": int(slide.level_count)}
        if slide.mpp:
            facts["mpp"] = [float(value) for value in slide.mpp]
        if slide.objective_power:
            facts["objective_power"] = float(slide.objective_power)
    return Intake(target, "slide", kind.media_type, kind.suffix, facts, notes)


def _clip(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    from backend.media.deidentify_images import count_gif_images
    from backend.media.deidentify_video import clean_clip

    if kind.format == "gif" and count_gif_images(source.read_bytes()) == 1:
        return _image(source, kind, scratch, limits)
    return clean_clip(source, kind, scratch, limits)


def _says_synthetic(source: Path) -> bool:
    """Whether the file carries our mark, or DICOM's own, of having been made by a model."""
    from backend.media.marks import read_provenance

    found = read_provenance(source)
    return bool(found and found.synthetic)
